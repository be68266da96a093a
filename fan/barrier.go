package fan

import (
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Barrier puts marks into the event queue: what was done before the call that
// makes one is in front of it, what is done after is behind. It renames a file
// on a tmpfs that nobody else can reach.
type Barrier struct {
	fd   int // the root directory of the tmpfs
	fsid uint64
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

func newBarrier() (*Barrier, error) {
	fd, err := detached("tmpfs", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make the barrier's tmpfs: %w", err)
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("statfs the barrier's tmpfs: %w", err)
	}
	b := &Barrier{
		fd:   fd,
		fsid: uint64(uint32(sfs.Fsid.Val[0])) | uint64(uint32(sfs.Fsid.Val[1]))<<32,
		to:   append(make([]byte, 0, 24), "0\x00"...),
	}
	f, err := unix.Openat(fd, "0", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(fd)
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
	if ev.Dir.FSID != b.fsid || len(ev.NewName) < 2 {
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

// Close frees the tmpfs.
func (b *Barrier) Close() error { return unix.Close(b.fd) }
