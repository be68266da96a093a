package storm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests of this file run the storms under the recorder: the program named by the environment variable FANREC, or
// bin/fanrec of this module.

type storm interface {
	Args() []string
	Want() Want
}

type sizes struct{ flipflop, forest, execs, deep, reuse int }

var (
	smallSizes = sizes{flipflop: 501, forest: 400, execs: 200, deep: 2, reuse: 400}
	fullSizes  = sizes{flipflop: 20_001, forest: 20_000, execs: 4_000, deep: 50, reuse: 10_000}
)

type kind struct {
	name string
	in   func(dir string) storm
}

// storms returns each kind of storm, to be had for a directory.
func storms(program string, n sizes) []kind {
	return []kind{
		{"flipflop", func(dir string) storm { return Flipflop{dir, program, n.flipflop} }},
		{"forest", func(dir string) storm { return Forest{dir, program, n.forest, false} }},
		{"forest exec", func(dir string) storm { return Forest{dir, program, n.execs, true} }},
		{"deep", func(dir string) storm { return Deep{dir, program, n.deep} }},
		{"reuse", func(dir string) storm { return Reuse{dir, program, n.reuse} }},
	}
}

func TestRecorder(t *testing.T) {
	fanrec := recorder(t)
	n := fullSizes
	if testing.Short() {
		n = smallSizes
	}
	for _, kind := range storms(build(t), n) {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.in(t.TempDir())
			mustBeRight(t, s, record(t, fanrec, s, 0))
		})
	}
}

func TestRecorderOnTmpfs(t *testing.T) {
	fanrec := recorder(t)
	for _, kind := range storms(build(t), smallSizes) {
		t.Run(kind.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("storm", dir, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			s := kind.in(dir)
			mustBeRight(t, s, record(t, fanrec, s, 0))
		})
	}
}

// A recorder that does not run for a while must catch up: nothing is lost.
func TestStoppedRecorder(t *testing.T) {
	fanrec := recorder(t)
	n, stop := fullSizes, 5*time.Second
	if testing.Short() {
		n, stop = smallSizes, time.Second
	}
	for _, kind := range storms(build(t), n) {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.in(t.TempDir())
			mustBeRight(t, s, record(t, fanrec, s, stop))
		})
	}
}

// recorder returns the path of fanrec.
func recorder(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: fanotify marks and BPF")
	}
	path := os.Getenv("FANREC")
	if path == "" {
		path = filepath.Join("..", "..", "bin", "fanrec")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no recorder: %v", err)
	}
	return path
}

func build(t *testing.T) string {
	t.Helper()
	program, err := Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// result is what a recorder leaves.
type result struct {
	code   int
	stderr string
	log    Log
}

// record runs the storm under fanrec. If stop is not zero, fanrec is stopped for so long when the storm is halfway.
func record(t *testing.T, fanrec string, s storm, stop time.Duration) result {
	t.Helper()
	args := s.Args()
	if stop > 0 {
		args = append([]string{args[0], args[1], "-pause"}, args[2:]...)
	}
	path := filepath.Join(keptIfFailed(t), "log")
	// Five minutes are a hundred times what the largest storm takes alone: who needs more hangs.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, fanrec, append([]string{"-o", path, "--"}, args...)...)
	// SIGABRT makes the Go runtime say where a recorder hangs.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGABRT) }
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pauseErr := pauseHalfway(cmd.Process, stdin, stdout, stop)
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if err := errors.Join(ctx.Err(), pauseErr); err != nil {
		t.Fatalf("%v: exit status %d\n%s", err, cmd.ProcessState.ExitCode(), &stderr)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	defer file.Close()
	log, err := Parse(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	t.Logf("%d records in %v, %.1f s of CPU with the storm", len(log.Records), path,
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	return result{cmd.ProcessState.ExitCode(), stderr.String(), log}
}

// keptIfFailed returns a directory that stays if the test fails: a wrong log is worth reading.
func keptIfFailed(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "storm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
		}
	})
	return dir
}

// pauseHalfway waits until the storm says that it is halfway, stops the recorder, lets the storm go on and lets the
// recorder go on after a while. It reads stdout to its end.
func pauseHalfway(recorder *os.Process, stdin io.WriteCloser, stdout io.Reader, stop time.Duration) error {
	out := bufio.NewReader(stdout)
	if stop > 0 {
		if line, err := out.ReadString('\n'); err != nil || line != "halfway\n" {
			return fmt.Errorf("the storm said %q: %v", line, err)
		}
		if err := recorder.Signal(unix.SIGSTOP); err != nil {
			return err
		}
		if _, err := stdin.Write([]byte("\n")); err != nil {
			return err
		}
		time.Sleep(stop)
		if err := recorder.Signal(unix.SIGCONT); err != nil {
			return err
		}
	}
	rest, err := io.ReadAll(out)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("the storm said %q", rest)
	}
	return err
}

// mustBeRight fails the test unless the log is complete and right.
func mustBeRight(t *testing.T, s storm, got result) {
	t.Helper()
	if got.code != 0 || len(got.log.Incomplete) > 0 {
		t.Errorf("exit status %d, incomplete: %q, stderr:\n%s", got.code, got.log.Incomplete, got.stderr)
	}
	report(t, Check(s.Want(), got.log.Records))
}

func report(t *testing.T, errs []error) {
	t.Helper()
	const most = 20
	for i, err := range errs {
		if i == most {
			t.Errorf("and %d more", len(errs)-most)
			break
		}
		t.Error(err)
	}
}
