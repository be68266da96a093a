package fanrec

import (
	"bytes"

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
		path, ok := j.appendFile(j.path[2][:0], base)
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
