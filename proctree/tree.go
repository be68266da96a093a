// Package proctree keeps the monitored descendant set: which processes are in
// the tree, and which of them had a pid when. It is pure.
package proctree

import "fanrec/ebpf"

// A Process of the tree.
type Process struct {
	ID     ebpf.ID
	Parent ebpf.ID
	UID    uint32
	Comm   string
	Exe    []byte // path of the image, set by whoever learns it
	Root   []byte // its root directory if it is not the usual one; so, too
	OwnPID uint32 // its number in its own pid namespace; 0 if it is not known
	// The container that it is in, by its cgroup at its last exec, and what that is called;
	// likewise set by whoever learns them.
	Container, ContainerName string

	Forked  int64 // CLOCK_MONOTONIC, ns; the start of the recording for the root
	Exited  bool
	Exit    int64 // time of the exit record
	Status  uint32
	Freed   int64  // the kernel forgot it then; 0 if it has not
	Last    int64  // time of its last record
	Alone   bool   // at its last record it had one thread
	Replies int64  // time of the last record that was made while it was alone
	Layered bool   // it used an overlay of filesystems; set by whoever learns it
	MountNS uint32 // inode number of its mount namespace, 0 for the recorder's; likewise

	// Who is told what it does, and what those do that it forks: 0 unless there
	// are several recordings, and Nobody. Set in the order of the records.
	Recording, Heirs uint32

	Met   bool // it was there before: Forked is when it joined
	Asked int  // so many Follow records of it are not handed out yet

	Went int64  // time of its last released chdir while it had several threads
	Goer uint32 // the thread that went

	joined  bool             // it is counted in its recording
	sole    uint32           // thread of the last record while there was only one
	threads map[uint32]int64 // last record of each thread, once there were several
	older   *Process         // had the same pid before
	reused  int64            // the pid was given away at this time, 0 if it was not
}

// Nobody is no recording.
const Nobody = ^uint32(0)

// Tree is the set of processes that were in the tree and are not yet retired.
type Tree struct {
	byPID map[uint32]*Process // the youngest with that pid
	size  int
	live  int
	total int
	in    map[uint32]int // processes of each recording
}

// New returns an empty tree.
func New() *Tree { return &Tree{byPID: map[uint32]*Process{}, in: map[uint32]int{}} }

// Find returns a process by its identity, nil if it is not in the tree.
func (t *Tree) Find(id ebpf.ID) *Process {
	for p := t.byPID[id.TGID]; p != nil; p = p.older {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Since tells whether some process that is not retired has or had the pid, and
// since when: the oldest of them was forked then, 0 if that is not known. It
// returns the youngest.
func (t *Tree) Since(pid uint32) (since int64, youngest *Process) {
	youngest = t.byPID[pid]
	if youngest == nil {
		return 0, nil
	}
	oldest := youngest
	for oldest.older != nil {
		oldest = oldest.older
	}
	if oldest.Met {
		return 0, youngest
	}
	return oldest.Forked, youngest
}

// Owner returns the process that a pid belonged to at a time, nil if it was
// none of the tree. The bool reports whether the pid changed hands since the
// oldest process that is remembered, so that the time matters.
func (t *Tree) Owner(pid uint32, at int64) (*Process, bool) {
	p := t.byPID[pid]
	if p == nil {
		return nil, false
	}
	shared := p.older != nil || p.reused != 0
	for ; p != nil; p = p.older {
		if p.reused != 0 && at >= p.reused {
			return nil, shared
		}
		if at >= p.Forked || p.older == nil {
			return p, shared
		}
	}
	return nil, shared
}

// Fork adds a child. The root of the tree has no parent in it.
func (t *Tree) Fork(r *ebpf.Process) *Process { return t.add(r) }

// Follow adds a process that was there before. It returns the one that it knows
// already if that is so.
func (t *Tree) Follow(r *ebpf.Process) *Process {
	if p := t.Find(r.ID); p != nil {
		return p
	}
	p := t.add(r)
	p.Met, p.Recording, p.Heirs = true, Nobody, Nobody
	return p
}

func (t *Tree) add(r *ebpf.Process) *Process {
	p := &Process{ID: r.ID, Parent: r.Parent, UID: r.UID, Comm: string(r.Comm), OwnPID: r.OwnPID, Forked: r.Time, Last: r.Time, Alone: true, sole: r.ID.TGID}
	p.older = t.byPID[r.ID.TGID]
	t.byPID[r.ID.TGID] = p
	t.size++
	t.live++
	t.total++
	return p
}

// Reuse notes that a pid was given to a process outside of the tree, or again
// to one inside, whose fork record follows.
func (t *Tree) Reuse(r *ebpf.Process) {
	if p := t.byPID[r.ID.TGID]; p != nil && p.reused == 0 {
		p.reused = r.Time
	}
}

// Gone notes the end of a process. It reports false if that was known.
func (t *Tree) Gone(p *Process, at int64, status uint32) bool {
	if p.Exited {
		return false
	}
	p.Exited, p.Exit, p.Status = true, at, status
	t.live--
	return true
}

// Saw notes a record of a process. It returns the time of the thread's previous
// record, or one before which the thread was not there, and whether it was the
// only thread since then, for all that is known.
func (p *Process) Saw(h *ebpf.Header) (last int64, sole bool) {
	alone := h.Flags&ebpf.Alone != 0
	if alone && p.threads == nil {
		last := p.Last
		p.Last, p.Alone, p.Replies, p.sole = h.Time, true, h.Time, h.TID
		return last, true
	}
	if p.threads == nil {
		p.threads = map[uint32]int64{p.sole: p.Last}
	}
	last, ok := p.threads[h.TID]
	if !ok {
		last = max(p.Forked, p.Replies) // when there was one thread this one was not yet made
	}
	p.threads[h.TID] = h.Time
	p.Last, p.Alone = h.Time, alone
	sole = alone
	if alone {
		for tid, at := range p.threads {
			if tid != h.TID && at > last {
				sole = false // it is gone by now
			}
		}
		p.Replies = h.Time
		clear(p.threads)
		p.threads[h.TID] = h.Time
	}
	return last, sole
}

// Retire forgets a process of which nothing can come any more.
func (t *Tree) Retire(p *Process) {
	for link := t.byPID[p.ID.TGID]; link != nil; link = link.older {
		if link.older == p {
			link.older = p.older
			t.size--
			return
		}
	}
	if t.byPID[p.ID.TGID] == p {
		t.size--
		if p.older != nil {
			t.byPID[p.ID.TGID] = p.older
		} else {
			delete(t.byPID, p.ID.TGID)
		}
	}
}

// Drop forgets a process that goes on.
func (t *Tree) Drop(p *Process) {
	if t.Find(p.ID) != p {
		return
	}
	if !p.Exited {
		t.live--
	}
	t.Retire(p)
}

// Join makes a process one of a recording, which is told what it does.
func (t *Tree) Join(p *Process, recording uint32) {
	t.Leave(p)
	p.Recording, p.joined = recording, true
	t.in[recording]++
}

// Leave takes a process out of the recording that it joined; its records still
// go there.
func (t *Tree) Leave(p *Process) {
	if !p.joined {
		return
	}
	p.joined = false
	if t.in[p.Recording]--; t.in[p.Recording] == 0 {
		delete(t.in, p.Recording)
	}
}

// In returns how many processes joined a recording and did not leave it.
func (t *Tree) In(recording uint32) int { return t.in[recording] }

// Live returns how many processes of the tree have not exited.
func (t *Tree) Live() int { return t.live }

// Total returns how many processes were ever in the tree.
func (t *Tree) Total() int { return t.total }

// Below returns the descendants of a process that are not yet retired.
func (t *Tree) Below(p *Process) []*Process {
	var below []*Process
	t.All(func(q *Process) {
		for up := t.Find(q.Parent); up != nil; up = t.Find(up.Parent) {
			if up == p {
				below = append(below, q)
				return
			}
		}
	})
	return below
}

// All calls fn for every process that is not retired.
func (t *Tree) All(fn func(*Process)) {
	for _, p := range t.byPID {
		for ; p != nil; p = p.older {
			fn(p)
		}
	}
}
