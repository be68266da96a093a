package fan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed fanotify event")

// Handle is a file handle as an event carries it. Bytes point into the buffer
// that was decoded.
type Handle struct {
	FSID  uint64 // f_fsid of statfs(2), its two words in memory order
	Type  int32
	Bytes []byte
}

// Event is one fanotify event of a group with FAN_REPORT_DFID_NAME_TARGET.
// Its slices point into the buffer that was decoded.
type Event struct {
	Mask uint64 // FAN_ bits; several where the kernel merged events
	PID  int32  // thread group, in the pid namespace of the reader; 0 if it has none there
	// The directory and the name in it; "." and the directory's own handle for
	// an event on a directory itself; both empty where the kernel knew no name.
	Dir  Handle
	Name []byte
	// FAN_RENAME: where to. Dir and Name are where from.
	NewDir  Handle
	NewName []byte
	// The file itself; empty for an event on a directory itself.
	Target Handle
}

const (
	metadataSize = 24 // struct fanotify_event_metadata
	infoSize     = 4  // struct fanotify_event_info_header
	fsidSize     = 8
	handleSize   = 8 // struct file_handle without its bytes
)

// Decode decodes the event at the start of b and returns its length. It
// rejects what the kernel does not write; the error says at which offset.
func Decode(b []byte, ev *Event) (int, error) {
	length, head, err := decodeLengths(b)
	if err != nil {
		return 0, err
	}
	ne := binary.NativeEndian
	*ev = Event{Mask: ne.Uint64(b[8:]), PID: int32(ne.Uint32(b[20:]))}
	for off := head; off < length; {
		n, err := decodeInfo(b[:length], off, ev)
		if err != nil {
			return 0, err
		}
		off += n
	}
	return length, nil
}

// decodeLengths decodes the length of the event at the start of b, and of its
// metadata: all of that is there.
func decodeLengths(b []byte) (length, head int, err error) {
	if len(b) < metadataSize {
		return 0, 0, fmt.Errorf("%w: %d bytes are less than its metadata", ErrMalformed, len(b))
	}
	ne := binary.NativeEndian
	length = int(ne.Uint32(b))
	if vers := b[4]; vers != unix.FANOTIFY_METADATA_VERSION {
		return 0, 0, fmt.Errorf("%w: version %d at offset 4, want %d", ErrMalformed, vers, unix.FANOTIFY_METADATA_VERSION)
	}
	head = int(ne.Uint16(b[6:]))
	if length > len(b) || head < metadataSize || head > length {
		return 0, 0, fmt.Errorf("%w: length %d, metadata length %d at offset 0, %d bytes there", ErrMalformed, length, head, len(b))
	}
	return length, head, nil
}

// decodeInfo decodes the info record at off and returns its length. The
// kernel promises no order of records, so each is known by its type.
func decodeInfo(b []byte, off int, ev *Event) (int, error) {
	if len(b)-off < infoSize {
		return 0, fmt.Errorf("%w: %d bytes for an info record at offset %d", ErrMalformed, len(b)-off, off)
	}
	n := int(binary.NativeEndian.Uint16(b[off+2:]))
	if n < infoSize || n > len(b)-off {
		return 0, fmt.Errorf("%w: info record of %d bytes at offset %d, %d bytes there", ErrMalformed, n, off, len(b)-off)
	}
	info := b[off+infoSize : off+n]
	var err error
	switch b[off] {
	case unix.FAN_EVENT_INFO_TYPE_FID:
		ev.Target, _, err = decodeHandle(info, off+infoSize)
	case unix.FAN_EVENT_INFO_TYPE_DFID:
		ev.Dir, _, err = decodeHandle(info, off+infoSize)
	case unix.FAN_EVENT_INFO_TYPE_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
		ev.Dir, ev.Name, err = decodeNamed(info, off+infoSize)
	case unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
		ev.NewDir, ev.NewName, err = decodeNamed(info, off+infoSize)
	default:
		// pidfd, error, range, mount: none was asked for, none is in the way.
	}
	return n, err
}

// decodeHandle decodes fsid and handle and returns what follows them. at is
// the offset of b in the event.
func decodeHandle(b []byte, at int) (Handle, []byte, error) {
	if len(b) < fsidSize+handleSize {
		return Handle{}, nil, fmt.Errorf("%w: %d bytes for a handle at offset %d", ErrMalformed, len(b), at)
	}
	ne := binary.NativeEndian
	n := int(ne.Uint32(b[8:]))
	if n > len(b)-fsidSize-handleSize || n > maxHandle {
		return Handle{}, nil, fmt.Errorf("%w: handle of %d bytes at offset %d, %d bytes there", ErrMalformed, n, at, len(b)-fsidSize-handleSize)
	}
	end := fsidSize + handleSize + n
	return Handle{
		FSID:  ne.Uint64(b),
		Type:  int32(ne.Uint32(b[12:])),
		Bytes: b[fsidSize+handleSize : end : end],
	}, b[end:], nil
}

func decodeNamed(b []byte, at int) (Handle, []byte, error) {
	h, rest, err := decodeHandle(b, at)
	if err != nil {
		return h, nil, err
	}
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return h, nil, fmt.Errorf("%w: name without end at offset %d", ErrMalformed, at+len(b)-len(rest))
	}
	return h, rest[:end:end], nil
}
