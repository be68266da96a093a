package fan

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Filesystem is one superblock that is watched, or of btrfs one subvolume: its
// inode numbers are its own.
type Filesystem struct {
	FSID    uint64
	Dev     uint64 // as stat(2) gives it
	Mount   Mount  // the mount that it was marked through
	Root    Inode  // of the root directory of that mount
	through Mount  // what Watch was asked for
	whole   uint32 // index of the superblock
	tree    uint64 // which subvolume
	fd      int    // a directory of a private clone of that mount; -1: none is kept
	loose   bool   // it can be unmounted
	gone    bool   // no longer watched
	codec   *codec
	opaque  map[opaque]uint64 // handles that cannot be decoded, to numbers
	back    []Handle          // and back
}

// opaque is a handle of a filesystem as a key.
type opaque struct {
	typ   int32
	bytes string
}

// Filesystems are the watched superblocks. An index of 0 is none.
type Filesystems struct {
	list   []*Filesystem
	byFSID map[uint64]uint32
	byDev  map[uint32]uint32
	byTree map[subvolume]uint32
	hold   bool
	held   map[*Filesystem]int // descriptors, while hold is set
}

// subvolume is a subvolume of the superblock with an index.
type subvolume struct {
	whole uint32
	tree  uint64
}

// NewFilesystems returns an empty set.
func NewFilesystems() *Filesystems {
	return &Filesystems{byFSID: map[uint64]uint32{}, byDev: map[uint32]uint32{}, byTree: map[subvolume]uint32{}}
}

// ErrClash is wrapped when two superblocks have the same fsid, as copied
// images have: their events could not be told apart.
var ErrClash = errors.New("same fsid as another filesystem")

// add learns how handles look in the filesystem behind fd, a directory that
// can decode handles, which it takes over.
func (f *Filesystems) add(m Mount, fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", m.Mountpoint, err)
	}
	id, err := fsid(fd)
	if err != nil {
		return 0, fmt.Errorf("statfs %s: %w", m.Mountpoint, err)
	}
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return 0, fmt.Errorf("watch %s (%s): %w", m.Mountpoint, m.Type, explainMark(err))
	}
	fs := &Filesystem{
		FSID:  id,
		Dev:   st.Dev,
		Mount: m,
		fd:    fd,
		codec: codecFor(h.Type(), h.Bytes(), st.Ino),
	}
	if other, ok := f.byFSID[fs.FSID]; ok {
		return 0, fmt.Errorf("%s and %s: %w", m.Mountpoint, f.list[other-1].Mount.Mountpoint, ErrClash)
	}
	f.list = append(f.list, fs)
	index := uint32(len(f.list))
	f.byFSID[fs.FSID] = index
	f.byDev[m.Dev] = index
	fs.whole = index
	if c := fs.codec; c != nil && c.tree != 0 {
		fs.tree = binary.NativeEndian.Uint64(h.Bytes()[c.tree:])
		f.byTree[subvolume{index, fs.tree}] = index
	}
	fs.Root = f.inode(index, h.Type(), h.Bytes())
	return index, nil
}

// subvolume returns the index of a subvolume of a watched superblock, a new one
// if it was not seen before.
func (f *Filesystems) subvolume(whole uint32, tree uint64) uint32 {
	if index, ok := f.byTree[subvolume{whole, tree}]; ok {
		return index
	}
	fs := f.list[whole-1]
	f.list = append(f.list, &Filesystem{
		FSID: fs.FSID, Dev: fs.Dev, Mount: fs.Mount, Root: fs.Root, whole: whole, tree: tree, fd: -1, codec: fs.codec,
	})
	index := uint32(len(f.list))
	f.byTree[subvolume{whole, tree}] = index
	return index
}

// remove forgets a filesystem. What is pending may still name its files: the
// index is not given away again.
func (f *Filesystems) remove(index uint32) {
	fs := f.list[index-1]
	if fs.fd >= 0 {
		unix.Close(fs.fd)
	}
	for _, s := range f.list {
		if s.whole == index {
			s.fd, s.gone = -1, true
			delete(f.byTree, subvolume{index, s.tree})
		}
	}
	if f.byFSID[fs.FSID] == index {
		delete(f.byFSID, fs.FSID)
	}
	if f.byDev[fs.Mount.Dev] == index {
		delete(f.byDev, fs.Mount.Dev)
	}
}

// drop forgets the filesystem that was added last, which nothing can name yet.
func (f *Filesystems) drop(index uint32) {
	f.remove(index)
	f.list = f.list[:index-1]
}

// All returns the indexes of the superblocks that are watched.
func (f *Filesystems) All() []uint32 {
	var all []uint32
	for i, fs := range f.list {
		if fs.whole == uint32(i+1) && !fs.gone {
			all = append(all, fs.whole)
		}
	}
	return all
}

// ByDev returns the index of the superblock with the kernel's device number.
func (f *Filesystems) ByDev(dev uint32) uint32 { return f.byDev[dev] }

// BySubvol returns the index of a subvolume of the superblock with the kernel's
// device number; of a superblock that has none, tree does not count.
func (f *Filesystems) BySubvol(dev, tree uint32) uint32 {
	index := f.byDev[dev]
	if index != 0 && f.list[index-1].Subvolumes() {
		return f.subvolume(index, uint64(tree))
	}
	return index
}

// Get returns the filesystem with an index, nil if there is none.
func (f *Filesystems) Get(index uint32) *Filesystem {
	if index == 0 || int(index) > len(f.list) {
		return nil
	}
	return f.list[index-1]
}

// Inode returns the file of a handle, zero if its filesystem is not watched or
// the handle is empty.
func (f *Filesystems) Inode(h *Handle) Inode {
	if len(h.Bytes) == 0 {
		return Inode{}
	}
	return f.inode(f.byFSID[h.FSID], h.Type, h.Bytes)
}

func (f *Filesystems) inode(index uint32, typ int32, b []byte) Inode {
	fs := f.Get(index)
	if fs == nil {
		return Inode{}
	}
	if c := fs.codec; c != nil && c.typ == typ && c.size == len(b) {
		if ino, gen := c.decode(b); gen != opaqueGen {
			if c.tree != 0 {
				index = f.subvolume(fs.whole, binary.NativeEndian.Uint64(b[c.tree:]))
			}
			return Inode{Ino: ino, Gen: gen, FS: index}
		}
	}
	n, ok := fs.opaque[opaque{typ, string(b)}]
	if !ok {
		if fs.opaque == nil {
			fs.opaque = map[opaque]uint64{}
		}
		n = uint64(len(fs.back))
		fs.opaque[opaque{typ, string(b)}] = n
		fs.back = append(fs.back, Handle{FSID: fs.FSID, Type: typ, Bytes: append([]byte(nil), b...)})
	}
	return Inode{Ino: n, Gen: opaqueGen, FS: index}
}

// Handle returns the handle of a file.
func (f *Filesystems) Handle(i Inode) (Handle, bool) {
	fs := f.Get(i.FS)
	switch {
	case fs == nil:
		return Handle{}, false
	case i.Opaque():
		if i.Ino >= uint64(len(fs.back)) {
			return Handle{}, false
		}
		return fs.back[i.Ino], true
	case fs.codec == nil:
		return Handle{}, false
	}
	b := make([]byte, fs.codec.size)
	fs.codec.encode(b, i.Ino, i.Gen)
	if fs.codec.tree != 0 {
		binary.NativeEndian.PutUint64(b[fs.codec.tree:], fs.tree)
	}
	return Handle{FSID: fs.FSID, Type: fs.codec.typ, Bytes: b}, true
}

// Kept tells whether a filesystem is there as long as it is watched.
func (f *Filesystems) Kept(index uint32) bool {
	fs := f.Get(index)
	return fs != nil && !f.list[fs.whole-1].loose
}

// Hold makes the filesystems that look-ups open stay open until it is called
// again with false: to open one that may be unmounted takes a mount of its own,
// which costs more than all else. Meanwhile its device is busy.
func (f *Filesystems) Hold(yes bool) {
	f.hold = yes
	for _, fd := range f.held {
		unix.Close(fd)
	}
	clear(f.held)
}

// open returns a directory of the filesystem for look-ups, and what closes it.
func (f *Filesystems) open(fs *Filesystem) (int, func(), error) {
	fs = f.list[fs.whole-1]
	if fs.fd >= 0 {
		return fs.fd, func() {}, nil
	}
	if fd, ok := f.held[fs]; ok {
		return fd, func() {}, nil
	}
	if fs.gone {
		return -1, nil, ErrGone
	}
	fd, err := openFilesystem(fs.through)
	if err != nil {
		return -1, nil, err
	}
	if id, err := fsid(fd); err != nil || id != fs.FSID {
		unix.Close(fd)
		return -1, nil, ErrGone // another one has its device
	}
	if f.hold {
		if f.held == nil {
			f.held = map[*Filesystem]int{}
		}
		f.held[fs] = fd
		return fd, func() {}, nil
	}
	return fd, func() { unix.Close(fd) }, nil
}

// fsid returns f_fsid of statfs(2).
func fsid(fd int) (uint64, error) {
	var sfs unix.Statfs_t
	err := unix.Fstatfs(fd, &sfs)
	return uint64(uint32(sfs.Fsid.Val[0])) | uint64(uint32(sfs.Fsid.Val[1]))<<32, err
}

// Decodes tells whether the filesystem's handles say inode and generation.
func (fs *Filesystem) Decodes() bool { return fs.codec != nil }

// Subvolumes tells whether the same inode number can be that of several files.
func (fs *Filesystem) Subvolumes() bool { return fs.codec != nil && fs.codec.tree != 0 }

// Close closes the descriptors.
func (f *Filesystems) Close() {
	for i, fs := range f.list {
		if fs.whole == uint32(i+1) && fs.fd >= 0 {
			unix.Close(fs.fd)
		}
	}
	f.list = nil
}
