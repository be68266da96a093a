package cgroup

import (
	"encoding/binary"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Container is one of docker, podman, containerd, CRI-O and whoever names cgroups as they do.
type Container struct {
	ID   string // 64 hexadecimal digits; "": none
	Name string // "" if it was not found
}

// Containers tells by the numbers of cgroups which containers they are of. What was
// looked up once is remembered: a number is never used again. A nil one knows of none.
// It is for one goroutine.
type Containers struct {
	tree  *Tree
	mount int
	root  string // where files with names are looked for: "/"
	of    map[uint64]Container
	names map[string]string // of IDs
}

// maxRemembered is how many cgroups are remembered. Some machines make one for each job.
const maxRemembered = 1 << 14

// NewContainers opens the hierarchy as it is mounted.
func NewContainers() (*Containers, error) {
	tree, err := Mounted()
	if err != nil {
		return nil, err
	}
	mount, err := unix.Open(tree.mount, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the cgroups at %s: %w", tree.mount, err)
	}
	return &Containers{tree: tree, mount: mount, root: "/", of: map[uint64]Container{}, names: map[string]string{}}, nil
}

// Close closes the hierarchy.
func (c *Containers) Close() {
	if c != nil {
		unix.Close(c.mount)
	}
}

// Of returns the innermost container that a cgroup is of, or of which it is below.
// One that is gone already, and was not asked for before, is of none.
func (c *Containers) Of(number uint64) Container {
	if c == nil || number == 0 {
		return Container{}
	}
	if known, ok := c.of[number]; ok {
		return known
	}
	if len(c.of) >= maxRemembered {
		clear(c.of)
		clear(c.names)
	}
	var found Container
	if p, err := c.path(number); err == nil {
		found.ID = innermost(p)
	}
	if found.ID != "" {
		name, known := c.names[found.ID]
		if !known {
			name = nameOf(c.root, found.ID)
			c.names[found.ID] = name
		}
		found.Name = name
	}
	c.of[number] = found
	return found
}

// innermost returns the number of the last container in a path of the hierarchy.
func innermost(p string) string {
	for p != "/" && p != "." {
		if id := ContainerID(path.Base(p)); id != "" {
			return id
		}
		p = path.Dir(p)
	}
	return ""
}

// fileidKernfs is FILEID_KERNFS of exportfs.h: a handle that is the number.
const fileidKernfs = 0xfe

// path returns the path of a cgroup in the hierarchy, by its number alone.
func (c *Containers) path(number uint64) (string, error) {
	handle := unix.NewFileHandle(fileidKernfs, binary.NativeEndian.AppendUint64(nil, number))
	fd, err := unix.OpenByHandleAt(c.mount, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("open cgroup %d: %w", number, err)
	}
	defer unix.Close(fd)
	var b [unix.PathMax]byte
	n, err := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), b[:])
	if err != nil {
		return "", fmt.Errorf("path of cgroup %d: %w", number, err)
	}
	below, ok := strings.CutPrefix(string(b[:n]), filepath.Clean(c.tree.mount))
	if !ok {
		return "", fmt.Errorf("cgroup %d is not below %s: %w", number, c.tree.mount, ErrNone)
	}
	return path.Join("/", c.tree.root, below), nil
}
