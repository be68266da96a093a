package fanrec

import (
	"bytes"
	"encoding/binary"

	"fanrec/output"
)

// emitAbsent hands out the record of a path that was looked for and not found. It
// makes no event: what is known is the directory that the path began at, and the
// text, whose way is followed as far as it leads now.
func (j *joiner) emitAbsent(c *call) {
	from, ok := j.appendFile(j.path[0][:0], &c.file[0])
	j.path[0] = from
	text := j.now.get(c.text[0])
	if !ok || len(text) == 0 {
		j.unresolved()
		return
	}
	dir, name := last(text)
	path, whole := j.reach(c, from, bytes.TrimLeft(dir, "/"))
	if whole && string(name) != ".." {
		path = appendClean(append(j.path[1][:0], path...), 0, name)
		j.path[1] = path
	}
	if j.byWalk(&c.file[0]) && c.proc.MountNS != 0 {
		path = j.host(append(j.path[2][:0], path...), 0, c.proc, 0)
		j.path[2] = path
	}
	j.say(output.Absent, output.NoOp, path, nil)
}

// reached is where a path leads; see disk.
type reached struct {
	dir   []byte
	whole bool
}

// reach returns where a path leads from a directory, asked once for all that is
// handed out at a time: a search path is gone through again and again.
func (j *joiner) reach(c *call, from, path []byte) ([]byte, bool) {
	switch {
	case len(path) == 0:
		return from, true
	case c.proc.MountNS != 0: // names need not lead where they do here
		return appendClean(bytes.Clone(from), 0, path), true
	}
	key := binary.NativeEndian.AppendUint32(j.path[2][:0], c.ID.TGID) // it has a /proc/self
	key = binary.NativeEndian.AppendUint32(key, c.TID)
	for _, part := range [...][]byte{j.root, from, path} {
		key = append(append(key, part...), 0)
	}
	j.path[2] = key
	r, ok := j.ways[string(key)]
	if !ok {
		r.dir, r.whole = j.disk.reach(j.root, from, path, c.ID.TGID, c.TID)
		j.ways[string(key)] = r
	}
	return r.dir, r.whole
}
