package fanrec

import (
	"math"
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"
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

// witness notes when the directories that were made were first named by a
// record: they were there by then.
func (j *joiner) witness() {
	if len(j.born) == 0 {
		return
	}
	name := func(i fan.Inode, at int64) {
		if b, ok := j.born[i]; ok {
			j.now.events[b].used(at)
		}
	}
	for i := range j.now.calls {
		if c := &j.now.calls[i]; !c.done {
			name(c.file[0].self, c.Time)
			name(c.file[0].parent, c.Time)
			name(c.file[1].self, c.Time)
		}
	}
	for i := range j.now.procs {
		if p := &j.now.procs[i]; !p.done && p.kind == ebpf.Exec {
			name(p.image.parent, p.Time)
			name(p.interp.parent, p.Time)
		}
	}
}

// limit returns the time from which on nothing may be released: calls may
// return, events may be read, and held events may find their place there.
func (j *joiner) limit(all bool) int64 {
	if all {
		return math.MaxInt64
	}
	limit := j.closed
	for i := range j.now.events[:j.sealed] {
		if e := &j.now.events[i]; e.held() {
			limit = min(limit, e.bound)
		}
	}
	for i := range j.now.calls {
		if c := &j.now.calls[i]; c.maybe {
			limit = min(limit, c.Time)
		}
	}
	return limit
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
			o.key, o.tie = min(c.Time, e.bound), e.tie()
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
		if e.done || !e.outside && !(e.settled && e.left() != 0) {
			continue
		}
		o := op{key: e.bound, tie: e.tie(), kind: opEvent, i: int32(i)}
		if p, _ := j.tree.Owner(e.pid, e.bound); p != nil && p.Exited && p.Exit < o.key {
			o.key = p.Exit // without a call nothing else says that it came before the end
		}
		j.ops = append(j.ops, o)
	}
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
		j.emitEvent(e)
		e.done = true
	}
}
