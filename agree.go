package fanrec

import (
	"slices"

	"fanrec/ebpf"
	"fanrec/fan"
)

// The place in the queue orders what made an event, and the return of a call
// is only an upper bound for what was merged into one. If calls overlap, that
// may put the use of a name behind its removal by another thread, or a new file
// before the removal of the old one. The events say exactly which name meant
// which file, so what is merged is moved to where the names agree, if the time
// since the record of its thread before it allows that.

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
		if c.event < 0 {
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
			if c.other >= 0 {
				dst = j.usesOf(dst, &j.now.events[c.other], bitRename)
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

// changer notes which thread changes a place.
type changer struct {
	place  uint64
	thread uint32
	many   bool
}

// contested tells whether a call that was merged uses a name that another
// thread changes.
func (j *joiner) contested() bool {
	size := 64
	for size < 4*len(j.ops) {
		size *= 2
	}
	if len(j.changers) < size {
		j.changers = make([]changer, size)
	}
	table := j.changers[:size]
	clear(table)
	find := func(place uint64) *changer {
		for i := place; ; i++ {
			if c := &table[i&uint64(size-1)]; c.place == place || c.place == 0 {
				return c
			}
		}
	}
	merged := false
	for i := range j.ops {
		o := &j.ops[i]
		_, thread, movable := j.since(o)
		merged = merged || movable
		j.used = j.uses(j.used[:0], o)
		for _, u := range j.used {
			if u.before == u.after {
				continue
			}
			switch c := find(u.place); {
			case c.place == 0:
				*c = changer{place: u.place, thread: thread}
			case c.thread != thread:
				c.many = true
			}
		}
	}
	if !merged {
		return false
	}
	for i := range j.ops {
		_, thread, movable := j.since(&j.ops[i])
		if !movable {
			continue
		}
		j.used = j.uses(j.used[:0], &j.ops[i])
		for _, u := range j.used {
			if c := find(u.place); c.place != 0 && (c.many || c.thread != thread) {
				return true
			}
		}
	}
	return false
}

// since returns the time after which an op was done, its thread, and whether
// it may be moved.
func (j *joiner) since(o *op) (lo int64, thread uint32, movable bool) {
	if o.kind != opCall {
		return 0, 0, false
	}
	c := &j.now.calls[o.i]
	return c.prev, c.TID, c.event >= 0 && !j.maker(c)
}

// agree moves calls until the names agree, as far as that can be had.
func (j *joiner) agree() {
	if !j.contested() {
		return
	}
	for moves := 0; moves < 1000 && j.moveOne(); moves++ {
	}
}

// moveOne goes through the ops until one does not agree with those before it,
// and moves it or one behind it.
func (j *joiner) moveOne() bool {
	clear(j.meaning)
	for i := range j.ops {
		o := &j.ops[i]
		j.used = j.uses(j.used[:0], o)
		for _, u := range j.used {
			is, known := j.meaning[u.place]
			if known && !u.any && is != u.before && (j.moveBack(i, u) || j.bringForward(i, u, is)) {
				return true
			}
		}
		for _, u := range j.used {
			j.meaning[u.place] = u.after
		}
	}
	return false
}

// moveBack moves an op in front of the one that took away what it needs.
func (j *joiner) moveBack(i int, need use) bool {
	lo, _, movable := j.since(&j.ops[i])
	if !movable {
		return false
	}
	for k := i - 1; k >= 0 && j.ops[k].key > lo; k-- {
		for _, u := range j.uses(nil, &j.ops[k]) {
			if u.place == need.place && u.after != u.before && (u.before == need.before || u.any) {
				j.moveOp(i, k)
				return true
			}
		}
	}
	return false
}

// bringForward moves an op that makes what another needs in front of that.
func (j *joiner) bringForward(i int, need use, is fan.Inode) bool {
	for k := i + 1; k < len(j.ops); k++ {
		lo, _, movable := j.since(&j.ops[k])
		if !movable || lo >= j.ops[i].key {
			continue
		}
		for _, u := range j.uses(nil, &j.ops[k]) {
			if u.place == need.place && u.after == need.before && (u.before == is || u.any) {
				j.moveOp(k, i)
				return true
			}
		}
	}
	return false
}

// moveOp puts an op in front of an earlier one.
func (j *joiner) moveOp(from, to int) {
	o := j.ops[from]
	o.key = j.ops[to].key
	j.ops = slices.Insert(slices.Delete(j.ops, from, from+1), to, o)
}
