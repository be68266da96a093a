package top

import (
	"slices"
	"strings"

	"fanrec/output"
)

// pair is what one process did to one file.
type pair struct {
	tally
	process, file int32  // -1: the place is free
	heat          uint64 // what it did of late
}

// pairs are all of them, by index: nothing in it is a pointer, which the garbage
// collector would have to follow.
type pairs struct {
	all  []pair
	free []int32
	by   map[uint64]int32
}

func (p *pairs) init() { p.by = map[uint64]int32{} }

func (p *pairs) len() int { return len(p.by) }

func key(process, file int32) uint64 { return uint64(process)<<32 | uint64(file) }

// get returns the pair of a process and a file, and whether it is a new one.
func (p *pairs) get(process, file int32) (*pair, bool) {
	k := key(process, file)
	if i, ok := p.by[k]; ok {
		return &p.all[i], false
	}
	var i int32
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else {
		i = int32(len(p.all))
		p.all = append(p.all, pair{})
	}
	p.all[i] = pair{process: process, file: file}
	p.by[k] = i
	return &p.all[i], true
}

func (p *pairs) drop(i int32) {
	delete(p.by, key(p.all[i].process, p.all[i].file))
	p.all[i] = pair{process: -1, file: -1}
	p.free = append(p.free, i)
}

// files are paths by index. One that ends with a slash stands for others in that
// directory or below it, which have no row of their own any more.
type files struct {
	all  []file
	free []int32
	by   map[string]int32

	bytes int // of all paths
}

type file struct {
	path  string
	pairs int // that it is in
}

// Two that are never dropped: what has no file, and all others.
const (
	noFile = int32(iota)
	rest
	keptFiles
)

func (f *files) init() {
	f.all = []file{noFile: {path: ""}, rest: {path: "/"}}
	f.by = map[string]int32{"": noFile, "/": rest}
}

// of returns the file that a record counts at: of a rename or a link the new name.
func (f *files) of(r *output.Record) int32 {
	path := r.Path
	if r.Kind == output.Rename || r.Kind == output.Link {
		path = r.Target
	}
	if i, ok := f.by[string(path)]; ok {
		if i == rest { // the root directory itself
			return f.get("/.")
		}
		return i
	}
	return f.get(string(path))
}

func (f *files) get(path string) int32 {
	if i, ok := f.by[path]; ok {
		return i
	}
	var i int32
	if n := len(f.free); n > 0 {
		i, f.free = f.free[n-1], f.free[:n-1]
	} else {
		i = int32(len(f.all))
		f.all = append(f.all, file{})
	}
	f.all[i] = file{path: path}
	f.by[path] = i
	f.bytes += len(path)
	return i
}

// unused drops a file that is in no pair any more.
func (f *files) unused(i int32) {
	if i < keptFiles || f.all[i].pairs > 0 {
		return
	}
	delete(f.by, f.all[i].path)
	f.bytes -= len(f.all[i].path)
	f.all[i] = file{}
	f.free = append(f.free, i)
}

// above returns for whom a file counts when it is dropped: others of its directory;
// of these, others of the directory above.
func above(path string) string {
	path = strings.TrimSuffix(path, "/")
	i := strings.LastIndexByte(path, '/')
	return path[:i+1]
}

// pair returns the pair of a process and a file, for counting.
func (m *Model) pair(process, file int32) *pair {
	p, fresh := m.pairs.get(process, file)
	if !fresh {
		return p
	}
	m.files.all[file].pairs++
	long := m.files.bytes > m.limits.Bytes
	if m.pairs.len() <= m.limits.Pairs && !long {
		return p
	}
	m.shrink(process, file)
	// Names of directories are long as well: not each round makes them shorter.
	for rounds := 0; long && m.files.bytes > m.limits.Bytes/4*3 && rounds < maxRounds; rounds++ {
		m.shrink(process, file)
	}
	p, _ = m.pairs.get(process, file)
	return p
}

// maxRounds is how often at most room is made at once: each is for a quarter.
const maxRounds = 16

// heatOf is what a pair is kept for, beside all that it ever had.
func heatOf(c *Counts) uint64 { return 64 * c.Of(Total) }

// shrink makes room by counting the quietest quarter of the pairs as others. The pair
// that was just made stays.
func (m *Model) shrink(process, file int32) {
	type quiet struct {
		score uint64
		index int32
	}
	var all []quiet
	made := m.pairs.by[key(process, file)]
	for i := range m.pairs.all {
		p := &m.pairs.all[i]
		if p.process < 0 || p.file < keptFiles || int32(i) == made {
			continue
		}
		all = append(all, quiet{p.heat + heatOf(&p.since) + p.shown.Of(Total), int32(i)})
	}
	slices.SortFunc(all, func(a, b quiet) int {
		if a.score != b.score {
			if a.score < b.score {
				return -1
			}
			return 1
		}
		return int(a.index - b.index)
	})
	all = all[:(len(all)+3)/4]
	before := m.pairs.len()
	for _, q := range all {
		m.move(q.index, m.pairs.all[q.index].process, m.others(m.files.all[m.pairs.all[q.index].file].path))
	}
	if before-m.pairs.len() >= (len(all)+1)/2 {
		return
	}
	// Each was alone in its directory: all of them are others of everything.
	for _, q := range all {
		if p := &m.pairs.all[q.index]; p.process >= 0 && p.file >= keptFiles && q.index != m.pairs.by[key(process, file)] {
			m.move(q.index, p.process, rest)
		}
	}
}

// others returns the file that stands for others in the directory of a path.
func (m *Model) others(path string) int32 {
	up := above(path)
	if up == "" { // of a path that is not absolute
		return rest
	}
	return m.files.get(up)
}

// move counts a pair as another one.
func (m *Model) move(i int32, process, file int32) {
	old := m.pairs.all[i]
	m.pairs.drop(i)
	to, fresh := m.pairs.get(process, file)
	if fresh {
		m.files.all[file].pairs++
	}
	to.add(&old.tally)
	to.heat += old.heat
	m.files.all[old.file].pairs--
	m.files.unused(old.file)
}
