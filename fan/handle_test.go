package fan

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// The handles of root directories as kernels gave them (name_to_handle_at on
// 6.18, little endian), with the inode number that stat(2) told.
func TestCodecFor(t *testing.T) {
	for name, c := range map[string]struct {
		typ  int32
		b    []byte
		ino  uint64
		gen  uint32
		want *codec
	}{
		"ext4":            {1, []byte("\x02\x00\x00\x00\x00\x00\x00\x00"), 2, 0, &codecs[0]},
		"tmpfs":           {1, []byte("\x0b\x5e\x9d\x0c\x01\x00\x00\x00\x00\x00\x00\x00"), 1, 0x0c9d5e0b, &codecs[1]},
		"tmpfs, 64 bits":  {1, []byte("\x0b\x5e\x9d\x0c\x01\x00\x00\x00\x02\x00\x00\x00"), 1<<33 | 1, 0x0c9d5e0b, &codecs[1]},
		"xfs":             {0x81, []byte("\x80\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00"), 128, 9, &codecs[2]},
		"btrfs":           {0x4d, []byte("\x00\x01\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 256, 0, &codecs[3]},
		"another layout":  {1, []byte("\x00\x00\x00\x00\x02\x00\x00\x00"), 2, 0, nil},
		"another length":  {1, []byte("\x02\x00\x00\x00"), 2, 0, nil},
		"with its parent": {2, []byte("\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"), 2, 0, nil},
		"empty":           {1, nil, 0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := codecFor(c.typ, c.b, c.ino)
			if got != c.want {
				t.Fatalf("codec %v, want %v", got, c.want)
			}
			if got == nil {
				return
			}
			if ino, gen := got.decode(c.b); ino != c.ino || gen != c.gen {
				t.Errorf("inode %d, generation %#x; want %d, %#x", ino, gen, c.ino, c.gen)
			}
		})
	}
}

func TestCodecsRoundTrip(t *testing.T) {
	for i := range codecs {
		c := &codecs[i]
		rapid.Check(t, func(t *rapid.T) {
			b := rapid.SliceOfN(rapid.Byte(), c.size, c.size).Draw(t, "handle")
			ino, gen := c.decode(b)
			again := make([]byte, c.size)
			c.encode(again, ino, gen)
			if c.tree != 0 {
				copy(again[c.tree:][:8], b[c.tree:]) // it is not the inode's
			}
			if !bytes.Equal(b, again) {
				t.Fatalf("type %#x of %d bytes: %x became inode %d, generation %d and then %x", c.typ, c.size, b, ino, gen, again)
			}
		})
	}
}

// filesystemOf makes a filesystem that nobody mounted, with a codec or none.
func filesystemOf(fsid uint64, c *codec) *Filesystems {
	f := NewFilesystems()
	f.list = append(f.list, &Filesystem{FSID: fsid, fd: -1, codec: c, whole: 1})
	f.byFSID[fsid] = 1
	return f
}

// Equal handles are equal inodes, different ones are different, and each gives
// its handle back: whether its filesystem's handles can be taken apart or not.
func TestInodeAndHandle(t *testing.T) {
	for name, c := range map[string]*codec{"ext4": &codecs[0], "tmpfs": &codecs[1], "xfs": &codecs[2], "btrfs": &codecs[3], "opaque": nil} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				f := filesystemOf(7, c)
				// Few values, so that equal ones come up, and the one that marks
				// what is opaque among them.
				some := rapid.SampledFrom([]byte{0, 1, 0xff})
				size := rapid.SampledFrom([]int{8, 12, 20})
				typ := rapid.SampledFrom([]int32{1, 2, 0x81, 0x4d})
				handle := rapid.Custom(func(t *rapid.T) Handle {
					n := size.Draw(t, "size")
					fill := some.Draw(t, "fill")
					b := bytes.Repeat([]byte{fill}, n)
					b[some.Draw(t, "at")%8] = some.Draw(t, "byte")
					b[n-1] = some.Draw(t, "last byte")
					if n == 20 {
						b[8] = some.Draw(t, "subvolume")
					}
					return Handle{FSID: 7, Type: typ.Draw(t, "type"), Bytes: b}
				})
				handles := rapid.SliceOfN(handle, 1, 20).Draw(t, "handles")
				inodes := make([]Inode, len(handles))
				for i := range handles {
					inodes[i] = f.Inode(&handles[i])
					if inodes[i].FS == 0 || inodes[i].FS != 1 && c != &codecs[3] {
						t.Fatalf("inode %+v", inodes[i])
					}
				}
				for i, a := range handles {
					got, ok := f.Handle(inodes[i])
					if !ok || got.FSID != a.FSID || got.Type != a.Type || !bytes.Equal(got.Bytes, a.Bytes) {
						t.Fatalf("%v became %+v and then %v, %v", a, inodes[i], got, ok)
					}
					for j, b := range handles {
						same := a.Type == b.Type && bytes.Equal(a.Bytes, b.Bytes)
						if (inodes[i] == inodes[j]) != same {
							t.Fatalf("%v is %+v, %v is %+v", a, inodes[i], b, inodes[j])
						}
					}
				}
			})
		})
	}
}

// An event's handle points into the buffer that the next events are read into.
func TestOpaqueKeepsItsBytes(t *testing.T) {
	f := filesystemOf(7, nil)
	b := []byte("twenty bytes of btrfs")
	i := f.Inode(&Handle{FSID: 7, Type: 0x4d, Bytes: b})
	clear(b)
	if h, ok := f.Handle(i); !ok || string(h.Bytes) != "twenty bytes of btrfs" {
		t.Errorf("handle %q, %v", h.Bytes, ok)
	}
}

func TestInodeOfNothing(t *testing.T) {
	f := filesystemOf(7, &codecs[0])
	for name, h := range map[string]Handle{
		"no handle":            {},
		"empty handle":         {FSID: 7, Type: 0xff},
		"an unknown filesytem": {FSID: 8, Type: 1, Bytes: make([]byte, 8)},
	} {
		if got := f.Inode(&h); got != (Inode{}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, i := range map[string]Inode{
		"zero":                  {},
		"a filesystem too many": {Ino: 2, FS: 2},
		"never seen":            {Ino: 5, Gen: opaqueGen, FS: 1},
	} {
		if h, ok := f.Handle(i); ok {
			t.Errorf("%s: handle %v", name, h)
		}
	}
	if f.Get(0) != nil || f.Get(2) != nil || f.Get(1) != f.list[0] {
		t.Error("Get: indices begin with 1")
	}
}

func TestInodeAllocs(t *testing.T) {
	for name, c := range map[string]*codec{"decoded": &codecs[0], "opaque, seen before": nil} {
		f := filesystemOf(7, c)
		h := Handle{FSID: 7, Type: 1, Bytes: []byte("8 bytes!")}
		f.Inode(&h)
		if n := testing.AllocsPerRun(100, func() { f.Inode(&h) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The form is that of Record.Handle: joined with other logs by its text.
func TestHandleString(t *testing.T) {
	h := Handle{FSID: 0x1a2b, Type: 0x81, Bytes: []byte{0, 0xff}}
	if got, want := h.String(), "0000000000001a2b:81:00ff"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
