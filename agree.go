package fanrec

import (
	"math"
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"
)

// What made an event is ordered by the queue, what was merged into one only by
// the return of its call, and an open by the queue only after the name was
// looked up. If calls overlap, that may put the use of a name behind its removal
// by another thread, or a new file before the removal of the old one. The
// events say exactly which name meant which file, so such a call is moved to
// where the names agree, if the record of its thread before it allows that.

// use is what an op needs of a name, and leaves: an empty Inode is no file.
type use struct {
	place  uint64 // hash of directory and name, never 0
	before fan.Inode
	after  fan.Inode
	any    bool // the name may mean anything before: a rename replaces it
}

func placeHash(dir fan.Inode, name []byte) uint64 {
	return nameHash(targetHash(0, dir), name) | 1
}

// uses returns what an op needs and leaves of the names that its events tell.
func (j *joiner) uses(dst []use, o *op) []use {
	switch o.kind {
	case opCall:
		c := &j.now.calls[o.i]
		if c.event < 0 || c.whiteout { // whose event has the name in the workdir
			return dst
		}
		e := &j.now.events[c.event]
		switch c.op {
		case ebpf.OpOpen:
			if c.fmode&ebpf.FModeCreated != 0 {
				return j.usesOf(dst, e, bitCreate)
			}
			return j.usesOf(dst, e, bitOpen)
		case ebpf.OpUnlink, ebpf.OpRmdir:
			return j.usesOf(dst, e, bitDelete)
		case ebpf.OpRename:
			dst = j.usesOf(dst, e, bitRename)
			if n := len(dst); c.other >= 0 {
				other := j.now.events[c.other].target
				dst[n-2].after, dst[n-1].before, dst[n-1].any = other, other, false
			}
			return dst
		case ebpf.OpMkdir, ebpf.OpMknod, ebpf.OpBind, ebpf.OpLink, ebpf.OpSymlink:
			return j.usesOf(dst, e, bitCreate)
		}
	case opEvent:
		e := &j.now.events[o.i]
		for _, bit := range [...]uint32{bitCreate, bitRename, bitDelete} {
			if e.mask&bit != 0 {
				dst = j.usesOf(dst, e, bit)
			}
		}
	}
	return dst
}

func (j *joiner) usesOf(dst []use, e *event, bit uint32) []use {
	if e.dir == (fan.Inode{}) {
		return dst // a directory that was opened: it may have been removed
	}
	u := use{place: placeHash(e.dir, j.now.get(e.name))}
	if bit != bitCreate {
		u.before = e.target
	}
	if bit == bitCreate || bit == bitOpen {
		u.after = e.target
	}
	dst = append(dst, u)
	if bit == bitRename {
		dst = append(dst, use{place: placeHash(e.newDir, j.now.get(e.to)), after: e.target, any: true})
	}
	return dst
}

// changer is what changes the meaning of a name.
type changer struct {
	place     uint64
	thread    uint32 // the first that does
	contested bool   // calls of several threads may overlap here
	known     bool   // is is known
	last      int64  // when that thread changed it last,
	other     int64  // and when any other did
	is        fan.Inode
}

// changers are found by the place, in a hash table of their numbers: most places
// are only read.
type changers struct {
	slots []int32 // number from 1, 0: empty
	all   []changer
}

func (cs *changers) reset(ops int) {
	size := 64
	for size <= 4*ops { // an op has up to four uses
		size *= 2
	}
	cs.slots = slices.Grow(cs.slots[:0], size)[:size]
	clear(cs.slots)
	cs.all = cs.all[:0]
}

func (cs *changers) slot(place uint64) *int32 {
	for i := place; ; i++ {
		if s := &cs.slots[i&uint64(len(cs.slots)-1)]; *s == 0 || cs.all[*s-1].place == place {
			return s
		}
	}
}

// of returns the entry of a place, nil if nothing changes that.
func (cs *changers) of(place uint64) *changer {
	if s := *cs.slot(place); s != 0 {
		return &cs.all[s-1]
	}
	return nil
}

// note notes that a thread changes a place.
func (cs *changers) note(place uint64, thread uint32, at int64) {
	s := cs.slot(place)
	if *s == 0 {
		cs.all = append(cs.all, changer{place: place, thread: thread, last: at})
		*s = int32(len(cs.all))
		return
	}
	if c := &cs.all[*s-1]; c.thread == thread {
		c.last = at
	} else {
		c.other = at
	}
}

// contested notes the names that calls of several threads may have used at
// one time, one of them to change it. It reports whether there are any.
func (j *joiner) contested() bool {
	j.changers.reset(len(j.ops))
	for i := range j.ops {
		o := &j.ops[i]
		_, thread, _ := j.since(o)
		j.used = j.uses(j.used[:0], o)
		for _, u := range j.used {
			if u.before != u.after {
				j.changers.note(u.place, thread, o.key)
			}
		}
	}
	found := false
	for i := range j.ops {
		since, thread, movable := j.since(&j.ops[i])
		if !movable {
			continue
		}
		j.used = j.uses(j.used[:0], &j.ops[i])
		for _, u := range j.used {
			c := j.changers.of(u.place)
			if c != nil && (c.other > since || c.thread != thread && c.last > since) {
				c.contested, found = true, true
			}
		}
	}
	return found
}

// since returns the time after which an op was done, its thread, and whether
// it may be moved.
func (j *joiner) since(o *op) (at int64, thread uint32, movable bool) {
	if o.kind != opCall {
		return 0, 0, false
	}
	c := &j.now.calls[o.i]
	if c.maybe && c.op != ebpf.OpOpen {
		return math.MaxInt64, c.TID, false // it is not even known which file it was
	}
	return c.prev, c.TID, c.event >= 0 && (!j.maker(c) || c.op == ebpf.OpOpen && !c.made)
}

// agree moves calls until the names agree, as far as that can be had. What is
// not before limit may not be complete: what it lacks may still come.
func (j *joiner) agree(limit int64) {
	if !j.contested() {
		return
	}
	j.effort = agreeEffort
	for moves := 0; moves < 1000 && j.moveOne(limit); moves++ {
	}
}

// agreeEffort bounds how many ops are looked at: it is better to leave some order
// undecided than to let the rings overflow.
const agreeEffort = 1 << 20

// usesWhile is uses for a search, into a buffer of its own.
func (j *joiner) usesWhile(o *op) []use {
	j.effort--
	j.looked = j.uses(j.looked[:0], o)
	return j.looked
}

// moveOne goes through the ops until one does not agree with those before it,
// and moves it or one behind it.
func (j *joiner) moveOne(limit int64) bool {
	for i := range j.changers.all {
		j.changers.all[i].known = false
	}
	for i := range j.ops {
		if j.effort--; j.effort < 0 {
			return false
		}
		complete := j.ops[i].key < limit
		j.used = j.uses(j.used[:0], &j.ops[i])
		for _, u := range j.used {
			c := j.changers.of(u.place)
			if c == nil || !c.contested || !c.known {
				continue
			}
			// Somebody uses already what this makes.
			if u.before != u.after && c.is == u.after && j.moveBack(i, u.place, u.after, true) {
				return true
			}
			if !u.any && c.is != u.before && (j.moveOther(i, u, c.is) || j.moveBack(i, u.place, u.before, false) ||
				complete && (j.bringForward(i, u, c.is) || j.moveFree(i, u.place, u.before))) {
				return true
			}
		}
		for _, u := range j.used {
			if c := j.changers.of(u.place); c != nil && c.contested {
				c.is, c.known = u.after, true
			}
		}
	}
	return false
}

// moveBack moves an op in front of those that used what it makes of a name, or
// of the one that took away what it needs.
func (j *joiner) moveBack(i int, place uint64, file fan.Inode, used bool) bool {
	since, _, movable := j.since(&j.ops[i])
	if !movable {
		return false
	}
	to := -1
	for k := i - 1; k >= 0 && j.ops[k].key > since && j.effort > 0; k-- {
		for _, u := range j.usesWhile(&j.ops[k]) {
			switch {
			case u.place != place:
			case used && u.before == file && (to < 0 || u.after == file):
				to = k
			case used:
				return to >= 0 && j.moveOp(i, to, since)
			case u.before == file && u.after != file:
				return j.moveOp(i, k, since)
			case u.after == file:
				return to >= 0 && j.moveOp(i, to, since)
			case u.any:
				to = k // if it is what was replaced
			}
		}
	}
	return to >= 0 && used && j.moveOp(i, to, since)
}

// moveOther moves the op that took a name away from what an op needs in front of
// the one that gave it that, if its own place is less certain: it was merged into
// an earlier event, and a rename had replaced what it made.
func (j *joiner) moveOther(i int, need use, is fan.Inode) bool {
	other := -1
	for k := i - 1; k >= 0 && j.effort > 0; k-- {
		for _, u := range j.usesWhile(&j.ops[k]) {
			switch {
			case u.place != need.place || u.before == u.after:
			case other < 0:
				if _, _, movable := j.since(&j.ops[k]); u.after != is || !movable {
					return false
				}
				other = k
			case u.after == need.before && u.any:
				since, _, _ := j.since(&j.ops[other])
				return j.moveOp(other, k, since)
			default:
				return false
			}
		}
	}
	return false
}

// moveFree moves an op in front of the one that made a file under the name: the
// name was free then.
func (j *joiner) moveFree(i int, place uint64, file fan.Inode) bool {
	since, _, movable := j.since(&j.ops[i])
	for k := i - 1; movable && k >= 0 && j.ops[k].key > since && j.effort > 0; k-- {
		for _, u := range j.usesWhile(&j.ops[k]) {
			if u.place == place && u.before == (fan.Inode{}) && u.after != file {
				return j.moveOp(i, k, since)
			}
		}
	}
	return false
}

// bringForward moves an op that makes what another needs in front of that.
func (j *joiner) bringForward(i int, need use, is fan.Inode) bool {
	for k := i + 1; k < len(j.ops) && j.effort > 0; k++ {
		if j.ops[k].kind != opCall {
			continue
		}
		since, _, _ := j.since(&j.ops[k])
		for _, u := range j.usesWhile(&j.ops[k]) {
			if u.place == need.place && u.after == need.before && (u.before == is || u.any) && j.moveOp(k, i, since) {
				return true
			}
		}
	}
	return false
}

// moveOp puts an op in front of an earlier one, unless it was done since then.
func (j *joiner) moveOp(from, to int, since int64) bool {
	if since >= j.ops[to].key {
		return false
	}
	o := j.ops[from]
	o.key = j.ops[to].key
	j.ops = slices.Insert(slices.Delete(j.ops, from, from+1), to, o)
	return true
}
