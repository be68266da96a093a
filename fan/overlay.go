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
	Work  []Inode // where copies and whiteouts are made before they get their names
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
// up to there are dropped, so it is for before the recording. Where the mount
// options have paths they need not be those of this mount namespace.
func (g *Group) Overlay(m Mount, t *MountTable) (*Overlay, error) {
	fd, err := openMount(m)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if _, err := unix.Getdents(fd, make([]byte, 32<<10)); err != nil {
		return nil, fmt.Errorf("read the directory %s: %w", m.Mountpoint, err)
	}
	opened, err := g.opened()
	if err != nil {
		return nil, err
	}
	o := g.Described(m, t)
	if len(opened) == 0 {
		return o, nil // somebody else reads it: the layers are not opened again
	}
	upper, hasUpper := m.Option("upperdir")
	if hasUpper && g.called(opened[0], filepath.Base(unescape(upper))) {
		o.Upper, opened = opened[0], opened[1:]
	}
	o.Lower = opened
	if len(o.Work) == 0 && o.Upper != (Inode{}) {
		o.Work = g.workBeside(&m, t, o.Upper)
	}
	return o, nil
}

// Described returns what the options of an overlayfs tell of its layers.
func (g *Group) Described(m Mount, t *MountTable) *Overlay {
	o := &Overlay{Dev: m.Dev}
	if upper, ok := m.Option("upperdir"); ok {
		o.Upper = g.at(t, unescape(upper))
	}
	for _, key := range []string{"lowerdir", "lowerdir+", "datadir+"} {
		for _, text := range m.options(key) {
			for _, dir := range layers(text) {
				if i := g.at(t, unescape(dir)); i != (Inode{}) {
					o.Lower = append(o.Lower, i)
				}
			}
		}
	}
	if work, ok := m.Option("workdir"); ok {
		o.Work = g.work(t, unescape(work))
	}
	return o
}

// work returns the directories that overlayfs makes in its workdir.
func (g *Group) work(t *MountTable, dir string) []Inode {
	var found []Inode
	for _, name := range []string{"work", "index"} {
		if i := g.at(t, filepath.Join(dir, name)); i != (Inode{}) {
			found = append(found, i)
		}
	}
	return found
}

// workBeside finds the workdir that is given relative to the same directory,
// which nobody knows, as the upperdir is.
func (g *Group) workBeside(m *Mount, t *MountTable, upper Inode) []Inode {
	up, _ := m.Option("upperdir")
	work, ok := m.Option("workdir")
	up, work = filepath.Clean(unescape(up)), unescape(work)
	if !ok || filepath.IsAbs(work) || filepath.IsAbs(up) {
		return nil
	}
	path, ok := g.pathOf(t, upper)
	base, cut := strings.CutSuffix(path, "/"+up)
	if !ok || !cut {
		return nil
	}
	return g.work(t, filepath.Join(base, work))
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
func (g *Group) at(t *MountTable, path string) Inode {
	if !filepath.IsAbs(path) {
		return Inode{}
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Inode{}
	}
	m, ok := t.On([]byte(path))
	if !ok || g.Filesystems.ByDev(m.Dev) == 0 {
		return Inode{}
	}
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return Inode{}
	}
	return g.Filesystems.inode(g.Filesystems.ByDev(m.Dev), h.Type(), h.Bytes())
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
