package fan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"fanrec/later"
)

// Descriptors is a fanotify group for filesystems that have no file handles. Its
// events come with the file itself, opened for the reader: that is told of regular
// files and directories only, and of opens and writes, not of names that change.
// Its methods are for one goroutine.
type Descriptors struct {
	// Exact: a file that can no longer be opened is told of (FAN_REPORT_FD_ERROR,
	// 6.13). Else nobody knows whose event that was.
	Exact bool
	fd    int
	buf   [256 * metadataSize]byte // so many files may be open at once
}

// descriptorMask is what a Descriptors asks for.
const descriptorMask = Opens | Writes | unix.FAN_ONDIR

// NewDescriptors makes a group that watches nothing yet.
func NewDescriptors() (*Descriptors, error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_UNLIMITED_QUEUE | unix.FAN_UNLIMITED_MARKS
	const open = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	d := &Descriptors{Exact: true}
	var err error
	if d.fd, err = unix.FanotifyInit(flags|unix.FAN_REPORT_FD_ERROR, open); errors.Is(err, unix.EINVAL) {
		d.Exact = false
		d.fd, err = unix.FanotifyInit(flags, open)
	}
	if err != nil {
		return nil, fmt.Errorf("fanotify_init: %w", err)
	}
	return d, nil
}

// Watch marks the superblock that a mount shows.
func (d *Descriptors) Watch(m Mount) error {
	if m.Type == "autofs" {
		return fmt.Errorf("%w: to look at it would mount something", ErrNotSupported)
	}
	fd, err := openMount(m)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FanotifyMark(d.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, descriptorMask, fd, "."); err != nil {
		return fmt.Errorf("watch %s (%s) by descriptors: %w", m.Mountpoint, m.Type, err)
	}
	return nil
}

// A Sighting is an event of Descriptors.
type Sighting struct {
	Mask uint64
	PID  int32  // as in Event
	Path string // now, in the mount namespace of the reader as far as it has one there; "" if it could not be opened
	Dev  uint64 // st_dev
	Ino  uint64
}

// Read calls fn for every event that waits.
func (d *Descriptors) Read(fn func(*Sighting)) error {
	for {
		n, err := unix.Read(d.fd, d.buf[:])
		switch {
		case err == unix.EAGAIN || err == nil && n == 0:
			return nil
		case err == unix.EBADF || err == unix.EFAULT:
			return fmt.Errorf("read fanotify events: %w", err)
		case err != nil:
			continue // not Exact: that of opening a file, and its event is gone
		}
		for b := d.buf[:n]; len(b) > 0; {
			var s Sighting
			size, fd, err := decodeDescriptor(b, &s)
			if err != nil {
				return err
			}
			b = b[size:]
			if fd >= 0 {
				s.look(fd)
				unix.Close(fd)
			}
			fn(&s)
		}
	}
}

// decodeDescriptor decodes the event at the start of b and returns its length and
// the descriptor of its file, which is negative if it could not be opened.
func decodeDescriptor(b []byte, s *Sighting) (size, fd int, err error) {
	if size, _, err = decodeLengths(b); err != nil {
		return 0, -1, err
	}
	ne := binary.NativeEndian
	*s = Sighting{Mask: ne.Uint64(b[8:]), PID: int32(ne.Uint32(b[20:]))}
	return size, int(int32(ne.Uint32(b[16:]))), nil
}

// look fills what the file itself tells.
func (s *Sighting) look(fd int) {
	var st unix.Stat_t
	var b [unix.PathMax]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), b[:])
	if err != nil || n == 0 || b[0] != '/' || unix.Fstat(fd, &st) != nil {
		return
	}
	s.Path, s.Dev, s.Ino = string(b[:n]), uint64(st.Dev), st.Ino
	if st.Nlink == 0 {
		s.Path = strings.TrimSuffix(s.Path, " (deleted)")
	}
}

// FD is readable when events wait.
func (d *Descriptors) FD() int { return d.fd }

// Close ends the group.
func (d *Descriptors) Close() error { return later.Close(d.fd) }
