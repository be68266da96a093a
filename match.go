package fanrec

import (
	"bytes"

	"fanrec/ebpf"
	"fanrec/fan"

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
// by the name that was made, removed or renamed.
func (j *joiner) build() {
	j.targets.reset(2 * j.sealed)
	j.names.reset(2 * j.sealed)
	clear(j.born)
	clear(j.moved)
	for i := range j.now.events {
		e := &j.now.events[i]
		e.nextTarget, e.nextName = -1, -1
		j.noteDir(e, int32(i))
		if i >= j.sealed || e.outside {
			continue
		}
		if e.mask&(bitOpen|bitCreate) != 0 {
			b := j.targets.bucket(targetHash(e.pid, e.target))
			if j.targets.heads[b] < 0 {
				j.targets.heads[b] = int32(i)
			} else {
				j.now.events[j.targets.tails[b]].nextTarget = int32(i)
			}
			j.targets.tails[b] = int32(i)
		}
		// Kernel opens are looked for by name, too: a script's.
		if e.mask&(bitCreate|bitDelete|bitRename|bitOpenExec) != 0 {
			b := j.names.bucket(nameHash(uint64(e.pid), j.now.get(e.name)))
			if j.names.heads[b] < 0 {
				j.names.heads[b] = int32(i)
			} else {
				j.now.events[j.names.tails[b]].nextName = int32(i)
			}
			j.names.tails[b] = int32(i)
		}
	}
}

// match finds the event of every call and of every exec whose event must have
// been read by now, in the order of time: what a call can have made belongs to
// the earliest call that can have made it.
func (j *joiner) match() {
	p := 0
	for i := range j.now.calls {
		c := &j.now.calls[i]
		for ; p < len(j.now.procs) && j.now.procs[p].Time <= c.Time; p++ {
			j.matchExec(&j.now.procs[p])
		}
		if !c.seen {
			c.prev, c.seen = c.proc.Saw(&c.Header), true
		}
		switch {
		case !c.ready:
			j.matchCall(c)
		case c.early:
			j.place(c)
		}
	}
	// Not all calls of later than the barrier are known.
	for ; p < len(j.now.procs) && j.now.procs[p].Time <= j.after; p++ {
		j.matchExec(&j.now.procs[p])
	}
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

// certain tells whether the call must have made the event or been merged into
// it: there was no other, or it is the earliest and nobody else made it.
func (b *best) certain() bool { return b.count == 1 || b.free && b.event == b.first }

// possible tells whether a call of a thread that returned at time at and whose
// previous record is of time prev can be in an event. exact: the event has the
// very key under which the kernel would have merged the call into it.
func (j *joiner) possible(e *event, at, prev int64, exact bool) bool {
	if at < e.floor || prev > e.end {
		return false
	}
	// The events of a later call may not all have been read. But as long as an
	// event had not been read, a call of its key went into that.
	return at <= j.closed || exact && at < e.begin
}

// matchCall finds the event that a call made or was merged into.
func (j *joiner) matchCall(c *call) {
	switch c.op {
	case ebpf.OpChdir, ebpf.OpChroot, ebpf.OpTruncate:
		c.ready = c.Time <= j.closed
		return
	case ebpf.OpOpen:
		j.matchOpen(c)
	default:
		j.matchName(c)
	}
	if c.event < 0 {
		c.ready = c.Time <= j.closed
	}
}

func (j *joiner) matchOpen(c *call) {
	if c.file[0].self.FS == 0 {
		return
	}
	if c.fmode&ebpf.FModeCreated != 0 {
		j.matchCreate(c)
		return
	}
	if b := j.searchOpen(c); b.count > 0 {
		j.claim(c, b.event, bitOpen, b.certain())
	}
}

func (j *joiner) searchOpen(c *call) best {
	f := &c.file[0]
	var b best
	for i := j.targets.first(targetHash(c.ID.TGID, f.self)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.target != f.self || e.mask&bitOpen == 0 {
			continue
		}
		score := 1 // it was renamed while the call returned
		if e.dir == (fan.Inode{}) || e.dir == f.parent && bytes.Equal(j.now.get(e.name), j.now.get(f.name)) {
			score = 2
		}
		if !j.possible(e, c.Time, c.prev, score == 2) {
			continue
		}
		b.consider(i, score, (e.claimed|e.maybe)&bitOpen != 0)
	}
	return b
}

// matchCreate finds the events of an open that made the file. Nothing can have
// happened to the file before, so it is the first that has CREATE. The OPEN is
// another event if the queue was read between the two, or the file renamed.
func (j *joiner) matchCreate(c *call) {
	self := c.file[0].self
	for i := j.targets.first(targetHash(c.ID.TGID, self)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.target != self || e.mask&bitCreate == 0 {
			continue
		}
		if !j.possible(e, c.Time, c.prev, e.mask&bitOpen != 0) {
			return
		}
		j.claim(c, i, bitCreate|e.mask&bitOpen, true)
		if e.mask&bitOpen != 0 {
			return
		}
		if b := j.searchOpen(c); b.count > 0 {
			o := &j.now.events[b.event]
			o.claimed |= bitOpen
			o.seen(c.Time, c.TID)
		}
		return
	}
}

// claim joins a call with its event.
func (j *joiner) claim(c *call, i int32, bits uint32, certain bool) {
	e := &j.now.events[i]
	c.event, c.ready = i, true
	if !certain {
		// It may have been merged into an event that was read before, and the
		// call that made this one has not returned: it orders nothing.
		e.maybe |= bits
		c.maybe = true
		return
	}
	c.made = bits&bitCreate != 0 && c.op != ebpf.OpLink
	e.claimed |= bits
	j.place(c)
}

// place notes what a call that is certainly in its event says of the order. It
// must be asked in the order of time, so not as long as calls of before may
// still come.
func (j *joiner) place(c *call) {
	if c.early = c.Time > j.closed; c.early {
		return
	}
	e := &j.now.events[c.event]
	// Of two calls that overlap either can have made it. Of an event with
	// OPEN_EXEC the kernel's own open came first, of one with CREATE that.
	e.shared = e.shared || e.anchor != 0 && c.TID != e.thread && c.prev < e.anchor
	c.first = e.anchor == 0 && e.maybe == 0 && e.mask&bitOpenExec == 0 && (e.mask&bitCreate == 0 || c.op != ebpf.OpOpen)
	e.seen(c.Time, c.TID)
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

// matchName finds the event of a call that makes, removes or renames a name.
func (j *joiner) matchName(c *call) {
	var bit, dir uint32
	side := 0 // which text is the name in the event
	switch c.op {
	case ebpf.OpMkdir:
		bit, dir = bitCreate, bitDir
	case ebpf.OpMknod, ebpf.OpBind:
		bit = bitCreate
	case ebpf.OpLink, ebpf.OpSymlink:
		bit, side = bitCreate, 1
	case ebpf.OpUnlink:
		bit = bitDelete
	case ebpf.OpRmdir:
		bit, dir = bitDelete, bitDir
	case ebpf.OpRename:
		bit = bitRename
	}
	if c.text[side].n == 0 {
		j.matchBlind(c, bit, dir)
		return
	}
	text := j.now.get(c.text[side])
	_, name := last(text)
	b := j.searchName(c, bit, dir, side, name)
	if b.count == 0 {
		return
	}
	j.claim(c, b.event, bit, b.certain())
	if c.op == ebpf.OpLink {
		j.now.events[b.event].linked = true
	}
	if c.op == ebpf.OpRename && c.flags&unix.RENAME_EXCHANGE != 0 {
		j.matchExchange(c)
	}
}

func (j *joiner) searchName(c *call, bit, dir uint32, side int, name []byte) best {
	var b best
	for i := j.names.first(nameHash(uint64(c.ID.TGID), name)); i >= 0; i = j.now.events[i].nextName {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.mask&bit == 0 || !bytes.Equal(j.now.get(e.name), name) {
			continue
		}
		// The kernel's key has the inode, too, which the call does not tell.
		score := j.scoreName(c, e, bit, dir, side)
		if !j.possible(e, c.Time, c.prev, false) {
			continue
		}
		b.consider(i, score, (e.claimed|e.maybe)&bit != 0)
	}
	return b
}

// scoreName tells how well an event fits a call, below 0 if it does not.
func (j *joiner) scoreName(c *call, e *event, bit, dir uint32, side int) int {
	if bit != bitRename && e.mask&bitDir != dir {
		return -1
	}
	// A new inode is made once, and a name is removed once: only a link can
	// come back to both.
	taken := (e.claimed | e.maybe) & bit
	if bit == bitCreate && c.op != ebpf.OpLink && taken != 0 || bit == bitDelete && taken != 0 && !e.linked {
		return -1
	}
	text := j.now.get(c.text[side])
	score := j.scoreDir(c, text, c.file[side].self, e.dir)
	if score < 0 || bit != bitRename {
		return score
	}
	to := j.now.get(c.text[1])
	if _, name := last(to); c.text[1].n > 0 && !bytes.Equal(name, j.now.get(e.to)) {
		return -1
	}
	s := j.scoreDir(c, to, c.file[1].self, e.newDir)
	// The same rename again is rare, as somebody must undo it; a rename of a
	// name to itself, or to another of the same file, makes no event.
	if s < 0 || taken != 0 && score+s < 2*sameDir {
		return -1
	}
	return score + s
}

// sameDir is the score of a directory that must be the one.
const sameDir = 3

// scoreDir tells how well the directory part of a path fits a directory: 3 if
// it must be that one, 0 or 1 if nothing speaks for it, -1 if it is not.
func (j *joiner) scoreDir(c *call, text []byte, base, dir fan.Inode) int {
	part, _ := last(text)
	steps := 0
	for {
		for len(part) > 0 && part[len(part)-1] == '/' {
			part = part[:len(part)-1]
		}
		cut := bytes.LastIndexByte(part, '/')
		comp := part[cut+1:]
		if len(comp) == 0 {
			break
		}
		part = part[:cut+1]
		if string(comp) == "." {
			continue
		}
		parent, ok := j.called(dir, comp)
		if !ok {
			// A symbolic link, "..", or another directory: nothing is certain.
			return min(1+steps, 2)
		}
		dir = parent
		steps++
	}
	switch {
	case base.FS == 0:
		return min(1+steps, 2)
	case base == dir:
		return sameDir
	case steps == 0 && c.Flags&ebpf.Alone != 0 && len(text) > 0 && text[0] != '/':
		return -1
	}
	return 0
}

// called tells whether a directory had a name at any time of what is pending,
// and its parent then. Good enough to choose between candidates.
func (j *joiner) called(dir fan.Inode, name []byte) (fan.Inode, bool) {
	if parent, is, ok := j.graph.Where(dir); ok && is == string(name) {
		return parent, true
	}
	if i, ok := j.born[dir]; ok {
		if e := &j.now.events[i]; bytes.Equal(j.now.get(e.name), name) {
			return e.dir, true
		}
	}
	i, ok := j.moved[dir]
	for ok && i >= 0 {
		e := &j.now.events[i]
		if bytes.Equal(j.now.get(e.to), name) {
			return e.newDir, true
		}
		if bytes.Equal(j.now.get(e.name), name) {
			return e.dir, true
		}
		i = e.moved
	}
	return fan.Inode{}, false
}

// matchBlind finds the event of a call whose text could not be read: any that
// fits and that nobody else made.
func (j *joiner) matchBlind(c *call, bit, dir uint32) {
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.pid == c.ID.TGID && !e.outside && e.mask&bit != 0 && (e.claimed|e.maybe)&bit == 0 && e.mask&bitDir == dir && j.possible(e, c.Time, c.prev, false) {
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
		o.seen(c.Time, c.TID)
		c.other = i
	}
}

// otherHalf finds the rename by the same process that is the opposite of one,
// as an exchange makes it; -1 if there is none.
func (j *joiner) otherHalf(e *event) int32 {
	name, to := j.now.get(e.to), j.now.get(e.name)
	for i := j.names.first(nameHash(uint64(e.pid), name)); i >= 0; i = j.now.events[i].nextName {
		o := &j.now.events[i]
		if o != e && o.pid == e.pid && o.mask&bitRename != 0 && o.dir == e.newDir && o.newDir == e.dir &&
			bytes.Equal(j.now.get(o.name), name) && bytes.Equal(j.now.get(o.to), to) {
			return i
		}
	}
	return -1
}

// matchExec claims the events of what the kernel opened for an exec: image,
// script, and interpreters.
func (j *joiner) matchExec(p *process) {
	if p.kind == ebpf.Exec && !p.seen {
		// execve gives the thread that calls it the number of the first one.
		alone := p.proc.Alone
		if p.prev, p.seen = p.proc.Saw(&p.Header), true; !alone {
			p.prev = p.proc.Forked
		}
	}
	if p.kind != ebpf.Exec || p.done || p.Time > j.closed {
		return
	}
	j.claimLoaded(p, p.image.self)
	if p.interp.self.FS != 0 {
		j.claimLoaded(p, p.interp.self)
	}
	if p.Flags&ebpf.Script != 0 && p.script < 0 {
		var b best
		_, name := last(j.now.get(p.filename))
		for i := j.names.first(nameHash(uint64(p.ID.TGID), name)); i >= 0; i = j.now.events[i].nextName {
			e := &j.now.events[i]
			if e.pid == p.ID.TGID && e.mask&bitOpenExec != 0 && e.target != p.image.self &&
				bytes.Equal(j.now.get(e.name), name) && j.possible(e, p.Time, p.prev, false) {
				b.consider(i, 0, e.claimed&bitOpenExec != 0)
			}
		}
		if b.count > 0 {
			p.script = b.event
			j.loaded(p, &b)
		}
	}
	if p.Flags&ebpf.Interp != 0 && p.interp.name.n == 0 && p.interp.walk.n == 0 && p.loader < 0 {
		// An older kernel: it must be what else was opened for this.
		var b best
		for i := range j.now.events[:j.sealed] {
			e := &j.now.events[i]
			if e.pid == p.ID.TGID && e.mask&bitOpenExec != 0 && int32(i) != p.script && e.target != p.image.self && j.possible(e, p.Time, p.prev, false) {
				b.consider(int32(i), 0, e.claimed&bitOpenExec != 0)
			}
		}
		if b.count > 0 {
			p.loader = b.event
			j.loaded(p, &b)
		}
	}
}

func (j *joiner) claimLoaded(p *process, target fan.Inode) {
	var b best
	for i := j.targets.first(targetHash(p.ID.TGID, target)); i >= 0; i = j.now.events[i].nextTarget {
		e := &j.now.events[i]
		if e.pid == p.ID.TGID && e.target == target && e.mask&bitOpenExec != 0 && j.possible(e, p.Time, p.prev, false) {
			b.consider(i, 0, e.claimed&bitOpenExec != 0)
		}
	}
	j.loaded(p, &b)
}

// loaded notes that the kernel opened a file before the exec record.
func (j *joiner) loaded(p *process, b *best) {
	if b.count == 0 {
		return
	}
	e := &j.now.events[b.event]
	e.claimed |= bitOpen | bitOpenExec
	if b.certain() {
		e.seen(p.Time, p.TID)
	}
}
