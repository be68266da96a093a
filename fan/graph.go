package fan

// Graph is the tree of the directories that events and lookups told of: each
// with its parent and its name. Whoever feeds it changes in order asks it for
// paths as of the last change. It is pure, and bounded: directories that were
// not asked for in a long time are forgotten, and may be looked up again.
type Graph struct {
	young, old map[Inode]*dir
	limit      int
	version    uint64 // raised when a directory's path may have changed
}

type dir struct {
	parent  Inode
	name    string
	root    bool   // path is fixed
	path    []byte // cached, for version
	version uint64
}

// maxDepth bounds a path that a damaged graph could make endless.
const maxDepth = 4096

// NewGraph returns a graph that keeps about limit directories.
func NewGraph(limit int) *Graph {
	return &Graph{young: map[Inode]*dir{}, old: map[Inode]*dir{}, limit: limit, version: 1}
}

// AddRoot adds a directory whose path is given and never changes: the root of
// a mount, with its path inside the filesystem ("" for the root itself).
func (g *Graph) AddRoot(i Inode, path string) {
	g.put(i, &dir{root: true, path: []byte(path)})
}

// Set tells where a directory is now: it was made, renamed, or looked up.
func (g *Graph) Set(i, parent Inode, name []byte) {
	if d := g.get(i); d != nil {
		if d.root || d.parent == parent && d.name == string(name) {
			return
		}
		// The paths of what is below it are cached, too.
		g.version++
	}
	g.put(i, &dir{parent: parent, name: string(name)})
}

// Forget drops a directory.
func (g *Graph) Forget(i Inode) {
	if d := g.get(i); d == nil || d.root {
		return
	}
	delete(g.young, i)
	delete(g.old, i)
	g.version++
}

// Known tells whether a directory is in the graph.
func (g *Graph) Known(i Inode) bool { return g.get(i) != nil }

// Len returns how many directories are kept.
func (g *Graph) Len() int { return len(g.young) + len(g.old) }

// Missing returns the first directory on the way from i to its root, i
// included, that is not in the graph.
func (g *Graph) Missing(i Inode) (Inode, bool) {
	for n := 0; n < maxDepth; n++ {
		d := g.get(i)
		switch {
		case d == nil:
			return i, true
		case d.root, d.version == g.version:
			return Inode{}, false
		}
		i = d.parent
	}
	return i, true
}

// Where returns the parent and the name of a directory.
func (g *Graph) Where(i Inode) (parent Inode, name string, ok bool) {
	d := g.get(i)
	if d == nil || d.root {
		return Inode{}, "", false
	}
	return d.parent, d.name, true
}

// Path returns the path of a directory inside its filesystem, "" for the root
// and otherwise with a leading slash. It is valid until the next change.
func (g *Graph) Path(i Inode) ([]byte, bool) {
	return g.path(i, 0)
}

func (g *Graph) path(i Inode, depth int) ([]byte, bool) {
	d := g.get(i)
	if d == nil || depth > maxDepth {
		return nil, false
	}
	if d.root || d.version == g.version {
		return d.path, true
	}
	p, ok := g.path(d.parent, depth+1)
	if !ok {
		return nil, false
	}
	d.path = append(append(append(d.path[:0], p...), '/'), d.name...)
	d.version = g.version
	return d.path, true
}

// get finds a directory and keeps it young.
func (g *Graph) get(i Inode) *dir {
	if d := g.young[i]; d != nil {
		return d
	}
	d := g.old[i]
	if d != nil {
		delete(g.old, i)
		g.put(i, d)
	}
	return d
}

func (g *Graph) put(i Inode, d *dir) {
	delete(g.old, i)
	g.young[i] = d
	if len(g.young) <= g.limit/2 {
		return
	}
	// What is still old was not asked for while limit/2 others were. A cached
	// path may run through it, and no longer tell when it is renamed.
	if len(g.old) > 0 {
		g.version++
	}
	for k, r := range g.old {
		if r.root {
			g.young[k] = r
		}
	}
	g.old, g.young = g.young, map[Inode]*dir{}
}
