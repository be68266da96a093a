package storm

import (
	"strconv"
	"strings"
)

// Long is a chain of directories, entered one by one, with a file at its end whose path has N bytes: more than a path
// that the kernel takes can have, if N is large enough.
type Long struct {
	Dir   string
	Image string
	N     int

	Part string // "-make": the chain is only made; "-use": it is there, and is only used; "": both, and it is removed
}

const step = 200 // as in storm.c

// Args returns the command, without a flag -pause.
func (l Long) Args() []string {
	return []string{l.Image, "long" + l.Part, l.Dir, strconv.Itoa(l.N)}
}

// components are the names of the chain.
func (l Long) components() []string {
	var components []string
	for left := l.N - len(l.Dir); left > 0; {
		size := min(left-1, step)
		if left-1 <= step+2 {
			size = left - 1
		}
		components = append(components, strings.Repeat(string(rune('a'+len(components)%26)), size))
		left -= size + 1
	}
	return components
}

// Last returns the last directory of the chain.
func (l Long) Last() string {
	components := l.components()
	return l.Dir + "/" + strings.Join(components[:len(components)-1], "/")
}

// Want returns what the storm leaves.
func (l Long) Want() Want {
	components := l.components()
	make, use := l.Part != "-use", l.Part != "-make"
	records := []Record{{Kind: 'E', Path: l.Image}}
	add := func(kind byte, path ...string) {
		r := Record{Kind: kind, Path: path[0]}
		if len(path) > 1 {
			r.To = path[1]
		}
		records = append(records, r)
	}
	last := len(components) - 1
	path := l.Dir
	for _, name := range components[:last] {
		path += "/" + name
		if make {
			add('W', path)
		}
		add('C', path)
	}
	file, other := path+"/"+components[last], path+"/Z"+components[last][1:]
	if make {
		add('W', file)
	}
	if use {
		add('R', file)
		add('W', file)
		add('M', file, other)
		add('L', other, file)
		add('D', other)
		add('L', "text", other)
		add('D', other)
		add('W', other)
		add('D', other)
		add('R', path)
		if l.N < 4096 {
			add('R', file)
			add('W', file)
		}
	}
	if make && use {
		add('D', file)
	}
	for range last {
		above := path[:strings.LastIndexByte(path, '/')]
		if above != l.Dir {
			add('C', above)
		}
		if make && use {
			add('D', path)
		}
		path = above
	}
	add('X', "")
	return Want{Dir: l.Dir, Image: l.Image, Root: records}
}
