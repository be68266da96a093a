package fan

// Define adds a filesystem that exists only in a simulation: what mounts,
// events and records tell of it can be joined, and nothing can be looked up in
// it. Its handles are 8 bytes of type 1, inode number and generation, as ext4
// makes them. It returns the root directory of m.
func (f *Filesystems) Define(m Mount, fsid, rootIno uint64, rootGen uint32) Inode {
	c := &codecs[0]
	f.list = append(f.list, &Filesystem{FSID: fsid, Mount: m, fd: -1, codec: c})
	index := uint32(len(f.list))
	f.list[index-1].whole = index
	f.byFSID[fsid] = index
	f.byDev[m.Dev] = index
	root := Inode{Ino: rootIno, Gen: rootGen, FS: index}
	f.list[index-1].Root = root
	return root
}
