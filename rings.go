package fanrec

import (
	"bytes"
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"

	"golang.org/x/sys/unix"
)

// What a ring (io_uring) does is told of twice: when it takes the request, with
// the texts, and when that is completed. The two together are as good as the
// record of a system call, and become one: it was done between the two times.
// What a request opens into a slot of the ring has no descriptor, so what it is
// is not told, nor is the success of a request that wants no completion: those
// take the event that fits them.

// reply is the completion of a request.
type reply struct {
	ebpf.Header
	request uint64
	result  int32
	flags   uint32
	fmode   uint32
	file    file
}

// addRing takes one of the two records of a request.
func (j *joiner) addRing(r *ebpf.Call, c *call) {
	if r.Stage == ebpf.Completed {
		j.replies = append(j.replies, reply{
			Header: r.Header, request: r.Request, result: r.Result, flags: r.Flags, fmode: r.FMode, file: c.file[0],
		})
		return
	}
	if c.op == ebpf.OpOpen && c.flags&unix.O_PATH != 0 {
		return
	}
	c.request, c.ring, c.quiet = r.Request, true, r.Quiet
	c.prev, c.seen = c.Time, true
	if c.op == ebpf.OpOpen {
		c.file[0], c.file[1] = file{}, c.file[0]
		c.fmode = (c.flags + 1) & unix.O_ACCMODE // as the kernel's OPEN_FMODE
	}
	j.now.requests = append(j.now.requests, *c)
}

// pair makes calls of the requests that were completed.
func (j *joiner) pair() {
	if len(j.now.requests) == 0 {
		j.replies = j.replies[:0] // their submission was lost, which is counted
		return
	}
	byTime := func(a, b int64) int { return int(min(max(a-b, -1), 1)) }
	slices.SortStableFunc(j.now.requests, func(a, b call) int { return byTime(a.prev, b.prev) })
	slices.SortStableFunc(j.replies, func(a, b reply) int { return byTime(a.Time, b.Time) })
	// The kernel uses the memory of a request again when that is over.
	n := 0
	open := map[uint64]int{}
	until := func(at int64) {
		for ; n < len(j.now.requests) && j.now.requests[n].prev <= at; n++ {
			c := &j.now.requests[n]
			if before, ok := open[c.request]; ok && !j.now.requests[before].done {
				j.over(&j.now.requests[before], c.prev)
			}
			open[c.request] = n
		}
	}
	for i := range j.replies {
		r := &j.replies[i]
		until(r.Time)
		at, ok := open[r.request]
		if !ok || j.now.requests[at].done || j.now.requests[at].ID != r.ID {
			continue
		}
		c := &j.now.requests[at]
		c.done = true
		if r.result < 0 {
			continue
		}
		c.Header = r.Header
		if r.fmode != 0 {
			c.flags, c.fmode, c.file[0] = r.flags, r.fmode, r.file
		}
		j.returned(c)
	}
	until(j.after)
	j.replies = j.replies[:0]
}

// returned makes a call of a request that succeeded.
func (j *joiner) returned(c *call) {
	done := *c
	done.done = false
	j.now.calls = append(j.now.calls, done)
	c.done = true
}

// over notes that a request came to its end by a time, though no completion was
// told: it wanted none, and so has succeeded.
func (j *joiner) over(c *call, at int64) {
	if c.quiet && c.Time == c.prev {
		c.Time = at
	}
}

// blind tells that it is not known what a request opened.
func (c *call) blind() bool {
	return c.ring && c.op == ebpf.OpOpen && c.file[0].self.FS == 0 && c.file[0].walk.n == 0
}

// matchQuiet finds what was done by requests of which no completion tells: the
// first event that fits and that nobody else made, or at their end nothing more
// than that they succeeded.
func (j *joiner) matchQuiet() {
	for _, sure := range [...]bool{true, false} {
		for i := range j.now.requests {
			c := &j.now.requests[i]
			gone := c.proc.Exited && c.proc.Exit <= j.closed
			if c.done || !c.quiet && !gone {
				continue
			}
			over := c.Time
			switch {
			case over != c.prev:
			case gone:
				over = c.proc.Exit
			default:
				over = j.closed
			}
			if c.event < 0 {
				if e := j.fitting(c, sure); e >= 0 {
					j.claimSlot(c, e, true)
				}
			}
			if c.event >= 0 {
				c.Time = over
				if c.op == ebpf.OpRename && c.flags&unix.RENAME_EXCHANGE != 0 {
					j.matchExchange(c)
				}
				c.first, c.ready = true, true
				j.returned(c)
				continue
			}
			switch {
			case sure:
			case c.quiet && (c.Time != c.prev || gone):
				c.Time = over
				j.returned(c)
			case gone: // it was cancelled
				c.done = true
			}
		}
	}
}

// claimQuiet joins with their events the requests from the q-th on of which no
// completion tells, and which were submitted before a time: what an open by name
// finds after that depends on them.
func (j *joiner) claimQuiet(q int, until int64) int {
	for ; q < len(j.now.requests) && j.now.requests[q].prev < until; q++ {
		c := &j.now.requests[q]
		if c.done || !c.quiet || c.event >= 0 {
			continue
		}
		if e := j.fitting(c, true); e >= 0 {
			j.claimSlot(c, e, true)
		}
	}
	return q
}

// fitting returns the first unexplained event that a request can have made, -1
// if there is none; sure: only by its name.
func (j *joiner) fitting(c *call, sure bool) int32 {
	var b best
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		bits := j.bitsOf(c, e)
		if e.pid != c.ID.TGID || e.outside || e.done || e.end < c.prev || bits == 0 {
			continue
		}
		claimed := bits&^(e.claimed|e.maybe) == 0
		if score := j.scoreRing(c, e); score > 0 || score == 0 && !sure && !claimed && j.opens(c, e) {
			b.consider(int32(i), score, claimed)
		}
	}
	if b.count == 0 || !b.free {
		return -1
	}
	return b.event
}

// claimSlot joins an open of which only the text is known, or what no completion
// tells of, with its event.
func (j *joiner) claimSlot(c *call, i int32, certain bool) {
	e := &j.now.events[i]
	bits := j.bitsOf(c, e)
	if c.op == ebpf.OpOpen && c.flags&unix.O_CREAT != 0 && bits&bitCreate == 0 {
		// The queue may have been read between the two events of an open.
		if made := j.madeFor(c, e); made >= 0 {
			e.claimed |= bitOpen
			i, bits = made, bitCreate
		}
	}
	if c.op == ebpf.OpOpen && bits&bitCreate != 0 {
		c.fmode |= ebpf.FModeCreated
	}
	j.claim(c, i, bits, certain)
}

// madeFor returns the event that made the file of an open, which nobody claimed;
// -1 if there is none.
func (j *joiner) madeFor(c *call, opened *event) int32 {
	for i := j.targets.first(targetHash(opened.pid, opened.target)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid == opened.pid && e.target == opened.target && e.seq < opened.seq && e.mask&(bitCreate|bitOpen) == bitCreate &&
			e.unexplained()&^e.maybe&bitCreate != 0 && e.end >= c.prev {
			return i
		}
	}
	return -1
}

// bitsOf returns what a request can have been of an event.
func (j *joiner) bitsOf(c *call, e *event) uint32 {
	switch c.op {
	case ebpf.OpOpen:
		bits := e.mask & bitOpen
		if c.flags&unix.O_CREAT != 0 {
			bits |= e.mask & bitCreate &^ e.claimed
		}
		return bits
	case ebpf.OpUnlink, ebpf.OpRmdir:
		return e.mask & bitDelete
	case ebpf.OpRename:
		return e.mask & bitRename
	}
	return e.mask & bitCreate
}

// scoreRing tells how well an event fits a request, below 0 if it does not.
func (j *joiner) scoreRing(c *call, e *event) int {
	side, dir := 0, uint32(0)
	switch c.op {
	case ebpf.OpLink, ebpf.OpSymlink:
		side = 1
	case ebpf.OpMkdir, ebpf.OpRmdir:
		dir = bitDir
	}
	if c.text[side].n == 0 {
		return 0
	}
	text := j.now.get(c.text[side])
	_, name := last(text)
	same := bytes.Equal(name, j.now.get(e.name))
	switch {
	case c.op != ebpf.OpOpen && !same:
		return -1
	case c.op != ebpf.OpOpen:
		return j.scoreName(c, e, j.bitsOf(c, e), dir, side)
	case e.mask&bitOpenExec != 0:
		return -1
	case e.mask&bitDir != 0 && c.flags&(unix.O_CREAT|unix.O_ACCMODE) != 0, e.mask&bitDir == 0 && c.flags&unix.O_DIRECTORY != 0:
		return -1
	case e.dir == (fan.Inode{}):
		score := 0
		j.places(e.target, e, name, func(parent fan.Inode) {
			score = max(score, 1+max(j.scoreDir(c, e, text, 1, parent), 0))
		})
		return score
	case !same:
		return 0 // behind a symbolic link
	}
	return 1 + max(j.scoreDir(c, e, text, 1, e.dir), 0)
}

// opens tells whether the text of an open leads to the file of an event as it is
// now: through a symbolic link, as the name is another. Of what is no open it
// knows nothing.
func (j *joiner) opens(c *call, e *event) bool {
	if c.op != ebpf.OpOpen {
		return true
	}
	path, ok := j.appendNow(j.path[2][:0], &c.file[1])
	j.path[2] = path
	if !ok {
		return false
	}
	path = append(append(path, '/'), bytes.TrimLeft(j.now.get(c.text[0]), "/")...)
	j.path[2] = path
	to, ok := j.lead(c.proc.Root, path)
	return ok && to == e.target
}

// matchSlot finds the event of an open of which only the text is known; sure:
// only by its name.
func (j *joiner) matchSlot(c *call, sure bool) {
	b := j.searchSlot(c, sure)
	if b.score < 1+sameDir && j.askLeads(c) {
		b = j.searchSlot(c, sure)
	}
	if b.count > 0 {
		j.claimSlot(c, b.event, b.certain(&c.Header))
	}
}

func (j *joiner) searchSlot(c *call, sure bool) best {
	_, name := last(j.now.get(c.text[0]))
	var meant, any best
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.outside || e.mask&bitOpen == 0 || !e.possible(c.proc, c.Time, c.prev) {
			continue
		}
		claimed := (e.claimed|e.maybe)&bitOpen != 0
		score := j.scoreRing(c, e)
		if score < 0 || score == 0 && (sure || claimed || !j.opens(c, e)) {
			continue
		}
		any.consider(int32(i), score, claimed)
		there, made := j.meant(e, name)
		switch {
		case there:
			// It is open to be merged into, however many opens are in it.
			meant.consider(int32(i), 2*score+1, false)
		case !made && c.flags&unix.O_CREAT != 0:
			meant.consider(int32(i), 2*score, claimed)
		}
	}
	if meant.count == 0 || any.score > meant.score/2 {
		return any
	}
	meant.score /= 2
	return meant
}

// meant tells whether a name meant the file of an event, and whether that had
// been made, when the calls had returned that have their events by now. Calls are
// matched in the order of time.
func (j *joiner) meant(e *event, name []byte) (there, made bool) {
	there, made = true, true
	first := true
	any := e.dir == (fan.Inode{}) // it is a directory itself
	come := func(told bool) {
		there = told || there && !first
		first = false
	}
	for i := range j.now.events[:j.sealed] {
		o := &j.now.events[i]
		if o.target != e.target || o.pid != e.pid || o.mask&(bitCreate|bitDelete|bitRename) == 0 {
			continue
		}
		told := o.claimed | o.maybe
		if o.mask&bitRename != 0 && (any || o.newDir == e.dir) && bytes.Equal(j.now.get(o.to), name) {
			come(told&bitRename != 0)
		}
		if !any && o.dir != e.dir || !bytes.Equal(j.now.get(o.name), name) {
			continue
		}
		if o.mask&bitCreate != 0 {
			come(told&bitCreate != 0)
			made = made && told&bitCreate != 0
		}
		if told&(bitDelete|bitRename) != 0 {
			there, first = false, false
		}
	}
	return there, made
}
