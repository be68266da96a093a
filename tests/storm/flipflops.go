package storm

import (
	"path/filepath"
	"strconv"
)

// As in storm.c: players is how many processes or threads are at work at once, and waves how often.
const (
	players = 8
	waves   = 2
)

// Flipflops is eight processes at once, and eight more, each of which does to a file of its own what Flipflop does: their
// renames in one directory are mixed, and none may be taken for another's.
type Flipflops struct {
	Dir   string
	Image string
	N     int
}

// Args returns the command, without a flag -pause.
func (f Flipflops) Args() []string {
	return []string{f.Image, "flipflops", f.Dir, strconv.Itoa(f.N)}
}

// Want returns what the storm leaves.
func (f Flipflops) Want() Want {
	w := Want{Dir: f.Dir, Image: f.Image, Root: []Record{{Kind: 'E', Path: f.Image}}}
	for i := range waves * players {
		name := [2]string{filepath.Join(f.Dir, "a"+strconv.Itoa(i)), filepath.Join(f.Dir, "b"+strconv.Itoa(i))}
		records := []Record{{Kind: 'W', Path: name[0]}}
		for k := range f.N {
			records = append(records, Record{Kind: 'M', Path: name[k%2], To: name[1-k%2]})
		}
		records = append(records, Record{Kind: 'D', Path: name[f.N%2]}, Record{Kind: 'X', Code: i % players})
		w.Root = append(w.Root, Record{Kind: 'F'})
		w.Children = append(w.Children, records)
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	return w
}
