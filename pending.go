package fanrec

import (
	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/proctree"
)

// What has arrived and is not yet released. An item lives from its arrival
// until its records are out, and an event for one epoch more, as a call may
// still return that was merged into it.

// span is a piece of pending.text.
type span struct{ off, n uint32 }

// file is a file as a record of the tracker names it.
type file struct {
	self   fan.Inode // FS is 0 where fanotify does not watch; the path is then in walk
	parent fan.Inode
	dev    uint32
	mode   uint16
	name   span
	walk   span
}

// The bits of an event that must be explained by a call or an exec.
const explain = bitOpen | bitOpenExec | bitCreate | bitDelete | bitRename

// event is a fanotify event.
type event struct {
	seq    uint64 // place in the queue
	mask   uint32
	pid    uint32
	dir    fan.Inode // zero for an event on a directory itself, which is then target
	newDir fan.Inode
	target fan.Inode
	name   span
	to     span  // rename: the new name
	floor  int64 // it was queued after this time: a barrier in front of it
	begin  int64 // the read(2) that returned it began and ended at these times:
	end    int64 // what was merged into it had happened before end

	claimed uint32            // bits that calls explain
	maybe   uint32            // bits that calls explain which may belong to an earlier event
	maybes  int32             // so many calls
	awaited uint64            // the last round of decide in which a call that it may belong to had to wait
	owner   *proctree.Process // whose call or exec is in it
	born    int64             // the call that certainly made the file returned then; 0: none
	over    int64             // the last call that was found in it returned then
	gone    uint64            // place in the queue behind which its DELETE, if it has one, was done
	late    int64             // the last open that may be in it returned then
	mixed   bool              // opens of several threads may be in it
	made    bool              // the call that made the file is in it
	anchor  int64             // the earliest call that is certainly in it returned then; 0: none
	thread  uint32            // that call's thread
	named   int64             // what it made was used by a call that returned then; 0: none
	bound   int64             // it was queued before this time
	note    uint32            // bits that are still to become records of their own
	noted   int32             // the op of these, while ops are collected
	applied uint32            // bits that the directory graph knows of
	copied  bool              // an overlay made it
	linked  bool              // a link call is in it, or a rename made what it removed again
	pinned  bool              // something that waits refers to it
	aside   bool              // of a queue of its own, and name is the whole path: see sight
	outside bool              // by a process outside of the tree; only changes of directories are kept
	settled bool              // no call will come that explains the rest
	done    bool              // everything in it is released
	kept    bool              // and yet it is kept
	// Neighbours in the indexes, -1 at the end.
	nextTarget, nextName, nextBirth int32
	moved                           int32 // the rename of the same directory before this one; -1: none
}

func (e *event) unexplained() uint32 { return e.mask & explain &^ e.claimed }

// call is a call record.
type call struct {
	ebpf.Header
	proc  *proctree.Process
	op    ebpf.Op
	flags uint32
	fmode uint32
	file  [2]file
	text  [2]span
	// Through an overlay: file and text are then of its upper layer.
	over     int32   // number of the overlay, from 1; 0: not yet known; -1: none
	merged   [2]span // the paths that were meant
	whiteout bool    // its event is a rename out of the workdir: what counts is where to
	blank    bool    // it made no event: a rename that did nothing
	prev     int64   // time of the thread's record before
	event    int32   // index of the event it made or was merged into; -1: none
	other    int32   // exchange: the second event; -1: none
	seen     bool    // prev is set
	first    bool    // it made the event, so that the queue orders it
	made     bool    // it made the name: no other call in the event can have come before
	maybe    bool    // it may have been merged into an earlier event, which is not yet known
	ready    bool    // its event is found, or it is known to have none
	done     bool
	leads    [2]fan.Inode // where the directory parts of the texts led when that was asked
	asked    bool         // leads is set
	// A request to a ring. Of an open file[1] is what the text is relative to,
	// and file[0] is zero where what was opened is not known.
	request uint64
	ring    bool
	quiet   bool // no completion tells that it succeeded
}

// process is a process record.
type process struct {
	ebpf.Header
	kind     ebpf.Kind
	proc     *proctree.Process
	parent   *proctree.Process
	status   uint32 // Held: how it was opened
	comm     span
	image    file // Held: the file
	interp   file // Follow: the working directory
	base     file // of a script: what filename is relative to; Follow: the root directory
	request  uint32
	cgroup   uint64 // Exec
	fresh    bool   // Follow: it was not in any tree; Held: it is only mapped
	filename span
	args     span
	prev     int64            // time of the thread's record before
	script   int32            // index of the event of a script that the kernel opened; -1: none
	loader   int32            // same of the ELF interpreter, where the record does not name it; -1: none
	middle   [maxMiddle]int32 // same of scripts that are interpreters of scripts; -1: no more
	root     bool
	seen     bool
	ready    bool
	done     bool
	placed   bool // Fork: the child's mount namespace is known
}

// pending holds all that waits.
type pending struct {
	events   []event
	calls    []call
	procs    []process
	requests []call // to rings, of which nobody told the outcome yet
	text     []byte
}

func (p *pending) put(b []byte) span {
	s := span{uint32(len(p.text)), uint32(len(b))}
	p.text = append(p.text, b...)
	return s
}

func (p *pending) get(s span) []byte { return p.text[s.off : s.off+s.n : s.off+s.n] }

// replace makes p hold what another holds.
func (p *pending) replace(with *pending) {
	p.events = append(p.events[:0], with.events...)
	p.calls = append(p.calls[:0], with.calls...)
	p.requests = append(p.requests[:0], with.requests...)
	p.procs = append(p.procs[:0], with.procs...)
	p.text = append(p.text[:0], with.text...)
}

func (p *pending) reset() {
	p.events, p.calls, p.procs, p.requests, p.text = p.events[:0], p.calls[:0], p.procs[:0], p.requests[:0], p.text[:0]
}

// pin marks the events that calls and processes refer to which are not released.
func (p *pending) pin() {
	for i := range p.events {
		p.events[i].pinned = p.events[i].note != 0
	}
	pin := func(i int32) {
		if i >= 0 {
			p.events[i].pinned = true
		}
	}
	for i := range p.calls {
		if c := &p.calls[i]; !c.done {
			pin(c.event)
			pin(c.other)
		}
	}
	for i := range p.procs {
		if r := &p.procs[i]; !r.done {
			pin(r.script)
			pin(r.loader)
			for _, i := range r.middle {
				pin(i)
			}
		}
	}
}

// move copies what is still needed from one pending to another, empty one.
func move(to, from *pending, remap []int32) []int32 {
	remap = remap[:0]
	from.pin()
	for i := range from.events {
		e := &from.events[i]
		if e.done && !e.pinned && !e.kept {
			remap = append(remap, -1)
			continue
		}
		remap = append(remap, int32(len(to.events)))
		to.events = append(to.events, *e)
		n := &to.events[len(to.events)-1]
		n.name, n.to = to.put(from.get(e.name)), to.put(from.get(e.to))
	}
	index := func(i int32) int32 {
		if i < 0 {
			return i
		}
		return remap[i]
	}
	moveFile := func(f file) file {
		f.name, f.walk = to.put(from.get(f.name)), to.put(from.get(f.walk))
		return f
	}
	moveCall := func(calls *[]call, c *call) {
		*calls = append(*calls, *c)
		n := &(*calls)[len(*calls)-1]
		n.event, n.other = index(c.event), index(c.other)
		for k := range n.file {
			n.file[k] = moveFile(c.file[k])
			n.text[k] = to.put(from.get(c.text[k]))
			n.merged[k] = to.put(from.get(c.merged[k]))
		}
	}
	for i := range from.calls {
		if c := &from.calls[i]; !c.done {
			moveCall(&to.calls, c)
		}
	}
	for i := range from.requests {
		if c := &from.requests[i]; !c.done {
			moveCall(&to.requests, c)
		}
	}
	for i := range from.procs {
		p := &from.procs[i]
		if p.done {
			continue
		}
		to.procs = append(to.procs, *p)
		n := &to.procs[len(to.procs)-1]
		n.script, n.loader = index(p.script), index(p.loader)
		for k := range n.middle {
			n.middle[k] = index(p.middle[k])
		}
		n.image, n.interp = moveFile(p.image), moveFile(p.interp)
		n.base = moveFile(p.base)
		n.comm, n.filename, n.args = to.put(from.get(p.comm)), to.put(from.get(p.filename)), to.put(from.get(p.args))
	}
	return remap
}
