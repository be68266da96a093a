package fan

import (
	"encoding/binary"
	"fmt"
)

// maxHandle is MAX_HANDLE_SZ of the kernel.
const maxHandle = 128

// Inode is a file for good: an inode number that is used again has another
// generation. It is what a handle says, in a form that is small, comparable,
// and equal to what the kernel's inode says. The zero Inode is none.
type Inode struct {
	Ino uint64
	Gen uint32
	FS  uint32 // index in Filesystems, from 1
}

// opaqueGen marks the Inode of a handle that cannot be decoded: Ino is then
// only a number that was given to these bytes.
const opaqueGen = ^uint32(0)

// Opaque tells that only equality counts: the number in it is not the inode's.
func (i Inode) Opaque() bool { return i.Gen == opaqueGen }

// codec takes a handle apart and puts it together again. Each filesystem has
// its own order of the words.
type codec struct {
	typ    int32
	size   int
	decode func(b []byte) (ino uint64, gen uint32)
	encode func(b []byte, ino uint64, gen uint32)
	// tree is where the handle has the number of the tree that inode numbers
	// are of, if there are several in a filesystem; else 0.
	tree int
}

// The layouts that are known; fs/exportfs, fs/xfs/xfs_export.c, mm/shmem.c.
// Words are in the byte order of the machine.
var codecs = []codec{
	{ // FILEID_INO32_GEN: ext4, vfat, squashfs, erofs, ...
		typ: 1, size: 8,
		decode: func(b []byte) (uint64, uint32) {
			return uint64(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
		},
		encode: func(b []byte, ino uint64, gen uint32) {
			binary.NativeEndian.PutUint32(b, uint32(ino))
			binary.NativeEndian.PutUint32(b[4:], gen)
		},
	},
	{ // tmpfs: the generation first, then the inode number in two words
		typ: 1, size: 12,
		decode: func(b []byte) (uint64, uint32) {
			lo, hi := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:])
			return uint64(hi)<<32 | uint64(lo), binary.NativeEndian.Uint32(b)
		},
		encode: func(b []byte, ino uint64, gen uint32) {
			binary.NativeEndian.PutUint32(b, gen)
			binary.NativeEndian.PutUint32(b[4:], uint32(ino))
			binary.NativeEndian.PutUint32(b[8:], uint32(ino>>32))
		},
	},
	{ // FILEID_INO64_GEN: xfs
		typ: 0x81, size: 12,
		decode: func(b []byte) (uint64, uint32) {
			return binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint32(b[8:])
		},
		encode: func(b []byte, ino uint64, gen uint32) {
			binary.NativeEndian.PutUint64(b, ino)
			binary.NativeEndian.PutUint32(b[8:], gen)
		},
	},
	{ // FILEID_BTRFS_WITHOUT_PARENT: inode number, subvolume, generation; fs/btrfs/export.h
		typ: 0x4d, size: 20, tree: 8,
		decode: func(b []byte) (uint64, uint32) {
			return binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint32(b[16:])
		},
		encode: func(b []byte, ino uint64, gen uint32) {
			binary.NativeEndian.PutUint64(b, ino)
			binary.NativeEndian.PutUint32(b[16:], gen)
		},
	},
}

// codecFor returns the codec under which the handle says the inode number, nil
// if there is none: the filesystem's handles are then opaque.
func codecFor(typ int32, b []byte, ino uint64) *codec {
	for i := range codecs {
		c := &codecs[i]
		if c.typ != typ || c.size != len(b) {
			continue
		}
		if got, _ := c.decode(b); got == ino {
			return c
		}
	}
	return nil
}

// String formats the handle as fsid:type:bytes, in hexadecimal.
func (h Handle) String() string {
	return fmt.Sprintf("%016x:%x:%x", h.FSID, h.Type, h.Bytes)
}
