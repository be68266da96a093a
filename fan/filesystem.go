package fan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Filesystem is one superblock that is watched.
type Filesystem struct {
	FSID   uint64
	Dev    uint64 // as stat(2) gives it
	Mount  Mount  // the mount that it was marked through
	Root   Inode  // of the root directory of that mount
	fd     int    // a directory of a private clone of that mount
	codec  *codec
	opaque map[opaque]uint64 // handles that cannot be decoded, to numbers
	back   []Handle          // and back
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
}

// NewFilesystems returns an empty set.
func NewFilesystems() *Filesystems {
	return &Filesystems{byFSID: map[uint64]uint32{}, byDev: map[uint32]uint32{}}
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
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", m.Mountpoint, err)
	}
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return 0, fmt.Errorf("watch %s (%s): %w", m.Mountpoint, m.Type, explainMark(err))
	}
	fs := &Filesystem{
		FSID:  fsid(&sfs),
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
	fs.Root = f.inode(index, h.Type(), h.Bytes())
	return index, nil
}

// drop forgets the filesystem that was added last.
func (f *Filesystems) drop(index uint32) {
	fs := f.list[index-1]
	unix.Close(fs.fd)
	delete(f.byFSID, fs.FSID)
	delete(f.byDev, fs.Mount.Dev)
	f.list = f.list[:index-1]
}

// All returns the filesystems; the first has index 1.
func (f *Filesystems) All() []*Filesystem { return f.list }

// ByDev returns the index of the superblock with the kernel's device number.
func (f *Filesystems) ByDev(dev uint32) uint32 { return f.byDev[dev] }

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
	return Handle{FSID: fs.FSID, Type: fs.codec.typ, Bytes: b}, true
}

// Decodes tells whether the filesystem's handles say inode and generation.
func (fs *Filesystem) Decodes() bool { return fs.codec != nil }

// Close closes the descriptors.
func (f *Filesystems) Close() {
	for _, fs := range f.list {
		unix.Close(fs.fd)
	}
	f.list = nil
}
