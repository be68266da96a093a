// Package cgroup finds control groups of the unified hierarchy (cgroup v2): by their
// paths, by units of systemd, by containers.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A Group is a cgroup.
type Group struct {
	Path string // in the hierarchy, from its root: "/" is everything
	ID   uint64 // 0 if there is none of that path now
}

// ErrNone is wrapped when nothing of that name is there.
var ErrNone = errors.New("no such cgroup")

// ErrNotMounted is returned where the unified hierarchy is mounted nowhere.
var ErrNotMounted = errors.New("the unified hierarchy of cgroups is mounted nowhere; mount -t cgroup2 none DIR does it")

// A Tree is the hierarchy as it is mounted somewhere.
type Tree struct {
	mount string
	root  string // path in the hierarchy of what is mounted there
}

// Mounted finds where the hierarchy is mounted.
func Mounted() (*Tree, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("look where cgroups are mounted: %w", err)
	}
	if len(mounts) == 0 {
		return nil, ErrNotMounted
	}
	best := mounts[0]
	for _, m := range mounts[1:] {
		if len(m.Root) < len(best.Root) {
			best = m // more of it
		}
	}
	return &Tree{best.Mountpoint, best.Root}, nil
}

// Dir returns where a path of the hierarchy is in the file system.
func (t *Tree) Dir(p string) string {
	return filepath.Join(t.mount, strings.TrimPrefix(p, strings.TrimSuffix(t.root, "/")))
}

// All returns the root of the hierarchy, in which every process is.
func (t *Tree) All() (Group, error) {
	if t.root != "/" {
		return Group{}, fmt.Errorf("only %s of the hierarchy of cgroups is mounted here", t.root)
	}
	return t.at("/")
}

// at returns the group of a path in the hierarchy.
func (t *Tree) at(p string) (Group, error) {
	g := Group{Path: p}
	if !strings.HasPrefix(p, strings.TrimSuffix(t.root, "/")) {
		return g, fmt.Errorf("%s: %w here: only what is below %s is mounted", p, ErrNone, t.root)
	}
	var st unix.Stat_t
	if err := unix.Stat(t.Dir(p), &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return g, fmt.Errorf("%s: %w", p, ErrNone)
		}
		return g, fmt.Errorf("cgroup %s: %w", p, err)
	}
	g.ID = st.Ino
	return g, nil
}

// Number returns the number of the group that has a path now, 0 if there is none.
func (t *Tree) Number(p string) (uint64, error) {
	g, err := t.at(p)
	if errors.Is(err, ErrNone) {
		return 0, nil
	}
	return g.ID, err
}

// Path returns a group by its path, in the hierarchy or below where that is mounted.
// If it is not there, the error wraps ErrNone, and the group has its path.
func (t *Tree) Path(name string) (Group, error) {
	abs := path.Clean("/" + name)
	if strings.HasPrefix(name, "/") {
		if below, ok := strings.CutPrefix(abs, t.mount); ok && (below == "" || below[0] == '/') {
			abs = path.Join("/", t.root, below)
		}
	}
	return t.at(abs)
}

// Unit returns the group of a unit of systemd, ".service" unless it says what it is.
// One that does not run may be anywhere; a service of the system is then where
// systemd would put it, if it has no slice of its own, and the error wraps ErrNone.
func (t *Tree) Unit(name string) (Group, error) {
	if !strings.Contains(filepath.Ext(name), ".") || !isUnit(name) {
		name += ".service"
	}
	dirs, err := t.find(func(base string) bool { return base == name })
	if err != nil {
		return Group{}, err
	}
	switch len(dirs) {
	case 0:
		return t.at("/system.slice/" + name)
	case 1:
		return t.at(dirs[0])
	}
	for _, d := range dirs { // of the system, and not of a user or in a container
		if strings.HasPrefix(d, "/system.slice/") {
			return t.at(d)
		}
	}
	return Group{}, fmt.Errorf("there are several units %s: %s; name one with --cgroup", name, strings.Join(dirs, ", "))
}

func isUnit(name string) bool {
	for _, ext := range []string{".service", ".scope", ".slice", ".socket", ".mount", ".swap"} {
		if strings.HasSuffix(name, ext) {
			return true
		}
	}
	return false
}

// Container returns the group of a container by its number, of which the beginning
// is enough: of docker, podman, containerd, CRI-O and whoever names groups as they do.
func (t *Tree) Container(id string) (Group, error) {
	if len(id) < 4 {
		return Group{}, fmt.Errorf("container %s: want at least four digits of its number, as docker ps and podman ps have it", id)
	}
	dirs, err := t.find(func(base string) bool { return strings.HasPrefix(ContainerID(base), id) })
	if err != nil {
		return Group{}, err
	}
	switch len(dirs) {
	case 0:
		return Group{}, fmt.Errorf("container %s: %w; a container that uses cgroups of version 1 is not found", id, ErrNone)
	case 1:
		return t.at(dirs[0])
	}
	return Group{}, fmt.Errorf("there are several containers %s...: %s", id, strings.Join(dirs, ", "))
}

// ContainerID returns the number of the container that a cgroup of that name is of,
// "" if it is none: 64 hexadecimal digits, as docker-N.scope, libpod-N.scope,
// crio-N.scope, cri-containerd-N.scope, or just N.
func ContainerID(base string) string {
	base = strings.TrimSuffix(base, ".scope")
	const digits = 64
	if len(base) < digits || strings.Trim(base[len(base)-digits:], "0123456789abcdef") != "" {
		return ""
	}
	switch before := base[:len(base)-digits]; {
	case before == "", strings.HasSuffix(before, "-") && !strings.HasSuffix(before, "conmon-"):
		return base[len(base)-digits:]
	}
	return ""
}

// find returns the topmost groups whose names are wanted.
func (t *Tree) find(wanted func(base string) bool) ([]string, error) {
	var found []string
	err := filepath.WalkDir(t.mount, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || d != nil && !d.IsDir() {
			return nil // a group that has just gone
		}
		if err != nil {
			return err
		}
		if name != t.mount && wanted(d.Name()) {
			found = append(found, path.Join("/", t.root, strings.TrimPrefix(name, t.mount)))
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look through the cgroups at %s: %w", t.mount, err)
	}
	return found, nil
}
