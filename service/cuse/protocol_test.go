package cuse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// packet encodes a request as the kernel does. Values are put behind the header
// as they are.
func packet(op opcode, unique uint64, values ...any) []byte {
	var b bytes.Buffer
	header := []any{
		uint32(0), uint32(op), unique, uint64(0),
		uint32(1000), uint32(100), uint32(4711), uint16(0), uint16(0),
	}
	for _, v := range append(header, values...) {
		binary.Write(&b, binary.NativeEndian, v)
	}
	p := b.Bytes()
	binary.NativeEndian.PutUint32(p, uint32(len(p)))
	return p
}

// ioctlPacket is struct fuse_ioctl_in and data.
func ioctlPacket(unique, handle uint64, command uint32, data string) []byte {
	return packet(opIoctl, unique, handle, uint32(0), command, uint64(0xfff0), uint32(len(data)), uint32(4), []byte(data))
}

func openPacket(unique uint64) []byte { return packet(opOpen, unique, uint32(unix.O_RDWR), uint32(0)) }

func releasePacket(unique, handle uint64) []byte {
	return packet(opRelease, unique, handle, uint32(unix.O_RDWR), uint32(0), uint64(0))
}

func interruptPacket(target uint64) []byte { return packet(opInterrupt, target|1, target) }

var caller = Caller{Thread: 4711, UID: 1000, GID: 100}

// valid are packets and what they mean.
var valid = map[string]struct {
	packet []byte
	want   request
}{
	"init": {
		packet(opInit, 2, uint32(7), uint32(45), uint32(0), uint32(1)),
		request{op: opInit, unique: 2, by: caller, major: 7, minor: 45},
	},
	"open":      {openPacket(4), request{op: opOpen, unique: 4, by: caller}},
	"release":   {releasePacket(6, 9), request{op: opRelease, unique: 6, by: caller, handle: 9}},
	"interrupt": {interruptPacket(6), request{op: opInterrupt, unique: 7, by: caller, target: 6}},
	"ioctl": {
		ioctlPacket(8, 9, 0xc0045301, "\x03\x00\x00\x00"),
		request{op: opIoctl, unique: 8, by: caller, handle: 9, command: 0xc0045301, data: []byte("\x03\x00\x00\x00")},
	},
	"ioctl without data": {ioctlPacket(8, 9, 0x5401, ""), request{op: opIoctl, unique: 8, by: caller, handle: 9, command: 0x5401, data: []byte{}}},
	"poll":               {packet(40, 10, uint64(9), uint64(1), uint32(0), uint32(1)), request{op: 40, unique: 10, by: caller}},
	"unknown":            {packet(99, 12), request{op: 99, unique: 12, by: caller}},
	"extensions": {
		func() []byte {
			p := packet(opRelease, 6, uint64(9), uint64(0), uint64(0), uint64(0xbad), uint64(0xbad))
			binary.NativeEndian.PutUint16(p[36:], 2)
			return p
		}(),
		request{op: opRelease, unique: 6, by: caller, handle: 9},
	},
}

func TestDecode(t *testing.T) {
	for name, c := range valid {
		t.Run(name, func(t *testing.T) {
			got, ok, err := decode(c.packet)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(request{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What was cut off is told from what is whole, even if the header says that it
// is all there is.
func TestDecodeShort(t *testing.T) {
	for name, c := range valid {
		for n := range c.packet {
			cut := bytes.Clone(c.packet[:n])
			if _, ok, err := decode(cut); err == nil || ok != (n >= inHeaderSize) {
				t.Errorf("%s, %d bytes of %d: %v, %v", name, n, len(c.packet), ok, err)
			}
			if n < inHeaderSize || name == "poll" || name == "unknown" {
				continue // nothing is known of what it should have
			}
			binary.NativeEndian.PutUint32(cut, uint32(n))
			if name == "init" && n >= inHeaderSize+initInSize || name == "extensions" && n >= inHeaderSize+releaseInSize+16 {
				continue
			}
			if _, _, err := decode(cut); !errors.Is(err, errShort) {
				t.Errorf("%s, %d bytes of %d and said so: %v", name, n, len(c.packet), err)
			}
		}
	}
	for _, c := range []struct {
		what string
		at   int
		put  uint32
	}{
		{"longer than it is", 0, 1 << 20},
		{"all extensions", 36, 0xffff},
		{"more data than there is", inHeaderSize + 24, 0xffffffff},
	} {
		p := ioctlPacket(8, 9, 1, "data")
		binary.NativeEndian.PutUint32(p[c.at:], c.put)
		if _, ok, err := decode(p); !ok || !errors.Is(err, errShort) {
			t.Errorf("%s: %v, %v", c.what, ok, err)
		}
	}
}

func TestReply(t *testing.T) {
	n := binary.NativeEndian
	header := func(size uint32, errno int32, unique uint64) []byte {
		return n.AppendUint64(n.AppendUint32(n.AppendUint32(nil, size), uint32(errno)), unique)
	}
	words := func(b []byte, words ...uint32) []byte {
		for _, w := range words {
			b = n.AppendUint32(b, w)
		}
		return b
	}
	made, err := replyInit(request{op: opInit, unique: 2, major: 7, minor: 32}, "x")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want []byte }{
		"nothing":  {reply(6, 0), header(16, 0, 6)},
		"an error": {reply(6, unix.EEXIST, ioctlOut{}), header(16, -17, 6)},
		"an open":  {reply(6, 0, openOut{Handle: 9}), words(header(32, 0, 6), 9, 0, 0, 0)},
		"an ioctl": {reply(6, 0, ioctlOut{}), words(header(32, 0, 6), 0, 0, 0, 0)},
		// Version, no flags, 4096 twice, no numbers, and ten spare words.
		"init": {made, append(words(header(16+72+10, 0, 2), 7, 32, 0, 0, 4096, 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "DEVNAME=x\x00"...)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReplyInit(t *testing.T) {
	for _, c := range []struct {
		what         string
		op           opcode
		major, minor uint32
		name         string
		want         error // nil: any
	}{
		{"another request", opOpen, 7, 38, "x", ErrNotSupported},
		{"another protocol", opInit, 8, 0, "x", ErrNotSupported},
		{"before CUSE", opInit, 7, 10, "x", ErrNotSupported},
		{"no name", opInit, 7, 38, "", nil},
		{"a path", opInit, 7, 38, "a/b", nil},
		{"two lines", opInit, 7, 38, "a\x00DEVNAME=b", nil},
		{"a long name", opInit, 7, 38, fmt.Sprintf("%04096d", 0), nil},
	} {
		_, err := replyInit(request{op: c.op, major: c.major, minor: c.minor}, c.name)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	// A later kernel speaks ours.
	p, err := replyInit(request{op: opInit, major: 7, minor: 99}, "x")
	if err != nil || binary.NativeEndian.Uint32(p[20:]) != minor {
		t.Errorf("%x, %v", p, err)
	}
}

// Whatever comes, what is decoded lies in the packet, and a request has one
// answer, which is well-formed.
func FuzzDecode(f *testing.F) {
	for _, c := range valid {
		f.Add(c.packet)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, ok, err := decode(p)
		if ok != (len(p) >= inHeaderSize) {
			t.Fatalf("%d bytes: %v", len(p), ok)
		}
		if err == nil && r.op == opIoctl && !bytes.Contains(p, r.data) {
			t.Fatalf("%d bytes of data are not of the packet", len(r.data))
		}
		var answers [][]byte
		s := newServer(nobody{}, func(p []byte) error {
			answers = append(answers, p)
			return nil
		})
		s.handle(p)
		s.end()
		want := 1
		if !ok || r.op.silent() {
			want = 0
		}
		if len(answers) != want {
			t.Fatalf("%d answers to %+v (%v)", len(answers), r, err)
		}
		for _, a := range answers {
			n := binary.NativeEndian
			if errno := int32(n.Uint32(a[4:])); int(n.Uint32(a)) != len(a) || n.Uint64(a[8:]) != r.unique ||
				errno > 0 || errno <= -512 || errno != 0 && len(a) != outHeaderSize {
				t.Fatalf("answer %x to %+v", a, r)
			}
		}
	})
}

// nobody is a device that says yes to everything, and its file.
type nobody struct{}

func (nobody) Open(context.Context, Caller) (File, error)          { return nobody{}, nil }
func (nobody) Ioctl(context.Context, Caller, uint32, []byte) error { return nil }
func (nobody) Release(context.Context, error)                      {}
