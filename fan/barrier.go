package fan

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Barrier puts marks into the event queue: what was done before the call that
// makes one is in front of it, what is done after is behind. It renames a file
// on a tmpfs that nobody else can reach.
type Barrier struct {
	fd   int    // the directory
	path string // of the directory, if it is not on a tmpfs of its own
	dir  Handle
	n    uint64
	from []byte
	to   []byte
}

func openTree(path string) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	cwd := unix.AT_FDCWD
	fd, _, errno := unix.Syscall(unix.SYS_OPEN_TREE, uintptr(cwd), uintptr(unsafe.Pointer(p)), unix.OPEN_TREE_CLONE|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// detached makes a mount that is in no namespace and returns its root. options
// are names and values.
func detached(fstype string, options, flags []string) (int, error) {
	name, err := unix.BytePtrFromString(fstype)
	if err != nil {
		return -1, err
	}
	fs, _, errno := unix.Syscall(unix.SYS_FSOPEN, uintptr(unsafe.Pointer(name)), unix.FSOPEN_CLOEXEC, 0)
	if errno != 0 {
		return -1, fmt.Errorf("fsopen: %w", errno)
	}
	defer unix.Close(int(fs))
	for ; len(options) > 0; options = options[2:] {
		if err := unix.FsconfigSetString(int(fs), options[0], options[1]); err != nil {
			return -1, fmt.Errorf("fsconfig %s=%s: %w", options[0], options[1], err)
		}
	}
	for _, f := range flags {
		if err := unix.FsconfigSetFlag(int(fs), f); err != nil {
			return -1, fmt.Errorf("fsconfig %s: %w", f, err)
		}
	}
	if err := unix.FsconfigCreate(int(fs)); err != nil {
		return -1, fmt.Errorf("fsconfig: %w", err)
	}
	mnt, _, errno := unix.Syscall(unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, 0)
	if errno != 0 {
		return -1, fmt.Errorf("fsmount: %w", errno)
	}
	defer unix.Close(int(mnt))
	fd, err := unix.Openat(int(mnt), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open: %w", err)
	}
	return fd, nil
}

// barrierDir returns a directory that fanotify can watch: the root of a
// detached tmpfs, or, as a tmpfs has no fsid before 5.13, a new directory on
// some other filesystem. path is empty, or to be removed.
func barrierDir() (fd int, path string, dir Handle, err error) {
	if fd, err = detached("tmpfs", nil, nil); err != nil {
		return -1, "", Handle{}, fmt.Errorf("make the barrier's tmpfs: %w", err)
	}
	if dir, err = markable(fd); err == nil {
		return fd, "", dir, nil
	}
	unix.Close(fd)
	return newDir([]string{os.TempDir(), "/var/tmp", "/"})
}

// newDir makes a directory in the first of some places where fanotify can watch it.
func newDir(places []string) (fd int, path string, dir Handle, err error) {
	for _, place := range places {
		if path, err = os.MkdirTemp(place, ".fanrec-"); err != nil {
			continue
		}
		if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			if dir, err = markable(fd); err == nil {
				return fd, path, dir, nil
			}
			unix.Close(fd)
		}
		os.Remove(path)
	}
	return -1, "", Handle{}, fmt.Errorf("%w: this kernel can watch no tmpfs (5.13 can), and none of %s is on a disk: set TMPDIR to a directory that is",
		ErrNotSupported, strings.Join(places, ", "))
}

// markable returns the handle of a directory, if events can tell of it.
func markable(fd int) (Handle, error) {
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return Handle{}, fmt.Errorf("statfs: %w", err)
	}
	if sfs.Fsid.Val == [2]int32{} {
		return Handle{}, unix.ENODEV // what fanotify_mark(2) would say
	}
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return Handle{}, fmt.Errorf("name_to_handle_at: %w", err)
	}
	return Handle{FSID: fsidOf(&sfs), Type: h.Type(), Bytes: h.Bytes()}, nil
}

// fsidOf returns the fsid as events have it.
func fsidOf(sfs *unix.Statfs_t) uint64 {
	return uint64(uint32(sfs.Fsid.Val[0])) | uint64(uint32(sfs.Fsid.Val[1]))<<32
}

func newBarrier() (*Barrier, error) {
	fd, path, dir, err := barrierDir()
	if err != nil {
		return nil, err
	}
	return barrierIn(fd, path, dir)
}

func barrierIn(fd int, path string, dir Handle) (*Barrier, error) {
	b := &Barrier{fd: fd, path: path, dir: dir, to: append(make([]byte, 0, 24), "0\x00"...)}
	f, err := unix.Openat(fd, "0", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("make the barrier's file: %w", err)
	}
	unix.Close(f)
	return b, nil
}

// Raise puts a mark into the queue and returns its number. Every name is used
// once, or the kernel would merge two marks.
func (b *Barrier) Raise() (uint64, error) {
	b.from, b.to = b.to, append(b.from[:0], "m"...)
	b.n++
	b.to = append(strconv.AppendUint(b.to, b.n, 10), 0)
	_, _, errno := unix.Syscall6(unix.SYS_RENAMEAT2, uintptr(b.fd), uintptr(unsafe.Pointer(&b.from[0])),
		uintptr(b.fd), uintptr(unsafe.Pointer(&b.to[0])), 0, 0)
	if errno != 0 {
		b.from, b.to = b.to, b.from // the file is still called so
		return 0, fmt.Errorf("raise the barrier: %w", errno)
	}
	return b.n, nil
}

// Mark returns the number of the mark that an event is, 0 if it is none.
func (b *Barrier) Mark(ev *Event) uint64 {
	if ev.Dir.FSID != b.dir.FSID || len(ev.NewName) < 2 || ev.Dir.Type != b.dir.Type || !bytes.Equal(ev.Dir.Bytes, b.dir.Bytes) {
		return 0
	}
	var n uint64
	for _, c := range ev.NewName[1:] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// Close frees the tmpfs, or removes the directory.
func (b *Barrier) Close() error {
	if b.path != "" {
		unix.Unlinkat(b.fd, strings.TrimRight(string(b.to), "\x00"), 0)
		os.Remove(b.path)
	}
	return unix.Close(b.fd)
}
