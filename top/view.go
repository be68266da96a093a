package top

import (
	"strings"
	"time"
)

// Query asks for a View.
type Query struct {
	Process     uint64            // the ID of one: it and its descendants; 0: everybody
	Path        string            // a file, or a directory and what is below it; "": everything
	Total       bool              // since the beginning, not in the last interval
	Directories bool              // files are told as the directories that they are in
	Flat        bool              // processes are no tree
	Busy        bool              // without those that did nothing
	Comm, File  func(string) bool // only what matches; nil: all
	Sort        Column
	Reverse     bool // the least first; of names the last
	Limit       int  // so many files, those that come first; 0: all
}

// Process is a row. One that has ended is there for some seconds; what it did then
// counts as its parent's.
type Process struct {
	ID    uint64
	PID   uint32 // 0: of those that have ended
	Comm  string
	Ended bool
	Counts
	Below Counts // with all descendants that are shown
	Depth int
	Last  []bool // at each depth, whether nobody follows there
	up    uint64 // the ID of the parent; 0: none that is shown
}

// File is a row: a file or a directory, or what stands for several.
type File struct {
	Path   string
	Others bool // others in or below the directory Path
	Counts
}

// View is what a Model had at its last tick.
type View struct {
	At          time.Time
	Since       time.Duration // the beginning
	Interval    time.Duration // that rates are of
	Total       bool          // rows are since the beginning
	Directories bool
	Sum         Counts // of everything, in the interval
	SumTotal    Counts // of everything
	Recorded    Counts // also of what is not shown
	Processes   []Process
	Files       []File
	More        int    // how many files there are beside them,
	MoreSum     Counts // and what was done to those
	Living      int    // how many processes there are
	Gone        bool   // the process that was asked for is not shown any more
}

// View returns the rows that are asked for, in no order (see Sort). What it returns is
// the caller's, but for its texts, which nobody changes.
func (m *Model) View(q *Query) *View {
	v := &View{
		At: m.ticked, Since: m.ticked.Sub(m.began), Interval: m.interval, Total: q.Total, Directories: q.Directories, Sum: m.sum.last, SumTotal: m.sum.shown, Recorded: m.recorded.shown,
	}
	ps := m.processes.all
	in := m.descendants(q.Process)
	v.Gone = q.Process != 0 && in == nil
	if v.Gone {
		return v
	}
	own := make([]Counts, len(ps))
	files := make([]Counts, len(m.files.all))
	below := make([]int8, len(m.files.all)) // whether a file is asked for, 0: not known
	for i := range m.pairs.all {
		p := &m.pairs.all[i]
		if p.process < 0 || in != nil && !in[p.process] {
			continue
		}
		if q.Path != "" {
			if below[p.file] == 0 {
				below[p.file] = 1
				if !within(m.files.all[p.file].path, q.Path) {
					below[p.file] = 2
				}
			}
			if below[p.file] == 2 {
				continue
			}
		}
		c := p.of(q.Total)
		own[p.process].Add(c)
		files[p.file].Add(c)
	}
	m.viewProcesses(v, q, in, own)
	m.viewFiles(v, q, files)
	return v
}

// within tells whether a path is another one, or below it.
func within(path, top string) bool {
	if path == "" {
		return false // it is no file
	}
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(top, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// descendants returns who is a process or descends from it, by index; nil if the
// process is not shown, or for everybody.
func (m *Model) descendants(id uint64) []bool {
	if id == 0 {
		return nil
	}
	ps := m.processes.all
	state := make([]int8, len(ps)) // 1: in, 2: out
	found := false
	for i := range ps {
		if ps[i].id == id {
			state[i], found = 1, true
		}
	}
	if !found {
		return nil
	}
	in := make([]bool, len(ps))
	var find func(i int32) int8
	find = func(i int32) int8 {
		switch {
		case i < 0:
			return 2
		case state[i] == 0:
			state[i] = find(ps[i].parent)
		}
		return state[i]
	}
	for i := range ps {
		in[i] = find(int32(i)) == 1
	}
	return in
}

func (m *Model) viewProcesses(v *View, q *Query, in []bool, own []Counts) {
	ps := m.processes.all
	below := make([]Counts, len(ps))
	keep := make([]bool, len(ps))
	for i := range ps {
		p := &ps[i]
		if !p.ended && p.pid != 0 {
			v.Living++
		}
		if in != nil && !in[i] || p.id == 0 || p.pid == 0 && own[i].zero() {
			continue
		}
		wanted := (!q.Busy || !own[i].zero()) && (q.Comm == nil || q.Comm(p.comm))
		keep[i] = keep[i] || wanted
		for j := int32(i); j >= 0; j = ps[j].parent {
			below[j].Add(&own[i])
			// Whoever is left out of a tree must not take along what is below.
			keep[j] = keep[j] || wanted && !q.Flat && (in == nil || in[j])
		}
	}
	for i := range ps {
		if !keep[i] {
			continue
		}
		p := &ps[i]
		row := Process{ID: p.id, PID: p.pid, Comm: p.comm, Ended: p.ended, Counts: own[i], Below: below[i]}
		if p.parent >= 0 {
			row.up = ps[p.parent].id
		}
		v.Processes = append(v.Processes, row)
	}
}

func (m *Model) viewFiles(v *View, q *Query, counts []Counts) {
	best := best{v: v, q: q}
	add := func(path string, others bool, c *Counts) {
		if q.File == nil || q.File(path) {
			best.add(File{path, others, *c})
		}
	}
	directories := map[string]*Counts{}
	for i := range counts {
		path := m.files.all[i].path
		switch {
		case counts[i].zero():
		case q.Directories && int32(i) != noFile:
			dir := above(path)
			if others := strings.HasSuffix(path, "/"); others {
				dir = path
			}
			c := directories[dir]
			if c == nil {
				c = &Counts{}
				directories[dir] = c
			}
			c.Add(&counts[i])
		case strings.HasSuffix(path, "/"):
			add(trim(path), true, &counts[i])
		default:
			add(path, false, &counts[i])
		}
	}
	for dir, c := range directories {
		add(trim(dir), false, c)
	}
	best.done()
}

// trim takes the slash from the end of a directory's path.
func trim(dir string) string {
	if len(dir) > 1 {
		return dir[:len(dir)-1]
	}
	return dir
}
