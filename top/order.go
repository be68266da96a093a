package top

import (
	"cmp"
	"slices"
	"strings"
)

// Sort puts the rows in order: the most first, and with Reverse the least. In a tree
// those with one parent are ordered by what all below them did.
func (v *View) Sort(q *Query) {
	slices.SortFunc(v.Files, q.files)
	if q.Flat {
		slices.SortFunc(v.Processes, func(a, b Process) int { return a.compare(&b, q, &a.Counts, &b.Counts) })
		for i := range v.Processes {
			v.Processes[i].Depth, v.Processes[i].Last = 0, nil
		}
		return
	}
	v.sortTree(q)
}

// files compares rows of files.
func (q *Query) files(a, b File) int {
	by := strings.Compare(a.Path, b.Path)
	if by == 0 && a.Others != b.Others {
		by = 1
		if b.Others {
			by = -1
		}
	}
	if q.Sort != Name {
		by = cmp.Or(cmp.Compare(b.Of(q.Sort), a.Of(q.Sort)), cmp.Compare(b.Of(Total), a.Of(Total)), by)
	}
	if q.Reverse {
		by = -by
	}
	return by
}

// best keeps the files of a view that come first.
type best struct {
	v    *View
	q    *Query
	full bool // v.Files has the limit or more; the last of the limit is:
	last File
}

func (b *best) add(f File) {
	switch {
	case b.full && b.q.files(f, b.last) > 0:
		b.v.More++
		b.v.MoreSum.Add(&f.Counts)
		return
	case b.q.Limit > 0 && len(b.v.Files) == 2*b.q.Limit:
		b.done() // seldom: what comes now is better than most
	}
	b.v.Files = append(b.v.Files, f)
}

// done leaves as many as are wanted.
func (b *best) done() {
	if b.q.Limit == 0 || len(b.v.Files) <= b.q.Limit {
		return
	}
	slices.SortFunc(b.v.Files, b.q.files)
	for i := range b.v.Files[b.q.Limit:] {
		b.v.More++
		b.v.MoreSum.Add(&b.v.Files[b.q.Limit+i].Counts)
	}
	b.v.Files = b.v.Files[:b.q.Limit]
	b.full, b.last = true, b.v.Files[b.q.Limit-1]
}

func (p *Process) compare(o *Process, q *Query, a, b *Counts) int {
	by := cmp.Or(cmp.Compare(p.Comm, o.Comm), cmp.Compare(p.PID, o.PID), cmp.Compare(p.ID, o.ID))
	if q.Sort != Name {
		by = cmp.Or(cmp.Compare(b.Of(q.Sort), a.Of(q.Sort)), cmp.Compare(b.Of(Total), a.Of(Total)), cmp.Compare(p.ID, o.ID))
	}
	if q.Reverse {
		by = -by
	}
	return by
}

// sortTree puts parents before their children, and says where each stands.
func (v *View) sortTree(q *Query) {
	children := make([][]int, len(v.Processes)+1) // of nobody at 0
	at := map[uint64]int{}
	for i := range v.Processes {
		at[v.Processes[i].ID] = i
	}
	for i := range v.Processes {
		up := 0
		if parent, ok := at[v.Processes[i].up]; ok {
			up = parent + 1
		}
		children[up] = append(children[up], i)
	}
	sorted := make([]Process, 0, len(v.Processes))
	var walk func(at, depth int, last []bool)
	walk = func(at, depth int, last []bool) {
		all := children[at]
		slices.SortFunc(all, func(a, b int) int {
			x, y := &v.Processes[a], &v.Processes[b]
			return x.compare(y, q, &x.Below, &y.Below)
		})
		for n, i := range all {
			p := v.Processes[i]
			p.Depth, p.Last = depth, append(last[:len(last):len(last)], n == len(all)-1)
			sorted = append(sorted, p)
			walk(i+1, depth+1, p.Last)
		}
	}
	walk(0, 0, nil)
	v.Processes = sorted
}
