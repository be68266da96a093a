package fan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var (
	dirHandle  = Handle{FSID: 0x1122334455667788, Type: 1, Bytes: []byte("\x02\x00\x00\x00gen!")}
	newHandle  = Handle{FSID: 0x1122334455667788, Type: 0x81, Bytes: []byte("twelve bytes")}
	fileHandle = Handle{FSID: 0x1122334455667788, Type: -2, Bytes: bytes.Repeat([]byte{7}, maxHandle)}
)

// Info record types of events that nobody asked for (fanotify(7)).
const (
	infoPidfd = 4
	infoError = 5
	infoRange = 6
	infoMount = 7
)

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want Event
	}{
		"no info, as after an overflow": {
			newEvent(unix.FAN_Q_OVERFLOW, 0).end(),
			Event{Mask: unix.FAN_Q_OVERFLOW},
		},
		"file in a directory": {
			newEvent(unix.FAN_CREATE|unix.FAN_OPEN, 7).named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, dirHandle, []byte("a")).
				handle(unix.FAN_EVENT_INFO_TYPE_FID, fileHandle).end(),
			Event{Mask: unix.FAN_CREATE | unix.FAN_OPEN, PID: 7, Dir: dirHandle, Name: []byte("a"), Target: fileHandle},
		},
		"directory itself": {
			newEvent(unix.FAN_OPEN|unix.FAN_ONDIR, 7).named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, dirHandle, []byte(".")).end(),
			Event{Mask: unix.FAN_OPEN | unix.FAN_ONDIR, PID: 7, Dir: dirHandle, Name: []byte(".")},
		},
		"file of no known name": {
			newEvent(unix.FAN_OPEN, 7).handle(unix.FAN_EVENT_INFO_TYPE_FID, fileHandle).end(),
			Event{Mask: unix.FAN_OPEN, PID: 7, Target: fileHandle},
		},
		"directory without a name": {
			newEvent(unix.FAN_OPEN, 7).handle(unix.FAN_EVENT_INFO_TYPE_DFID, dirHandle).end(),
			Event{Mask: unix.FAN_OPEN, PID: 7, Dir: dirHandle},
		},
		"rename": {
			newEvent(unix.FAN_RENAME, -1).named(unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, dirHandle, []byte("from")).
				named(unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, newHandle, []byte("to")).
				handle(unix.FAN_EVENT_INFO_TYPE_FID, fileHandle).end(),
			Event{Mask: unix.FAN_RENAME, PID: -1, Dir: dirHandle, Name: []byte("from"), NewDir: newHandle, NewName: []byte("to"), Target: fileHandle},
		},
		// fanotify(7) promises no order.
		"rename, records in another order": {
			newEvent(unix.FAN_RENAME, 7).handle(unix.FAN_EVENT_INFO_TYPE_FID, fileHandle).
				named(unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, newHandle, []byte("to")).
				named(unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, dirHandle, []byte("from")).end(),
			Event{Mask: unix.FAN_RENAME, PID: 7, Dir: dirHandle, Name: []byte("from"), NewDir: newHandle, NewName: []byte("to"), Target: fileHandle},
		},
		"records that were not asked for": {
			newEvent(unix.FAN_OPEN, 7).info(infoPidfd, []byte{1, 2, 3, 4}).info(infoError, make([]byte, 8)).
				named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, dirHandle, []byte("a")).
				info(infoRange, make([]byte, 20)).info(infoMount, make([]byte, 12)).info(255, nil).
				handle(unix.FAN_EVENT_INFO_TYPE_FID, newHandle).end(),
			Event{Mask: unix.FAN_OPEN, PID: 7, Dir: dirHandle, Name: []byte("a"), Target: newHandle},
		},
		"longest name, of any bytes": {
			newEvent(unix.FAN_OPEN, 7).named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, dirHandle, bytes.Repeat([]byte{'\n', 0xff, 1}, 85)).end(),
			Event{Mask: unix.FAN_OPEN, PID: 7, Dir: dirHandle, Name: bytes.Repeat([]byte{'\n', 0xff, 1}, 85)},
		},
		"empty handle and name": {
			newEvent(unix.FAN_OPEN, 7).named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, Handle{FSID: 3, Type: 0xff}, nil).end(),
			Event{Mask: unix.FAN_OPEN, PID: 7, Dir: Handle{FSID: 3, Type: 0xff}},
		},
		// A later kernel may know more of an event: metadata_len says how much.
		"longer metadata": {
			func() []byte {
				b := newEvent(unix.FAN_OPEN, 7).handle(unix.FAN_EVENT_INFO_TYPE_FID, newHandle).end()
				b = slices.Insert(b, metadataSize, make([]byte, 8)...)
				binary.NativeEndian.PutUint32(b, uint32(len(b)))
				binary.NativeEndian.PutUint16(b[6:], metadataSize+8)
				return b
			}(),
			Event{Mask: unix.FAN_OPEN, PID: 7, Target: newHandle},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, behind := range [][]byte{nil, {0}, newEvent(unix.FAN_CREATE, 8).end()} {
				got := Event{Mask: 1, PID: 1, Dir: newHandle, Name: []byte("x"), NewDir: newHandle, NewName: []byte("x"), Target: newHandle}
				n, err := Decode(append(c.b[:len(c.b):len(c.b)], behind...), &got)
				if err != nil {
					t.Fatal(err)
				}
				if n != len(c.b) {
					t.Errorf("length %d, want %d", n, len(c.b))
				}
				if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("event (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// set returns a copy of an event in which the bytes at an offset are others.
func set(b []byte, at int, to ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], to)
	return b
}

func u16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// The error says what is wrong and where, so that the report of a user with
// another kernel can be understood.
func TestDecodeNonsense(t *testing.T) {
	// One record at 24: its fsid at 28, the handle's length at 36, its bytes
	// from 44 to 52, the name up to 56. Then a record at 56.
	good := newEvent(unix.FAN_CREATE, 7).named(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, dirHandle, []byte("abc")).
		handle(unix.FAN_EVENT_INFO_TYPE_FID, newHandle).end()
	const first, handleLen, nameAt, second = 24, 36, 52, 56
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":                              {nil, "0 bytes are less than its metadata"},
		"less than the metadata":               {good[:metadataSize-1], "23 bytes are less than its metadata"},
		"cut":                                  {good[:len(good)-1], fmt.Sprintf("length %d, metadata length 24 at offset 0, %d bytes there", len(good), len(good)-1)},
		"other version":                        {set(good, 4, 2), "version 2 at offset 4"},
		"length 0":                             {set(good, 0, u32(0)...), "length 0, metadata length 24 at offset 0"},
		"length less than the metadata":        {set(good, 0, u32(23)...), "length 23, metadata length 24 at offset 0"},
		"length beyond the end":                {set(good, 0, u32(uint32(len(good)+1))...), "at offset 0"},
		"length as large as can be":            {set(good, 0, u32(^uint32(0))...), "at offset 0"},
		"metadata too short":                   {set(good, 6, u16(23)...), "metadata length 23 at offset 0"},
		"metadata beyond the event":            {set(good, 6, u16(uint16(len(good)+1))...), "at offset 0"},
		"metadata up to 3 bytes from the end":  {set(good, 6, u16(uint16(len(good)-3))...), fmt.Sprintf("3 bytes for an info record at offset %d", len(good)-3)},
		"event ends inside of a record":        {set(good, 0, u32(first+10)...), "info record of 32 bytes at offset 24, 10 bytes there"},
		"event ends in a record's header":      {set(good, 0, u32(second+3)...), "3 bytes for an info record at offset 56"},
		"record of 0 bytes":                    {set(good, first+2, u16(0)...), "info record of 0 bytes at offset 24"},
		"record of 3 bytes":                    {set(good, first+2, u16(3)...), "info record of 3 bytes at offset 24"},
		"record beyond the event":              {set(good, second+2, u16(33)...), "info record of 33 bytes at offset 56, 32 bytes there"},
		"record too short for a handle":        {set(good, first+2, u16(4+15)...), "15 bytes for a handle at offset 28"},
		"record of no bytes for a handle":      {newEvent(0, 1).info(unix.FAN_EVENT_INFO_TYPE_FID, nil).end(), "0 bytes for a handle at offset 28"},
		"directory without a handle":           {newEvent(0, 1).info(unix.FAN_EVENT_INFO_TYPE_DFID, make([]byte, 8)).end(), "8 bytes for a handle at offset 28"},
		"handle one byte too long":             {set(good, second+12, u32(13)...), "handle of 13 bytes at offset 60, 12 bytes there"},
		"handle as large as can be":            {set(good, handleLen, u32(^uint32(0))...), "at offset 28, 12 bytes there"},
		"handle up to the name's end":          {set(good, handleLen, u32(12)...), "name without end at offset 56"},
		"name without end":                     {set(good, nameAt+3, 'd'), "name without end at offset 52"},
		"handle larger than any of the kernel": {newEvent(0, 1).handle(unix.FAN_EVENT_INFO_TYPE_FID, Handle{Bytes: make([]byte, maxHandle+1)}).end(), "handle of 129 bytes at offset 28"},
		"new name without end": {
			set(newEvent(0, 1).named(unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, dirHandle, []byte("abc")).end(), nameAt+3, 'd'),
			"name without end at offset 52",
		},
		"old name without a handle": {newEvent(0, 1).info(unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, []byte("abc")).end(), "4 bytes for a handle at offset 28"},
	} {
		t.Run(name, func(t *testing.T) {
			var ev Event
			n, err := Decode(c.b, &ev)
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("length %d, error %v, event %+v", n, err, ev)
			}
			if n != 0 {
				t.Errorf("length %d with an error", n)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

// inside tells whether p is a part of b, with no room to grow into the rest.
func inside(b, p []byte) bool {
	if len(p) == 0 {
		return cap(p) == 0
	}
	begin, at := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&p[0]))
	return at >= begin && at+uintptr(cap(p)) <= begin+uintptr(len(b))
}

func slicesOf(ev *Event) map[string][]byte {
	return map[string][]byte{
		"directory handle": ev.Dir.Bytes, "name": ev.Name, "new directory handle": ev.NewDir.Bytes, "new name": ev.NewName,
		"target handle": ev.Target.Bytes,
	}
}

// FuzzDecode has real events as its seeds: testdata/fuzz/FuzzDecode, written by
// go test . -run TestEvents -update.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(newEvent(unix.FAN_Q_OVERFLOW, 0).end())
	f.Add(newEvent(unix.FAN_RENAME, 1).named(unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, dirHandle, []byte("a")).
		named(unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, newHandle, []byte("b")).handle(unix.FAN_EVENT_INFO_TYPE_FID, fileHandle).
		info(infoPidfd, make([]byte, 4)).info(infoError, make([]byte, 8)).info(infoRange, make([]byte, 20)).info(infoMount, make([]byte, 12)).end())
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			n := checkDecode(t, b)
			if n == 0 {
				return
			}
			b = b[n:]
		}
	})
}

// checkDecode asserts what holds of any bytes, and returns the event's length,
// 0 if they are none.
func checkDecode(t *testing.T, b []byte) int {
	var ev Event
	n, err := Decode(b, &ev)
	if err != nil {
		if !errors.Is(err, ErrMalformed) || n != 0 {
			t.Fatalf("length %d, error %v", n, err)
		}
		return 0
	}
	if n <= 0 || n > len(b) {
		t.Fatalf("length %d of %d bytes", n, len(b))
	}
	for what, p := range slicesOf(&ev) {
		if !inside(b[:n], p) {
			t.Errorf("the %s is not inside of the event", what)
		}
	}
	if bytes.IndexByte(ev.Name, 0) >= 0 || bytes.IndexByte(ev.NewName, 0) >= 0 {
		t.Errorf("NUL in a name: %q, %q", ev.Name, ev.NewName)
	}
	// What is behind an event is of no account to it.
	var alone Event
	if m, err := Decode(b[:n:n], &alone); err != nil || m != n {
		t.Errorf("cut to its %d bytes: length %d, %v", n, m, err)
	}
	if diff := cmp.Diff(ev, alone); diff != "" {
		t.Errorf("cut to its length (-whole +cut):\n%s", diff)
	}
	roundTrip(t, &ev)
	return n
}

// roundTrip asserts that an event comes back from its encoding.
func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, ev *Event,
) {
	t.Helper()
	b := encode(ev)
	var again Event
	n, err := Decode(b, &again)
	if err != nil || n != len(b) {
		t.Fatalf("encoded to %d bytes and decoded: length %d, %v", len(b), n, err)
	}
	if diff := cmp.Diff(*ev, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("encoded and decoded (-before +after):\n%s", diff)
	}
}

func TestDecodeRoundTrip(t *testing.T) {
	handle := rapid.Custom(func(t *rapid.T) Handle {
		return Handle{
			FSID: rapid.Uint64().Draw(t, "fsid"), Type: rapid.Int32().Draw(t, "type"),
			Bytes: rapid.SliceOfN(rapid.Byte(), 0, maxHandle).Draw(t, "bytes"),
		}
	})
	name := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 255)
	rapid.Check(t, func(t *rapid.T) {
		ev := Event{Mask: rapid.Uint64().Draw(t, "mask"), PID: rapid.Int32().Draw(t, "pid")}
		if rapid.Bool().Draw(t, "in a directory") {
			ev.Dir, ev.Name = handle.Draw(t, "dir"), name.Draw(t, "name")
		}
		if rapid.Bool().Draw(t, "renamed") {
			ev.NewDir, ev.NewName = handle.Draw(t, "new dir"), name.Draw(t, "new name")
		}
		if rapid.Bool().Draw(t, "of a file") {
			ev.Target = handle.Draw(t, "target")
		}
		roundTrip(t, &ev)
	})
}

// A slice of an event cannot be appended to without a copy: what follows it in
// the buffer is another event.
func TestDecodeCapacity(t *testing.T) {
	b := append(encode(&Event{
		Mask: unix.FAN_RENAME, Dir: dirHandle, Name: []byte("a"), NewDir: newHandle, NewName: []byte("b"), Target: fileHandle,
	}), "next"...)
	var ev Event
	if _, err := Decode(b, &ev); err != nil {
		t.Fatal(err)
	}
	for what, p := range slicesOf(&ev) {
		if len(p) == 0 || cap(p) != len(p) {
			t.Errorf("the %s has length %d and capacity %d", what, len(p), cap(p))
		}
	}
}

func TestDecodeAllocs(t *testing.T) {
	b := encode(&Event{
		Mask: unix.FAN_RENAME, Dir: dirHandle, Name: []byte("from"), NewDir: newHandle, NewName: []byte("to"), Target: fileHandle,
	})
	var ev Event
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Decode(b, &ev); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	// As most events are: a file of ext4 opened.
	buf := encode(&Event{Mask: unix.FAN_OPEN, PID: 4711, Dir: dirHandle, Name: []byte("types.h"), Target: dirHandle})
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	var ev Event
	for b.Loop() {
		if _, err := Decode(buf, &ev); err != nil {
			b.Fatal(err)
		}
	}
}
