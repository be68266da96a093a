package fan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests mount filesystems, and must neither be seen by other programs
// that look at the mount table meanwhile nor leave anything behind.
const inNamespace = "FAN_TEST_NAMESPACE"

// errNamespace is why the tests have no mount namespace of their own.
var errNamespace error

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		errNamespace = unshare()
	}
	os.Exit(m.Run())
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

func needMounts(t *testing.T) {
	t.Helper()
	if errors.Is(errNamespace, unix.EPERM) {
		t.Skipf("no mount namespace: %v", errNamespace)
	}
	if errNamespace != nil {
		t.Fatal(errNamespace)
	}
}

// mount mounts and, at the end of the test, unmounts again.
func mount(t *testing.T, source, dir, fstype string, flags uintptr, data string) {
	t.Helper()
	needMounts(t)
	err := unix.Mount(source, dir, fstype, flags, data)
	if errors.Is(err, unix.ENODEV) {
		t.Skipf("the kernel has no %s", fstype)
	}
	if err != nil {
		t.Fatalf("mount %s on %s: %v", fstype, dir, err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

func tmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", 0, "")
	return dir
}

// image makes a filesystem in a file.
func image(t *testing.T, fstype string, size int64, args ...string) string {
	t.Helper()
	needMounts(t)
	mkfs, err := exec.LookPath("mkfs." + fstype)
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), fstype)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, append(args, "-q", file)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", mkfs, err, out)
	}
	return file
}

// loop attaches a file to a loop device, which is freed with its last user.
func loop(t *testing.T, file string) string {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer control.Close()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Another program may take the same free one.
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("get a loop device: %v", err)
		}
		path := "/dev/loop" + strconv.Itoa(n)
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Skip(err)
		}
		// Mounted or not, it is free when the test is over.
		t.Cleanup(func() { dev.Close() })
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return path
		}
		if !errors.Is(err, unix.EBUSY) {
			t.Fatalf("configure %s: %v", path, err)
		}
	}
}

// kinds are the filesystems whose handles have layouts of their own, each
// freshly made and mounted.
var kinds = []struct {
	name    string
	decodes bool
	mount   func(t *testing.T) string
}{
	{"tmpfs", true, tmpfs},
	{"ext4", true, func(t *testing.T) string { return onLoop(t, "ext4", 16<<20, "-F") }},
	{"xfs", true, func(t *testing.T) string { return onLoop(t, "xfs", 300<<20) }},
	{"btrfs", true, func(t *testing.T) string { return onLoop(t, "btrfs", 128<<20) }},
}

func onLoop(t *testing.T, fstype string, size int64, args ...string) string {
	t.Helper()
	dev := loop(t, image(t, fstype, size, args...))
	dir := t.TempDir()
	mount(t, dev, dir, fstype, 0, "")
	return dir
}

// onEach runs a test on each kind of filesystem.
func onEach(t *testing.T, test func(t *testing.T, dir string, decodes bool)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k.mount(t), k.decodes) })
	}
}

// mountOn returns the mount table's line of a directory.
func mountOn(t *testing.T, dir string) Mount {
	t.Helper()
	mounts, err := Mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Backward(mounts) {
		if m.Mountpoint == dir {
			return m
		}
	}
	t.Fatalf("nothing is mounted on %s", dir)
	return Mount{}
}

// A witness is a group and what it delivered.
type witness struct {
	*Group
	t   *testing.T
	raw []byte // of all events so far, marks left out
}

// Close ends the group before the test does.
func (w *witness) Close() error {
	g := w.Group
	w.Group = nil
	return g.Close()
}

// newWitness makes a group, or skips the test where there can be none.
func newWitness(t *testing.T, opts Options) *witness {
	t.Helper()
	g, err := NewGroup(opts)
	if errors.Is(err, unix.EPERM) || errors.Is(err, ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{Group: g, t: t}
	t.Cleanup(func() {
		if w.Group == nil {
			return
		}
		if err := w.Close(); err != nil {
			t.Errorf("close the group: %v", err)
		}
	})
	return w
}

// watch makes a group that watches what is mounted on directories.
func watch(t *testing.T, mask uint64, dirs ...string) *witness {
	t.Helper()
	w := newWitness(t, Options{Mask: mask})
	for _, dir := range dirs {
		if _, err := w.Watch(mountOn(t, dir)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// events returns what happened until now. They are the caller's.
func (w *witness) events() []Event {
	w.t.Helper()
	mark, err := w.Barrier.Raise()
	if err != nil {
		w.t.Fatal(err)
	}
	var evs []Event
	w.until(mark, func(ev *Event) { evs = append(evs, *ev) })
	return evs
}

// until reads events up to a mark; none may follow it.
func (w *witness) until(mark uint64, fn func(*Event)) {
	w.t.Helper()
	for found := false; !found; {
		buf := make([]byte, 64<<10)
		n, err := w.Read(buf)
		if err != nil {
			w.t.Fatal(err)
		}
		if n == 0 {
			w.t.Fatalf("the mark %d did not come", mark)
		}
		for b := buf[:n]; len(b) > 0; {
			var ev Event
			size, err := Decode(b, &ev)
			if err != nil {
				w.t.Fatalf("%v: %x", err, b)
			}
			switch w.Barrier.Mark(&ev) {
			case mark:
				found = true
			case 0:
				if found {
					w.t.Fatalf("behind the mark: %+v", ev)
				}
				w.raw = append(w.raw, b[:size]...)
				fn(&ev)
			}
			b = b[size:]
		}
	}
}

// handleOf asks the kernel for the handle of a file, not of what a symbolic
// link leads to.
func handleOf(t *testing.T, path string) Handle {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	defer unix.Close(fd)
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		t.Fatalf("name_to_handle_at %s: %v", path, err)
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		t.Fatalf("statfs %s: %v", path, err)
	}
	return Handle{
		FSID: uint64(uint32(sfs.Fsid.Val[0])) | uint64(uint32(sfs.Fsid.Val[1]))<<32,
		Type: h.Type(), Bytes: h.Bytes(),
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	do(t, os.WriteFile(path, nil, 0o600))
}

// openFDs returns how many descriptors the process has.
func openFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
