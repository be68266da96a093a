package storm

import (
	"path/filepath"
	"strconv"
)

// Deep is N trees, one after the other: chains of directories that are renamed at every level, and removed in the end,
// while processes have their working directories in them. All of it has a total order. Each tree has the names of the
// one before.
type Deep struct {
	Dir   string
	Image string
	N     int
}

// As in storm.c.
const (
	levels  = 40
	rounds  = 60
	walkers = 3
)

// Children of the first process, a tree: the walkers, then one for each round.
const perTree = walkers + rounds

// Args returns the command, without a flag -pause.
func (d Deep) Args() []string {
	return []string{d.Image, "deep", d.Dir, strconv.Itoa(d.N)}
}

// Want returns what the storm leaves.
func (d Deep) Want() Want {
	w := Want{
		Dir:      d.Dir,
		Image:    d.Image,
		Root:     []Record{{Kind: 'E', Path: d.Image}},
		Children: make([][]Record, d.N*perTree),
		Scope:    func(string) (int, bool) { return 0, true },
	}
	var order []Step
	for t := range d.N {
		for _, s := range d.tree(t * perTree) {
			switch {
			case s.Actor != Root:
				w.Children[s.Actor] = append(w.Children[s.Actor], s.Record)
			default:
				w.Root = append(w.Root, s.Record)
			}
			if s.Kind != 'F' && s.Kind != 'X' {
				order = append(order, s)
			}
		}
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	w.Orders = [][]Step{order}
	return w
}

// tree returns all that happens to one tree, whose first walker is child number `first`.
func (d Deep) tree(first int) []Step {
	var steps []Step
	add := func(actor int, kind byte, path, to string) {
		steps = append(steps, Step{actor, Record{Kind: kind, Path: path, To: to}})
	}
	exit := func(actor, code int) {
		steps = append(steps, Step{actor, Record{Kind: 'X', Code: code}})
	}

	var version [levels]int
	path := func(level int) string {
		p := d.Dir
		for k := 0; k <= level; k++ {
			p = filepath.Join(p, "l"+strconv.Itoa(k)+"."+strconv.Itoa(version[k]))
		}
		return p
	}
	leaf := func() string { return filepath.Join(path(levels-1), "leaf") }

	for k := range levels {
		add(Root, 'W', path(k), "")
		add(Root, 'R', path(k), "")
	}
	add(Root, 'W', leaf(), "")
	for w := range walkers {
		add(Root, 'F', "", "")
		add(first+w, 'C', path(levels-1-w*13), "")
	}
	for r := range rounds {
		renamer := first + walkers + r
		level := (r*17 + 5) % levels
		from := path(level)
		version[level]++
		add(Root, 'F', "", "")
		add(renamer, 'M', from, path(level))
		exit(renamer, r)
		add(first+r%walkers, 'R', leaf(), "")
	}
	add(first+levels%walkers, 'D', leaf(), "")
	for k := levels - 1; k >= 0; k-- {
		add(first+k%walkers, 'D', path(k), "")
	}
	for w := range walkers {
		exit(first+w, w+1)
	}
	return steps
}
