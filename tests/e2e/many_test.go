package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"fanrec/tests/served"

	"golang.org/x/sys/unix"
)

// many is how many record at once, and manyMemory what the service may have for it.
const (
	many       = 200
	manyMemory = 128 << 20
)

// busyLoop keeps a processor busy with files: some 70 records in each round.
const busyLoop = `i=0; while [ $i -lt 15 ]; do cat /etc/passwd >o; mv o p; rm p; i=$((i+1)); done`

// TestManyByService: 200 recordings at once, of commands that want more processors
// than there are, by one service: each log is what it is alone, and the service
// remains small.
func TestManyByService(t *testing.T) {
	needRoot(t)
	fanrec := filepath.Join(tools, "fanrec")
	s, err := served.Start(fanrec)
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "FANREC_SOCKET="+s.Socket)
	start := func(dir string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(fanrec, "-q", "-o", "log", "--", "sh", "-c", busyLoop)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &stderr
		if err := cmd.Start(); err != nil {
			t.Error(err)
		}
		return cmd, &stderr
	}
	end := func(dir string, cmd *exec.Cmd, stderr *bytes.Buffer) string {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", dir, err, stderr)
		}
		b, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil {
			t.Error(err)
			return ""
		}
		l, err := parse(b)
		if err == nil {
			err = l.complete()
		}
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			return ""
		}
		return l.nameless(dir)
	}

	alone := t.TempDir()
	cmd, stderr := start(alone)
	want := end(alone, cmd, stderr)
	if n := strings.Count(want, "\n"); n < 15*20 {
		t.Fatalf("%d records alone:\n%s", n, want)
	}
	dirs := make([]string, many)
	cmds := make([]*exec.Cmd, many)
	errs := make([]*bytes.Buffer, many)
	for i := range dirs {
		dirs[i] = t.TempDir()
		cmds[i], errs[i] = start(dirs[i])
	}
	for i := range dirs {
		if got := end(dirs[i], cmds[i], errs[i]); got != want {
			t.Errorf("recording %d is not what it is alone:\n%s", i, got)
		}
	}
	peak, err := s.Stop()
	if err != nil {
		t.Errorf("the service: %v", err)
	}
	t.Logf("the service had at most %d MiB", peak>>20)
	if peak > manyMemory {
		t.Errorf("the service had %d MiB, more than %d", peak>>20, manyMemory>>20)
	}
}

// nameless returns the records without what differs between two runs: processes
// have numbers by when they are first named, and the working directory none.
func (l *filemon) nameless(dir string) string {
	numbers := map[int]int{}
	number := func(pid int) int {
		if _, ok := numbers[pid]; !ok {
			numbers[pid] = len(numbers)
		}
		return numbers[pid]
	}
	var b strings.Builder
	for _, r := range l.records {
		rest := strings.ReplaceAll(r.rest, dir, "DIR")
		if r.letter == 'F' {
			rest = fmt.Sprint(number(r.child))
		}
		fmt.Fprintf(&b, "%c %d %s\n", r.letter, number(r.pid), rest)
	}
	return b.String()
}

// TestServiceGoesFirst: every thread of a service that may has the processor before others.
func TestServiceGoesFirst(t *testing.T) {
	needRoot(t)
	_, pid := serve(t)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			t.Fatal(err)
		}
		// The system call returns 20 minus the nice value.
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err == nil && n != 40 {
			t.Errorf("thread %d has the nice value %d, want -20", tid, 20-n)
		}
	}
}
