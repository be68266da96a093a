package fan

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"fanrec/later"
)

// A Feature is something that a Group uses and a kernel may lack.
type Feature struct {
	Name    string
	Use     string // what it is used for
	Err     error  // nil: it is there
	Without string // what a recording is like without it; empty: there is none
}

// Probe tries out, one by one, what a Group needs. Versions tell nothing:
// kernels have parts of later ones.
func Probe() []Feature {
	return []Feature{
		{Name: "fanotify", Use: "events with directory, name and file (FAN_REPORT_DFID_NAME_TARGET)", Err: tryInit()},
		{Name: "FAN_UNLIMITED_QUEUE", Use: "no event is lost, however many there are", Err: tryFlags(initFlags | unix.FAN_UNLIMITED_QUEUE | unix.FAN_UNLIMITED_MARKS)},
		{Name: "FAN_RENAME", Use: "both names of a rename in one event", Err: tryMark(unix.FAN_MARK_ADD, unix.FAN_RENAME)},
		{
			Name: "FAN_MARK_IGNORE", Use: "keeps writes to the log out, which --no-calls would see",
			Err: tryMark(unix.FAN_MARK_ADD|unix.FAN_MARK_IGNORE_SURV, unix.FAN_OPEN), Without: "FAN_MARK_IGNORED_MASK does it",
		},
		{Name: "open_tree", Use: "looks at a mount without keeping it busy", Err: tryOpenTree()},
		{Name: "fsopen", Use: "a private tmpfs for barriers", Err: tryTmpfs()},
		{Name: "open_by_handle_at", Use: "finds a directory by its handle", Err: tryHandle()},
		{Name: "barrier", Use: "a mark put into the event queue comes out", Err: tryBarrier()},
	}
}

// lesser are ways to report events that do not suffice, the best one first.
var lesser = []struct {
	name  string
	flags uint
}{
	{"FAN_REPORT_DFID_NAME", unix.FAN_REPORT_DFID_NAME},
	{"FAN_REPORT_DIR_FID", unix.FAN_REPORT_DIR_FID},
	{"FAN_REPORT_FID", unix.FAN_REPORT_FID},
	{"descriptors", 0},
}

func tryInit() error {
	err := tryFlags(initFlags)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	for _, l := range lesser {
		if tryFlags(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|l.flags) == nil {
			return fmt.Errorf("%w: the kernel reports events by %s at most", ErrNotSupported, l.name)
		}
	}
	return fmt.Errorf("%w: the kernel has no fanotify: %w", ErrNotSupported, err)
}

func tryFlags(flags uint) error {
	fd, err := unix.FanotifyInit(flags, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	return later.Close(fd)
}

// tryMark marks one directory, which needs no privileges: what is asked is
// whether the kernel knows the flags.
func tryMark(flags uint, mask uint64) error {
	fd, err := unix.FanotifyInit(initFlags, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer later.Close(fd)
	b, err := newBarrier() // a directory that can be marked, whatever the others are on
	if err != nil {
		return err
	}
	defer b.Close()
	err = unix.FanotifyMark(fd, flags, mask, b.fd, ".")
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return err
}

func tryOpenTree() error {
	fd, err := openTree("/")
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func tryTmpfs() error {
	fd, err := detached("tmpfs", nil, nil)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func tryHandle() error {
	dir, err := detached("tmpfs", nil, nil) // the root directory may be on what has no handles
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	h, _, err := unix.NameToHandleAt(dir, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("name_to_handle_at: %w", err)
	}
	fd, err := unix.OpenByHandleAt(dir, h, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func tryBarrier() error {
	g, err := NewGroup(Options{Mask: Names | Opens})
	if err != nil {
		return err
	}
	defer g.Close()
	mark, err := g.Barrier.Raise()
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := g.Read(buf)
	if err != nil {
		return err
	}
	for b := buf[:n]; len(b) > 0; {
		var ev Event
		size, err := Decode(b, &ev)
		if err != nil {
			return err
		}
		if g.Barrier.Mark(&ev) == mark {
			return nil
		}
		b = b[size:]
	}
	return errors.New("the mark did not come out")
}

// Superblock is a mounted filesystem and how a recording sees it.
type Superblock struct {
	Mount   Mount // the one to watch it through
	Pseudo  bool  // holds only objects of the kernel: not watched, and nothing is lost
	Decodes bool  // its file handles say inode and generation
	Layers  int   // overlayfs: so many layers are on filesystems that are watched
	Err     error // why it cannot be watched
}

// Survey tries to watch every filesystem of the mount namespace, in a group
// that is thrown away.
func Survey() ([]Superblock, error) {
	g, err := NewGroup(Options{Mask: Names | Opens})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	mounts, err := Mounts()
	if err != nil {
		return nil, err
	}
	var all []Superblock
	table := NewMountTable(mounts)
	for _, shown := range table.Superblocks() {
		s := Superblock{Mount: shown[0], Pseudo: Pseudo(shown[0].Type)}
		if !s.Pseudo && s.Mount.Type != "overlay" {
			var index uint32
			if index, s.Err = g.Watch(s.Mount); s.Err == nil {
				s.Decodes = g.Filesystems.Get(index).Decodes()
			}
		}
		all = append(all, s)
	}
	for i := range all { // once every layer that can be is watched
		if s := &all[i]; s.Mount.Type == "overlay" {
			var o *Overlay
			if o, s.Err = g.Overlay(s.Mount, table); s.Err == nil {
				s.Layers = len(o.Layers())
			}
		}
	}
	return all, nil
}

// Reason returns why a filesystem cannot be watched, without its name.
func (s *Superblock) Reason() string { return Reason(s.Mount, s.Err) }

// Reason returns why a filesystem cannot be watched, as an error of Watch says,
// without its name.
func Reason(m Mount, err error) string {
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("watch %s (%s): ", m.Mountpoint, m.Type))
}
