package storm

import (
	"path/filepath"
	"strconv"
)

// Flipflop is one process that renames one file to and fro: Dir/a to Dir/b, Dir/b to Dir/a, N times in all. Fanotify
// merges most of these renames: whoever counts events, or looks afterwards what the file is called, loses some.
type Flipflop struct {
	Dir   string
	Image string
	N     int
}

// Args returns the command, without a flag -pause.
func (f Flipflop) Args() []string {
	return []string{f.Image, "flipflop", f.Dir, strconv.Itoa(f.N)}
}

// Want returns what the storm leaves.
func (f Flipflop) Want() Want {
	name := [2]string{filepath.Join(f.Dir, "a"), filepath.Join(f.Dir, "b")}
	records := []Record{{Kind: 'E', Path: f.Image}, {Kind: 'W', Path: name[0]}}
	for i := range f.N {
		records = append(records, Record{Kind: 'M', Path: name[i%2], To: name[1-i%2]})
	}
	records = append(records, Record{Kind: 'D', Path: name[f.N%2]}, Record{Kind: 'X'})
	return Want{Dir: f.Dir, Image: f.Image, Root: records}
}
