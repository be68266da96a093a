// Package servers attaches to real servers of Debian while they are under load, and
// compares what is recorded with what strace and lsof see, and with what the servers
// say themselves.
package servers

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
	"fanrec/tests/logs"
	"fanrec/tests/oracle"

	"github.com/google/go-cmp/cmp"
)

// patience bounds everything that is waited for.
const patience = 30 * time.Second

// fanrec is the binary under test, given by FANREC or built.
var fanrec string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fanrec-servers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if fanrec = os.Getenv("FANREC"); fanrec == "" {
		fanrec = filepath.Join(dir, "fanrec")
		if out, err := exec.Command("go", "build", "-o", fanrec, "fanrec/cmd/fanrec").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build fanrec: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// need skips a test where it cannot record, or has not the programs.
func need(t testing.TB, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("recording needs root")
	}
	for _, p := range append(programs, "strace", "lsof") {
		if _, err := exec.LookPath(p); errors.Is(err, exec.ErrNotFound) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func do(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// until waits for something.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// run runs a program to its end and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// daemon is a program that runs until the test ends.
type daemon struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func start(t testing.TB, attr *syscall.SysProcAttr, name string, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(name, args...)}
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.SysProcAttr = &d.out, &d.out, attr
	d.cmd.WaitDelay = patience // others may hold its output
	do(t, d.cmd.Start())
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			d.stop(syscall.SIGKILL)
		}
	})
	return d
}

// stop ends it by a signal.
func (d *daemon) stop(sig syscall.Signal) error {
	d.cmd.Process.Signal(sig)
	late := time.AfterFunc(patience, func() { d.cmd.Process.Kill() })
	defer late.Stop()
	return d.cmd.Wait()
}

// seen is what was recorded of a server.
type seen struct {
	records []output.Record
	trailer *output.Trailer
}

// watched attaches to a process, lets strace do the same, and returns what was
// recorded while a load ran. What strace saw is compared with it, and with lsof what
// was there already.
func watched(t testing.TB, pid int, load func()) *seen {
	t.Helper()
	dir := t.TempDir()
	log, trace := filepath.Join(dir, "log"), filepath.Join(dir, "trace")
	before := lsof(t, pid)
	rec := start(t, nil, fanrec, "attach", "-q", "-f", "jsonl", "-o", log, strconv.Itoa(pid))
	until(t, "the attach", func() bool {
		b, _ := os.ReadFile(log)
		return bytes.Contains(b, []byte(`"attached":true`))
	})
	after := lsof(t, pid)
	args := append(slices.Clone(oracle.AttachArgs), "-o", trace, "-e",
		"trace=?open,openat,?openat2,?creat,?unlink,unlinkat,?rename,?renameat,renameat2,?mkdir,mkdirat,?rmdir,?link,linkat,?symlink,symlinkat")
	for _, p := range append(children(pid), strconv.Itoa(pid)) { // fanrec finds those by itself
		args = append(args, "-p", p)
	}
	tracer := start(t, nil, "strace", args...)
	const settle = 500 * time.Millisecond
	time.Sleep(settle) // it attaches to each thread
	from := time.Now()
	load()
	time.Sleep(settle) // the server still answers who is gone
	to := time.Now()
	tracer.stop(syscall.SIGINT) // it detaches, and ends by the signal
	if err := rec.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("fanrec: %v: %s", err, &rec.out)
	}
	s := readLog(t, log)
	if len(s.trailer.Incomplete) > 0 {
		t.Errorf("incomplete: %v", s.trailer.Incomplete)
	}
	compareHeld(t, before, after, s)
	compareTrace(t, trace, s, from, to)
	return s
}

func readLog(t testing.TB, name string) *seen {
	t.Helper()
	s := &seen{}
	s.trailer = eachRecord(t, name, func(r *output.Record) {
		c := *r
		c.Path, c.Target = bytes.Clone(r.Path), bytes.Clone(r.Target)
		s.records = append(s.records, c)
	})
	return s
}

// eachRecord reads a log, compressed or not, and returns how it ends.
func eachRecord(t testing.TB, name string, each func(*output.Record)) *output.Trailer {
	t.Helper()
	_, end, err := logs.Each(name, each)
	do(t, err)
	return end
}

// held is a file that a process has.
type held struct {
	pid  uint32
	path string
}

// children returns the numbers of a process's children.
func children(pid int) []string {
	out, _ := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	return strings.Fields(string(out))
}

// lsof returns what lsof shows of a process and its children: files and directories,
// no sockets and no pipes.
func lsof(t testing.TB, pid int) map[held]bool {
	t.Helper()
	pids := strings.Join(append(children(pid), strconv.Itoa(pid)), ",")
	out, _ := exec.Command("lsof", "-n", "-P", "-w", "-F", "pftn", "-p", pids).Output() // one may be gone
	found := map[held]bool{}
	var of uint32
	var fd, typ string
	for line := range strings.Lines(string(out)) {
		value := strings.TrimSuffix(line[1:], "\n")
		switch line[0] {
		case 'p':
			n, err := strconv.ParseUint(value, 10, 32)
			do(t, err)
			of = uint32(n)
		case 'f':
			fd, typ = value, ""
		case 't':
			typ = value
		case 'n':
			value = strings.TrimSuffix(value, " (deleted)")
			shared := strings.HasPrefix(value, "/dev/zero") && fd == "DEL" || strings.HasPrefix(value, "/SYSV") || strings.HasPrefix(value, "/[aio]")
			if fd != "rtd" && (typ == "REG" || typ == "DIR" || typ == "CHR") && value[0] == '/' && !shared {
				found[held{of, value}] = true
			}
		}
	}
	return found
}

// compareHeld compares what was there already with what lsof saw before and after.
func compareHeld(t testing.TB, before, after map[held]bool, s *seen) {
	t.Helper()
	got := map[held]bool{}
	known := map[uint32]bool{}
	for i := range s.records {
		r := &s.records[i]
		switch {
		case r.Kind == output.Fork:
			known[r.Child] = r.Attached
		case r.Attached:
			got[held{r.PID, string(r.Path)}] = true
		}
	}
	n := 0
	for h := range before {
		if after[h] && !got[h] && known[h.pid] {
			t.Errorf("lsof shows %s of %d, which is not told as attached", h.path, h.pid)
		}
		n++
	}
	for h := range got {
		if !before[h] && !after[h] {
			t.Errorf("%s of %d is told as attached, and lsof does not show it", h.path, h.pid)
		}
	}
	if n < 10 || len(got) < 10 {
		t.Errorf("lsof shows %d files, and %d are told", n, len(got))
	}
	t.Logf("%d files were there already", len(got))
}

// deed is something that a process did to a file.
type deed struct {
	pid  uint32
	what string
	path string
}

// compareTrace compares records with what strace saw, as often as it was done:
// what both saw from one time to another, at which the server did nothing.
func compareTrace(t testing.TB, trace string, s *seen, from, to time.Time) {
	t.Helper()
	f, err := os.Open(trace)
	do(t, err)
	defer f.Close()
	want := straced(t, f, from, to)
	got := map[deed]int{}
	for i := range s.records {
		r := &s.records[i]
		if r.Attached || r.Op == output.Loader || r.Time < from.UnixNano() || r.Time > to.UnixNano() {
			continue
		}
		switch r.Kind {
		case output.Read, output.Write:
			switch r.Op {
			case output.Mkdir:
				got[deed{r.PID, "mkdir", string(r.Path)}]++
			case output.Open, output.Create:
				if r.Kind == output.Read && i+1 < len(s.records) && twin(r, &s.records[i+1]) {
					continue // one open for both
				}
				got[deed{r.PID, "open", string(r.Path)}]++
			}
		case output.Delete:
			got[deed{r.PID, r.Op.String(), string(r.Path)}]++
		case output.Rename:
			got[deed{r.PID, "rename", string(r.Path) + " " + string(r.Target)}]++
		case output.Link:
			got[deed{r.PID, "link", string(r.Target)}]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("strace and fanrec do not agree (-strace +fanrec):\n%.4000s", diff)
	}
	total := 0
	for _, n := range want {
		total += n
	}
	t.Logf("strace saw %d deeds", total)
	if total < 20 {
		t.Error("that is no load")
	}
}

// twin tells whether a read is half of an open for both, of which the write follows.
func twin(r, w *output.Record) bool {
	return w.Kind == output.Write && w.Op == r.Op && w.PID == r.PID && w.Time == r.Time && bytes.Equal(w.Path, r.Path)
}

// straced returns what strace saw done in a time, and by whom.
func straced(t testing.TB, trace io.Reader, from, to time.Time) map[deed]int {
	t.Helper()
	calls, err := oracle.ReadCalls(trace, workdir)
	do(t, err)
	deeds := map[deed]int{}
	for _, c := range calls {
		if c.At.Before(from) || c.At.After(to) {
			continue
		}
		d := deed{pid: uint32(c.Thread), what: strings.TrimSuffix(c.Name, "at")}
		switch c.Name {
		case "open", "openat", "openat2", "creat":
			d.what, d.path = "open", c.Opened
		case "unlinkat":
			if strings.Contains(c.Flags, "AT_REMOVEDIR") {
				d.what = "rmdir"
			}
			d.path = c.Paths[0]
		case "unlink", "rmdir", "mkdir", "mkdirat":
			d.path = c.Paths[0]
		case "rename", "renameat", "renameat2":
			d.what, d.path = "rename", c.Paths[0]+" "+c.Paths[1]
		case "link", "linkat", "symlink", "symlinkat":
			d.what, d.path = "link", c.Paths[len(c.Paths)-1]
		default:
			t.Fatalf("strace: %+v", c)
		}
		deeds[d]++
	}
	return deeds
}

// workdir is the working directory of the server that is watched: strace shows it only
// in calls that have AT_FDCWD.
var workdir string
