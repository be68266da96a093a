package fanrec

import "fanrec/output"

// emitAbsent hands out the record of a path that was looked for and not found. It
// makes no event: what is known is the directory that the path began at, and the
// text, whose way is followed as far as it leads now.
func (j *joiner) emitAbsent(c *call) {
	at, ok := j.appendFile(j.path[0][:0], &c.file[0])
	j.path[0] = at
	text := j.now.get(c.text[0])
	if !ok || len(text) == 0 {
		j.unresolved()
		return
	}
	var path []byte
	if c.proc.MountNS != 0 { // where names need not lead where they do here
		path = appendClean(append(j.path[1][:0], at...), 0, text)
	} else {
		path = j.disk.absent(j.path[1][:0], j.root, at, text, c.ID.TGID, c.TID)
	}
	j.path[1] = path
	j.say(output.Absent, output.NoOp, path, nil)
}
