package fanrec

import (
	"bytes"

	"fanrec/ebpf"
)

// holdTime is how long an event waits for its call to return. A call that was
// preempted, or that frees a large file after it removed the name, takes long.
const holdTime = 5e9

// maybeTime is the same for an event that a call explains which may have been
// merged into an earlier one.
const maybeTime = 2e8

// held tells that an event must still find its place: some of it is not yet
// explained.
func (e *event) held() bool {
	return !e.outside && !e.done && !e.settled && e.unexplained() != 0
}

// left returns the bits for which no call will come.
func (e *event) left() uint32 { return e.unexplained() &^ e.maybe }

// settle decides for each event whether a call can still come that explains it.
// With call records none can once its process made a later record while it had
// one thread, or is gone. What is left then was done without a call: by
// io_uring, by the kernel, or on a system without call records.
func (j *joiner) settle() {
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.outside || e.done || e.settled {
			continue
		}
		if e.unexplained() == 0 {
			e.done = true
			continue
		}
		p, _ := j.tree.Owner(e.pid, j.closed)
		waited := j.closed > e.end // calls of the time of the event have returned
		switch {
		case !j.calls, j.closed-e.end > holdTime, e.left() == 0 && j.closed-e.end > maybeTime:
			e.settled = true
		case p == nil:
			// The pid belongs to somebody outside of the tree, and every call
			// of who had it before has returned.
			e.settled, e.outside = true, true
			e.done = e.mask&bitDir == 0 || e.mask&(bitCreate|bitDelete|bitRename) == 0
		case p.Exited && p.Exit <= j.closed:
			e.settled = true
		case p.Replies > e.end && p.Replies <= j.closed, waited && j.noise(e, p):
			e.settled = true
		}
		if e.settled && !e.outside && e.left() != 0 && p != nil && j.noise(e, p) {
			e.ignore()
			continue
		}
		if e.settled && !e.outside && j.calls && e.mask&bitOpenExec != 0 {
			// Opened for an execve that failed, or for one whose record has it.
			e.claimed |= bitOpen | bitOpenExec
		}
		if e.settled && !e.outside && e.left() == 0 {
			e.done = true
		}
	}
}

// decide places the calls of which it was not certain that they are in their
// events, when no more calls can come that may have made these; with all, none
// will. Each event was made by somebody: the latest calls that can be are taken.
func (j *joiner) decide(all bool) {
	for i := len(j.now.calls) - 1; i >= 0; i-- {
		c := &j.now.calls[i]
		if !c.maybe {
			continue
		}
		choice, wait := j.latest(c)
		if c.maybe = wait && !all; c.maybe || choice < 0 {
			continue
		}
		e := &j.now.events[choice]
		c.first = choice == c.event && e.maybes == 1 && c.Flags&ebpf.Alone != 0 && e.anchor == 0 && e.mask&(bitOpenExec|bitCreate) == 0
		c.event = choice
		e.claimed |= e.maybe
		at, thread := c.Time, c.TID
		if c.Flags&ebpf.Alone == 0 {
			// Calls of other threads may have changed places with it.
			for k := range j.now.calls {
				o := &j.now.calls[k]
				if o.ID == c.ID && o.file[0].self == c.file[0].self && o.Time > at && possible(e, o.Time, o.prev) {
					at, thread = o.Time, o.TID
				}
			}
		}
		e.seen(at, thread)
	}
}

// latest returns the last event without a call, -1 if there is none, of those
// that the kernel would have merged a call into, and whether calls can still
// come for one of them.
func (j *joiner) latest(c *call) (choice int32, wait bool) {
	key := &j.now.events[c.event]
	choice = -1
	consider := func(i int32) {
		e := &j.now.events[i]
		if e.pid != key.pid || e.target != key.target || e.dir != key.dir || e.maybe == 0 ||
			!bytes.Equal(j.now.get(e.name), j.now.get(key.name)) || !possible(e, c.Time, c.prev) {
			return
		}
		wait = wait || !e.settled && !e.done
		// The open of an exec needs no call.
		if e.maybe&^e.claimed != 0 && e.mask&bitOpenExec == 0 {
			choice = i
		}
	}
	if c.op != ebpf.OpOpen {
		consider(c.event)
		return choice, wait
	}
	for i := j.targets.first(targetHash(key.pid, key.target)); i >= 0; i = j.now.events[i].nextTarget {
		consider(i)
	}
	return choice, wait
}
