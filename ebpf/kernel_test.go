package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the records of this kernel as seeds of the fuzz tests")

// These tests mount filesystems, and must neither be seen by other programs
// that look at the mount table meanwhile nor leave anything behind.
const inNamespace = "EBPF_TEST_NAMESPACE"

// errNamespace is why the tests have no mount namespace of their own.
var errNamespace error

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		errNamespace = unshare()
	}
	code := m.Run()
	for _, dir := range compiled {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// unshare starts the test binary anew in a mount namespace of its own: only
// execve brings all threads of a process there.
func unshare() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), inNamespace+"=1"))
}

// tmpfs mounts one and returns where, and its device.
func tmpfs(t *testing.T) (dir string, dev uint32) {
	t.Helper()
	if errors.Is(errNamespace, unix.EPERM) {
		t.Skipf("no mount namespace: %v", errNamespace)
	}
	if errNamespace != nil {
		t.Fatal(errNamespace)
	}
	dir = t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, deviceOf(t, dir)
}

func deviceOf(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	do(t, unix.Lstat(path, &st))
	return MkDev(unix.Major(st.Dev), unix.Minor(st.Dev))
}

// watch marks the superblocks of paths, for fanotify and for the tracker.
func (w *witness) watch(paths ...string) {
	w.t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC, unix.O_RDONLY)
	do(w.t, err)
	w.t.Cleanup(func() { unix.Close(fd) })
	for _, path := range paths {
		// Any mark makes a superblock one that is watched; this one has no events.
		do(w.t, unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, path),
			w.Mark(deviceOf(w.t, path), 0))
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// compiled are the directories of the programs that were compiled, by source
// and arguments.
var compiled = map[string]string{}

// compile compiles a program of testdata, or skips the test where it cannot be.
func compile(t *testing.T, source string, args ...string) string {
	t.Helper()
	key := strings.Join(append(args, source), " ")
	bin := strings.TrimSuffix(source, ".c")
	if dir, ok := compiled[key]; ok {
		return filepath.Join(dir, bin)
	}
	cc, err := exec.LookPath("cc")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ebpf")
	if err != nil {
		t.Fatal(err)
	}
	bin = filepath.Join(dir, bin)
	// Not every system has the libraries for this way to link.
	probe := exec.Command(cc, append(args, "-x", "c", "-", "-o", bin)...)
	probe.Stdin = strings.NewReader("int main(void) { return 0; }")
	if out, err := probe.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		t.Skipf("cc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	args = append(args, "-O1", "-Wall", "-o", bin, filepath.Join("testdata", source))
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		t.Fatalf("compile %s: %v\n%s", source, err, out)
	}
	compiled[key] = dir
	return bin
}

// A witness is a tracker and what it delivered.
type witness struct {
	*Tracker
	t         *testing.T
	processes []Process
	calls     []Call
	raw       [2][][]byte // of both kinds, for the fuzz tests
}

// without are the constants that every witness does without, for TestWithout.
var without []string

// byPerf makes every witness attach by perf, for TestByPerf.
var byPerf bool

// unsupported tells whether the kernel lacks what no tracker can do without. That
// one does not load is no proof of it.
func unsupported() bool {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return errors.Is(err, fs.ErrNotExist) || errors.Is(haveRing(), ErrNotSupported)
}

func newWitness(t *testing.T, opts Options) *witness {
	t.Helper()
	opts.without, opts.byPerf = without, byPerf
	tr, err := New(opts)
	if errors.Is(err, ErrNamespace) || errors.Is(err, unix.EPERM) || errors.Is(err, ErrNotSupported) && unsupported() {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Errorf("close the tracker: %v", err)
		}
	})
	return &witness{Tracker: tr, t: t}
}

// drain takes the records so far. They are kept for good.
func (w *witness) drain() {
	w.t.Helper()
	err := w.Tracker.processes.drain(func(b []byte) {
		b = bytes.Clone(b)
		var p Process
		if err := DecodeProcess(b, &p); err != nil {
			w.t.Fatalf("%v: %x", err, b)
		}
		w.processes = append(w.processes, p)
		w.raw[0] = append(w.raw[0], b)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.Tracker.calls.drain(func(b []byte) {
		b = bytes.Clone(b)
		var c Call
		if err := DecodeCall(b, &c); err != nil {
			w.t.Fatalf("%v: %x", err, b)
		}
		w.calls = append(w.calls, c)
		w.raw[1] = append(w.raw[1], b)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if lost, err := w.Lost(); err != nil || lost != (Lost{}) {
		w.t.Fatalf("lost %+v, %v", lost, err)
	}
}

// A command to start, not with os/exec: that forks a process of its own to try
// out pidfds.
type command struct {
	argv []string
	dir  string
	as   *syscall.Credential
}

func (c *command) start(t *testing.T) int {
	t.Helper()
	pid, err := syscall.ForkExec(c.argv[0], c.argv, &syscall.ProcAttr{
		Dir: c.dir, Env: []string{"PATH=" + os.Getenv("PATH")}, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Credential: c.as},
	})
	if err != nil {
		t.Fatalf("start %s: %v", c.argv[0], err)
	}
	return pid
}

func waitFor(t *testing.T, pid int) syscall.WaitStatus {
	t.Helper()
	var status syscall.WaitStatus
	for {
		got, err := syscall.Wait4(pid, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got != pid {
			t.Fatalf("wait for %d: %d, %v", pid, got, err)
		}
		return status
	}
}

// adopt starts a command in the tree.
func (w *witness) adopt(c *command) int {
	w.t.Helper()
	do(w.t, w.AdoptChildren(true))
	pid := c.start(w.t)
	do(w.t, w.AdoptChildren(false))
	return pid
}

// run runs a command to its end and takes the records, without the calls that
// lead to its execution.
func (w *witness) run(dir string, argv ...string) (pid int, status syscall.WaitStatus) {
	w.t.Helper()
	before := len(w.calls)
	pid = w.adopt(&command{argv: argv, dir: dir})
	status = waitFor(w.t, pid)
	w.drain()
	execs := w.of(Exec, pid)
	if len(execs) == 0 {
		w.t.Fatalf("%v: no exec record", argv)
	}
	for before < len(w.calls) && w.calls[before].Time < execs[0].Time {
		w.calls = slices.Delete(w.calls, before, before+1)
	}
	return pid, status
}

// succeed runs a command that must succeed.
func (w *witness) succeed(dir string, argv ...string) int {
	w.t.Helper()
	pid, status := w.run(dir, argv...)
	if status != 0 {
		w.t.Fatalf("%v: status %#x", argv, status)
	}
	return pid
}

// of returns the process records of a kind, of one pid or (0) of all.
func (w *witness) of(kind Kind, pid int) []Process {
	var list []Process
	for _, p := range w.processes {
		if p.Kind == kind && (pid == 0 || p.ID.TGID == uint32(pid)) {
			list = append(list, p)
		}
	}
	return list
}

// one returns the only process record of a kind and a pid.
func (w *witness) one(kind Kind, pid int) Process {
	w.t.Helper()
	list := w.of(kind, pid)
	if len(list) != 1 {
		w.t.Fatalf("%d records of kind %d and process %d, want 1: %+v", len(list), kind, pid, w.processes)
	}
	return list[0]
}

// seeds writes the first record of each kind and call for the fuzz tests, if
// that is asked for.
func (w *witness) seeds(name string) {
	if !*update {
		return
	}
	for i, test := range []string{"FuzzDecodeProcess", "FuzzDecodeCall"} {
		dir := filepath.Join("testdata", "fuzz", test)
		do(w.t, os.MkdirAll(dir, 0o777))
		seen := map[byte]bool{}
		for _, b := range w.raw[i] {
			kind := b[30]
			if Kind(kind) == kindCall {
				kind = b[32]
			}
			if seen[kind] {
				continue
			}
			seen[kind] = true
			file := filepath.Join(dir, fmt.Sprintf("%s-%d", name, kind))
			do(w.t, os.WriteFile(file, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b), 0o666))
		}
	}
}

// inode asks the kernel for inode number and generation of a file on a tmpfs,
// whose handles say them.
func inode(t *testing.T, path string) (ino uint64, gen uint32) {
	t.Helper()
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		t.Fatalf("name_to_handle_at %s: %v", path, err)
	}
	b := h.Bytes()
	if h.Type() != 1 || len(b) != 12 {
		t.Fatalf("%s has a handle of type %d and %d bytes", path, h.Type(), len(b))
	}
	ne := binary.NativeEndian
	return uint64(ne.Uint32(b[8:]))<<32 | uint64(ne.Uint32(b[4:])), ne.Uint32(b)
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	do(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return ts.Nano()
}
