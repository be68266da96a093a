package fanrec

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
		p, _ := j.tree.Owner(e.pid, j.after)
		switch {
		case !j.calls, j.closed-e.end > holdTime, e.left() == 0 && j.closed-e.end > maybeTime:
			e.settled = true
		case p == nil:
			// The pid belongs to somebody outside of the tree now, and every
			// call of who had it before has returned.
			e.settled, e.outside = true, true
			e.done = e.mask&bitDir == 0 || e.mask&(bitCreate|bitDelete|bitRename) == 0
		case p.Exited && p.Exit <= j.closed:
			e.settled = true
		case p.Replies > e.end && p.Replies <= j.closed:
			e.settled = true
		}
		switch {
		case !e.settled, e.outside:
		case e.left() == 0:
			e.done = true
		case e.left() == bitOpen && e.mask&bitOpenExec != 0 && j.calls:
			// Opened for an execve that failed, or for one whose record has it.
			e.done = true
		}
	}
}

// decide places the calls of which it was not certain that they are in their
// events. If no other call came to make the event, the last of them did.
func (j *joiner) decide() {
	for i := len(j.now.calls) - 1; i >= 0; i-- {
		c := &j.now.calls[i]
		if !c.maybe {
			continue
		}
		e := &j.now.events[c.event]
		if c.maybe = !e.done && !e.settled; c.maybe {
			continue
		}
		if bits := e.maybe &^ e.claimed; bits != 0 {
			e.claimed |= bits
			e.maybe = 0
			j.place(c)
		}
	}
}
