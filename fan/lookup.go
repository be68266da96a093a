package fan

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrGone is returned for a directory that was removed.
var ErrGone = errors.New("directory is gone")

// Link says where a directory was when it was looked up.
type Link struct {
	Dir, Parent Inode
	Name        string
}

// Lookup finds where a directory is now, and its parents up to one that known
// says true of or the root of the mount. It makes no fanotify events. Each Link
// was true at some moment during the call, though not all at the same.
func (f *Filesystems) Lookup(i Inode, known func(Inode) bool) ([]Link, error) {
	fs := f.Get(i.FS)
	h, ok := f.Handle(i)
	if fs == nil || !ok {
		return nil, fmt.Errorf("look up directory %d: %w", i.Ino, ErrGone)
	}
	mount, done, err := f.open(fs)
	if err != nil {
		return nil, err
	}
	defer done()
	fd, err := unix.OpenByHandleAt(mount, unix.NewFileHandle(h.Type, h.Bytes), unix.O_PATH|unix.O_CLOEXEC)
	if errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOENT) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open directory %d of %s by handle: %w", i.Ino, fs.Mount.Mountpoint, err)
	}
	defer func() { unix.Close(fd) }()
	var links []Link
	path := "" // of fd; "" if it must be read
	for tries := 0; i != fs.Root; {
		if path == "" {
			if path, err = fdPath(fd); err != nil {
				return nil, err
			}
		}
		cut := strings.LastIndexByte(path, '/')
		name := path[cut+1:]
		if cut < 0 || name == "" {
			return nil, fmt.Errorf("look up %s: not below the mount on %s", path, fs.Mount.Mountpoint)
		}
		up, parent, err := f.parent(i, fd, name)
		if errors.Is(err, errRenamed) && tries < maxTries {
			tries++
			path = ""
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up %s below the mount on %s: %w", path, fs.Mount.Mountpoint, err)
		}
		unix.Close(fd)
		fd = up
		links = append(links, Link{Dir: i, Parent: parent, Name: name})
		if known(parent) {
			break
		}
		i, path = parent, path[:cut]
	}
	return links, nil
}

// Opened returns the file that a descriptor is open on, zero if its filesystem
// is not watched.
func (f *Filesystems) Opened(fd int) (Inode, error) {
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return Inode{}, fmt.Errorf("take a handle: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return Inode{}, fmt.Errorf("statfs: %w", err)
	}
	return f.inode(f.byFSID[fsidOf(&st)], h.Type(), h.Bytes()), nil
}

// errRenamed is returned for a directory that has another name by now.
var errRenamed = errors.New("it is renamed all the time")

// maxTries bounds how often the path of a directory is read again because one
// of the directories on it was renamed meanwhile.
const maxTries = 100

// parent opens the parent of the directory i, which fd is open on, after it
// has seen that i is called name there: the path that the name is from may be
// an old one.
func (f *Filesystems) parent(i Inode, fd int, name string) (int, Inode, error) {
	up, err := unix.Openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, Inode{}, fmt.Errorf("open the parent: %w", err)
	}
	h, _, err := unix.NameToHandleAt(up, "", unix.AT_EMPTY_PATH)
	if err != nil {
		unix.Close(up)
		return -1, Inode{}, fmt.Errorf("take the handle of the parent: %w", err)
	}
	entry, _, err := unix.NameToHandleAt(up, name, 0)
	if errors.Is(err, unix.ENOENT) || err == nil && f.inode(i.FS, entry.Type(), entry.Bytes()) != i {
		err = errRenamed
	}
	if err != nil {
		unix.Close(up)
		return -1, Inode{}, err
	}
	return up, f.inode(i.FS, h.Type(), h.Bytes()), nil
}

// fdPath returns the path of a directory from the root of the mount it was
// opened through, or ErrGone.
func fdPath(fd int) (string, error) {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", fmt.Errorf("read the path of a directory: %w", err)
	}
	if !strings.HasSuffix(path, " (deleted)") {
		return path, nil
	}
	// It may be its name. A removed directory has no links.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("stat a directory: %w", err)
	}
	if st.Nlink == 0 {
		return "", ErrGone
	}
	return path, nil
}
