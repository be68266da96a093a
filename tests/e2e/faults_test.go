package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/output/series"
	"fanrec/tests/logs"

	"golang.org/x/sys/unix"
)

// counting makes files with numbers for names, one after the other, until there is a
// file named stop.
const counting = `n=0; while [ ! -e stop ]; do n=$((n+1)); : >$n; rm $n; done; echo $n >last`

// service is something that runs and is attached to.
type service struct {
	t      *testing.T
	dir    string
	shell  *exec.Cmd
	fanrec *exec.Cmd
	said   *bytes.Buffer
	args   []string
}

// attended starts a shell, and attaches to it with a log of several files.
func attended(t *testing.T, script, log string, args ...string) *service {
	t.Helper()
	needRoot(t)
	s := &service{t: t, dir: t.TempDir()}
	s.shell = exec.Command("sh", "-c", script)
	s.shell.Dir = s.dir
	if err := s.shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.shell.Process.Kill(); s.shell.Wait() })
	s.args = append([]string{"attach", strconv.Itoa(s.shell.Process.Pid), "-q", "-f", "jsonl", "-o", log, "--only", "W"}, args...)
	s.attach()
	return s
}

func (s *service) attach() {
	s.t.Helper()
	s.fanrec = exec.Command(filepath.Join(tools, "fanrec"), s.args...)
	s.said = &bytes.Buffer{}
	s.fanrec.Stderr = s.said
	if err := s.fanrec.Start(); err != nil {
		s.t.Fatal(err)
	}
	f := s.fanrec
	s.t.Cleanup(func() { f.Process.Kill(); f.Wait() })
}

func (s *service) until(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s: waited too long; it says %s", what, s.said)
		}
	}
}

// stop ends the shell, and with it the recording, and returns its exit status.
func (s *service) stop() int {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "stop"), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.fanrec.Wait()
	return s.fanrec.ProcessState.ExitCode()
}

// last is the number of the last file that was made.
func (s *service) last() int {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "last"))
	if err != nil {
		s.t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// piece is what is in one of the files of a log.
type piece struct {
	numbers    []int
	notes      []string
	incomplete []string
	err        error // it is cut
}

func piecesOf(t *testing.T, log string) (all []piece) {
	t.Helper()
	names, err := series.Earlier(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, log) {
		var p piece
		head, end, err := logs.Each(name, func(r *output.Record) {
			if n, err := strconv.Atoi(filepath.Base(string(r.Path))); err == nil && !r.Attached {
				p.numbers = append(p.numbers, n)
			}
		})
		switch {
		case head == nil:
			t.Fatal(err)
		case end != nil:
			p.incomplete = end.Incomplete
		}
		p.notes, p.err = head.Notes, err
		all = append(all, p)
	}
	return all
}

// TestKilledAndRestarted: a recorder is killed again and again, and started again: what
// each has recorded is there, without a gap, and where one is missing that is said.
func TestKilledAndRestarted(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	s := attended(t, counting, log, "--rotate", "10K")
	// grow waits until the recorder that runs has written some files.
	grow := func() {
		before, _ := filepath.Glob(log + ".*")
		s.until("the log grows", func() bool {
			now, _ := filepath.Glob(log + ".*")
			st, err := os.Stat(log)
			return len(now) > len(before)+1 && err == nil && st.Size() > 2000
		})
	}
	const kills = 5
	for range kills {
		grow()
		s.fanrec.Process.Signal(unix.SIGKILL)
		s.fanrec.Wait()
		s.attach()
	}
	grow()
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d, %s", status, s.said)
	}
	all := piecesOf(t, log)
	ends, goes, next := 0, 0, 0
	for i, p := range all {
		restarted := slices.ContainsFunc(p.notes, func(n string) bool { return strings.Contains(n, "what was done until now is missing") })
		if restarted {
			goes++
		} else if i > 0 && len(p.numbers) > 0 && p.numbers[0] != next {
			t.Errorf("file %d begins with %d, want %d, and does not say why", i, p.numbers[0], next)
		}
		if len(p.incomplete) > 0 || p.err != nil { // no trailer, or half a line
			ends++
		}
		for k, n := range p.numbers {
			if k > 0 && n != next {
				t.Fatalf("file %d: %d comes where %d should be", i, n, next)
			}
			next = n + 1
		}
	}
	if ends != kills || goes != kills || next != s.last()+1 {
		t.Errorf("%d kills: %d files without an end, %d that say so, last record %d of %d", kills, ends, goes, next-1, s.last())
	}
	out, err := exec.Command(filepath.Join(tools, "fanrec"), "search", "-c", log).CombinedOutput()
	if status := (&exec.ExitError{}); !errors.As(err, &status) || status.ExitCode() != 125 {
		t.Errorf("search of logs that are cut: %v, %s", err, out)
	}
}

// TestDiskFullWhileAttached: the disk is full for a while: what was dropped meanwhile is
// said with its number, and everything else is there.
func TestDiskFullWhileAttached(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	ballast, log := filepath.Join(disk, "ballast"), filepath.Join(disk, "log")
	if err := os.WriteFile(ballast, make([]byte, 990<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := attended(t, counting, log, "--rotate", "200K", "--spool", "16K")
	s.until("the disk is full", func() bool {
		var st unix.Statfs_t
		return unix.Statfs(disk, &st) == nil && st.Bavail == 0
	})
	time.Sleep(2 * time.Second) // longer than what the spool holds
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.until("it is complete again", func() bool {
		names, _ := filepath.Glob(log + ".*")
		return len(names) > 0
	})
	time.Sleep(300 * time.Millisecond)
	status := s.stop()
	if status != 125 || !strings.Contains(s.said.String(), "records were dropped: the disk did not take them in time") {
		t.Errorf("exit status %d, %s", status, s.said)
	}
	next, dropped := 0, 0
	for i, p := range piecesOf(t, log) {
		for _, n := range p.numbers {
			if next != 0 && n != next {
				t.Fatalf("file %d: %d comes where %d should be", i, n, next)
			}
			next = n + 1
		}
		for _, why := range p.incomplete {
			var n int
			if _, err := fmt.Sscanf(why, "%d records were dropped", &n); err != nil {
				t.Errorf("file %d is incomplete: %s", i, why)
			}
			dropped += n
			next += n
		}
		if p.err != nil {
			t.Error(p.err)
		}
	}
	if dropped == 0 || next != s.last()+1 {
		t.Errorf("%d were dropped, the last is %d of %d", dropped, next-1, s.last())
	}
}

// TestMountsWhileAttached: file systems come and go below who is recorded.
func TestMountsWhileAttached(t *testing.T) {
	const script = `read go; mkdir m; n=0; while [ $n -lt 30 ]; do mount -t tmpfs none m; n=$((n+1)); : >m/$n; mkdir m/d; n=$((n+1)); : >m/d/$n; umount m; done; read end`
	log := filepath.Join(t.TempDir(), "log")
	needRoot(t)
	s := &service{t: t, dir: t.TempDir()}
	s.shell = exec.Command("sh", "-c", script)
	s.shell.Dir = s.dir
	in, err := s.shell.StdinPipe()
	if err == nil {
		err = s.shell.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.shell.Process.Kill()
		s.shell.Wait()
		unix.Unmount(filepath.Join(s.dir, "m"), unix.MNT_DETACH)
	})
	s.args = []string{"attach", strconv.Itoa(s.shell.Process.Pid), "-q", "-f", "jsonl", "-o", log, "--only", "W"}
	s.attach()
	s.until("it is attached", func() bool { b, _ := os.ReadFile(log); return bytes.Contains(b, []byte(`"attached":true`)) })
	io.WriteString(in, "go\n")
	s.until("it is done", func() bool { b, _ := os.ReadFile(log); return bytes.Contains(b, []byte(`/m/d/30"`)) })
	in.Close() // that ends the shell
	s.fanrec.Wait()
	if status := s.fanrec.ProcessState.ExitCode(); status != 0 {
		t.Errorf("exit status %d, %s", status, s.said)
	}
	want := make([]int, 30)
	for i := range want {
		want[i] = i + 1
	}
	if p := piecesOf(t, log); len(p) != 1 || !slices.Equal(p[0].numbers, want) || p[0].err != nil || len(p[0].incomplete) > 0 {
		t.Errorf("%+v", p)
	}
	b, _ := os.ReadFile(log)
	for i := 1; i <= 30; i += 2 {
		for _, name := range []string{fmt.Sprintf("m/%d", i), fmt.Sprintf("m/d/%d", i+1)} {
			if !bytes.Contains(b, fmt.Appendf(nil, `"path":%q`, filepath.Join(s.dir, name))) {
				t.Errorf("no record of %s", name)
			}
		}
	}
}

// TestLogRemovedWhileAttached: the directory of the log is removed: what was in it is
// gone, that is said, and what comes is in a new one.
func TestLogRemovedWhileAttached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	s := attended(t, counting, log, "--rotate", "10M")
	size := func() int64 {
		st, err := os.Stat(log)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	s.until("the log grows", func() bool { return size() > 50_000 })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.until("there is another one", func() bool { return size() > 50_000 })
	s.fanrec.Process.Signal(syscall.SIGINT)
	s.fanrec.Wait()
	s.stop()
	p := piecesOf(t, log)
	if len(p) != 1 || len(p[0].numbers) == 0 || len(p[0].notes) == 0 || p[0].notes[0] != "the file before this one was removed with all that was in it" {
		t.Fatalf("%.500s", fmt.Sprintf("%+v", p))
	}
	for i, n := range p[0].numbers {
		if n != p[0].numbers[0]+i {
			t.Fatalf("%d comes where %d should be", n, p[0].numbers[0]+i)
		}
	}
}

// TestSearchWhileRotated: a search of what is written and rotated meanwhile finds all that
// was there when it began, without a gap, and says that there may be more.
func TestSearchWhileRotated(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	s := attended(t, counting, log, "--rotate", "20K")
	s.until("some files", func() bool { names, _ := series.Earlier(log); return len(names) > 3 })
	last := 0
	for i := range 20 {
		found := filepath.Join(dir, "found")
		var said bytes.Buffer
		cmd := exec.Command(filepath.Join(tools, "fanrec"), "search", "--only", "W", "-f", "jsonl", "-o", found, log)
		cmd.Stderr = &said
		err := cmd.Run()
		if err != nil || !strings.Contains(said.String(), "log is still written: there may be more") {
			t.Fatalf("%v: %s", err, said.String())
		}
		next := 0
		if _, _, err := logs.Each(found, func(r *output.Record) {
			n, err := strconv.Atoi(filepath.Base(string(r.Path)))
			if err != nil {
				return
			}
			if next != 0 && n != next {
				t.Errorf("search %d: %d comes where %d should be", i, n, next)
			}
			next = n + 1
		}); err != nil {
			t.Fatal(err)
		}
		if next < last {
			t.Errorf("search %d ends with %d, the one before with %d", i, next-1, last-1)
		}
		last = next
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d, %s", status, s.said)
	}
}

// TestOneOfTwo: of two recorders that begin one log of several files at once, one does,
// and nothing of that is missing.
func TestOneOfTwo(t *testing.T) {
	for range 10 {
		log := filepath.Join(t.TempDir(), "log")
		s := attended(t, counting, log, "--rotate", "20K")
		first, said := s.fanrec, s.said
		s.attach()
		ended := make(chan error, 2)
		for _, f := range []*exec.Cmd{first, s.fanrec} {
			go func() { ended <- f.Wait() }()
		}
		var status *exec.ExitError
		if err := <-ended; !errors.As(err, &status) || status.ExitCode() != 125 {
			t.Fatalf("one ended: %v", err)
		}
		s.until("some files", func() bool { names, _ := series.Earlier(log); return len(names) > 2 })
		if err := os.WriteFile(filepath.Join(s.dir, "stop"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatalf("the other: %v, %s%s", err, said, s.said)
		}
		if both := said.String() + s.said.String(); !strings.Contains(both, "another recorder writes it") && !strings.Contains(both, "file exists") && !strings.Contains(both, "no such file") {
			t.Errorf("they say %q", both)
		}
		next := 0
		for i, p := range piecesOf(t, log) {
			if len(p.incomplete) > 0 || p.err != nil {
				t.Errorf("file %d: %q, %v", i, p.incomplete, p.err)
			}
			for _, n := range p.numbers {
				if next != 0 && n != next {
					t.Errorf("file %d: %d comes where %d should be", i, n, next)
				}
				next = n + 1
			}
		}
	}
}
