package fanrec

import (
	"bytes"
	"cmp"
	"slices"

	"fanrec/ebpf"
	"fanrec/output"
)

// To attach is to follow what runs already, and to say how it was found: who is
// there, what each executes and where it is, which files it holds. First the tracker
// follows, then the kernel is asked, so nothing falls in between; what a process
// opened meanwhile is told once, as what it did.

// A Cgroup is one of the unified hierarchy.
type Cgroup struct {
	Path string                 // in the hierarchy; followed again when it is made again, unless empty
	ID   func() (uint64, error) // asked when that would be noticed; 0 if it is not there
}

// Whom tells whom to attach to.
type Whom struct {
	PIDs    []int    // processes and their descendants
	Cgroups []Cgroup // who is in them or below, and who will be
}

// Attach follows processes that run with all that they and their descendants do
// from now on, and hands out what was there already, as records with Attached, before
// all that they do. Options.Attach is needed, and only one recording may be. Errors
// wrap os.ErrProcessDone if one of the processes is not there.
func (rec *Recording) Attach(whom Whom) error {
	r := rec.r
	if r.stopped || r.failed != nil {
		return stoppedBy(r.failed)
	}
	// What they did before is nobody's, and read as such.
	if err := r.serveEpoch(); err != nil {
		r.failed = err
		return err
	}
	r.requests++
	n := r.requests
	r.join.trees.follows[n] = &follow{recording: rec.id, many: true}
	r.join.trees.open[rec.id].tells = true
	if err := r.attach(whom, n); err != nil {
		return err
	}
	err := r.malformed(r.tracker.DrainProcesses(r.join.addProcess))
	if err == nil {
		told := map[holding]bool{}
		err = r.malformed(r.tracker.Held(func(h *ebpf.HeldFile) {
			of := holding{h.ID, h.File.Dev, h.File.Subvol, h.File.Ino, h.File.ParentIno, h.FMode & (ebpf.FModeRead | ebpf.FModeWrite), h.FD < 0, string(h.File.Name)}
			if !told[of] {
				told[of] = true
				r.join.addHeld(h)
			}
		}))
	}
	if err != nil {
		r.failed = err
		return err
	}
	rec.found = &found{until: monotonic()}
	return nil
}

func (r *Recorder) attach(whom Whom, request uint32) error {
	for _, pid := range whom.PIDs {
		if err := r.tracker.FollowTree(uint32(pid), request); err != nil {
			return err
		}
	}
	for _, c := range whom.Cgroups {
		if err := r.tracker.FollowCgroup(c.Path, c.ID, request); err != nil {
			return err
		}
	}
	return nil
}

// holding is a file that a process holds in some way: a library is mapped in pieces.
type holding struct {
	id          ebpf.ID
	dev, subvol uint32
	ino, parent uint64
	how         uint32
	mapped      bool
	name        string
}

// addHeld takes a file that a process of the tree holds. Where it is among the other
// process records says the time.
func (j *joiner) addHeld(h *ebpf.HeldFile) {
	proc := j.tree.Find(h.ID)
	if proc == nil || !proc.Met {
		return // it was forked since: what it holds it has inherited, or opened
	}
	p := process{Header: h.Header, kind: ebpf.Held, proc: proc, status: h.FMode, script: -1, loader: -1, middle: noMiddle}
	p.image, p.fresh = j.file(&h.File, h.Header.Flags), h.FD < 0
	at, _ := slices.BinarySearchFunc(j.now.procs, h.Time, func(p process, at int64) int {
		if p.Time <= at {
			return -1
		}
		return 1
	})
	j.now.procs = slices.Insert(j.now.procs, at, p)
}

// met tells of a process that was there already.
func (j *joiner) met(p *process) {
	if t := j.trees.of(p.proc); t == nil || !t.tells {
		return
	}
	r := j.start(p.proc, p.UID, p.Time)
	r.Attached, r.Child, r.ChildStart, r.ChildNSPID = true, r.PID, r.Start, r.NSPID
	r.PID, r.Start, r.PPID = p.proc.Parent.TGID, p.proc.Parent.Start, 0
	r.NSPID, r.Container, r.ContainerName, r.Comm, r.Exe = 0, "", "", "", nil
	if up := j.tree.Find(p.proc.Parent); up != nil {
		r.Comm, r.Exe, r.PPID, r.UID = up.Comm, up.Exe, up.Parent.TGID, up.UID
		r.NSPID, r.Container, r.ContainerName = nested(up), up.Container, up.ContainerName
	}
	j.say(output.Fork, output.NoOp, nil, nil)
	if len(p.proc.Exe) > 0 {
		j.start(p.proc, p.UID, p.Time).Attached = true
		j.setHandle(p.image.self)
		j.say(output.Exec, output.NoOp, p.proc.Exe, nil)
	}
	if cwd, ok := j.appendHost(j.path[0][:0], p.proc, &p.interp); ok {
		j.path[0] = cwd
		j.start(p.proc, p.UID, p.Time).Attached = true
		j.setHandle(p.interp.self)
		j.say(output.Chdir, output.NoOp, cwd, nil)
	}
}

// emitHeld tells of a file that a process held.
func (j *joiner) emitHeld(p *process) {
	if p.image.unnamed() {
		return // huge pages, on a filesystem of the kernel's own
	}
	r := j.start(p.proc, p.proc.UID, p.Time)
	r.Attached = true
	path, ok := j.appendHost(j.path[0][:0], p.proc, &p.image)
	j.path[0] = path
	if !ok {
		j.unresolved()
		return
	}
	j.setHandle(p.image.self)
	if p.fresh {
		j.say(output.Read, output.Mapped, path, nil)
		return
	}
	read, write := p.status&ebpf.FModeRead != 0, p.status&ebpf.FModeWrite != 0
	if read || !write {
		j.say(output.Read, output.Held, path, nil)
	}
	if write {
		j.noteWriter(writing{p.proc.ID, p.image.self}, true)
		j.say(output.Write, output.Held, path, nil)
	}
}

// found gathers what an attach has found until all of it is there, and meanwhile
// keeps what was done since.
type found struct {
	until int64           // CLOCK_MONOTONIC: everything was asked before
	there []output.Record // what was so already
	since []output.Record
}

// put takes a record of the recording, a copy of it.
func (f *found) put(r *output.Record) {
	c := *r
	for _, b := range []*[]byte{&c.Exe, &c.Path, &c.Target, &c.Seen, &c.SeenTarget, &c.Args} {
		*b = bytes.Clone(*b)
	}
	if r.Attached {
		f.there = append(f.there, c)
	} else {
		f.since = append(f.since, c)
	}
}

// opening is a file as one process opened it.
type opening struct {
	pid   uint32
	start uint64
	kind  output.Kind
	path  string
}

func openingOf(r *output.Record) opening { return opening{r.PID, r.Start, r.Kind, string(r.Path)} }

// handOut hands out what was there, process by process, with each file once and
// without what it opened only since, and then the rest. clock is as of the joiner.
func (f *found) handOut(clock int64, out func(*output.Record)) {
	told := map[opening]bool{}
	for i := range f.since {
		if r := &f.since[i]; r.Time <= f.until+clock && (r.Kind == output.Read || r.Kind == output.Write) {
			told[openingOf(r)] = true
		}
	}
	// Parents before children, then in the order in which they were met, and of each
	// the fork before all else.
	rank, parent := map[uint32]int{}, map[uint32]uint32{}
	for i := range f.there {
		r := &f.there[i]
		id := subject(r)
		if _, ok := rank[id]; !ok {
			rank[id] = len(rank)
		}
		if r.Kind == output.Fork {
			parent[r.Child] = r.PID
		}
	}
	depths := map[uint32]int{}
	depth := func(id uint32) int {
		if d, ok := depths[id]; ok {
			return d
		}
		d := 0
		for p, ok := parent[id]; ok && d <= len(parent); p, ok = parent[p] { // no circle, whatever the log says
			d++
		}
		depths[id] = d
		return d
	}
	slices.SortStableFunc(f.there, func(a, b output.Record) int {
		x, y := subject(&a), subject(&b)
		return cmp.Or(depth(x)-depth(y), rank[x]-rank[y])
	})
	for i := range f.there {
		r := &f.there[i]
		if r.Kind == output.Read || r.Kind == output.Write {
			if told[openingOf(r)] {
				continue
			}
			told[openingOf(r)] = true
		}
		out(r)
	}
	for i := range f.since {
		out(&f.since[i])
	}
}

// subject returns the number of the process that a record is about.
func subject(r *output.Record) uint32 {
	if r.Kind == output.Fork {
		return r.Child
	}
	return r.PID
}
