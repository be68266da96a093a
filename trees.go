package fanrec

import (
	"fmt"

	"fanrec/proctree"
)

// Several trees may be recorded at once, one inside the other. A process
// reports to one recording, the innermost, and changes it at a time: when it is
// followed, or executes what gives it privileges. Both are records of the
// tracker, so that what came before goes to the old one and the rest to the new.

// tree is a recording as the join knows it.
type tree struct {
	outer     uint32 // the recording around it, proctree.Nobody if there is none
	rooted    bool   // outer is set
	trusted   bool   // it goes on where a program gives privileges
	full      bool   // handles and names as seen are wanted
	tells     bool   // of what was there before it was followed
	faults    faults
	events    int
	processes int
}

// follow is what a Follow record was asked for.
type follow struct {
	recording uint32
	children  bool // not the process but what it forks
	found     bool // there is a record
	many      bool // there may be more
}

// trees are the recordings besides number 0, which is that of a single command.
type trees struct {
	open    map[uint32]*tree
	follows map[uint32]*follow // by the number of the request
	orphans uint32             // whose is a process of which the parent is not known
	muted   faults             // of what nobody is told
	// dropped is called for a process that runs and of which nobody is told any more.
	dropped func(*proctree.Process)
	// comment puts a line of text between the records of a recording.
	comment func(recording uint32, text string)
}

// of returns the recording of a process, nil for number 0 and for none.
func (t *trees) of(p *proctree.Process) *tree {
	if p == nil {
		return nil
	}
	return t.open[p.Recording]
}

// wantsAll tells whether the record that start began is to have all that there is.
func (j *joiner) wantsAll() bool {
	t := j.trees.of(j.who)
	return t == nil || t.full
}

// blame returns where a fault is counted that concerns a process.
func (j *joiner) blame(p *proctree.Process) *faults {
	switch t := j.trees.of(p); {
	case t != nil:
		return &t.faults
	case p != nil && p.Recording == proctree.Nobody:
		return &j.trees.muted
	}
	return &j.faults
}

// counted counts an event of a process.
func (j *joiner) counted(p *proctree.Process) {
	if t := j.trees.of(p); t != nil {
		t.events++
	} else {
		j.events++
	}
}

// enrol makes a process a member of a recording.
func (j *joiner) enrol(p *proctree.Process, recording uint32) {
	if recording == proctree.Nobody {
		j.tree.Leave(p)
		p.Recording = proctree.Nobody
		return
	}
	j.tree.Join(p, recording)
	if t := j.trees.open[recording]; t != nil {
		t.processes++
	}
}

// heir returns which recording a process is of that was forked.
func (j *joiner) heir(p *process) uint32 {
	to := uint32(0)
	switch {
	case p.root:
	case p.parent == nil:
		to = j.trees.orphans
	default:
		to = p.parent.Heirs
	}
	if j.trees.open[to] == nil && to != 0 {
		return proctree.Nobody
	}
	return to
}

// inherit puts a process that was forked into its recording. What its parent
// did before is handed out.
func (j *joiner) inherit(p *process) {
	to := j.heir(p)
	p.proc.Heirs = to
	j.enrol(p.proc, to)
	j.dismiss(p.proc)
}

// followed does what a Follow record was asked for.
func (j *joiner) followed(p *process) {
	if len(p.proc.Exe) == 0 {
		j.describe(p)
	}
	p.proc.Asked--
	f := j.trees.follows[p.request]
	if f == nil || !f.many {
		delete(j.trees.follows, p.request)
	}
	var t *tree
	if f != nil {
		t = j.trees.open[f.recording]
	}
	outer := [2]uint32{p.proc.Recording, p.proc.Heirs}
	if p.fresh {
		outer = [2]uint32{proctree.Nobody, proctree.Nobody}
		p.proc.Recording, p.proc.Heirs = outer[0], outer[1]
	}
	if t == nil { // it was refused or closed meanwhile
		j.dismiss(p.proc)
		return
	}
	if !t.rooted {
		t.rooted, t.outer = true, outer[0]
		if f.children {
			t.outer = outer[1]
		}
	}
	p.proc.Heirs = f.recording
	if !f.children && outer[0] != f.recording {
		j.enrol(p.proc, f.recording)
		j.met(p)
	}
}

// describe fills in what was not recorded of a process that was there before.
func (j *joiner) describe(p *process) {
	if image, ok := j.appendHost(nil, p.proc, &p.image); ok {
		p.proc.Exe = image
	}
	if root, ok := j.appendFile(nil, &p.base); ok && string(root) != "/" {
		p.proc.Root = root
	}
}

// privileged notes that a process executed what gives it privileges: who asked
// to record it, or only what it forks, may not see what is done with them.
func (j *joiner) privileged(p *proctree.Process) {
	to, heirs := j.trusting(p.Recording), j.trusting(p.Heirs)
	text := fmt.Sprintf("%d gained privileges: it is not recorded from here on", p.ID.TGID)
	if to != p.Recording {
		j.trees.comment(p.Recording, text)
	}
	if heirs != p.Heirs && p.Heirs != p.Recording {
		j.trees.comment(p.Heirs, text)
	}
	p.Heirs = heirs
	if to != p.Recording {
		j.enrol(p, to)
	}
	j.dismiss(p)
}

// trusting returns the innermost recording, of one and those around it, that
// may have what is done with privileges.
func (j *joiner) trusting(recording uint32) uint32 {
	if recording == 0 {
		return 0
	}
	t := j.trees.open[recording]
	for t != nil && !t.trusted {
		recording = t.outer
		t = j.trees.open[recording]
	}
	if t == nil {
		return proctree.Nobody
	}
	return recording
}

// unfollow gives what is left of a recording to the one around it.
func (j *joiner) unfollow(recording uint32) {
	t := j.trees.open[recording]
	to := t.outer
	for o := j.trees.open[to]; to != proctree.Nobody && (o == nil || t.trusted && !o.trusted); o = j.trees.open[to] {
		if to = proctree.Nobody; o != nil {
			to = o.outer
		}
	}
	if !t.rooted {
		to = proctree.Nobody
	}
	j.hand(recording, to)
}

// hand gives all processes of a recording to another one, or to nobody.
func (j *joiner) hand(recording, to uint32) {
	var rest []*proctree.Process
	j.tree.All(func(p *proctree.Process) {
		if p.Recording == recording || p.Heirs == recording {
			rest = append(rest, p)
		}
	})
	for _, p := range rest {
		if p.Heirs == recording {
			p.Heirs = to
		}
		if p.Recording == recording {
			j.enrol(p, to)
		}
		j.dismiss(p)
	}
}

// closeTree ends a recording.
func (j *joiner) closeTree(recording uint32) {
	j.unfollow(recording)
	outer := j.trees.open[recording].outer
	delete(j.trees.open, recording)
	for n, f := range j.trees.follows {
		if f.many && f.recording == recording {
			delete(j.trees.follows, n)
		}
	}
	for _, t := range j.trees.open { // what was inside of it is inside of the next
		if t.outer == recording && t.rooted {
			t.outer = outer
		}
	}
}

// abandon ends the following of all processes of a recording, and drops what is
// pending of them: only what they did to directories is kept.
func (j *joiner) abandon(recording uint32) {
	for i := range j.now.calls {
		if c := &j.now.calls[i]; c.proc.Recording == recording {
			c.ready, c.done, c.maybe = true, true, false
		}
	}
	for i := range j.now.requests {
		if c := &j.now.requests[i]; c.proc.Recording == recording {
			c.done = true
		}
	}
	for i := range j.now.events {
		e := &j.now.events[i]
		if e.outside || j.recordingOf(e) != recording {
			continue
		}
		e.outside, e.settled = true, true
		e.done = e.done || e.mask&bitDir == 0 || e.mask&(bitCreate|bitDelete|bitRename) == 0
	}
	j.hand(recording, proctree.Nobody)
}

// dismiss forgets a process of which nobody is told, nor will be: who has asked
// to follow it had the answer that it is tracked.
func (j *joiner) dismiss(p *proctree.Process) {
	if p.Recording != proctree.Nobody || p.Heirs != proctree.Nobody || p.Exited || p.Asked > 0 {
		return
	}
	j.tree.Drop(p)
	j.trees.dropped(p)
}
