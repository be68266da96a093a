package oracle

import "strings"

// Disk tells what was there before the run. [Live] is the real one.
type Disk interface {
	// Readlink returns the text of the symbolic link that was at the path before the run, false if something else or nothing was there.
	Readlink(path string) (text string, ok bool)
	// Program tells what execve(2) makes of the file at the path now, false if it cannot be read.
	Program(path string) (Program, bool)
}

// tree holds the names below the root directory as the calls so far left them. Like the kernel's dentry cache it is filled from the disk when
// a name is asked for. It decides only what string comparison cannot: which directory a path with symbolic links, `..` or a renamed
// working directory ends in.
type tree struct {
	disk   Disk
	root   *node
	moving map[place]place // renames under way, from by to: others may see the new name before they return
}

// node is one name. Directories and other files are alike: a name that is walked through must be a directory.
type node struct {
	parent *node
	name   string
	link   bool
	text   string           // of a link
	disk   string           // where it was before the run, empty if the run made it
	kids   map[string]*node // a nil entry is a name that is known to be gone
	file   *byte            // hard links made by the run share it
}

// view is where the paths of a process start.
type view struct {
	cwd, root *node
	// magic returns where a link of proc(5) leads for this process: /proc/self, /proc/self/fd/3. known is false if that cannot be told,
	// magic is false if the path is no such link. A target that starts with a slash is resolved, as seen from the real root.
	magic func(path string) (target string, magic, known bool)
}

// place is a name in a directory, or the directory itself if name is empty.
type place struct {
	dir  *node
	name string
}

func newTree(disk Disk) *tree {
	t := &tree{disk: disk, root: &node{disk: "/"}, moving: map[place]place{}}
	t.root.parent = t.root
	return t
}

// path returns the name as seen from the real root. A directory that was removed keeps its last one.
func (n *node) path() string {
	if n.parent == n {
		return "/"
	}
	return join(n.parent.path(), n.name)
}

func (p place) path() string {
	if p.name == "" {
		return p.dir.path()
	}
	return join(p.dir.path(), p.name)
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// child returns the node of a name, nil if it is known to be absent. Whether the disk has it is not asked: a call that succeeded has seen it.
func (t *tree) child(dir *node, name string) *node {
	n, seen := dir.kids[name]
	if n != nil {
		return n
	}
	if from, ok := t.moving[place{dir, name}]; ok && from.dir.kids[from.name] != nil {
		return from.dir.kids[from.name]
	}
	if seen {
		return nil
	}
	n = &node{parent: dir, name: name}
	if dir.disk != "" {
		n.disk = join(dir.disk, name)
		n.text, n.link = t.disk.Readlink(n.disk)
	}
	dir.put(name, n)
	return n
}

// put sets a name, to nil for one that is gone.
func (n *node) put(name string, kid *node) {
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	n.kids[name] = kid
}

// enter returns the directory of a name that a successful call went through. Should the tree hold something else there, then it is the tree that
// is wrong: threads may return from their calls in another order than the kernel did them.
func (t *tree) enter(dir *node, name string) *node {
	if n := t.child(dir, name); n != nil && !n.link {
		return n
	}
	n := &node{parent: dir, name: name}
	dir.put(name, n)
	return n
}

// at returns the directory of a path without links, as strace prints it behind a descriptor.
func (t *tree) at(path string) *node {
	dir := t.root
	for _, name := range components(path) {
		dir = t.enter(dir, name)
	}
	return dir
}

// locate is at for a path whose last component need not be a directory.
func (t *tree) locate(path string) place {
	path = strings.TrimRight(path, "/")
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return place{dir: t.root}
	}
	return place{t.at(path[:slash]), path[slash+1:]}
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// maxLinks is how many links the kernel follows in one path (MAXSYMLINKS).
const maxLinks = 40

// walk finds the place that a path stands for, like the kernel's path lookup. follow tells whether a link at the end is followed. It is false if
// the place cannot be told.
func (t *tree) walk(v view, start *node, path string, follow bool) (place, bool) {
	at := start
	if strings.HasPrefix(path, "/") {
		at = v.root
	}
	follow = follow || strings.HasSuffix(path, "/")
	rest := components(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case ".":
			continue
		case "..":
			if at != v.root {
				at = at.parent
			}
			continue
		}
		last := len(rest) == 0
		if !last || follow {
			text, magic, link, known := t.readlink(v, at, name)
			if !known || links == maxLinks {
				return place{}, false
			}
			if link {
				links++
				if strings.HasPrefix(text, "/") {
					if at = v.root; magic {
						at = t.root
					}
				}
				rest = append(components(text), rest...)
				if magic && last { // the end of a magic link is there already, whatever its name looks like
					return t.locate(text), true
				}
				continue
			}
		}
		if last {
			return place{at, name}, true
		}
		at = t.enter(at, name)
	}
	return place{dir: at}, true
}

// readlink returns where a name leads if it is a link. It is not known only for a magic link.
func (t *tree) readlink(v view, dir *node, name string) (text string, magic, link, known bool) {
	if path := dir.path(); v.magic != nil && (path == "/proc" || strings.HasPrefix(path, "/proc/")) {
		if text, magic, known = v.magic(join(path, name)); magic {
			return text, strings.HasPrefix(text, "/"), true, known
		}
		if path != "/proc" {
			return "", false, false, true // a process's directory: what the disk has there is not what was there
		}
	}
	n := t.child(dir, name)
	if n == nil || !n.link {
		return "", false, false, true
	}
	return n.text, false, true, true
}

// create makes a name that has nothing below it.
func (t *tree) create(p place) {
	if old := p.dir.kids[p.name]; old != nil && !old.link && len(old.kids) > 0 {
		// Another thread has used the new directory and returned from that before mkdir(2) did.
		old.disk = ""
		return
	}
	p.dir.put(p.name, &node{parent: p.dir, name: p.name})
}

// symlink makes a symbolic link.
func (t *tree) symlink(p place, text string) {
	p.dir.put(p.name, &node{parent: p.dir, name: p.name, link: true, text: text})
}

// remove deletes a name.
func (t *tree) remove(p place) { p.dir.put(p.name, nil) }

// hardlink makes a second name of a file.
func (t *tree) hardlink(from, to place) {
	n := t.child(from.dir, from.name)
	if n == nil {
		t.create(to)
		return
	}
	if n.file == nil {
		n.file = new(byte)
	}
	to.dir.put(to.name, &node{parent: to.dir, name: to.name, link: n.link, text: n.text, disk: n.disk, file: n.file})
}

// same tells whether two names are known to be of one file; rename(2) does nothing then.
func (t *tree) same(a, b place) bool {
	if a == b {
		return true
	}
	m, n := a.dir.kids[a.name], b.dir.kids[b.name]
	return m != nil && n != nil && m.file != nil && m.file == n.file
}

// rename moves a name with all that is below it.
func (t *tree) rename(from, to place) {
	n := t.take(from)
	t.remove(from)
	n.moveTo(to)
}

// exchange swaps two names (RENAME_EXCHANGE).
func (t *tree) exchange(a, b place) {
	m, n := t.take(a), t.take(b)
	m.moveTo(b)
	n.moveTo(a)
}

// move notes that a rename is under way.
func (t *tree) move(from, to place) {
	t.child(from.dir, from.name)
	t.moving[to] = from
}

// take returns the node of a name that must exist.
func (t *tree) take(p place) *node {
	if n := t.child(p.dir, p.name); n != nil {
		return n
	}
	return &node{}
}

func (n *node) moveTo(p place) {
	n.parent, n.name = p.dir, p.name
	p.dir.put(p.name, n)
}
