package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"fanrec/tests/oracle"
)

// site is where one worker runs the command, again and again.
type site struct {
	*config
	logs string
	dir  string // of its copies
}

// file names what a run leaves.
func (s *site) file(i int, kind string) string {
	return filepath.Join(s.logs, fmt.Sprintf("run-%d.%s", i, kind))
}

// compare makes one comparison.
func (s *site) compare(i int) (*outcome, error) {
	if s.free {
		return s.compareFree(i)
	}
	var trace *oracle.Trace
	status, err := s.inFreshCopy(func(dir string) (string, error) {
		strace := append([]string{"strace"}, s.strace(i)...)
		var status string
		var err error
		trace, status, err = s.traced(i, dir, s.recorder(i, strace))
		return status, err
	})
	if err != nil {
		return nil, err
	}
	log, err := readLog(s.file(i, "fanrec"))
	if err != nil {
		return nil, err
	}
	return &outcome{oracle.Compare(trace.Ops, log), trace, status}, nil
}

// compareFree runs the command twice.
func (s *site) compareFree(i int) (*outcome, error) {
	status, err := s.inFreshCopy(func(dir string) (string, error) {
		return s.execute(s.file(i, "fanrec.out"), dir, s.recorder(i, s.command))
	})
	if err != nil {
		return nil, err
	}
	log, err := readLog(s.file(i, "fanrec"))
	if err != nil {
		return nil, err
	}
	var trace *oracle.Trace
	_, err = s.inFreshCopy(func(dir string) (string, error) {
		var status string
		var err error
		trace, status, err = s.traced(i, dir, append([]string{"strace"}, s.strace(i)...))
		return status, err
	})
	if err != nil {
		return nil, err
	}
	return &outcome{oracle.CompareFree(trace.Ops, log), trace, status}, nil
}

// recorder is the command line that records a command.
func (s *site) recorder(i int, command []string) []string {
	line := append([]string{s.fanrec, "-o", s.file(i, "fanrec")}, s.flags...)
	return append(append(line, "--"), command...)
}

// strace is the arguments of strace that trace the command.
func (s *site) strace(i int) []string {
	args := append([]string{}, oracle.StraceArgs...)
	return append(append(args, "-o", s.file(i, "strace"), "--"), s.command...)
}

// inFreshCopy runs a function in a new copy of the source, or in the working directory if there is no source.
func (s *site) inFreshCopy(do func(dir string) (string, error)) (string, error) {
	if s.source == "" {
		dir, err := canonical(".")
		if err != nil {
			return "", err
		}
		return do(dir)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return "", err
	}
	defer os.RemoveAll(s.dir)
	// cp keeps times, which make(1) looks at, and does not follow links.
	if out, err := exec.Command("cp", "-a", "--", s.source, s.dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy %s: %w: %s", s.source, err, out)
	}
	return do(s.dir)
}

// traced runs a command line that has strace in it and reads the trace while the files that it tells of are still there.
func (s *site) traced(i int, dir string, line []string) (*oracle.Trace, string, error) {
	disk, err := oracle.NewLive(dir)
	if err != nil {
		return nil, "", fmt.Errorf("links before the run: %w", err)
	}
	status, err := s.execute(s.file(i, "out"), dir, line)
	if err != nil {
		return nil, "", err
	}
	f, err := os.Open(s.file(i, "strace"))
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	trace, err := oracle.ReadStrace(f, dir, disk)
	return trace, status, err
}

// execute runs a command line, its output in a file. That it fails is no error: commands may, and their failure must be recorded, too.
func (s *site) execute(output, dir string, line []string) (string, error) {
	out, err := os.Create(output)
	if err != nil {
		return "", err
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: killed after %v", line[0], s.timeout)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Sprintf("command ended with %v\n", exit), nil
	}
	return "", err
}

func readLog(name string) ([]oracle.Op, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return oracle.ReadFilemon(f)
}
