package storm

import (
	"path/filepath"
	"strconv"
)

// Opens is one process that makes N files, ten to a directory, and opens each again. Directories and files stay until
// there are more of them than a recorder can keep in memory.
type Opens struct {
	Dir   string
	Image string
	N     int
	Same  bool // each directory has files of the same names
}

// As in storm.c.
const (
	perDir = 10
	kept   = 70_000
)

// Args returns the command, without a flag -pause.
func (o Opens) Args() []string {
	args := []string{o.Image, "opens"}
	if o.Same {
		args = append(args, "-same")
	}
	return append(args, o.Dir, strconv.Itoa(o.N))
}

// Want returns what the storm leaves.
func (o Opens) Want() Want {
	records := []Record{{Kind: 'E', Path: o.Image}}
	dirs := o.N / perDir
	each := func(d int, kind byte) {
		for f := range perDir {
			number := f
			if !o.Same {
				number += d * perDir
			}
			records = append(records, Record{Kind: kind, Path: filepath.Join(o.dir(d), "f"+strconv.Itoa(number))})
		}
	}
	remove := func(d int) {
		each(d, 'D')
		records = append(records, Record{Kind: 'D', Path: o.dir(d)})
	}
	for d := range dirs {
		records = append(records, Record{Kind: 'W', Path: o.dir(d)})
		each(d, 'W')
		each(d, 'R')
		if d >= kept {
			remove(d - kept)
		}
	}
	for d := max(dirs-kept, 0); d < dirs; d++ {
		remove(d)
	}
	return Want{Dir: o.Dir, Image: o.Image, Root: append(records, Record{Kind: 'X'})}
}

func (o Opens) dir(d int) string { return filepath.Join(o.Dir, "d"+strconv.Itoa(d)) }
