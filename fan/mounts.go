package fan

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mount is one line of mountinfo(5).
type Mount struct {
	ID         int
	Parent     int    // ID of the mount that the mount point is in
	Dev        uint32 // of the superblock, major<<20 | minor as in the kernel
	Root       string // which directory of the filesystem is mounted
	Mountpoint string
	Type       string
	Source     string // as mounted: a device, or any text
	Options    string // of the superblock: ro, and what is the filesystem's own
}

// Option returns the value of an option of the superblock, "" for one that has
// no value.
func (m *Mount) Option(name string) (string, bool) {
	all := m.options(name)
	if len(all) == 0 {
		return "", false
	}
	return all[0], true
}

// options returns the values of an option that may be there several times.
func (m *Mount) options(name string) []string {
	var all []string
	for o := range strings.SplitSeq(m.Options, ",") {
		if key, value, _ := strings.Cut(o, "="); key == name {
			all = append(all, value)
		}
	}
	return all
}

// Mounts reads the mount table of the calling process.
func Mounts() ([]Mount, error) {
	return mounts(mountinfo.GetMounts(nil))
}

// MountsOf reads the mount table of a process. Paths begin at its root directory.
func MountsOf(pid int) ([]Mount, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	defer f.Close()
	return mounts(mountinfo.GetMountsFromReader(f, nil))
}

func mounts(infos []*mountinfo.Info, err error) ([]Mount, error) {
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return fromInfo(infos), nil
}

func fromInfo(infos []*mountinfo.Info) []Mount {
	mounts := make([]Mount, 0, len(infos))
	for _, m := range infos {
		mounts = append(mounts, Mount{
			ID:         m.ID,
			Parent:     m.Parent,
			Dev:        uint32(m.Major)<<20 | uint32(m.Minor)&0xfffff,
			Root:       m.Root,
			Mountpoint: m.Mountpoint,
			Type:       m.FSType,
			Source:     m.Source,
			Options:    m.VFSOptions,
		})
	}
	return mounts
}

// MountTable maps paths inside filesystems to paths of the mount namespace.
type MountTable struct {
	byDev map[uint32][]Mount // the one to prefer first
	all   []Mount
	shown []Mount // those that no other hides
}

// NewMountTable orders the mounts of each superblock: those that show most of
// the filesystem first, of those the shortest mount point. Mounts that others
// hide are left out: their paths lead elsewhere.
func NewMountTable(mounts []Mount) *MountTable {
	t := &MountTable{byDev: map[uint32][]Mount{}, all: mounts}
	cover := newCover(mounts)
	for _, m := range mounts {
		if !cover.hides(m) {
			t.byDev[m.Dev] = append(t.byDev[m.Dev], m)
			t.shown = append(t.shown, m)
		}
	}
	for _, list := range t.byDev {
		sort.SliceStable(list, func(i, j int) bool {
			a, b := list[i], list[j]
			if len(a.Root) != len(b.Root) {
				return len(a.Root) < len(b.Root)
			}
			return len(a.Mountpoint) < len(b.Mountpoint)
		})
	}
	return t
}

// cover tells which mounts no path leads to: another one is on top, or over a
// directory on the way. The order of the mount table does not tell: a mount can
// be moved, and put beneath another one.
type cover struct {
	byID map[int]Mount
	at   map[place]bool // something is mounted there
}

// place is a directory of a mount; mounts on it are its children.
type place struct {
	mount int
	path  string
}

func newCover(mounts []Mount) *cover {
	c := &cover{byID: map[int]Mount{}, at: map[place]bool{}}
	for _, m := range mounts {
		c.byID[m.ID] = m
		if m.Parent != m.ID {
			c.at[place{m.Parent, m.Mountpoint}] = true
		}
	}
	return c
}

func (c *cover) hides(m Mount) bool {
	if c.at[place{m.ID, m.Mountpoint}] {
		return true
	}
	for range c.byID {
		for dir := m.Mountpoint; len(dir) > 1; {
			dir = dir[:max(strings.LastIndexByte(dir, '/'), 1)]
			if c.at[place{m.Parent, dir}] {
				return true
			}
		}
		parent, ok := c.byID[m.Parent]
		if !ok || parent.ID == m.ID {
			break // the root of the mount namespace, or of the process
		}
		m = parent
	}
	return false
}

// Superblocks returns, for each superblock, its mounts in order of preference.
// The superblocks come in the order of the mount table.
func (t *MountTable) Superblocks() [][]Mount {
	var out [][]Mount
	seen := map[uint32]bool{}
	for _, m := range t.all {
		if !seen[m.Dev] && len(t.byDev[m.Dev]) > 0 {
			seen[m.Dev] = true
			out = append(out, t.byDev[m.Dev])
		}
	}
	return out
}

// Append appends the path, in the mount namespace, of a path inside the
// filesystem on dev. It reports false if no mount shows that path: then the
// path inside the filesystem is appended.
func (t *MountTable) Append(dst []byte, dev uint32, inside []byte) ([]byte, bool) {
	m, rest := t.shows(dev, inside)
	if m == nil {
		return append(dst, inside...), false
	}
	if m.Mountpoint != "/" {
		dst = append(dst, m.Mountpoint...)
	}
	return append(dst, rest...), true
}

// Names returns the paths, in the mount namespace, that a path inside the
// filesystem on dev has there: one for each mount that shows it.
func (t *MountTable) Names(dev uint32, inside []byte) []string {
	var names []string
	for _, m := range t.byDev[dev] {
		if rest, ok := below(inside, m.Root); ok {
			names = append(names, path.Join(m.Mountpoint, string(rest)))
		}
	}
	return names
}

// Shows returns the mount by which Append names a path.
func (t *MountTable) Shows(dev uint32, inside []byte) (Mount, bool) {
	m, _ := t.shows(dev, inside)
	if m == nil {
		return Mount{}, false
	}
	return *m, true
}

func (t *MountTable) shows(dev uint32, inside []byte) (*Mount, []byte) {
	list := t.byDev[dev]
	for i := range list {
		if rest, ok := below(inside, list[i].Root); ok {
			return &list[i], rest
		}
	}
	return nil, nil
}

// On returns the mount that a path is on, whose symbolic links are resolved: the
// one mounted deepest on the way.
func (t *MountTable) On(path []byte) (Mount, bool) {
	var on *Mount
	for i := range t.shown {
		m := &t.shown[i]
		if _, ok := below(path, m.Mountpoint); ok && (on == nil || len(m.Mountpoint) >= len(on.Mountpoint)) {
			on = m
		}
	}
	if on == nil {
		return Mount{}, false
	}
	return *on, true
}

// Inside returns the path inside the filesystem of a path on a mount.
func (m *Mount) Inside(path []byte) []byte {
	rest, _ := below(path, m.Mountpoint)
	if m.Root != "/" {
		return append([]byte(m.Root), bytes.TrimSuffix(rest, []byte("/"))...)
	}
	if len(rest) == 0 || rest[0] != '/' {
		rest = append([]byte("/"), rest...)
	}
	return rest
}

// below returns what follows root in path, "" or with a leading slash.
func below(path []byte, root string) ([]byte, bool) {
	if root == "/" {
		return path, true
	}
	if len(path) < len(root) || string(path[:len(root)]) != root {
		return nil, false
	}
	rest := path[len(root):]
	return rest, len(rest) == 0 || rest[0] == '/'
}

// openMount opens the root of a private clone of a mount. Unlike a descriptor
// on the mount itself it does not make umount(8) fail, does not see what is
// mounted on top, and reads paths from the mount's root.
func openMount(m Mount) (int, error) {
	tree, err := openTree(m.Mountpoint)
	if err != nil {
		return -1, fmt.Errorf("clone the mount on %s: %w", m.Mountpoint, err)
	}
	defer unix.Close(tree)
	// open_by_handle_at does not take an O_PATH descriptor.
	fd, err := unix.Openat(tree, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the mount on %s: %w", m.Mountpoint, err)
	}
	return fd, nil
}

// openFilesystem opens a directory of a private mount of a filesystem through
// which it can be marked.
func openFilesystem(m Mount) (int, error) {
	if m.Type == "btrfs" && m.Root != "/" {
		return openTopLevel(m)
	}
	fd, err := openMount(m)
	if err != nil || m.Type == "btrfs" { // whose subvolumes have devices of their own
		return fd, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || unix.Major(st.Dev)<<20|unix.Minor(st.Dev) != m.Dev {
		unix.Close(fd)
		return -1, fmt.Errorf("open the mount on %s: %w", m.Mountpoint, errMoved)
	}
	return fd, nil
}

// errMoved is wrapped when something else is mounted in a place by now.
var errMoved = errors.New("another filesystem is there")

// openTopLevel opens the root directory of a btrfs of which only subvolumes are
// mounted, through a mount that no path leads to: a superblock can be marked
// only through its own root (EXDEV else).
func openTopLevel(m Mount) (int, error) {
	options := []string{"source", m.Source, "subvolid", "5"}
	flags := []string{}
	// Another state than the superblock's would be refused, or change it.
	if _, ro := m.Option("ro"); ro {
		flags = append(flags, "ro")
	}
	fd, err := detached(m.Type, options, flags)
	if err != nil {
		return -1, fmt.Errorf("mount the top level of %s: %w", m.Source, err)
	}
	var top, sub unix.Statfs_t
	err = unix.Fstatfs(fd, &top)
	if err == nil {
		err = unix.Statfs(m.Mountpoint, &sub)
	}
	// The fsid is that of the filesystem, with the number of the subvolume
	// mixed into it (btrfs_statfs).
	id, _ := m.Option("subvolid")
	tree, perr := strconv.ParseUint(id, 10, 64)
	if err == nil && (perr != nil || uint64(uint32(top.Fsid.Val[1]^sub.Fsid.Val[1])) != (tree^topLevel)&0xffffffff ||
		uint64(uint32(top.Fsid.Val[0]^sub.Fsid.Val[0])) != (tree^topLevel)>>32) {
		err = fmt.Errorf("%w: %s has another filesystem by now", ErrNotSupported, m.Source)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("open the top level of %s: %w", m.Mountpoint, err)
	}
	return fd, nil
}

// topLevel is the number of the subvolume that is the root of every btrfs.
const topLevel = 5

// pseudo are filesystems of the kernel's own objects. Where they can be marked
// at all nothing is gained: their files have no history, and call records tell
// of them with the path that was walked.
var pseudo = map[string]bool{
	"proc": true, "sysfs": true, "devpts": true, "tracefs": true, "debugfs": true, "cgroup": true, "cgroup2": true,
	"securityfs": true, "bpf": true, "pstore": true, "mqueue": true, "configfs": true, "fusectl": true,
	"binfmt_misc": true, "efivarfs": true, "rpc_pipefs": true, "nsfs": true, "autofs": true, "selinuxfs": true,
}

// Pseudo tells whether a type of filesystem holds only objects of the kernel.
func Pseudo(fstype string) bool { return pseudo[strings.TrimPrefix(fstype, "fuse.")] }
