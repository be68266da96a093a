package storm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests of this file run the storms under the recorder: the program named by the environment variable FANREC, or
// bin/fanrec of this module.

// soak asks for the long forms, that of make soak.
var soak = os.Getenv("SOAK") != ""

type storm interface{ Args() []string }

// A planner is a storm that leaves what was known before.
type planner interface {
	Args() []string
	Want() Want
}

// A teller is a storm of which only itself can say what it did.
type teller interface {
	Args() []string
	Told(text string) (Want, error)
}

type sizes struct {
	flipflop, forest, execs, deep, reuse, flipflops, threads, users, recycle int
}

var (
	smallSizes = sizes{
		flipflop: 501, forest: 400, execs: 200, deep: 2, reuse: 400,
		flipflops: 101, threads: 50, users: 100, recycle: 400,
	}
	fullSizes = sizes{
		flipflop: 20_001, forest: 20_000, execs: 4_000, deep: 50, reuse: 10_000,
		flipflops: 2_001, threads: 300, users: 600, recycle: 4_000,
	}
	soakSizes = sizes{
		flipflop: 100_001, forest: 20_000, execs: 20_000, deep: 100, reuse: 30_000,
		flipflops: 10_001, threads: 1_000, users: 3_000, recycle: 30_000,
	}
)

func size() sizes {
	switch {
	case soak:
		return soakSizes
	case testing.Short():
		return smallSizes
	}
	return fullSizes
}

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
		{"flipflops", func(dir string) storm { return Flipflops{dir, program, n.flipflops} }},
		{"threads", func(dir string) storm { return Threads{dir, program, n.threads} }},
		{"users", func(dir string) storm { return Users{dir, program, n.users} }},
		{"recycle", func(dir string) storm { return Recycle{dir, program, n.recycle} }},
	}
}

func TestRecorder(t *testing.T) {
	fanrec := recorder(t)
	for _, kind := range storms(build(t), size()) {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.in(t.TempDir())
			mustBeRight(t, s, record(t, fanrec, s, how{}))
		})
	}
}

func TestRecorderOnTmpfs(t *testing.T) {
	fanrec := recorder(t)
	for _, kind := range storms(build(t), smallSizes) {
		t.Run(kind.name, func(t *testing.T) {
			dir := t.TempDir()
			mountTmpfs(t, dir)
			s := kind.in(dir)
			mustBeRight(t, s, record(t, fanrec, s, how{}))
		})
	}
}

// A recorder that does not run for a while must catch up: nothing is lost.
func TestStoppedRecorder(t *testing.T) {
	fanrec := recorder(t)
	stop := 5 * time.Second
	if testing.Short() {
		stop = time.Second
	}
	n := size()
	// They are over before a recording has its large ring: this many fit into the small one.
	n.flipflop, n.flipflops = min(n.flipflop, 20_001), min(n.flipflops, 1_001)
	for _, kind := range storms(build(t), n) {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.in(t.TempDir())
			mustBeRight(t, s, record(t, fanrec, s, how{halfway: stopFor(stop)}))
		})
	}
}

// A recorder that gets little of a busy machine must catch up, too. It gets some 3 % here, so the storms are small.
func TestNiceRecorder(t *testing.T) {
	fanrec := recorder(t)
	for _, kind := range storms(build(t), smallSizes) {
		if testing.Short() && kind.name != "forest" {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			s := kind.in(t.TempDir())
			mustBeRight(t, s, record(t, fanrec, s, how{halfway: crowdOut(t)}))
		})
	}
}

// Of names that several use at once the log has an order in which all of it can have been.
func TestScramble(t *testing.T) {
	fanrec, program := recorder(t), build(t)
	n, kinds := 20, []bool{false}
	if soak {
		// Threads, and that many, are not all in their place yet: docs/todo.md.
		n, kinds = 1000, []bool{false, true}
	}
	for _, fs := range []string{"disk", "tmpfs"} {
		for _, threads := range kinds {
			t.Run(fmt.Sprintf("%s threads %v", fs, threads), func(t *testing.T) {
				dir := t.TempDir()
				if fs == "tmpfs" {
					mountTmpfs(t, dir)
				}
				s := Scramble{dir, program, n, threads}
				mustBeRight(t, s, record(t, fanrec, s, how{}))
			})
		}
	}
}

// Whatever a file is called, its name comes back from both formats.
func TestNames(t *testing.T) {
	fanrec, program := recorder(t), build(t)
	for _, format := range []string{"filemon", "jsonl"} {
		for _, fs := range []string{"disk", "tmpfs"} {
			t.Run(format+" "+fs, func(t *testing.T) {
				dir := t.TempDir()
				if fs == "tmpfs" {
					mountTmpfs(t, dir)
				}
				s := Names{Dir: dir, Image: program, Names: OddNames(), Folded: format == "filemon"}
				mustBeRight(t, s, record(t, fanrec, s, how{format: format}))
			})
		}
	}
}

// Paths as long as the kernel takes them, and longer: whole, or the log says that something is missing. Nothing is cut.
func TestLongPaths(t *testing.T) {
	fanrec, program := recorder(t), build(t)
	for _, fs := range []string{"disk", "tmpfs"} {
		for _, n := range []int{4000, 4094, 4095, 4096, 4097, 4300, 8191, 20_000} {
			for _, there := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d there %v", fs, n, there), func(t *testing.T) {
					dir := t.TempDir()
					if fs == "tmpfs" {
						mountTmpfs(t, dir)
					}
					s := Long{Dir: dir, Image: program, N: n}
					if there {
						s.Part = "-make"
						args := s.Args()
						if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
							t.Fatalf("%v\n%s", err, out)
						}
						s.Part = "-use"
					}
					got := record(t, fanrec, s, how{})
					if len(got.log.Incomplete) == 0 || n < 4096 || !there {
						mustBeRight(t, s, got)
						return
					}
					// A directory that was there cannot be looked up.
					if got.code != 125 {
						t.Errorf("exit status %d", got.code)
					}
					report(t, Plausible(s.Want(), got.log.Records))
				})
			}
		}
	}
}

// Who begins in a directory whose path is longer than any that the kernel gives out leaves a log that is whole, or says
// that it is not.
func TestLongWorkingDirectory(t *testing.T) {
	fanrec, program := recorder(t), build(t)
	for _, n := range []int{4000, 4300, 20_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			s := Long{Dir: t.TempDir(), Image: program, N: n, Part: "-make"}
			if out, err := exec.Command(program, s.Args()[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			path := filepath.Join(t.TempDir(), "log")
			s.Part = "-exec"
			args := append(s.Args()[1:], fanrec, "-q", "-o", path, "--", "/bin/sh", "-c", ": >made")
			out, err := exec.Command(program, args...).CombinedOutput()
			file, openErr := os.Open(path)
			if openErr != nil {
				t.Fatalf("%v, %v\n%s", openErr, err, out)
			}
			defer file.Close()
			log, parseErr := Parse(file)
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			if (err == nil) != (len(log.Incomplete) == 0) {
				t.Errorf("%v, and incomplete: %q", err, log.Incomplete)
			}
			found := false
			for _, r := range log.Records {
				if !strings.Contains(r.Path, "made") {
					continue
				}
				if found = true; r.Kind != 'W' || r.Path != s.Last()+"/made" {
					t.Errorf("cut: %s", r)
				}
			}
			if !found && len(log.Incomplete) == 0 {
				t.Error("nothing was made, and the log says nothing")
			}
		})
	}
}

// A million files, of one process: a hundred thousand directories, more than a recorder can keep.
func TestManyFiles(t *testing.T) {
	fanrec, program := recorder(t), build(t)
	n := 100_000
	switch {
	case soak:
		n = 1_000_000
	case testing.Short():
		n = 2_000
	}
	for _, c := range []struct {
		name string
		n    int
		same bool
	}{{"own names", n, false}, {"same names", min(n, 5_000), true}} { // as long as these cost the square: docs/todo.md
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			mountTmpfs(t, dir) // a disk would be what is measured
			s := Opens{dir, program, c.n, c.same}
			mustBeRight(t, s, record(t, fanrec, s, how{}))
		})
	}
}

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("storm", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
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
	told   string // by the storm
	log    Log
}

// how is what a recorder is asked for, and what it has to bear.
type how struct {
	format string // of the log
	// halfway is called when the storm is halfway and waits, and what it returns when the storm goes on.
	halfway func(recorder *os.Process) (resumed func() error, err error)
}

// record runs the storm under fanrec.
func record(t *testing.T, fanrec string, s storm, how how) result {
	t.Helper()
	args := s.Args()
	if how.halfway != nil {
		args = append([]string{args[0], args[1], "-pause"}, args[2:]...)
	}
	path := filepath.Join(keptIfFailed(t), "log")
	format := cmp.Or(how.format, "filemon")
	// Five minutes are a hundred times what the largest storm takes alone: who needs more hangs.
	limit := 5 * time.Minute
	if soak {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, fanrec, append([]string{"-f", format, "-o", path, "--"}, args...)...)
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
	told, tellErr := listen(cmd.Process, stdin, stdout, how)
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if err := errors.Join(ctx.Err(), tellErr); err != nil {
		t.Fatalf("%v: exit status %d\n%s", err, cmd.ProcessState.ExitCode(), &stderr)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	defer file.Close()
	parse := Parse
	if format == "jsonl" {
		parse = ParseJSON
	}
	log, err := parse(bufio.NewReader(file))
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	t.Logf("%d records in %v, %.1f s of CPU with the storm", len(log.Records), path,
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	return result{cmd.ProcessState.ExitCode(), stderr.String(), told, log}
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

// listen returns what the storm says. If something is to be done halfway, it waits until the storm is there, does it, and
// lets the storm go on.
func listen(recorder *os.Process, stdin io.WriteCloser, stdout io.Reader, how how) (told string, err error) {
	out := bufio.NewReader(stdout)
	if how.halfway != nil {
		if line, err := out.ReadString('\n'); err != nil || line != "halfway\n" {
			return "", fmt.Errorf("the storm said %q: %v", line, err)
		}
		resumed, err := how.halfway(recorder)
		if err != nil {
			return "", err
		}
		if _, err := stdin.Write([]byte("\n")); err != nil {
			return "", err
		}
		if err := resumed(); err != nil {
			return "", err
		}
	}
	rest, err := io.ReadAll(out)
	return string(rest), err
}

// stopFor stops the recorder while the storm goes on.
func stopFor(d time.Duration) func(*os.Process) (func() error, error) {
	return func(recorder *os.Process) (func() error, error) {
		resumed := func() error {
			time.Sleep(d)
			return recorder.Signal(unix.SIGCONT)
		}
		return resumed, recorder.Signal(unix.SIGSTOP)
	}
}

// crowdOut gives the recorder the lowest priority, and all processors something else to do.
func crowdOut(t *testing.T) func(*os.Process) (func() error, error) {
	return func(recorder *os.Process) (func() error, error) {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", recorder.Pid))
		if err != nil {
			return nil, err
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil {
				return nil, err
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, tid, 19); err != nil && err != unix.ESRCH {
				return nil, err
			}
		}
		for range runtime.NumCPU() {
			busy := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
			if err := busy.Start(); err != nil {
				return nil, err
			}
			t.Cleanup(func() { busy.Wait() }) // the context is done by then
		}
		return func() error { return nil }, nil
	}
}

// mustBeRight fails the test unless the log is complete and right.
func mustBeRight(t *testing.T, s storm, got result) {
	t.Helper()
	if got.code != 0 || len(got.log.Incomplete) > 0 {
		t.Errorf("exit status %d, incomplete: %q, stderr:\n%s", got.code, got.log.Incomplete, got.stderr)
	}
	want, err := wanted(s, got.told)
	if err != nil {
		t.Fatal(err)
	}
	report(t, Check(want, got.log.Records))
	if !want.Replay {
		return
	}
	var there []string
	entries, err := os.ReadDir(want.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		there = append(there, e.Name())
	}
	if left, _ := Replay(want.Dir, got.log.Records); !slices.Equal(left, there) {
		t.Errorf("the log leaves %q, the storm left %q", left, there)
	}
}

// wanted returns what a storm should leave that told this.
func wanted(s storm, told string) (Want, error) {
	switch s := s.(type) {
	case teller:
		return s.Told(told)
	case planner:
		if told != "" {
			return Want{}, fmt.Errorf("the storm said %q", told)
		}
		return s.Want(), nil
	}
	return Want{}, fmt.Errorf("nobody knows what %T leaves", s)
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
