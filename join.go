package fanrec

import (
	"fanrec/cgroup"
	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
	"fanrec/proctree"
	"slices"

	"golang.org/x/sys/unix"
)

// The bits of fanotify events that the join looks at.
const (
	bitModify   = unix.FAN_MODIFY
	bitAttrib   = unix.FAN_ATTRIB
	bitClosed   = unix.FAN_CLOSE_WRITE
	bitOpen     = unix.FAN_OPEN
	bitOpenExec = unix.FAN_OPEN_EXEC
	bitCreate   = unix.FAN_CREATE
	bitDelete   = unix.FAN_DELETE
	bitRename   = unix.FAN_RENAME
	bitDir      = unix.FAN_ONDIR
	bitOverflow = unix.FAN_Q_OVERFLOW
)

// subvolRoot is the inode number of the root directory of a subvolume of btrfs.
const subvolRoot = 256

// place is a name in a directory.
type place struct {
	dir  fan.Inode
	name string
}

// faults counts what makes a recording incomplete.
type faults struct {
	Overflow   int // the event queue overflowed
	NoHandle   int // an event without a handle
	Unseen     int // an event of a file that could not be opened
	Unresolved int // a path that could not be had
	Ambiguous  int // an event of one of two processes with the same pid
	Malformed  int // an event or record that could not be decoded
}

// joiner makes records out of what the three witnesses say. It does no I/O: it
// is fed by add*, told by seal that an epoch is over, asked by unknown for the
// directories to look up, and hands out records in release.
type joiner struct {
	fs       *fan.Filesystems
	graph    *fan.Graph
	mounts   mountTables
	tree     *proctree.Tree
	trees    trees
	overlays overlays
	emit     func(*output.Record)
	retired  func(*proctree.Process)
	// disk is asked about the few paths that are known only as a text.
	disk disk
	// lead returns the directory that a path leads to as it is now.
	lead func(root, path []byte) (fan.Inode, bool)
	// ring is told that a process has a ring: what that does without a call shows
	// better with bitModify among the events.
	ring    func()
	root    []byte // of the process whose call is handed out, empty if it is the usual one
	clock   int64  // to be added to CLOCK_MONOTONIC to get the time of day
	calls   bool   // there are call records
	handles bool   // fill Record.Handle
	seen    bool   // fill Record.Seen and SeenTarget
	args    bool   // fill Record.Args
	// containers is nil if none are told of.
	containers *cgroup.Containers
	guess      bool   // bitModify is there for what rings do only
	notes      uint32 // of bitModify and bitAttrib: what becomes records of its own

	hosted     []byte // see host
	now, spare pending
	remap      []int32
	targets    index
	names      index
	births     index
	renames    []int32 // sealed events of the tree
	chdirs     []int32 // calls of processes with several threads
	matched    bool    // what was sealed is matched
	seq        uint64  // of the next event
	depth      uint64  // mergeDepth, of which a test has less
	begin      uint64  // place in the queue where the epoch began that seal ended
	sealed     int     // so many events are in front of the last barrier
	floor      int64   // what is read next was queued after this time
	closed     int64   // every call that returned by then has its event among the sealed
	former     int64   // closed of the epoch before
	after      int64   // all sealed events were queued before this time
	round      uint64  // of decide
	ops        []op
	replies    []reply
	changers   changers // for agree
	used       []use
	looked     []use
	effort     int                 // that agree may still spend
	born       map[fan.Inode]int32 // directories made in what is pending, by the event
	moved      map[fan.Inode]int32 // and renamed, by the last event
	left       map[fan.Inode]int32 // renamed or removed, by the first event that the graph does not know of
	lost       map[fan.Inode]bool  // directories that cannot be found
	last       bool                // no more will come
	awaited    bool                // somebody waits for records
	gates      gates
	stop       int64                // where release stopped for everybody
	forgot     bool                 // a directory was forgotten that what comes next may need
	asked      []fan.Inode          // by unknown
	sought     map[fan.Inode]bool   // the same
	self       int32                // pid of the recorder
	opened     []fan.Inode          // directories that it opened
	whiteouts  map[string][]int32   // renames out of a workdir, by the new name
	copies     map[fan.Inode]bool   // what was made in one
	glimpses   map[fan.Inode]string // where directories were seen, on filesystems that may be gone soon
	mountNS    uint32               // inode number of the recorder's mount namespace
	remounts   []int64              // calls that changed mounts in it, not yet looked at
	strangers  map[uint32]*stranger // who did in another namespace, likewise
	foreign    bool                 // somebody was in another one
	ways       map[string]reached   // of what is handed out now
	rec        output.Record
	who        *proctree.Process // whose record it is
	seenAs     [2][]byte
	path       [3][]byte
	named      int // directories of paths
	faults     faults
	events     int                  // events of the tree
	zombies    []*proctree.Process  // not yet retired though their exit is out
	temporary  map[fan.Inode]place  // files of O_TMPFILE that may get a name
	wrote      map[writer]struct{}  // without call records: who was seen to write what
	guessed    map[writing]struct{} // with guess: what was taken for a read
	writes     map[writing]bool     // with bitModify: who writes what; true: it opened it itself
}

// maxLost bounds how many directories are remembered that cannot be found.
const maxLost = 1 << 14

func newJoiner(fs *fan.Filesystems, graph *fan.Graph, mounts *fan.MountTable) *joiner {
	return &joiner{
		fs: fs, graph: graph, mounts: mountTables{now: mounts}, tree: proctree.New(), calls: true, depth: mergeDepth,
		born: map[fan.Inode]int32{}, moved: map[fan.Inode]int32{}, left: map[fan.Inode]int32{}, lost: map[fan.Inode]bool{},
		sought: map[fan.Inode]bool{},
		gates:  gates{own: map[uint32]int64{}}, ways: map[string]reached{},
		temporary: map[fan.Inode]place{}, wrote: map[writer]struct{}{}, writes: map[writing]bool{}, guessed: map[writing]struct{}{},
		emit:    func(*output.Record) {},
		retired: func(*proctree.Process) {},
		disk:    noDisk{},
		ring:    func() {},
		trees: trees{
			open: map[uint32]*tree{}, follows: map[uint32]*follow{},
			dropped: func(*proctree.Process) {}, comment: func(uint32, string) {},
		},
		lead: func(_, _ []byte) (fan.Inode, bool) { return fan.Inode{}, false },
	}
}

// raised tells that a barrier was raised at the given time: what is added from
// now on was queued after it.
func (j *joiner) raised(at int64) {
	j.floor = at
	j.seq++ // the barrier is an event, too
}

// addEvent takes an event that a read(2) between begin and end returned. All
// process records of before the read must have been added.
func (j *joiner) addEvent(ev *fan.Event, begin, end int64) {
	seq := j.seq
	j.seq++
	mask := uint32(ev.Mask)
	if mask&bitOverflow != 0 {
		j.faults.Overflow++
		return
	}
	if ev.PID == j.self && mask&bitOpen != 0 && string(ev.Name) == "." {
		if i := j.fs.Inode(&ev.Dir); i.FS != 0 && !slices.Contains(j.opened, i) {
			j.opened = append(j.opened, i)
		}
	}
	since, who := j.tree.Since(uint32(ev.PID))
	outside := who == nil
	j.floor = max(j.floor, since) // what is behind it in the queue is later, too
	if outside && (mask&bitDir == 0 || mask&(bitCreate|bitDelete|bitRename) == 0) {
		return
	}
	if len(ev.Dir.Bytes) == 0 && len(ev.Target.Bytes) == 0 {
		if !outside {
			j.blame(who).NoHandle++
		}
		return
	}
	if len(ev.Name) == 0 {
		// Only the file itself is said: the kernel tells so of a change of the
		// number of links, and of what has no name (any more).
		if mask &^= bitModify | bitAttrib; mask&(explain|bitClosed) == 0 {
			return
		}
	}
	e := event{
		note: mask & j.noteBits(),
		seq:  seq, mask: mask, pid: uint32(ev.PID), begin: begin, end: end, floor: j.floor, outside: outside,
		dir: j.fs.Inode(&ev.Dir), newDir: j.fs.Inode(&ev.NewDir), target: j.fs.Inode(&ev.Target),
	}
	if e.dir.FS == 0 && e.target.FS == 0 {
		return // of a filesystem that is no longer watched
	}
	if string(ev.Name) == "." && e.target == (fan.Inode{}) {
		e.target, e.dir = e.dir, fan.Inode{}
	} else {
		e.name, e.to = j.now.put(ev.Name), j.now.put(ev.NewName)
	}
	if !outside {
		j.counted(who)
	}
	j.noteDir(&e, int32(len(j.now.events)))
	j.now.events = append(j.now.events, e)
}

// sight takes an event of a filesystem without file handles, read after begin and
// queued after since. Such events have a queue of their own: only these two times
// order them among the others. What is executed there has a record.
func (j *joiner) sight(s *fan.Sighting, since, begin int64) {
	_, who := j.tree.Since(uint32(s.PID))
	if who == nil || s.Mask&bitOpenExec != 0 {
		return
	}
	if s.Path == "" {
		j.blame(who).Unseen++
		return
	}
	j.counted(who)
	j.now.events = append(j.now.events, event{
		seq: j.seq, mask: uint32(s.Mask), pid: uint32(s.PID), begin: begin, end: begin, floor: since, bound: begin, moved: -1,
		target: fan.Inode{Ino: s.Ino, Gen: uint32(s.Dev)}, aside: true, name: j.now.put([]byte(s.Path)),
	})
	j.seq++
}

// noteDir remembers what happens to directories in what is pending.
func (j *joiner) noteDir(e *event, i int32) {
	e.moved = -1
	if e.mask&bitDir == 0 {
		return
	}
	if e.mask&bitCreate != 0 && e.applied&bitCreate == 0 {
		j.born[e.target] = i
	}
	if _, ok := j.left[e.target]; !ok && e.mask&(bitRename|bitDelete) != 0 && e.applied == 0 {
		j.left[e.target] = i
	}
	if e.mask&bitRename != 0 {
		if before, ok := j.moved[e.target]; ok {
			e.moved = before
		}
		j.moved[e.target] = i
	}
}

// file takes what a record with the given flags tells of a file. A path that was
// cut is none.
func (j *joiner) file(f *ebpf.File, flags ebpf.Flags) file {
	fs := uint32(0)
	if !f.Walked {
		fs = j.fs.BySubvol(f.Dev, f.Subvol)
	}
	if fs == 0 && flags&ebpf.Cut != 0 {
		return file{}
	}
	out := file{dev: f.Dev, mode: f.Mode, name: j.now.put(f.Name), walk: j.now.put(f.Walk)}
	if flags&ebpf.Cut != 0 {
		out.walk = span{}
	}
	if fs != 0 {
		out.self = fan.Inode{Ino: f.Ino, Gen: f.Gen, FS: fs}
		out.parent = fan.Inode{Ino: f.ParentIno, Gen: f.ParentGen, FS: fs}
		if f.Subvol != 0 && f.Ino == subvolRoot {
			out.parent, out.name = fan.Inode{}, span{} // it is in another subvolume
		}
	}
	return out
}

// addProcess takes a process record.
func (j *joiner) addProcess(r *ebpf.Process) {
	p := process{Header: r.Header, kind: r.Kind, status: r.Status, script: -1, loader: -1, middle: noMiddle}
	switch r.Kind {
	case ebpf.Fork:
		p.proc = j.tree.Fork(r)
		p.parent = j.tree.Find(r.Parent)
		p.root = r.Flags&ebpf.Recorder != 0
		p.comm = j.now.put(r.Comm)
		j.contain(p.proc, r.Cgroup)
		p.proc.Layered = p.parent != nil && p.parent.Layered
		p.proc.Recording = j.heir(&p) // for all that is known yet: see inherit
		p.proc.Heirs = p.proc.Recording
	case ebpf.Follow:
		if p.proc = j.tree.Find(r.ID); p.proc == nil {
			p.proc, p.fresh = j.tree.Follow(r), true
			j.contain(p.proc, r.Cgroup)
			if f := j.trees.follows[r.Request]; f != nil { // for all that is known yet: see followed
				if p.proc.Heirs = f.recording; !f.children {
					p.proc.Recording = f.recording
				}
			}
			if r.MountNS != j.mountNS && r.MountNS != 0 {
				p.proc.MountNS = r.MountNS
				j.mounted(p.proc, r.MountNS, r.Time)
			}
		}
		if f := j.trees.follows[r.Request]; f != nil {
			f.found = true
		}
		p.proc.Asked++
		p.request, p.image, p.base, p.interp = r.Request, j.file(&r.Image, r.Flags), j.file(&r.Root, r.Flags), j.file(&r.Cwd, r.Flags)
	case ebpf.Exec:
		if p.proc = j.tree.Find(r.ID); p.proc == nil {
			return // its fork record was lost, which is counted
		}
		p.image, p.interp = j.file(&r.Image, r.Flags), j.file(&r.Interp, r.Flags)
		p.base = j.file(&r.Base, r.Flags)
		p.cgroup = r.Cgroup
		j.containers.Of(r.Cgroup) // while it is there
		p.comm, p.filename, p.args = j.now.put(r.Comm), j.now.put(r.Filename), j.now.put(r.Args)
	case ebpf.Exit:
		if p.proc = j.tree.Find(r.ID); p.proc == nil || !j.tree.Gone(p.proc, r.Time, r.Status) {
			return
		}
	case ebpf.Free:
		if p := j.tree.Find(r.ID); p != nil {
			p.Freed = r.Time
		}
		return
	case ebpf.Reuse:
		j.tree.Reuse(r)
		return
	}
	j.now.procs = append(j.now.procs, p)
}

// addCall takes a call record. It reports false if its process is not known:
// then the process records until now must be added first.
func (j *joiner) addCall(r *ebpf.Call) bool {
	proc := j.tree.Find(r.ID)
	if proc == nil {
		return false
	}
	c := call{Header: r.Header, proc: proc, op: r.Op, flags: r.Flags, fmode: r.FMode, event: -1, other: -1}
	if r.Op == ebpf.OpMount {
		j.mounted(proc, r.FMode, r.Time)
	}
	for i := range c.file {
		c.file[i] = j.file(&r.File[i], r.Header.Flags)
		j.glimpse(&c.file[i])
		c.text[i] = j.now.put(r.Text[i])
	}
	if r.Op == ebpf.OpRing {
		j.ring()
		return true
	}
	if r.Stage != ebpf.Returned {
		j.addRing(r, &c)
		return true
	}
	j.now.calls = append(j.now.calls, c)
	return true
}

// seal ends an epoch: every event in front of a barrier that was raised
// between before and after has been added, and every record of the tracker
// until after the barrier. sealed is how many of the pending events those are.
func (j *joiner) seal(before, after int64, sealed int) {
	j.former = j.closed
	j.sealed, j.closed, j.after = sealed, before, after
	j.pair()
	if !slices.IsSortedFunc(j.now.calls, byCallTime) {
		slices.SortStableFunc(j.now.calls, byCallTime)
	}
	j.build()
	j.matched = false
}

// resolve matches and orders what was sealed. With all, no more will come.
func (j *joiner) resolve(all bool) {
	if j.matched {
		return
	}
	j.matched = true
	j.match()
	j.matchQuiet()
	j.settle()
	j.decide(all)
	j.bound()
}

func byCallTime(a, b call) int {
	switch {
	case a.Time < b.Time:
		return -1
	case a.Time > b.Time:
		return 1
	}
	return 0
}

// release hands out what is certain, in order, and forgets it. With all, what
// is still uncertain goes as well: nothing more will come.
func (j *joiner) release(all bool) {
	if j.last = all; all {
		j.build() // anew, as something was released since
		j.matched = false
	}
	j.resolve(all)
	j.limit(all)
	clear(j.ways)
	j.collect()
	j.agree(j.agreeUntil())
	j.stop = j.gates.all
	for i := range j.ops {
		o := &j.ops[i]
		// What follows a directory that must be looked up waits for that.
		if o.key >= j.gates.all || j.forgot {
			j.stop = min(j.stop, o.key)
			break
		}
		if len(j.gates.own) == 0 || j.open(o) {
			j.perform(o)
		} else if j.alters(o) {
			j.stop = o.key
			break
		}
	}
	j.forgot = false
	j.bury()
	next := j.seq
	if j.sealed < len(j.now.events) {
		next = j.now.events[j.sealed].seq
	}
	for i := range j.now.events {
		if e := &j.now.events[i]; e.done {
			e.kept = e.seq >= j.begin || j.awaits(e)
		}
	}
	j.remap = move(&j.spare, &j.now, j.remap)
	// Back again: one of the two stays as small as what survives.
	j.now.replace(&j.spare)
	j.spare.reset()
	left := 0 // what is sealed and still pending
	for _, i := range j.remap[:j.sealed] {
		if i >= 0 {
			left++
		}
	}
	j.begin, j.sealed = next, left
	clear(j.born)
	clear(j.moved)
	clear(j.left)
	if len(j.lost) > maxLost {
		clear(j.lost) // what is asked for again is not found again
	}
	for i := range j.now.events {
		j.noteDir(&j.now.events[i], int32(i))
	}
}
