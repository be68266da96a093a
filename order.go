package fanrec

import (
	"bytes"
	"math"
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/proctree"
)

// op is one thing to be done in order: records to hand out, a change of the
// directory graph.
type op struct {
	key  int64  // upper bound of the true time
	tie  uint64 // place in the queue of an event that orders the op, else noTie
	kind opKind
	i    int32
}

type opKind uint8

const (
	opCall opKind = iota
	opProcess
	opEvent // by a process outside of the tree, or without a call
	opNote  // what else an event tells: that a file was written to
)

const noTie = math.MaxUint64

// tie leaves room for what comes first in an event.
func (e *event) tie() uint64 { return 2*e.seq + 1 }

// bound gives every sealed event the time before which it was queued: the
// least time at which it, or an event behind it in the queue, was certainly
// there. A thread's own later calls are left out: they are later anyway, and if
// one was matched wrongly they would say nonsense.
func (j *joiner) bound() {
	j.witness()
	// The least time, and the least of any other thread than that one.
	least, thread, other := j.after, uint32(0), j.after
	for i := j.sealed - 1; i >= 0; i-- {
		e := &j.now.events[i]
		if e.aside {
			continue
		}
		bound := least
		if e.anchor != 0 && e.thread == thread {
			bound = other
		}
		if e.named != 0 && e.named < bound {
			bound = e.named
			if e.named < least {
				least, thread, other = e.named, 0, e.named
			}
		}
		if up := e.anchor; up != 0 {
			bound = min(bound, up)
			switch {
			case up < least:
				if e.thread != thread {
					other = least
				}
				least, thread = up, e.thread
			case up < other && e.thread != thread:
				other = up
			}
		}
		if e.bound == 0 || bound < e.bound {
			e.bound = bound // it stays what a former epoch found
		}
	}
}

// witness notes when what was made was first used: it was there by then.
func (j *joiner) witness() {
	for i := range j.now.calls {
		if c := &j.now.calls[i]; !c.done {
			seq := uint64(math.MaxUint64)
			if c.event >= 0 {
				seq = j.now.events[c.event].seq
			}
			j.noteUsed(&c.file[0], c.Time, seq)
			j.noteUsed(&c.file[1], c.Time, seq)
		}
	}
	for i := range j.now.procs {
		if p := &j.now.procs[i]; !p.done && p.kind == ebpf.Exec {
			j.noteUsed(&p.image, p.Time, math.MaxUint64)
			j.noteUsed(&p.interp, p.Time, math.MaxUint64)
		}
	}
}

// noteUsed notes that a file and the directory that it is in were there at a
// time, seen by a call that is in the event of place seq in the queue.
func (j *joiner) noteUsed(f *file, at int64, seq uint64) {
	for _, self := range [...]fan.Inode{f.self, f.parent} {
		if self.Ino == 0 {
			continue
		}
		for i := j.births.first(targetHash(0, self)); i >= 0; i = j.now.events[i].nextBirth {
			e := &j.now.events[i]
			if e.target != self || at < e.floor || e.mask&bitCreate == 0 {
				continue
			}
			// Of a file only if it is that name that was used, and not before.
			if e.mask&bitDir != 0 || self == f.self && seq >= e.seq && e.dir == f.parent && bytes.Equal(j.now.get(e.name), j.now.get(f.name)) {
				if e.named == 0 || at < e.named {
					e.named = at
				}
				break
			}
		}
	}
}

// gates are the times from which on nothing may be released: calls may return,
// events may be read, and held events may find their place there. What is held
// holds what the same recording has; and what changes the name of a directory waits for
// everything, as a path may still be wanted that leads through it.
type gates struct {
	all   int64            // for everybody
	own   map[uint32]int64 // for what a recording has
	least int64            // of these
}

// limit sets the gates.
func (j *joiner) limit(all bool) {
	g := &j.gates
	clear(g.own)
	if all {
		g.all, g.least = math.MaxInt64, math.MaxInt64
		return
	}
	g.all = j.closed
	if !j.calls {
		g.all = j.former // the closes of a process follow its exit
	}
	g.least = g.all
	alone := len(j.trees.open) == 0
	hold := func(recording uint32, at int64) {
		g.least = min(g.least, at)
		if alone {
			return
		}
		if before, ok := g.own[recording]; !ok || at < before {
			g.own[recording] = at
		}
	}
	for i := range j.now.events[:j.sealed] {
		if e := &j.now.events[i]; e.held() {
			hold(j.recordingOf(e), e.bound)
		}
	}
	for i := range j.now.calls {
		c := &j.now.calls[i]
		if !c.maybe {
			continue
		}
		at := c.Time
		if bit, _, _ := nameBits(c.op); bit != 0 {
			at = c.prev + 1 // agree may put it anywhere since
		}
		hold(c.proc.Recording, at)
	}
	if alone {
		g.all = g.least
	}
}

// until returns from when on nothing of a recording may be released.
func (g *gates) until(recording uint32) int64 {
	if at, ok := g.own[recording]; ok {
		return min(g.all, at)
	}
	return g.all
}

// recordingOf returns whose the process of an event is.
func (j *joiner) recordingOf(e *event) uint32 {
	if len(j.trees.open) == 0 {
		return 0
	}
	if p, _ := j.tree.Owner(e.pid, e.bound); p != nil {
		return p.Recording
	}
	return proctree.Nobody
}

// open tells whether an op may be released: with what its recording has, and if
// it changes where directories are, with everything.
func (j *joiner) open(o *op) bool {
	var recording uint32
	switch o.kind {
	case opCall:
		recording = j.now.calls[o.i].proc.Recording
	case opProcess:
		p := &j.now.procs[o.i]
		recording = p.proc.Recording
		if p.kind == ebpf.Fork && p.parent != nil {
			recording = p.parent.Recording
		}
	default:
		recording = j.recordingOf(&j.now.events[o.i])
	}
	if j.alters(o) {
		return o.key < j.gates.least
	}
	return o.key < j.gates.until(recording)
}

// alters tells whether an op changes where directories are that others may have
// used before.
func (j *joiner) alters(o *op) bool {
	var e *event
	switch o.kind {
	case opCall:
		if c := &j.now.calls[o.i]; c.event >= 0 {
			e = &j.now.events[c.event]
		}
	case opEvent:
		e = &j.now.events[o.i]
	}
	return e != nil && e.mask&bitDir != 0 && e.mask&(bitRename|bitDelete) != 0
}

// agreeUntil returns up to when names are made to agree. What is held of one
// recording keeps no other one from it.
func (j *joiner) agreeUntil() int64 {
	if len(j.trees.open) > 1 {
		return j.gates.all
	}
	return j.gates.least
}

// out returns up to when everything that a recording did is handed out.
func (j *joiner) out(recording uint32) int64 {
	return min(j.stop, j.gates.until(recording))
}

// maker tells whether a call is known to have made its event, so that the
// queue orders it.
func (j *joiner) maker(c *call) bool {
	return c.made || c.first && c.prev < j.now.events[c.event].bound
}

// collect lists all that can be put in order, and sorts it.
func (j *joiner) collect() {
	j.ops = j.ops[:0]
	for i := range j.now.calls {
		c := &j.now.calls[i]
		if !c.ready || c.done {
			continue
		}
		o := op{key: c.Time, tie: noTie, kind: opCall, i: int32(i)}
		if j.maker(c) {
			e := &j.now.events[c.event]
			// Behind the record of its thread before, whatever the queue seems to say.
			o.key, o.tie = max(min(c.Time, e.bound), min(c.prev+1, c.Time)), e.tie()
			if c.made {
				o.tie--
			}
		}
		j.ops = append(j.ops, o)
	}
	for i := range j.now.procs {
		if p := &j.now.procs[i]; !p.done {
			j.ops = append(j.ops, op{key: p.Time, tie: noTie, kind: opProcess, i: int32(i)})
		}
	}
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.done || !e.outside && !(e.settled && (e.left() != 0 || j.written(e))) {
			continue
		}
		o := op{key: e.bound, tie: e.tie(), kind: opEvent, i: int32(i)}
		if p, _ := j.tree.Owner(e.pid, e.bound); p != nil && p.Exited && p.Exit < o.key {
			o.key = p.Exit // without a call nothing else says that it came before the end
		}
		j.ops = append(j.ops, o)
	}
	j.collectNotes()
	j.byExits()
	j.afterOpens()
	slices.SortFunc(j.ops, func(a, b op) int {
		switch {
		case a.key != b.key:
			if a.key < b.key {
				return -1
			}
			return 1
		case a.tie != b.tie:
			if a.tie < b.tie {
				return -1
			}
			return 1
		case a.kind != b.kind:
			return int(a.kind) - int(b.kind)
		}
		return int(a.i - b.i)
	})
}

// perform hands out the records of an op.
func (j *joiner) perform(o *op) {
	j.mounts.advance(o.key)
	switch o.kind {
	case opCall:
		c := &j.now.calls[o.i]
		j.emitCall(c)
		c.done = true
	case opProcess:
		p := &j.now.procs[o.i]
		j.emitProcess(p)
		p.done = true
		if p.kind == ebpf.Exit {
			j.retire(p.proc)
		}
	case opEvent:
		e := &j.now.events[o.i]
		e.bound = min(e.bound, o.key)
		j.emitEvent(e)
		e.done = true
	case opNote:
		j.emitNotes(&j.now.events[o.i], o.key)
	}
}
