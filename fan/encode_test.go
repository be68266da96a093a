package fan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// An encoder writes events as the kernel does (copy_event_to_user in
// fs/notify/fanotify/fanotify_user.c). Its methods return it, to be chained.
type encoder struct{ b []byte }

// newEvent begins an event. Its length is filled in by end.
func newEvent(mask uint64, pid int32) *encoder {
	ne := binary.NativeEndian
	b := make([]byte, metadataSize)
	b[4] = unix.FANOTIFY_METADATA_VERSION
	ne.PutUint16(b[6:], metadataSize)
	ne.PutUint64(b[8:], mask)
	ne.PutUint32(b[16:], ^uint32(0)) // FAN_NOFD
	ne.PutUint32(b[20:], uint32(pid))
	return &encoder{b}
}

// info appends an info record, padded to four bytes.
func (e *encoder) info(typ uint8, body []byte) *encoder {
	n := infoSize + len(body)
	if pad := -n & 3; n+pad <= 1<<16-1 {
		body = append(body[:len(body):len(body)], make([]byte, pad)...)
		n += pad
	}
	e.b = append(e.b, typ, 0)
	e.b = binary.NativeEndian.AppendUint16(e.b, uint16(n))
	e.b = append(e.b, body...)
	return e
}

func (e *encoder) handle(typ uint8, h Handle) *encoder {
	return e.info(typ, appendHandle(nil, h))
}

func (e *encoder) named(typ uint8, h Handle, name []byte) *encoder {
	return e.info(typ, append(append(appendHandle(nil, h), name...), 0))
}

func appendHandle(b []byte, h Handle) []byte {
	ne := binary.NativeEndian
	b = ne.AppendUint64(b, h.FSID)
	b = ne.AppendUint32(b, uint32(len(h.Bytes)))
	b = ne.AppendUint32(b, uint32(h.Type))
	return append(b, h.Bytes...)
}

func (e *encoder) end() []byte {
	binary.NativeEndian.PutUint32(e.b, uint32(len(e.b)))
	return e.b
}

func (h Handle) zero() bool { return h.FSID == 0 && h.Type == 0 && len(h.Bytes) == 0 }

// encode is the inverse of Decode, for events of a group with
// FAN_REPORT_DFID_NAME_TARGET.
func encode(ev *Event) []byte {
	e := newEvent(ev.Mask, ev.PID)
	dir := uint8(unix.FAN_EVENT_INFO_TYPE_DFID_NAME)
	if ev.Mask&unix.FAN_RENAME != 0 {
		dir = unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME
	}
	if !ev.Dir.zero() || len(ev.Name) > 0 {
		e.named(dir, ev.Dir, ev.Name)
	}
	if !ev.NewDir.zero() || len(ev.NewName) > 0 {
		e.named(unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, ev.NewDir, ev.NewName)
	}
	if !ev.Target.zero() {
		e.handle(unix.FAN_EVENT_INFO_TYPE_FID, ev.Target)
	}
	return e.end()
}
