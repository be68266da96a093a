package fanrec

import (
	"bytes"
	"slices"

	"fanrec/ebpf"
)

// A name in a directory is found by the names of the directories that the text
// of a call has, but for a text with a symbolic link or ".." in it: the events do
// not tell where those lead. The file system does, as it is now. That may have
// changed since, so it only counts where the events leave it open.

// askLeads asks where the texts of a call lead that were not asked for yet. It
// reports whether any of them leads somewhere.
func (j *joiner) askLeads(c *call) bool {
	if c.asked {
		return false
	}
	c.asked = true
	found := false
	for side := range c.text {
		if c.op == ebpf.OpSymlink && side == 0 {
			continue // not a path
		}
		base := &c.file[side]
		if c.ring && c.op == ebpf.OpOpen {
			base = &c.file[1]
		}
		dir, _ := last(j.now.get(c.text[side]))
		if len(dir) == 0 {
			continue // it is the base
		}
		path, ok := j.appendNow(j.path[2][:0], base)
		j.path[2] = path
		if !ok {
			continue
		}
		root := c.proc.Root
		if dir[0] == '/' {
			root = bytes.Clone(path)
		}
		path = append(append(path, '/'), bytes.TrimLeft(dir, "/")...)
		j.path[2] = path
		if to, ok := j.lead(root, path); ok {
			c.leads[side], found = to, true
		}
	}
	return found
}

// appendNow appends the path that a directory has by all that is known of it,
// what is pending included: the file system is asked for how things are now.
func (j *joiner) appendNow(dst []byte, base *file) ([]byte, bool) {
	dir := base.self
	if dir.FS == 0 || j.walked(base, dir) {
		return j.appendFile(dst, base)
	}
	var names [][]byte
	for range maxClimb {
		if i, ok := j.moved[dir]; ok {
			e := &j.now.events[i]
			names, dir = append(names, j.now.get(e.to)), e.newDir
			continue
		}
		if i, ok := j.born[dir]; ok {
			e := &j.now.events[i]
			names, dir = append(names, j.now.get(e.name)), e.dir
			continue
		}
		parent, name, ok := j.graph.Where(dir)
		if !ok {
			break // a root, or not known
		}
		names, dir = append(names, []byte(name)), parent
	}
	dst, ok := j.appendDir(dst, dir)
	for _, name := range slices.Backward(names) {
		if len(dst) == 0 || dst[len(dst)-1] != '/' {
			dst = append(dst, '/')
		}
		dst = append(dst, name...)
	}
	return dst, ok
}
