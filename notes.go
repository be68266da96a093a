package fanrec

import (
	"math"
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
)

// What an event tells beside opens and names, if that is asked for: that its
// file was written to, or that its attributes changed. There is no call record of
// either, so such a note stands where the queue has its event, behind the open
// that is in the same event.

// writing is a process and a file that it writes to.
type writing struct {
	id   ebpf.ID
	file fan.Inode
}

func (j *joiner) noteBits() uint32 {
	if j.guess {
		return j.notes | bitModify
	}
	return j.notes
}

// collectNotes lists the notes of the sealed events among the ops.
func (j *joiner) collectNotes() {
	if j.noteBits() == 0 {
		return
	}
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		e.noted = -1
		if e.outside {
			e.note = 0
		}
		if e.note == 0 {
			continue
		}
		o := op{key: e.bound, tie: e.tie(), kind: opNote, i: int32(i)}
		if p, _ := j.tree.Owner(e.pid, e.bound); p != nil && p.Exited && p.Exit < o.key {
			o.key = p.Exit
		}
		j.ops = append(j.ops, o)
	}
}

// afterOpens puts no note before the first open for writing that is in its event.
func (j *joiner) afterOpens() {
	if j.noteBits() == 0 {
		return
	}
	for i := range j.ops {
		o := &j.ops[i]
		if o.kind != opCall {
			continue
		}
		c := &j.now.calls[o.i]
		if c.op != ebpf.OpOpen || c.event < 0 || c.fmode&ebpf.FModeWrite == 0 || j.now.events[c.event].noted < 0 {
			continue
		}
		e := &j.now.events[c.event]
		if n := &j.ops[e.noted]; o.key > n.key || o.key == n.key && o.tie > n.tie {
			n.key, n.tie = o.key, o.tie
		}
		e.noted = -1
	}
}

// byExits uses, for what no call tells of, that an event was queued before its
// process ended, and so were those in front of it.
func (j *joiner) byExits() {
	first := len(j.ops)
	for first > 0 && j.ops[first-1].kind >= opEvent {
		first--
	}
	rest := j.ops[first:]
	slices.SortFunc(rest, func(a, b op) int { return int(a.i - b.i) })
	least := int64(math.MaxInt64)
	for k := len(rest) - 1; k >= 0; k-- {
		o := &rest[k]
		if j.now.events[o.i].aside {
			continue
		}
		o.key = min(o.key, least)
		// Only closes follow the end.
		if e := &j.now.events[o.i]; e.mask&^(bitClosed|bitDir) != 0 {
			least = o.key
		}
		if o.kind == opNote {
			j.now.events[o.i].noted = int32(first + k)
		}
	}
}

// emitNotes hands out the notes of an event, which stand at a time.
func (j *joiner) emitNotes(e *event, at int64) {
	note := e.note
	e.note = 0
	p := j.actor(e)
	if p == nil {
		return
	}
	w := writing{p.ID, e.target}
	_, guessed := j.guessed[w]
	if note &= j.notes; note == 0 && !guessed {
		return
	}
	path, ok := j.eventPath(e)
	if !ok {
		return
	}
	j.start(p, p.UID, at)
	j.setHandle(e.target)
	if guessed {
		delete(j.guessed, w)
		j.rec.Inferred = true
		j.sayWrite(p, e, output.Open, path)
		j.rec.Inferred = false
	}
	if note&bitModify != 0 {
		own, known := j.writes[w]
		if !known {
			j.noteWriter(w, false)
		}
		op := output.NoOp
		if !own {
			op = output.Inherited
		}
		j.rec.First = !known
		j.say(output.Modify, op, path, nil)
		j.rec.First = false
	}
	if note&bitAttrib != 0 {
		j.say(output.Attrib, output.NoOp, path, nil)
	}
}

// noteWriter notes that a process writes to a file, and whether it opened it.
func (j *joiner) noteWriter(w writing, own bool) {
	if j.notes&bitModify == 0 || w.file.FS == 0 {
		return
	}
	if len(j.writes) > 1<<16 {
		clear(j.writes)
	}
	j.writes[w] = own
}
