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

// awaits tells whether a call may still return that was merged into an event
// of which all is released. Without the event it would be taken for one that
// made a later event of the same name, and date that too early.
func (j *joiner) awaits(e *event) bool {
	if e.outside || !j.calls || j.closed-e.end > maybeTime {
		return false
	}
	p, _ := j.tree.Owner(e.pid, e.end)
	return p != nil && !(p.Exited && p.Exit <= j.closed) && (p.Replies <= e.end || p.Replies > j.closed)
}

// written tells whether an event says, without call records, that a file was
// written to; its open may have been in an earlier one.
func (j *joiner) written(e *event) bool {
	return !j.calls && e.mask&(bitModify|bitClosed) != 0
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
		if e.unexplained() == 0 && !j.written(e) {
			e.done = true
			continue
		}
		p, _ := j.tree.Owner(e.pid, j.closed)
		last, _ := j.tree.Owner(e.pid, j.after)
		waited := j.closed > e.end // calls of the time of the event have returned
		switch {
		case j.awaited && e.mask&bitOpenExec != 0 && j.closed-e.end > maybeTime:
			// It failed most likely, while other threads went on. If not, the record of
			// the exec has all but the directory of a script.
			e.settled = true
		case !j.calls, j.closed-e.end > holdTime, e.left() == 0 && j.closed-e.end > maybeTime:
			e.settled = true
		case p != last:
			// The number is changing hands: wait until it has.
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
		if e.settled && !e.outside && e.left() == bitOpen && e.mixed {
			// Which of several threads made which event cannot be known.
			e.claimed |= bitOpen
		}
		if e.settled && !e.outside && e.left() == 0 && !j.written(e) {
			e.done = true
		}
	}
}

// decide places the calls of which it was not certain that they are in their
// events, when no more calls can come that may have made these; with all, none
// will. Each event was made by somebody: the latest calls that can be are taken,
// so a call waits for those behind it that wait.
func (j *joiner) decide(all bool) {
	j.round++
	for i := len(j.now.calls) - 1; i >= 0; i-- {
		c := &j.now.calls[i]
		if !c.maybe {
			continue
		}
		choice, wait := j.latest(c)
		if c.maybe = wait && !all; c.maybe {
			j.rivals(c, func(e *event, _ int32) { e.awaited = j.round })
			continue
		}
		if choice < 0 {
			continue
		}
		e := &j.now.events[choice]
		c.first = choice == c.event && e.maybes == 1 && c.Flags&ebpf.Alone != 0 && e.anchor == 0 && e.mask&(bitOpenExec|bitCreate) == 0
		c.event = choice
		c.made = c.makes() && e.maybe&bitCreate != 0 && (c.op != ebpf.OpLink || e.comesFirst(c))
		e.claimed |= e.maybe
		at := c.Time
		if e.mixed {
			at = max(at, e.late) // calls of other threads may have changed places with it
		}
		e.seen(at, c.TID)
	}
}

// makes tells whether a call makes a name and does nothing else. What removes it
// again may be in the same event.
func (c *call) makes() bool {
	switch c.op {
	case ebpf.OpMkdir, ebpf.OpMknod, ebpf.OpBind, ebpf.OpLink, ebpf.OpSymlink:
		return true
	}
	return false
}

// rivals calls fn for the events that a call of which it is not certain may be in.
func (j *joiner) rivals(c *call, fn func(e *event, i int32)) {
	key := &j.now.events[c.event]
	consider := func(i int32) {
		e := &j.now.events[i]
		if e.pid == key.pid && e.target == key.target && e.dir == key.dir && e.maybe != 0 &&
			bytes.Equal(j.now.get(e.name), j.now.get(key.name)) && e.possible(c.proc, c.Time, c.prev) {
			fn(e, i)
		}
	}
	if c.op != ebpf.OpOpen {
		consider(c.event)
		return
	}
	for i := j.targets.first(targetHash(key.pid, key.target)); i >= 0; i = j.now.events[i].nextTarget {
		consider(i)
	}
}

// latest returns the last event without a call, -1 if there is none, of those
// that the kernel would have merged a call into, and whether calls can still
// come for one of them.
func (j *joiner) latest(c *call) (choice int32, wait bool) {
	choice = -1
	// Not for ever: there is always one behind while a file is opened all the time.
	patient := j.closed-c.Time < maybeTime
	j.rivals(c, func(e *event, i int32) {
		wait = wait || !e.settled && !e.done || patient && e.awaited == j.round
		// The open of an exec needs no call.
		if e.maybe&^e.claimed != 0 && e.mask&bitOpenExec == 0 {
			choice = i
		}
	})
	return choice, wait
}
