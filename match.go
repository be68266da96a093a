package fanrec

import (
	"bytes"
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/proctree"

	"golang.org/x/sys/unix"
)

// An index finds events by a hash; the chains run through the events, in the
// order of the queue.
type index struct {
	heads []int32
	tails []int32
}

func (x *index) reset(n int) {
	size := 64
	for size < n {
		size *= 2
	}
	if len(x.heads) < size {
		x.heads, x.tails = make([]int32, size), make([]int32, size)
	}
	for i := range x.heads {
		x.heads[i] = -1
	}
}

func (x *index) bucket(hash uint64) uint64 { return hash & uint64(len(x.heads)-1) }

func (x *index) first(hash uint64) int32 { return x.heads[x.bucket(hash)] }

// add puts an event at the end of its chain and returns the one that was there.
func (x *index) add(hash uint64, i int32) int32 {
	b := x.bucket(hash)
	last := x.tails[b]
	if x.heads[b] < 0 {
		x.heads[b], last = i, -1
	}
	x.tails[b] = i
	return last
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func targetHash(pid uint32, i fan.Inode) uint64 {
	return mix(mix(uint64(pid), i.Ino), uint64(i.Gen)<<32|uint64(i.FS))
}

func nameHash(seed uint64, name []byte) uint64 {
	h := seed
	for len(name) >= 8 {
		h = mix(h, uint64(name[0])|uint64(name[1])<<8|uint64(name[2])<<16|uint64(name[3])<<24|
			uint64(name[4])<<32|uint64(name[5])<<40|uint64(name[6])<<48|uint64(name[7])<<56)
		name = name[8:]
	}
	for _, c := range name {
		h = mix(h, uint64(c))
	}
	return h
}

// build indexes the sealed events of the tree: by what was opened or made, and
// by the name that was made, removed or renamed. What was made is found for
// other processes, too.
func (j *joiner) build() {
	j.targets.reset(2 * j.sealed)
	j.names.reset(2 * j.sealed)
	j.births.reset(j.sealed)
	j.renames = j.renames[:0]
	for n := range j.now.events[:j.sealed] {
		e, i := &j.now.events[n], int32(n)
		e.nextTarget, e.nextName, e.nextBirth = -1, -1, -1
		e.gone = e.seq
		if e.mask&(bitCreate|bitDelete|bitRename) != 0 {
			if last := j.births.add(targetHash(0, e.target), i); last >= 0 {
				j.now.events[last].nextBirth = i
			}
		}
		if e.mask&bitRename != 0 {
			j.outlived(e)
		}
		if e.outside {
			continue
		}
		if e.mask&(bitOpen|bitCreate) != 0 {
			if last := j.targets.add(targetHash(e.pid, e.target), i); last >= 0 {
				j.now.events[last].nextTarget = i
			}
		}
		if e.mask&bitRename != 0 {
			j.renames = append(j.renames, i)
		}
		// Kernel opens are looked for by name, too: a script's.
		if e.mask&(bitCreate|bitDelete|bitRename|bitOpenExec) != 0 {
			if last := j.names.add(nameHash(uint64(e.pid), j.now.get(e.name)), i); last >= 0 {
				j.now.events[last].nextName = i
			}
		}
	}
}

// outlived notes that a file was renamed after an event that its removal was
// merged into, or back to a name that it had been renamed from.
func (j *joiner) outlived(o *event) {
	for i := j.births.first(targetHash(0, o.target)); i >= 0; i = j.now.events[i].nextBirth {
		e := &j.now.events[i]
		switch {
		case e.target != o.target || e == o:
		case e.mask&bitDelete != 0:
			e.gone = o.seq
		case e.mask&bitRename != 0 && e.dir == o.newDir && bytes.Equal(j.now.get(e.name), j.now.get(o.to)):
			e.linked = true
			if e.newDir == o.dir && bytes.Equal(j.now.get(e.to), j.now.get(o.name)) {
				o.linked = true // to and fro
			}
		}
	}
}

// match finds the event of every call and of every exec whose event must have
// been read by now, each kind in the order of time: what a call can have made
// belongs to the earliest call that can have made it. First comes what is beyond
// doubt, as it leaves less to choose from.
func (j *joiner) match() {
	// Of what is later than the barrier some records may be missing.
	calls := j.now.calls
	for n := range calls {
		if calls[n].Time > j.after {
			calls = calls[:n]
			break
		}
	}
	j.see(calls)
	j.enter(calls)
	each := func(match func(*call)) {
		for i := range calls {
			if c := &calls[i]; !c.ready && c.Time <= j.closed && c.event < 0 {
				match(c)
			}
		}
	}
	each(j.matchCreate)
	j.raise()
	// Renames have two texts to go by.
	each(func(c *call) {
		if c.op == ebpf.OpRename {
			j.matchName(c, true)
		}
	})
	j.raise()
	each(func(c *call) { j.matchName(c, true) })
	j.matchThrough(calls)
	j.raise()
	each(func(c *call) {
		if c.over <= 0 {
			j.matchName(c, false)
		}
	})
	j.reconsider(calls)
	j.raise()
	p, q := 0, 0
	each(func(c *call) {
		p = j.matchExecs(p, c.Time)
		if c.blind() {
			q = j.claimQuiet(q, c.prev)
			j.matchSlot(c, true)
		} else {
			j.matchOpen(c)
		}
	})
	j.matchExecs(p, j.closed)
	each(func(c *call) {
		if c.blind() {
			j.matchSlot(c, false)
		}
	})
	for i := range calls {
		if c := &calls[i]; !c.ready && c.Time <= j.closed {
			c.ready = true
			if c.event >= 0 && !c.maybe {
				j.place(c)
			}
		}
	}
}

// raise makes use of what is known of the times after which events were queued:
// what is behind one in the queue is later, too.
func (j *joiner) raise() {
	floor := int64(0)
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		floor = max(floor, e.floor)
		e.floor = floor
	}
}

// see notes which record of a thread was before which.
func (j *joiner) see(calls []call) {
	j.chdirs = j.chdirs[:0]
	p := 0
	execs := func(until int64) {
		for ; p < len(j.now.procs) && j.now.procs[p].Time <= until; p++ {
			r := &j.now.procs[p]
			if r.kind != ebpf.Exec || r.seen {
				continue
			}
			// execve gives the thread that calls it the number of the first one.
			alone := r.proc.Alone
			r.seen = true
			if r.prev, _ = r.proc.Saw(&r.Header); !alone {
				r.prev = r.proc.Forked
			}
		}
	}
	for i := range calls {
		c := &calls[i]
		execs(c.Time)
		if !c.seen {
			var sole bool
			c.seen = true
			if c.prev, sole = c.proc.Saw(&c.Header); !sole {
				c.Flags &^= ebpf.Alone
			}
		}
		if c.op == ebpf.OpChdir && c.Flags&ebpf.Alone == 0 {
			j.chdirs = append(j.chdirs, int32(i))
		}
	}
	execs(j.after)
}

// matchExecs matches the execs from the p-th process record up to a time.
func (j *joiner) matchExecs(p int, until int64) int {
	for ; p < len(j.now.procs) && j.now.procs[p].Time <= until; p++ {
		if r := &j.now.procs[p]; r.kind == ebpf.Exec && !r.ready {
			j.matchExec(r)
			r.ready = true
		}
	}
	return p
}

// best is the outcome of a search among the events with one key.
type best struct {
	event int32 // the choice
	first int32 // the earliest of those with that score
	score int
	count int
	free  bool // no call claimed the choice yet
}

// consider weighs one more candidate, later in the queue than those before.
// Of equal ones the first is taken that no call has claimed, else the last: the
// kernel merges into the newest event.
func (b *best) consider(i int32, score int, claimed bool) {
	switch {
	case score < 0:
	case b.count == 0 || score > b.score:
		*b = best{event: i, first: i, score: score, count: 1, free: !claimed}
	case score == b.score:
		b.count++
		if !b.free {
			b.event, b.free = i, !claimed
		}
	}
}

// forget drops the choice if it is of the directory of another event and its file
// cannot have come back to its name.
func (j *joiner) forget(b *best, of *event) {
	if b.count == 0 {
		return
	}
	if e := &j.now.events[b.event]; e.dir == of.dir && !e.linked && !j.cameBack(e) {
		*b = best{}
	}
}

// cameBack tells whether a file may have got a name of an event once more.
func (j *joiner) cameBack(e *event) bool {
	for i := j.births.first(targetHash(0, e.target)); i >= 0; i = j.now.events[i].nextBirth {
		o := &j.now.events[i]
		if o.seq <= e.seq || o.target != e.target {
			continue
		}
		dir, name := o.dir, o.name
		if o.mask&bitRename != 0 {
			dir, name = o.newDir, o.to
		}
		if o.mask&(bitCreate|bitRename) != 0 && dir == e.dir && bytes.Equal(j.now.get(name), j.now.get(e.name)) {
			return true
		}
	}
	return false
}

// merge considers what another search found, as later in the queue.
func (b *best) merge(o *best) {
	if o.count > 0 {
		n := b.count
		b.consider(o.event, o.score, !o.free)
		if b.count == n+1 || n == 0 {
			b.count += o.count - 1
		}
	}
	*o = best{}
}

// certain tells whether a call must have made the event or been merged into it:
// there was no other, or it is the earliest, nobody else made it, and no other
// thread can be about to say that it did.
func (b *best) certain(h *ebpf.Header) bool {
	return b.count == 1 || b.free && b.event == b.first && h.Flags&ebpf.Alone != 0
}

// possible tells whether a call or exec of a thread that was over at a time and
// whose previous record is of time prev can be in an event.
func (e *event) possible(p *proctree.Process, at, prev int64) bool {
	return at >= e.floor && prev <= e.end && (e.owner == nil || e.owner == p)
}

// matchOpen finds the event of an open of a file that was there.
func (j *joiner) matchOpen(c *call) {
	if c.op != ebpf.OpOpen || c.file[0].self.FS == 0 || c.fmode&ebpf.FModeCreated != 0 {
		return
	}
	if b := j.searchOpen(c); b.count > 0 {
		j.claim(c, b.event, bitOpen, b.certain(&c.Header))
	}
}

// mergeDepth is how many events at most the kernel looks at for one to merge a
// new one with, those that have the same hash; FANOTIFY_MAX_MERGE_EVENTS.
const mergeDepth = 128

func (j *joiner) searchOpen(c *call) best {
	f := &c.file[0]
	alone := c.Flags&ebpf.Alone != 0
	merged := uint64(0) // events up to there in the queue would have been merged
	first, exact, renamed := int32(-1), int32(-1), int32(-1)
	moving := false // it was renamed meanwhile
	var b best
	for i := j.targets.first(targetHash(c.ID.TGID, f.self)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.target != f.self {
			continue
		}
		same := e.dir == (fan.Inode{}) || e.dir == f.parent && bytes.Equal(j.now.get(e.name), j.now.get(f.name))
		if e.mask&bitOpen == 0 || same && e.seq < merged || !e.possible(c.proc, c.Time, c.prev) {
			continue
		}
		if first < 0 {
			first = i
		}
		e.late, e.mixed = max(e.late, c.Time), e.mixed || !alone
		// The open of an exec needs no call to explain it, and that of a new
		// file is first of all that of the thread which made the file.
		claimed := (e.claimed|e.maybe)&bitOpen != 0 || e.mask&bitOpenExec != 0 || !alone && e.mask&bitCreate&^e.claimed != 0
		switch {
		case !same:
			// Another link, or it was renamed before the call returned.
			moving = moving || j.renamedSince(e, c)
			if !claimed && e.mask&bitCreate == 0 && renamed < 0 {
				renamed = i
			}
			b.consider(i, 1, claimed)
			continue
		case renamed < 0:
			exact = i
		}
		if c.Time < e.begin {
			// While an event was not read, every open of its key went into it.
			merged = e.seq + j.depth
		}
		b.consider(i, 2, claimed)
	}
	if moving {
		b.count, b.first = b.count+1, first
	}
	if renamed < 0 || renamed > b.event && (b.free || !j.renamedSince(&j.now.events[renamed], c)) {
		return b
	}
	if renamed > b.event {
		return best{event: renamed, first: first, count: 2, free: true}
	}
	if e := &j.now.events[b.event]; (e.claimed|e.maybe)&bitOpen != 0 {
		return b
	}
	// Somebody must have made that event, too. One thread makes its events in
	// the order of its calls.
	switch {
	case alone && exact >= 0:
		return best{event: exact, first: first, count: 2}
	case alone, j.renamedSince(&j.now.events[renamed], c):
		return best{event: renamed, first: first, count: 2, free: true}
	}
	return b
}

// renamedSince tells whether the file of an open got its name by a rename of the
// tree, from the name in an event, that may have been while the call was under way.
func (j *joiner) renamedSince(e *event, c *call) bool {
	f := &c.file[0]
	for _, i := range j.renames {
		o := &j.now.events[i]
		if o.target == e.target && o.dir == e.dir && o.newDir == f.parent && (o.over == 0 || o.over > c.prev) && o.floor <= c.Time &&
			bytes.Equal(j.now.get(o.name), j.now.get(e.name)) && bytes.Equal(j.now.get(o.to), j.now.get(f.name)) {
			return true
		}
	}
	return false
}

// matchCreate finds the events of an open that made the file. Nothing can have
// happened to the file before, so it is the first that has CREATE. The OPEN is
// another event if the queue was read between the two, or the file renamed.
func (j *joiner) matchCreate(c *call) {
	self := c.file[0].self
	if c.op != ebpf.OpOpen || self.FS == 0 || c.fmode&ebpf.FModeCreated == 0 {
		return
	}
	birth, open := int32(-1), int32(-1)
	for i := j.targets.first(targetHash(c.ID.TGID, self)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.target != self || !e.possible(c.proc, c.Time, c.prev) {
			continue
		}
		if birth < 0 && e.mask&bitCreate != 0 {
			birth = i
		}
		e.late, e.mixed = max(e.late, c.Time), e.mixed || c.Flags&ebpf.Alone == 0
		if open < 0 && e.mask&^(e.claimed|e.maybe)&bitOpen != 0 {
			open = i
		}
	}
	if birth < 0 {
		return
	}
	j.claim(c, birth, bitCreate, true)
	switch e := &j.now.events[birth]; {
	case open == birth:
		e.claimed |= bitOpen
	case open < 0:
	case e.mask&bitOpen != 0:
		// Another thread's open is in the first. One of the two is in each.
		j.now.events[open].mixed = true
	default:
		o := &j.now.events[open]
		o.claimed |= bitOpen
		if !o.mixed {
			o.seen(c.Time, c.TID)
		}
	}
}

// reconsider finds another event for a call of which it was not certain that it
// is in its event, if that turned out to be of another call and can only be of one.
func (j *joiner) reconsider(calls []call) {
	for i := range calls {
		c := &calls[i]
		if !c.maybe {
			continue
		}
		e := &j.now.events[c.event]
		if bit, _, _ := nameBits(c.op); bit&(bitCreate|bitDelete) == 0 || c.op == ebpf.OpLink || e.claimed&bit == 0 || e.linked {
			continue
		}
		was := c.event
		if e.maybes--; e.maybes == 0 {
			e.maybe = 0
		}
		c.maybe, c.event = false, -1
		j.matchName(c, true)
		if c.event < 0 {
			j.matchName(c, false)
		}
		if c.event < 0 { // there is no other
			c.event, c.maybe = was, true
			e.maybes++
		}
	}
}

// claim joins a call with its event.
func (j *joiner) claim(c *call, i int32, bits uint32, certain bool) {
	e := &j.now.events[i]
	c.event = i
	if !certain {
		// It may have been merged into an event that was read before, and the
		// call that made this one has not returned: it orders nothing.
		e.maybe |= bits
		e.maybes++
		c.maybe = true
		return
	}
	c.made = bits&bitCreate != 0 && c.op != ebpf.OpLink
	fresh := e.claimed|e.maybe == 0
	if c.made || fresh && (c.op == ebpf.OpLink && e.mask&bitDelete == 0 && !j.openedBefore(c, e) ||
		e.mask&explain == bits && bits&(bitRename|bitDelete) != 0 && c.Flags&ebpf.Alone != 0) {
		// It made the event: nothing of that can have been before the call began.
		e.floor = max(e.floor, c.prev+1)
	}
	e.owner, e.over = c.proc, c.Time
	e.claimed |= bits
	if c.made {
		e.born = c.Time
	}
}

// openedBefore tells whether an event that a link is in may be that of an open
// before: the file had the name already.
func (j *joiner) openedBefore(c *call, e *event) bool {
	if e.mask&bitOpen == 0 {
		return false
	}
	for i := range j.now.calls {
		o := &j.now.calls[i]
		if o.Time >= c.Time {
			break
		}
		if f := &o.file[0]; o.op == ebpf.OpOpen && o.proc == c.proc && f.self == e.target && f.parent == e.dir && bytes.Equal(j.now.get(f.name), j.now.get(e.name)) {
			return true
		}
	}
	return false
}

// place notes what a call that is certainly in its event says of the order. It
// must be told of the calls in the order of time.
func (j *joiner) place(c *call) {
	e := &j.now.events[c.event]
	if c.op == ebpf.OpLink {
		c.made = e.comesFirst(c)
	}
	switch bits := e.mask & explain; {
	case e.anchor != 0, e.maybe != 0, e.mixed && c.op == ebpf.OpOpen:
	case c.Flags&ebpf.Alone == 0, c.over > 0:
		// Another thread may be about to say that it opened it before; through
		// an overlay no call says so.
		c.first = c.op != ebpf.OpOpen && bits&(bits-1) == 0
	default:
		// Of an event with OPEN_EXEC the kernel's own open came first, of one
		// with CREATE that.
		c.first = bits&bitOpenExec == 0 && (bits&bitCreate == 0 || c.op != ebpf.OpOpen)
	}
	e.seen(c.Time, c.TID)
}

// comesFirst tells whether all else that is in an event may have come after a
// link: it may be back to a name, but a new one is likelier.
func (e *event) comesFirst(c *call) bool {
	return !e.made && e.unexplained()&^bitCreate == 0 && (e.anchor == 0 || e.anchor > c.prev)
}

// seen notes that an event was there when a call or an exec of a thread was over.
func (e *event) seen(at int64, thread uint32) {
	if e.anchor == 0 || at < e.anchor {
		e.anchor, e.thread = at, thread
	}
}

// last cuts a path into its directory part and its last component.
func last(path []byte) (dir, name []byte) {
	for len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	cut := bytes.LastIndexByte(path, '/')
	return path[:cut+1], path[cut+1:]
}

// nameBits returns which bit of an event a call makes, whether it is of a
// directory, and which of its texts is the name in the event.
func nameBits(op ebpf.Op) (bit, dir uint32, side int) {
	switch op {
	case ebpf.OpMkdir:
		return bitCreate, bitDir, 0
	case ebpf.OpMknod, ebpf.OpBind:
		return bitCreate, 0, 0
	case ebpf.OpLink, ebpf.OpSymlink:
		return bitCreate, 0, 1
	case ebpf.OpUnlink:
		return bitDelete, 0, 0
	case ebpf.OpRmdir:
		return bitDelete, bitDir, 0
	case ebpf.OpRename:
		return bitRename, 0, 0
	}
	return 0, 0, 0
}

// matchName finds the event of a call that makes, removes or renames a name.
// sure: only if its path is beyond doubt. One that a symbolic link is in tells
// less, and gets what is left.
func (j *joiner) matchName(c *call, sure bool) {
	bit, dir, side := nameBits(c.op)
	if bit == 0 {
		return
	}
	if c.text[side].n == 0 {
		if !sure {
			j.matchBlind(c, bit, dir)
		}
		return
	}
	text := j.now.get(c.text[side])
	if c.op == ebpf.OpRename && c.file[0].self == c.file[1].self && bytes.Equal(text, j.now.get(c.text[1])) {
		return // to itself: the kernel does nothing
	}
	_, name := last(text)
	b := j.searchName(c, bit, dir, side, name)
	certain := sameDir
	if bit == bitRename {
		certain *= 2
	}
	if b.count > 0 && b.score < certain && j.askLeads(c) {
		b = j.searchName(c, bit, dir, side, name)
	}
	if b.count == 0 || sure && b.score < certain {
		return
	}
	j.claim(c, b.event, bit, b.certain(&c.Header))
	if c.op == ebpf.OpLink {
		j.now.events[b.event].linked = true
	}
	if c.op == ebpf.OpRename {
		j.back(&j.now.events[b.event])
		if c.flags&unix.RENAME_EXCHANGE != 0 {
			j.matchExchange(c)
		}
	}
}

func (j *joiner) searchName(c *call, bit, dir uint32, side int, name []byte) best {
	var b best
	late := best{} // of removals that were merged into earlier events
	lateGone := uint64(0)
	for i := j.names.first(nameHash(uint64(c.ID.TGID), name)); i >= 0; i = j.now.events[i].nextName {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || !bytes.Equal(j.now.get(e.name), name) {
			continue
		}
		if e.born != 0 && e.born <= c.prev && bit&(bitDelete|bitRename) != 0 {
			// The name was made anew before the call began: whatever had it before
			// was gone by then.
			j.forget(&b, e)
			j.forget(&late, e)
		}
		if e.mask&bit == 0 {
			continue
		}
		score := j.scoreName(c, e, bit, dir, side)
		if !e.possible(c.proc, c.Time, c.prev) {
			continue
		}
		if bit == bitCreate && c.op != ebpf.OpLink && c.Flags&ebpf.Alone == 0 && j.queuedBy(i, c.prev) {
			continue // another thread's
		}
		claimed := (e.claimed|e.maybe)&bit != 0
		if bit == bitDelete && e.gone != e.seq && !e.linked {
			if late.count == 0 || score > late.score || score == late.score && !late.free && !claimed {
				lateGone = e.gone
			}
			late.consider(i, score, claimed)
			continue
		}
		if late.count > 0 && late.free && e.seq > lateGone {
			b.merge(&late)
		}
		b.consider(i, score, claimed)
		if perfect := sameDir; !claimed && c.Flags&ebpf.Alone != 0 && (score == perfect && bit != bitRename || score == 2*perfect) {
			break // no later one is better
		}
	}
	b.merge(&late)
	return b
}

// queuedBy tells whether an event was in the queue at a time: something behind
// it was done by then. It does not look far.
func (j *joiner) queuedBy(i int32, at int64) bool {
	const far = 64
	for k := range j.now.events[i+1 : min(int(i)+far, j.sealed)] {
		if e := &j.now.events[int(i)+1+k]; e.over != 0 && e.over <= at {
			return true
		}
	}
	return false
}

// back notes that a rename brought a file to a name that the process had
// removed: it can remove it again.
func (j *joiner) back(o *event) {
	for i := j.names.first(nameHash(uint64(o.pid), j.now.get(o.to))); i >= 0; i = j.now.events[i].nextName {
		if e := &j.now.events[i]; e.seq < o.seq && e.mask&bitDelete != 0 && e.target == o.target && e.dir == o.newDir && bytes.Equal(j.now.get(e.name), j.now.get(o.to)) {
			e.linked = true
		}
	}
}

// scoreName tells how well an event fits a call, below 0 if it does not.
func (j *joiner) scoreName(c *call, e *event, bit, dir uint32, side int) int {
	if e.copied && bit == bitCreate {
		return -1
	}
	if bit != bitRename && e.mask&bitDir != dir {
		return -1
	}
	// A new inode is made once, and a name is removed once: only a link can
	// come back to both.
	taken := e.claimed & bit
	if c.op == ebpf.OpSymlink && e.mask&bitOpen != 0 || bit == bitCreate && c.op != ebpf.OpLink && taken != 0 || bit == bitDelete && taken != 0 && !e.linked {
		return -1
	}
	text := j.now.get(c.text[side])
	score := j.scoreDir(c, e, text, side, e.dir)
	if score < 0 || bit != bitRename {
		return score
	}
	to := j.now.get(c.text[1])
	if _, name := last(to); c.text[1].n > 0 && !bytes.Equal(name, j.now.get(e.to)) {
		return -1
	}
	s := j.scoreDir(c, e, to, 1, e.newDir)
	// The same rename again is rare, as somebody must undo it; a rename of a
	// name to itself, or to another of the same file, makes no event.
	if s < 0 || taken != 0 && (score+s < 2*sameDir || !e.linked) {
		return -1
	}
	return score + s
}

// sameDir is the score of a directory that must be the one.
const sameDir = 4

// scoreDir tells how well the directory part of a path fits the directory of an
// event: 4 if it led there when the event was queued, 3 if at another time of
// what is pending, 0 to 2 if nothing speaks against it, -1 if it cannot.
func (j *joiner) scoreDir(c *call, e *event, text []byte, side int, dir fan.Inode) int {
	if c.leads[side] == dir && dir.FS != 0 {
		return sameDir
	}
	base := c.file[side].self
	part, _ := last(text)
	none, absolute := 0, len(text) > 0 && text[0] == '/'
	if c.Flags&ebpf.Alone != 0 && !absolute {
		none = -1
	}
	if !absolute && j.astray(c) {
		base = fan.Inode{}
	}
	best := sameDir
	if returns(part) {
		best, none = sameDir-1, 0
	}
	if j.climb(part, base, dir, e, 0, 0, none) == sameDir {
		return best
	}
	return min(j.climb(part, base, dir, nil, 0, 0, none), sameDir-1)
}

// returns tells whether a path has a ".." behind a name: if that is of a
// symbolic link, the two do not cancel each other.
func returns(path []byte) bool {
	named := false
	for comp := range bytes.SplitSeq(path, []byte{'/'}) {
		switch string(comp) {
		case "", ".":
		case "..":
			if named {
				return true
			}
		default:
			named = true
		}
	}
	return false
}

// astray tells whether another thread may have gone elsewhere between what a
// call did and its return, which says what its path was relative to.
func (j *joiner) astray(c *call) bool {
	if c.proc.Went > c.prev && c.proc.Goer != c.TID {
		return true
	}
	for _, i := range j.chdirs {
		if o := &j.now.calls[i]; o.proc == c.proc && o.TID != c.TID && o.Time > c.prev && o.Time < c.Time {
			return true
		}
	}
	return false
}

// climb goes up from a directory as a path says, until it gets to the directory
// that the path begins at: by the names of when an event was queued, or without
// one by all that there were. up is how many ".." of the path are behind.
func (j *joiner) climb(part []byte, base, dir fan.Inode, e *event, up, steps, none int) int {
	var comp []byte
	for {
		for len(part) > 0 && part[len(part)-1] == '/' {
			part = part[:len(part)-1]
		}
		cut := bytes.LastIndexByte(part, '/')
		comp, part = part[cut+1:], part[:cut+1]
		switch {
		case string(comp) == "..":
			up++
			continue
		case len(comp) > 0 && up > 0 && string(comp) != ".":
			up--
			continue
		}
		if string(comp) != "." {
			break
		}
	}
	score, found := min(1+steps, 2), false
	var tried [4]fan.Inode // a directory is renamed within one mostly; each is climbed once
	n := 0
	try := func(part []byte, base, dir, next fan.Inode, up int) {
		if n == len(tried) || slices.Contains(tried[:n], next) {
			return
		}
		tried[n] = next
		n++
		if s := j.climb(part, base, dir, e, up, steps+1, none); !found || s > score {
			score, found = s, true
		}
	}
	switch {
	case len(comp) > 0:
		// None: a symbolic link, or another directory. Nothing is certain.
		j.places(dir, e, comp, func(parent fan.Inode) { try(part, base, parent, parent, 0) })
	case base.FS == 0:
	case up > 0:
		j.places(base, e, nil, func(parent fan.Inode) { try(nil, parent, dir, parent, up-1) })
	case base == dir:
		return sameDir
	case steps == 0:
		return none
	default:
		return 0
	}
	return score
}

// places tells in which directory another one was under a name, nil for any,
// when an event was queued, or without one, all in which it was in what is
// pending.
func (j *joiner) places(dir fan.Inode, e *event, name []byte, in func(parent fan.Inode)) {
	at := func(parent fan.Inode, is []byte) {
		if name == nil || bytes.Equal(is, name) {
			in(parent)
		}
	}
	var next *event // the first rename behind e
	for i, ok := j.moved[dir]; ok && i >= 0; i = j.now.events[i].moved {
		o := &j.now.events[i]
		if e != nil && o.seq < e.seq {
			if next == nil {
				at(o.newDir, j.now.get(o.to))
				return
			}
			break
		}
		next = o
		if e == nil {
			at(o.newDir, j.now.get(o.to))
			at(o.dir, j.now.get(o.name))
		}
	}
	if e != nil && next != nil {
		at(next.dir, j.now.get(next.name))
	} else if i, ok := j.born[dir]; ok {
		at(j.now.events[i].dir, j.now.get(j.now.events[i].name))
	} else if parent, is, ok := j.graph.Where(dir); ok && (name == nil || is == string(name)) {
		in(parent)
	}
}

// matchBlind finds the event of a call whose text could not be read: any that
// fits and that nobody else made.
func (j *joiner) matchBlind(c *call, bit, dir uint32) {
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.pid == c.ID.TGID && !e.outside && e.mask&bit != 0 && (e.claimed|e.maybe)&bit == 0 && e.mask&bitDir == dir && e.possible(c.proc, c.Time, c.prev) {
			j.claim(c, int32(i), bit, false)
			return
		}
	}
}

// matchExchange claims the other half of an exchange.
func (j *joiner) matchExchange(c *call) {
	e := &j.now.events[c.event]
	if i := j.otherHalf(e); i >= 0 {
		o := &j.now.events[i]
		o.claimed |= bitRename
		o.over = c.Time
		o.seen(c.Time, c.TID)
		c.other = i
	}
}

// otherHalf finds the rename by the same process that is the opposite of one,
// as an exchange makes it, next in the queue; -1 if there is none.
func (j *joiner) otherHalf(e *event) int32 {
	name, to := j.now.get(e.to), j.now.get(e.name)
	half := int32(-1)
	for i := j.names.first(nameHash(uint64(e.pid), name)); i >= 0; i = j.now.events[i].nextName {
		o := &j.now.events[i]
		if o.target != e.target && o.pid == e.pid && o.mask&bitRename != 0 && o.dir == e.newDir && o.newDir == e.dir &&
			bytes.Equal(j.now.get(o.name), name) && bytes.Equal(j.now.get(o.to), to) {
			if half = i; o.seq > e.seq {
				break
			}
		}
	}
	return half
}

// matchExec claims the events of what the kernel opened for an exec: image,
// script, and interpreters.
func (j *joiner) matchExec(p *process) {
	j.claimLoaded(p, p.image.self)
	if p.interp.self.FS != 0 {
		j.claimLoaded(p, p.interp.self)
	}
	if p.Flags&ebpf.Script != 0 && p.script < 0 {
		var b best
		dir, name := last(j.now.get(p.filename))
		for i := j.names.first(nameHash(uint64(p.ID.TGID), name)); i >= 0; i = j.now.events[i].nextName {
			e := &j.now.events[i]
			if e.pid == p.ID.TGID && e.mask&bitOpenExec != 0 && e.target != p.image.self &&
				bytes.Equal(j.now.get(e.name), name) && e.possible(p.proc, p.Time, p.prev) {
				score := 0
				if fs := j.fs.Get(e.dir.FS); fs != nil && len(dir) > 0 && dir[0] == '/' {
					score = j.climb(dir, fs.Root, e.dir, e, 0, 0, 0)
				}
				b.consider(i, score, e.claimed&bitOpenExec != 0)
			}
		}
		if b.count == 0 { // it was executed by another name: a symbolic link, a descriptor
			b = j.otherOpen(p)
		}
		if b.count > 0 {
			p.script = b.event
			j.loaded(p, &b)
			j.matchMiddle(p)
		}
	}
	if p.Flags&ebpf.Interp != 0 && p.interp.name.n == 0 && p.interp.walk.n == 0 && p.loader < 0 {
		// An older kernel: it must be what else was opened for this, last.
		var b best
		for i := range j.now.events[:j.sealed] {
			e := &j.now.events[i]
			if e.pid == p.ID.TGID && e.mask&bitOpenExec != 0 && int32(i) != p.script && e.target != p.image.self && e.possible(p.proc, p.Time, p.prev) {
				b.consider(int32(i), i, false)
			}
		}
		if b.count > 0 {
			p.loader = b.event
			j.now.events[b.event].claimed |= bitOpen | bitOpenExec
		}
	}
}

// otherOpen finds what the kernel opened for an exec beside image and
// interpreter. If all that is was for an earlier exec, this one may have been
// merged into it; but an absolute name can be resolved, and that is better.
func (j *joiner) otherOpen(p *process) best {
	var b best
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.pid == p.ID.TGID && e.mask&bitOpenExec != 0 && e.target != p.image.self && e.target != p.interp.self && e.possible(p.proc, p.Time, p.prev) {
			b.consider(int32(i), 0, e.claimed&bitOpenExec != 0)
		}
	}
	if !b.free && bytes.HasPrefix(j.now.get(p.filename), []byte("/")) && !bytes.HasPrefix(j.now.get(p.filename), []byte("/dev/fd/")) {
		return best{}
	}
	return b
}

// claimLoaded returns the event of a file that the kernel opened, -1 if there
// is none.
func (j *joiner) claimLoaded(p *process, target fan.Inode) int32 {
	b := best{event: -1}
	for i := j.targets.first(targetHash(p.ID.TGID, target)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid == p.ID.TGID && e.target == target && e.mask&bitOpenExec != 0 && e.possible(p.proc, p.Time, p.prev) {
			b.consider(i, 0, e.claimed&bitOpenExec != 0)
		}
	}
	j.loaded(p, &b)
	return b.event
}

// loaded notes that the kernel opened a file before the exec record.
func (j *joiner) loaded(p *process, b *best) {
	if b.count == 0 {
		return
	}
	e := &j.now.events[b.event]
	e.claimed |= bitOpen | bitOpenExec
	e.owner = p.proc
	if b.certain(&p.Header) {
		e.seen(p.Time, p.TID)
	}
}
