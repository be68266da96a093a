package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/cgroup"
	"fanrec/output"
	"fanrec/tests/logs"
)

// forks makes processes at several depths, some 500 in a second, until there is a
// file named stop. Each waits for those that it has made.
const forks = `
work() { while [ ! -e stop ]; do (/bin/true; (:) & sh -c ': & wait' & wait); sleep 0.002; done; }
echo $$ >pid; work & work & work & wait
`

// process is a process for good.
type process struct {
	pid   uint32
	start uint64
}

// life is what the whole recording knows of a process.
type life struct {
	last int64 // it did something then, besides ending
	end  int64
}

// dying is how long a process may take from when it is not alive any more, for the
// kernel and so for who attaches, to the record of its end.
const dying = time.Millisecond

// TestAttachStorm attaches 50 times to a tree that forks all the time. What a
// recording of the whole tree says is the truth: whoever does something after the
// attach, or lives on, is in its log, and nobody else.
func TestAttachStorm(t *testing.T) {
	needRoot(t)
	const attaches = 50
	dir := t.TempDir()
	fanrec := filepath.Join(tools, "fanrec")
	truth := exec.Command(fanrec, "-q", "--no-service", "-f", "jsonl", "-o", "truth", "--", "sh", "-c", forks)
	truth.Dir = dir
	truth.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := truth.Start(); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-truth.Process.Pid, syscall.SIGKILL)
	var pid []byte
	for end := time.Now().Add(patience); len(bytes.TrimSpace(pid)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the tree does not begin")
		}
		pid, _ = os.ReadFile(filepath.Join(dir, "pid"))
	}
	for i := range attaches {
		out, err := exec.Command(fanrec, "attach", "-q", "--duration", "100ms", "-f", "jsonl", "-o", filepath.Join(dir, strconv.Itoa(i)), string(bytes.TrimSpace(pid))).CombinedOutput()
		if err != nil {
			t.Fatalf("attach %d: %v: %s", i, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := truth.Wait(); err != nil {
		t.Fatalf("the recording of the whole: %v", err)
	}
	lives, rate := livesIn(t, filepath.Join(dir, "truth"))
	t.Logf("%d processes, %.0f in a second", len(lives), rate)
	there := 0
	for i := range attaches {
		there += checkAttach(t, filepath.Join(dir, strconv.Itoa(i)), lives)
	}
	t.Logf("%d processes were there already, in all", there)
	if there < 2*attaches || rate < 100 {
		t.Error("that is no storm")
	}
}

// read hands all records of a log to fn, and returns how it ended.
func read(t *testing.T, name string, fn func(*output.Record)) *output.Trailer {
	t.Helper()
	_, end, err := logs.Each(name, fn)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// livesIn returns what a log knows of each process that ended.
func livesIn(t *testing.T, name string) (lives map[process]life, rate float64) {
	t.Helper()
	lives = map[process]life{}
	var first, last int64
	end := read(t, name, func(r *output.Record) {
		l := lives[process{r.PID, r.Start}]
		if r.Kind == output.Exit {
			l.end = r.Time
		} else {
			l.last = r.Time
		}
		lives[process{r.PID, r.Start}] = l
		if first == 0 {
			first = r.Time
		}
		last = r.Time
	})
	if len(end.Incomplete) > 0 {
		t.Fatalf("%s is incomplete: %s", name, strings.Join(end.Incomplete, "; "))
	}
	return lives, float64(len(lives)) / time.Duration(last-first).Seconds()
}

// checkAttach compares whom an attach has to its end with whom there were. It returns
// how many processes were there already.
func checkAttach(t *testing.T, name string, lives map[process]life) (there int) {
	t.Helper()
	got, members := map[process]bool{}, map[process]bool{}
	known := map[uint32]bool{}
	var from, to int64 // the first is when the last was met, the other the last record
	end := read(t, name, func(r *output.Record) {
		p := process{r.PID, r.Start}
		switch {
		case r.Attached && r.Kind == output.Fork:
			from = max(from, r.Time)
			known[r.Child] = true
			there++
			return
		case r.Kind == output.Fork:
			known[r.Child] = true
		case r.Kind == output.Exit:
			if got[p] {
				t.Errorf("%s: %v ends twice", name, p)
			}
			got[p] = true
		}
		if !known[r.PID] {
			t.Errorf("%s: %d does something before it is known: %v", name, r.PID, r.Kind)
		}
		members[p] = true
		to = max(to, r.Time)
	})
	if len(end.Incomplete) > 0 {
		t.Errorf("%s is incomplete: %s", name, strings.Join(end.Incomplete, "; "))
	}
	for p, l := range lives {
		if (l.last > from || l.end > from+int64(dying)) && l.end < to && !got[p] {
			t.Errorf("%s: %v is missing: it did something %v and ended %v after the attach", name, p, time.Duration(l.last-from), time.Duration(l.end-from))
		}
	}
	for p := range members {
		if _, ok := lives[p]; !ok {
			t.Errorf("%s: %v is none of the tree", name, p)
		}
	}
	return there
}

// TestAttachUnit attaches to a unit before it runs, and through two restarts of it.
func TestAttachUnit(t *testing.T) {
	needRoot(t)
	tree, err := cgroup.Mounted()
	if errors.Is(err, cgroup.ErrNotMounted) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	slice := tree.Dir("/system.slice")
	if err := os.Mkdir(slice, 0o755); err == nil {
		defer os.Remove(slice)
	}
	name := "fanrec-e2e-" + strconv.Itoa(os.Getpid())
	unit := filepath.Join(slice, name+".service")
	dir := t.TempDir()
	attach := exec.Command(filepath.Join(tools, "fanrec"), "attach", "--unit", name, "-q", "-f", "jsonl", "-o", "log")
	attach.Dir = dir
	var stderr bytes.Buffer
	attach.Stderr = &stderr
	if err := attach.Start(); err != nil {
		t.Fatal(err)
	}
	defer attach.Process.Kill()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if b, _ := os.ReadFile(filepath.Join(dir, "log")); len(b) > 0 {
			break // the header: it is attached
		}
		if time.Now().After(end) {
			t.Fatalf("it does not attach: %s", &stderr)
		}
	}
	run := func(script string) {
		cmd := exec.Command("sh", "-c", script, "sh", unit)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, i := range []string{"1", "2", "3"} {
		run(`: >outside` + i)
		if err := os.Mkdir(unit, 0o755); err != nil {
			t.Fatal(err)
		}
		run(`: >before` + i + `; echo $$ >"$1/cgroup.procs"; : >inside` + i + `; (: >child` + i + `)`)
		if err := os.Remove(unit); err != nil {
			t.Fatal(err)
		}
	}
	attach.Process.Signal(syscall.SIGTERM)
	if err := attach.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var got []string
	end := read(t, filepath.Join(dir, "log"), func(r *output.Record) {
		if r.Kind == output.Write && filepath.Dir(string(r.Path)) == dir {
			got = append(got, filepath.Base(string(r.Path)))
		}
	})
	if want := "inside1 child1 inside2 child2 inside3 child3"; strings.Join(got, " ") != want || len(end.Incomplete) > 0 {
		t.Errorf("made %v, want %s; incomplete: %v", got, want, end.Incomplete)
	}
}
