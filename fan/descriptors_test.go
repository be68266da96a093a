package fan

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's own objects have no file handles; the file itself tells its path.
func TestDescriptors(t *testing.T) {
	d, err := NewDescriptors()
	if errors.Is(err, unix.EPERM) {
		t.Skip("fanotify needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Watch(Mount{Mountpoint: "/proc", Type: "proc"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Watch(Mount{Mountpoint: "/proc", Type: "autofs"}); !errors.Is(err, ErrNotSupported) {
		t.Errorf("autofs: %v", err)
	}
	const name = "/proc/sys/kernel/ostype"
	if _, err := os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	want := Sighting{Mask: unix.FAN_OPEN, PID: int32(os.Getpid()), Path: name, Dev: uint64(st.Dev), Ino: st.Ino}
	var all []Sighting
	if err := d.Read(func(s *Sighting) { all = append(all, *s) }); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range all {
		found = found || s == want
	}
	if !found {
		t.Errorf("not seen: %+v among %+v", want, all)
	}
	if err := d.Read(func(s *Sighting) {
		if s.PID == int32(os.Getpid()) {
			t.Errorf("again: %+v", s)
		}
	}); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeDescriptor(f *testing.F) {
	event := make([]byte, metadataSize)
	ne := binary.NativeEndian
	ne.PutUint32(event, metadataSize)
	event[4] = unix.FANOTIFY_METADATA_VERSION
	ne.PutUint16(event[6:], metadataSize)
	ne.PutUint64(event[8:], unix.FAN_OPEN)
	ne.PutUint32(event[16:], ^uint32(2)) // -ENOENT
	ne.PutUint32(event[20:], 7)
	f.Add(event)
	f.Add(append(event[:20:20], 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Sighting
		size, _, err := decodeDescriptor(b, &s)
		if err == nil && (size < metadataSize || size > len(b)) {
			t.Errorf("%d of %d bytes", size, len(b))
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}
