package storm

import (
	"path/filepath"
	"strconv"
)

// Reuse is N processes, one after the other, that all have the same pid: each is forked when the one before has been
// waited for. A recorder that takes the pid for the process gives the records of one to another.
type Reuse struct {
	Dir   string
	Image string
	N     int
}

// Args returns the command, without a flag -pause.
func (r Reuse) Args() []string {
	return []string{r.Image, "reuse", r.Dir, strconv.Itoa(r.N)}
}

// Expected returns the records of child i, in their order.
func (r Reuse) Expected(i int) []Record {
	a := filepath.Join(r.Dir, "a"+strconv.Itoa(i))
	b := filepath.Join(r.Dir, "b"+strconv.Itoa(i))
	return []Record{
		{Kind: 'W', Path: a},
		{Kind: 'M', Path: a, To: b},
		{Kind: 'R', Path: b},
		{Kind: 'D', Path: b},
		{Kind: 'X', Code: i % 256},
	}
}

// Want returns what the storm leaves.
func (r Reuse) Want() Want {
	w := Want{Dir: r.Dir, Image: r.Image, Root: []Record{{Kind: 'E', Path: r.Image}}}
	for i := range r.N {
		w.Root = append(w.Root, Record{Kind: 'F'})
		w.Children = append(w.Children, r.Expected(i))
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	return w
}
