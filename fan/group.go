package fan

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"fanrec/later"
)

// ErrNotSupported is wrapped when the kernel or a filesystem cannot do what is
// asked; the text says what.
var ErrNotSupported = errors.New("not supported")

// The events that a Group asks for. With call records the first set is enough:
// nothing in it follows the end of a process.
const (
	Names   = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_RENAME | unix.FAN_ONDIR
	Opens   = unix.FAN_OPEN | unix.FAN_OPEN_EXEC
	Writes  = unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE
	Changes = unix.FAN_ATTRIB
)

// initFlags asks for directory handle, name and target handle in each event.
const initFlags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_REPORT_DFID_NAME_TARGET

// Options of a Group.
type Options struct {
	Mask    uint64 // Names, Opens, ...
	Limited bool   // keep the kernel's limit of queued events: overflows are then possible
}

// A Group is a fanotify group with its marks, its barrier and the filesystems
// that it watches. Its methods are for one goroutine.
type Group struct {
	Filesystems *Filesystems
	Barrier     *Barrier
	fd          int
	mask        uint64
}

// NewGroup makes a group that watches nothing yet but its own barrier. Errors
// wrap ErrNotSupported or the error number (EPERM without CAP_SYS_ADMIN).
func NewGroup(opts Options) (*Group, error) {
	flags := uint(initFlags | unix.FAN_UNLIMITED_QUEUE | unix.FAN_UNLIMITED_MARKS)
	if opts.Limited {
		flags &^= unix.FAN_UNLIMITED_QUEUE
	}
	fd, err := unix.FanotifyInit(flags, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fanotify_init: %w", explainInit(err))
	}
	g := &Group{fd: fd, mask: opts.Mask, Filesystems: NewFilesystems()}
	if g.Barrier, err = newBarrier(); err != nil {
		g.Close()
		return nil, err
	}
	if err := g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_RENAME, g.Barrier.fd); err != nil {
		g.Close()
		return nil, fmt.Errorf("watch the barrier: %w", explainMark(err))
	}
	return g, nil
}

func explainInit(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: the kernel has no FAN_REPORT_TARGET_FID: boot Linux 5.17, 5.15.154 or 5.10.220, or later: %w", ErrNotSupported, err)
	}
	return err
}

func explainMark(err error) error {
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: the kernel has no FAN_RENAME: boot Linux 5.17, 5.15.154 or 5.10.220, or later: %w", ErrNotSupported, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: its file handles cannot be decoded: %w", ErrNotSupported, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: it has no fsid: %w", ErrNotSupported, err)
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: it is a subvolume with an fsid of its own: %w", ErrNotSupported, err)
	}
	return err
}

// mark marks what fd is open on. A path through /proc would do the same but
// needs /proc.
func (g *Group) mark(flags uint, mask uint64, fd int) error {
	return unix.FanotifyMark(g.fd, flags, mask, fd, ".")
}

// Watch marks the superblock that a mount shows. Errors wrap ErrNotSupported
// where fanotify cannot watch that kind of filesystem.
func (g *Group) Watch(m Mount) (uint32, error) {
	fd, err := openFilesystem(m)
	if err != nil {
		return 0, err
	}
	through := m
	if m.Type == "btrfs" {
		m.Root = "/"
	}
	index, err := g.Filesystems.add(m, fd)
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	if err := g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, g.mask, fd); err != nil {
		g.Filesystems.drop(index)
		return 0, fmt.Errorf("watch %s (%s): %w", m.Mountpoint, m.Type, explainMark(err))
	}
	g.Filesystems.Get(index).through = through
	return index, nil
}

// WatchLoosely is as Watch, but nothing keeps the filesystem alive once it is
// unmounted: the mark goes with it, and then it cannot be looked up any more.
func (g *Group) WatchLoosely(m Mount) (uint32, error) {
	index, err := g.Watch(m)
	if err != nil {
		return 0, err
	}
	fs := g.Filesystems.Get(index)
	unix.Close(fs.fd)
	fs.fd, fs.loose = -1, true
	return index, nil
}

// WatchAgain marks what is mounted there, if it is a filesystem that WatchLoosely
// was told of: that may have been unmounted meanwhile. It reports false if it is
// another one, which has its device now.
func (g *Group) WatchAgain(index uint32, m Mount) bool {
	fd, err := openFilesystem(m)
	if err != nil {
		return true // its mounts changed again: there will be another time
	}
	defer unix.Close(fd)
	fs := g.Filesystems.Get(index)
	if id, err := fsid(fd); err != nil || id != fs.FSID {
		return false
	}
	fs.through = m
	g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, g.mask, fd) // else there are only calls
	return true
}

// Unwatch takes the mark of a filesystem away and lets go of it: what is still
// queued of it will have no inodes.
func (g *Group) Unwatch(index uint32) error {
	fs := g.Filesystems.Get(index)
	if fs.fd < 0 {
		g.Filesystems.remove(index)
		return nil
	}
	err := g.mark(unix.FAN_MARK_REMOVE|unix.FAN_MARK_FILESYSTEM, g.mask, fs.fd)
	g.Filesystems.remove(index)
	if err != nil {
		return fmt.Errorf("watch %s (%s) no longer: %w", fs.Mount.Mountpoint, fs.Mount.Type, err)
	}
	return nil
}

// Widen asks for more events of everything that is watched.
func (g *Group) Widen(mask uint64) error {
	g.mask |= mask
	for _, index := range g.Filesystems.All() {
		fs := g.Filesystems.Get(index)
		fd, done, err := g.Filesystems.open(fs)
		if err != nil && !g.Filesystems.Kept(index) {
			continue // unmounted, or another one is mounted there
		}
		if err != nil {
			return err
		}
		err = g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, fd)
		done()
		if err != nil {
			return fmt.Errorf("watch %s for more: %w", fs.Mount.Mountpoint, explainMark(err))
		}
	}
	return nil
}

// Ignore keeps the writes to one file out of the queue: of the log.
func (g *Group) Ignore(fd int) error {
	const mask = unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	err := unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_IGNORE_SURV, mask, unix.AT_FDCWD, path)
	if errors.Is(err, unix.EINVAL) { // before 6.0
		err = unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_IGNORED_MASK|unix.FAN_MARK_IGNORED_SURV_MODIFY, mask, unix.AT_FDCWD, path)
	}
	if err != nil {
		return fmt.Errorf("ignore writes to the log: %w", err)
	}
	return nil
}

// Read reads whole events, without waiting. It returns 0 if there are none.
func (g *Group) Read(buf []byte) (int, error) {
	for {
		n, err := unix.Read(g.fd, buf)
		switch {
		case err == unix.EAGAIN:
			return 0, nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, fmt.Errorf("read fanotify events: %w", err)
		}
		return n, nil
	}
}

// Queued returns how many bytes of events wait to be read.
func (g *Group) Queued() (int, error) {
	n, err := unix.IoctlGetInt(g.fd, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return 0, fmt.Errorf("look at the queue of fanotify: %w", err)
	}
	return n, nil
}

// FD is readable when events wait.
func (g *Group) FD() int { return g.fd }

// Close ends the group.
func (g *Group) Close() error {
	g.Filesystems.Close()
	if g.Barrier != nil {
		g.Barrier.Close()
	}
	return later.Close(g.fd) // else it waits for every reader of its marks (SRCU), 5 to 25 ms
}
