package fan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An Overlay is a mounted overlayfs of which some layers are on filesystems
// that are watched. What overlayfs does there is done by the process that uses
// it, so the events of that process tell of it, too.
type Overlay struct {
	Dev   uint32
	Upper Inode   // root of the layer that is written to; zero if it has none that is watched
	Lower []Inode // roots of the others
	Work  Inode   // workdir: where copies and whiteouts are made before they get their names
}

// Layers returns the roots of the layers that are watched.
func (o *Overlay) Layers() []Inode {
	if o.Upper == (Inode{}) {
		return o.Lower
	}
	return append([]Inode{o.Upper}, o.Lower...)
}

// Overlay finds the layers of an overlayfs: overlayfs opens them all when its
// root directory is read, and these events are what is taken. All other events
// up to there are dropped, so it is for before the recording.
func (g *Group) Overlay(m Mount, t *MountTable) (*Overlay, error) {
	if err := g.Reveal("", m); err != nil {
		return nil, err
	}
	opened, err := g.opened()
	if err != nil {
		return nil, err
	}
	return g.Layers("", m, t, opened), nil
}

// Reveal makes overlayfs open the layers of a mount. root is where the root
// directory is that paths of the mount table begin at, "" for ours.
func (g *Group) Reveal(root string, m Mount) error {
	var fd int
	var err error
	if root == "" {
		fd, err = openMount(m)
	} else { // of another mount namespace no clone can be had
		fd, err = unix.Open(root+m.Mountpoint, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return fmt.Errorf("open the overlay on %s: %w", m.Mountpoint, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Getdents(fd, make([]byte, 32<<10)); err != nil {
		return fmt.Errorf("read the directory %s: %w", m.Mountpoint, err)
	}
	return nil
}

// Layers returns the layers of an overlayfs that were opened for Reveal. Where
// the mount options have paths they need not be those of this mount namespace,
// whose table t is.
func (g *Group) Layers(root string, m Mount, t *MountTable, opened []Inode) *Overlay {
	o := g.Described(root, m, t)
	if len(opened) == 0 {
		return o // somebody else reads it: the layers are not opened again
	}
	upper, hasUpper := m.Option("upperdir")
	if hasUpper && g.called(opened[0], filepath.Base(unescape(upper))) {
		o.Upper, opened = opened[0], opened[1:]
	}
	o.Lower = opened
	if o.Work == (Inode{}) && o.Upper != (Inode{}) {
		o.Work = g.workBeside(&m, t, o.Upper)
	}
	return o
}

// Described returns what the options of an overlayfs tell of its layers.
func (g *Group) Described(root string, m Mount, t *MountTable) *Overlay {
	o := &Overlay{Dev: m.Dev}
	if upper, ok := m.Option("upperdir"); ok {
		o.Upper = g.at(root, t, unescape(upper))
	}
	for _, key := range []string{"lowerdir", "lowerdir+", "datadir+"} {
		for _, text := range m.options(key) {
			for _, dir := range layers(text) {
				if i := g.at(root, t, unescape(dir)); i != (Inode{}) {
					o.Lower = append(o.Lower, i)
				}
			}
		}
	}
	if work, ok := m.Option("workdir"); ok {
		o.Work = g.at(root, t, unescape(work))
	}
	return o
}

// workBeside finds the workdir by where the upper layer is: the options say
// where one is from the other, though perhaps in paths that lead nowhere here.
func (g *Group) workBeside(m *Mount, t *MountTable, upper Inode) Inode {
	up, _ := m.Option("upperdir")
	work, ok := m.Option("workdir")
	path, found := g.pathOf(t, upper)
	rel, err := filepath.Rel(unescape(up), unescape(work))
	if !ok || !found || err != nil {
		return Inode{}
	}
	return g.at("", t, filepath.Join(path, rel))
}

// opened returns the directories that this process opened since the last
// reading of the queue, in order.
func (g *Group) opened() ([]Inode, error) {
	mark, err := g.Barrier.Raise()
	if err != nil {
		return nil, err
	}
	var dirs []Inode
	self := int32(unix.Getpid())
	buf := make([]byte, 64<<10)
	for {
		n, err := g.Read(buf)
		if n == 0 || err != nil {
			return nil, err
		}
		for b := buf[:n]; len(b) > 0; {
			var ev Event
			size, err := Decode(b, &ev)
			if err != nil {
				return nil, err
			}
			b = b[size:]
			if g.Barrier.Mark(&ev) == mark {
				return dirs, nil
			}
			if ev.PID != self || ev.Mask&unix.FAN_OPEN == 0 || string(ev.Name) != "." {
				continue
			}
			if i := g.Filesystems.Inode(&ev.Dir); i != (Inode{}) && !slices.Contains(dirs, i) {
				dirs = append(dirs, i)
			}
		}
	}
}

// called tells whether a directory has a name, or one that cannot be known.
func (g *Group) called(i Inode, name string) bool {
	links, err := g.Filesystems.Lookup(i, func(Inode) bool { return true })
	return err != nil || len(links) == 0 || links[0].Name == name
}

// Hidden tells whether a directory is nowhere below the mount of its filesystem.
func (g *Group) Hidden(i Inode) bool {
	_, err := g.Filesystems.Lookup(i, func(Inode) bool { return false })
	return err != nil
}

// pathOf returns where a directory is now.
func (g *Group) pathOf(t *MountTable, i Inode) (string, bool) {
	links, err := g.Filesystems.Lookup(i, func(Inode) bool { return false })
	if err != nil {
		return "", false
	}
	fs := g.Filesystems.Get(i.FS)
	inside := strings.TrimSuffix(fs.Mount.Root, "/")
	for _, l := range slices.Backward(links) {
		inside += "/" + l.Name
	}
	path, ok := t.Append(nil, fs.Mount.Dev, []byte(inside))
	return string(path), ok
}

// at returns the directory that an absolute path leads to, zero if there is
// none that is watched.
func (g *Group) at(root string, t *MountTable, path string) Inode {
	if !filepath.IsAbs(path) {
		return Inode{}
	}
	path = root + path
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	var st unix.Stat_t
	if err == nil {
		err = unix.Stat(path, &st)
	}
	if err != nil {
		return Inode{}
	}
	index := g.Filesystems.ByDev(unix.Major(st.Dev)<<20 | unix.Minor(st.Dev))
	if index == 0 && root == "" {
		// btrfs: each subvolume has another device than the superblock.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			m, _ := t.On([]byte(real))
			index = g.Filesystems.ByDev(m.Dev)
		}
	}
	return g.Filesystems.inode(index, h.Type(), h.Bytes())
}

// layers cuts a list of directories at its colons, but for those after a
// backslash.
func layers(text string) []string {
	var dirs []string
	var dir strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == ':' || text[i+1] == ',' || text[i+1] == '\\'):
			i++
			dir.WriteByte(text[i])
		case c == ':':
			if dir.Len() > 0 { // "::" begins the layers with data only
				dirs = append(dirs, dir.String())
			}
			dir.Reset()
		default:
			dir.WriteByte(c)
		}
	}
	if dir.Len() > 0 {
		dirs = append(dirs, dir.String())
	}
	return dirs
}

// unescape undoes the octal escapes of mountinfo(5).
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if c, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
