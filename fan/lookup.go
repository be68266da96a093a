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
// says true of or the root of the mount. It makes no fanotify events.
func (f *Filesystems) Lookup(i Inode, known func(Inode) bool) ([]Link, error) {
	fs := f.Get(i.FS)
	h, ok := f.Handle(i)
	if fs == nil || !ok {
		return nil, fmt.Errorf("look up directory %d: %w", i.Ino, ErrGone)
	}
	fd, err := unix.OpenByHandleAt(fs.fd, unix.NewFileHandle(h.Type, h.Bytes), unix.O_PATH|unix.O_CLOEXEC)
	if errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOENT) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open directory %d of %s by handle: %w", i.Ino, fs.Mount.Mountpoint, err)
	}
	defer unix.Close(fd)
	// The path and the parents are read one after the other; if a rename came
	// between them the path has changed, and both are read again.
	for try := 0; ; try++ {
		path, err := fdPath(fd)
		if err != nil {
			return nil, err
		}
		links, err := f.climb(i, fd, path, known)
		if err != nil {
			return nil, err
		}
		again, err := fdPath(fd)
		if err != nil {
			return nil, err
		}
		if path == again {
			return links, nil
		}
		if try == 100 {
			return nil, fmt.Errorf("look up %s: it is renamed all the time", path)
		}
	}
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

func (f *Filesystems) climb(i Inode, fd int, path string, known func(Inode) bool) ([]Link, error) {
	fs := f.Get(i.FS)
	var links []Link
	up := ""
	for i != fs.Root && path != "/" {
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			return nil, fmt.Errorf("look up %s: not below the mount on %s", path, fs.Mount.Mountpoint)
		}
		up += "../"
		h, _, err := unix.NameToHandleAt(fd, up, 0)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
			return nil, ErrGone
		}
		if err != nil {
			return nil, fmt.Errorf("take the handle of the parent of %s: %w", path, err)
		}
		parent := f.inode(i.FS, h.Type(), h.Bytes())
		links = append(links, Link{Dir: i, Parent: parent, Name: path[cut+1:]})
		if known(parent) {
			return links, nil
		}
		i, path = parent, path[:cut]
		if path == "" {
			path = "/"
		}
	}
	return links, nil
}
