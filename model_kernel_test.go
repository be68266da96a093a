package fanrec

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"

	"golang.org/x/sys/unix"
)

// The kernel of the model: a file system, processes, and what both tell the
// recorder. A system call is a row of instants; between two of them anything
// may happen. Every instant has its own time.

const (
	simDev  = 1<<20 | 1
	simFSID = 0x1234
	elseDev = 7 // of a file system that is not watched, on /else
)

type simInode struct {
	id     int // index in sim.inodes
	ino    uint64
	gen    uint32
	kind   uint16       // S_IFMT bits
	links  int          // names it has
	self   *simDentry   // of a directory
	names  []*simDentry // in a directory
	text   string       // of a symbolic link; of a script: "#!" and its interpreter
	handle [8]byte
}

func (i *simInode) isDir() bool { return i != nil && i.kind == unix.S_IFDIR }

func (i *simInode) find(name string) *simDentry {
	for _, d := range i.names {
		if d.name == name {
			return d
		}
	}
	return nil
}

// simDentry is a name in a directory. Like the kernel's it keeps what it was
// when the name is gone.
type simDentry struct {
	dir   *simInode
	name  string
	inode *simInode
}

type simProc struct {
	id      ebpf.ID
	parent  *simProc
	tree    bool
	gone    bool
	cwd, fd *simInode // fd: a directory that is open
	threads int
}

type simThread struct {
	tid  uint32
	proc *simProc
	gone bool
	busy bool  // in a call
	told int64 // when its last call returned
	call simCall
}

// simCall is a system call under way.
type simCall struct {
	step   step
	stage  int
	entry  int64
	deed   *deed
	dentry *simDentry // what it opened
	dir    *simInode  // and its name when the event was made
	name   string
	script *simDentry // of an exec, and the ELF interpreter
	loader *simDentry
	loaded want   // of the script
	was    string // its path
}

// simEvent is an event in the queue.
type simEvent struct {
	mask        uint32
	proc        *simProc
	dir, newDir *simInode
	target      *simInode
	name, to    string
	mark        int // number of a barrier; 0: none
	serial      int
	twin        bool  // another with its key was in the queue, too far away to be merged with
	read        int64 // when the read(2) that took it was over
}

type sim struct {
	depth    int  // how far back the kernel looks for an event to merge with
	jitter   bool // call records of two processors in the wrong order
	split    bool // the name of an open is taken before its event is queued
	now      int64
	inodes   []*simInode
	spare    []*simInode // removed, their numbers are used again
	root     *simInode
	threads  []*simThread
	queue    []simEvent
	procs    []ebpf.Process
	calls    []ebpf.Call
	numbers  map[uint32]uint64
	pids     []uint32 // free to be used again
	nextPID  uint32
	starts   uint64
	deeds    []*deed // by processes of the tree
	others   []*deed // by others, which change names
	replaced bool    // a directory was renamed over another
	reused   bool    // a pid was
	pushed   int
	taken    []simEvent // that were read
	barriers []int64    // when they were raised
}

func newSim() *sim {
	s := &sim{now: 1000, depth: 1 << 30, numbers: map[uint32]uint64{}, nextPID: 100}
	s.root = s.newInode(unix.S_IFDIR)
	s.root.self = &simDentry{dir: s.root, name: "/", inode: s.root}
	s.root.links = 1
	a := s.add(s.root, "a", unix.S_IFDIR)
	s.add(s.root, "b", unix.S_IFDIR)
	s.add(a, "d", unix.S_IFDIR)
	s.add(s.root, "f", unix.S_IFREG)
	s.add(a, "f", unix.S_IFREG)
	s.add(s.root, "s", unix.S_IFLNK).text = "/a"
	s.add(s.root, "sh", unix.S_IFREG).text = "ELF /ld"
	s.add(s.root, "ld", unix.S_IFREG).text = "ELF"
	s.add(a, "x", unix.S_IFREG).text = "#!/sh"
	return s
}

func (s *sim) tick() int64 {
	s.now += 10
	return s.now
}

func (s *sim) newInode(kind uint16) *simInode {
	i := &simInode{id: len(s.inodes), kind: kind}
	if n := len(s.spare); n > 0 {
		i.ino, i.gen = s.spare[n-1].ino, s.spare[n-1].gen+1
		s.spare = s.spare[:n-1]
	} else {
		i.ino, i.gen = uint64(2+len(s.inodes)), 1
	}
	binary.NativeEndian.PutUint32(i.handle[:], uint32(i.ino))
	binary.NativeEndian.PutUint32(i.handle[4:], i.gen)
	s.inodes = append(s.inodes, i)
	return i
}

func (s *sim) add(dir *simInode, name string, kind uint16) *simInode {
	i := s.newInode(kind)
	s.enter(dir, name, i)
	return i
}

// enter gives an inode a name.
func (s *sim) enter(dir *simInode, name string, i *simInode) *simDentry {
	d := &simDentry{dir: dir, name: name, inode: i}
	dir.names = append(dir.names, d)
	i.links++
	if i.isDir() {
		i.self = d
	}
	return d
}

// leave takes a name away.
func (s *sim) leave(d *simDentry) {
	d.dir.names = slices.DeleteFunc(d.dir.names, func(o *simDentry) bool { return o == d })
	d.inode.links--
	if d.inode.links == 0 {
		s.spare = append(s.spare, d.inode)
	}
}

// moveTo renames a dentry.
func (s *sim) moveTo(d *simDentry, dir *simInode, name string) {
	d.dir.names = slices.DeleteFunc(d.dir.names, func(o *simDentry) bool { return o == d })
	d.dir, d.name = dir, name
	dir.names = append(dir.names, d)
}

// below tells whether a directory is another or below it.
func (s *sim) below(i, top *simInode) bool {
	for ; i != s.root; i = i.self.dir {
		if i == top {
			return true
		}
	}
	return top == s.root
}

func (s *sim) attached(i *simInode) bool { return i == s.root || i.links > 0 }

func (s *sim) path(i *simInode) string {
	if i == s.root {
		return "/"
	}
	p := ""
	for ; i != s.root; i = i.self.dir {
		p = "/" + i.self.name + p
	}
	return p
}

// base returns the directory that a text is relative to, and the text that the
// caller gave: "fd:" stands for a descriptor.
func (s *sim) base(p *simProc, text string) (*simInode, string) {
	switch {
	case strings.HasPrefix(text, "fd:"):
		return p.fd, text[3:]
	case strings.HasPrefix(text, "/"):
		return s.root, text
	}
	return p.cwd, text
}

// walk finds the directory and the last component of a path.
func (s *sim) walk(p *simProc, text string) (dir *simInode, name string) {
	dir, text = s.base(p, text)
	for depth := 0; dir != nil && s.attached(dir) && depth < 40; depth++ {
		text = strings.TrimLeft(text, "/")
		comp, rest, more := strings.Cut(text, "/")
		if !more || strings.Trim(rest, "/") == "" {
			return dir, comp
		}
		text = rest
		switch comp {
		case ".":
			continue
		case "..":
			dir = dir.self.dir
			continue
		}
		d := dir.find(comp)
		switch {
		case d == nil:
			return nil, ""
		case d.inode.kind == unix.S_IFLNK:
			dir, text = s.root, d.inode.text+"/"+rest
		case d.inode.isDir():
			dir = d.inode
		default:
			return nil, ""
		}
	}
	return nil, ""
}

// look finds what a path names; a symbolic link at its end is followed.
func (s *sim) look(p *simProc, text string, follow bool) *simDentry {
	dir, name := s.walk(p, text)
	for depth := 0; dir != nil && depth < 40; depth++ {
		if name == "" || name == "." {
			return dir.self
		}
		if name == ".." {
			return dir.self.dir.self
		}
		d := dir.find(name)
		if d == nil || !follow || d.inode.kind != unix.S_IFLNK {
			return d
		}
		dir, name = s.walk(p, d.inode.text)
	}
	return nil
}

// push queues an event, or merges it. It reports whether it was queued.
func (s *sim) push(e simEvent) bool {
	for i := len(s.queue) - 1; i >= max(0, len(s.queue)-s.depth); i-- {
		if o := &s.queue[i]; o.sameKey(&e) {
			o.mask |= e.mask
			return false
		}
	}
	for i := range s.queue[:max(0, len(s.queue)-s.depth)] {
		e.twin = e.twin || s.queue[i].sameKey(&e)
	}
	s.pushed++
	e.serial = s.pushed
	s.queue = append(s.queue, e)
	return true
}

func (e *simEvent) sameKey(o *simEvent) bool {
	const kinds = bitDir | bitRename
	return o.proc == e.proc && o.mask&kinds == e.mask&kinds && o.dir == e.dir && o.newDir == e.newDir &&
		o.target == e.target && o.name == e.name && o.to == e.to && o.mark == e.mark
}

func (i *simInode) dirBit() uint32 {
	if i.isDir() {
		return bitDir
	}
	return 0
}

func (s *sim) pushName(p *simProc, bit uint32, dir *simInode, name string, i *simInode) bool {
	return s.push(simEvent{mask: bit | i.dirBit(), proc: p, dir: dir, name: name, target: i})
}

func (s *sim) pushOpen(p *simProc, bit uint32, dir *simInode, name string, i *simInode) bool {
	if i.isDir() {
		return s.push(simEvent{mask: bit | bitDir, proc: p, dir: i, name: "."})
	}
	return s.pushName(p, bit, dir, name, i)
}

func simHandle(i *simInode) fan.Handle {
	if i == nil {
		return fan.Handle{}
	}
	return fan.Handle{FSID: simFSID, Type: 1, Bytes: i.handle[:]}
}

func (e *simEvent) event() fan.Event {
	return fan.Event{
		Mask: uint64(e.mask), PID: int32(e.proc.id.TGID), Dir: simHandle(e.dir), Name: []byte(e.name),
		NewDir: simHandle(e.newDir), NewName: []byte(e.to), Target: simHandle(e.target),
	}
}

// spawn makes a process.
func (s *sim) spawn(parent *simProc, again bool) *simThread {
	p := &simProc{parent: parent, threads: 1}
	s.starts++
	p.id.Start = s.starts
	if n := len(s.pids); again && n > 0 {
		p.id.TGID = s.pids[n-1]
		s.reused = true
		s.pids = s.pids[:n-1]
	} else {
		p.id.TGID = s.nextPID
		s.nextPID++
	}
	p.cwd = s.root
	if parent != nil {
		p.cwd, p.fd, p.tree = parent.cwd, parent.fd, parent.tree
	}
	t := &simThread{tid: p.id.TGID, proc: p}
	s.threads = append(s.threads, t)
	return t
}

// member tells the tracker of a new process.
func (s *sim) member(t *simThread, flags ebpf.Flags) {
	h := s.head(t)
	if _, ok := s.numbers[t.tid]; ok {
		s.procs = append(s.procs, ebpf.Process{Header: h, Kind: ebpf.Reuse})
		delete(s.numbers, t.tid)
	}
	if !t.proc.tree {
		return
	}
	s.numbers[t.tid] = t.proc.id.Start
	h.Flags |= flags
	h.Time = s.tick()
	r := ebpf.Process{Header: h, Kind: ebpf.Fork}
	if t.proc.parent != nil {
		r.Parent = t.proc.parent.id
	}
	s.procs = append(s.procs, r)
}

func (s *sim) head(t *simThread) ebpf.Header {
	h := ebpf.Header{Time: s.tick(), ID: t.proc.id, TID: t.tid}
	if t.proc.threads == 1 {
		h.Flags = ebpf.Alone
	}
	return h
}

func (s *sim) file(d *simDentry, named bool) ebpf.File {
	f := ebpf.File{Ino: d.inode.ino, Gen: d.inode.gen, Dev: simDev, Mode: d.inode.kind}
	if named {
		f.ParentIno, f.ParentGen, f.Name = d.dir.ino, d.dir.gen, []byte(d.name)
	}
	return f
}

// begin lets a thread enter a call; go on takes it further.
func (s *sim) begin(t *simThread, st step) {
	t.busy = true
	t.call = simCall{step: st, entry: s.tick()}
}

// end ends a call of which nothing more is to be told.
func (s *sim) end(t *simThread) { t.busy = false }

// deed notes what a call did, in the instant when it did it.
func (s *sim) deed(t *simThread, wants ...want) *deed {
	d := &deed{proc: t.proc, thread: t, prev: t.told, at: s.now, entry: t.call.entry, wants: wants, step: t.call.step}
	t.call.deed = d
	if t.proc.tree {
		s.deeds = append(s.deeds, d)
	} else {
		s.others = append(s.others, d)
	}
	return d
}

// goOn takes a thread to the next instant of its call.
func (s *sim) goOn(t *simThread) {
	s.tick()
	c := &t.call
	c.stage++
	switch c.step.op {
	case doOpen:
		s.open(t)
	case doExec:
		s.exec(t)
	case doFork:
		child := s.spawn(t.proc, c.step.mode != 0)
		if c.step.mode == 2 {
			child.proc.tree = false // nothing of the parent's: as a process that another forked
			child.proc.parent = nil
		}
		s.member(child, 0)
		if child.proc.tree {
			s.deed(t, want{kind: output.Fork, child: child.tid}).exit = s.now
		}
		s.end(t)
	case doThread:
		t.proc.threads++
		s.threads = append(s.threads, &simThread{tid: s.nextPID, proc: t.proc})
		s.nextPID++
		s.end(t)
	case doExit:
		s.exit(t)
	case doFD:
		if d := s.look(t.proc, c.step.a, true); d != nil && d.inode.isDir() {
			t.proc.fd = d.inode // O_PATH: no event, no record
		}
		s.end(t)
	default:
		if c.stage == 1 {
			if !s.effect(t) {
				s.end(t)
			}
			return
		}
		s.reply(t)
	}
}

func (s *sim) open(t *simThread) {
	c := &t.call
	mode := c.step.mode
	switch c.stage {
	case 1:
		if strings.HasPrefix(c.step.a, "/else/") {
			s.deed(t, openWants(mode, false, loc{text: c.step.a})...)
			c.stage = 3
			return
		}
		d := s.look(t.proc, c.step.a, true)
		made := false
		if d == nil && mode&openCreate != 0 && t.proc.tree {
			dir, name := s.walk(t.proc, c.step.a)
			if dir == nil || !plain(name) || dir.find(name) != nil {
				s.end(t)
				return
			}
			d = s.enter(dir, name, s.newInode(unix.S_IFREG))
			made = s.pushName(t.proc, bitCreate, dir, name, d.inode)
		}
		if d == nil || d.inode.isDir() && mode != openRead || d.inode.kind == unix.S_IFLNK {
			s.end(t)
			return
		}
		c.dentry, c.dir, c.name = d, d.dir, d.name
		at := loc{dir: d.dir, name: d.name}
		if d.inode.isDir() {
			at = loc{dir: d.inode}
		}
		deed := s.deed(t, openWants(mode, made, at)...)
		deed.made = made
		if made {
			deed.does = does{make: d.inode, dir: d.dir, name: d.name}
		} else {
			deed.does = does{need: d.inode, dir: d.dir, name: d.name}
		}
	case 2:
		c.dir, c.name = c.dentry.dir, c.dentry.name
		if !c.dentry.inode.isDir() {
			c.deed.other = loc{dir: c.dir, name: c.name}
		}
		if !s.split {
			s.openEvent(t)
			c.stage = 3
		}
	case 3:
		s.openEvent(t)
	default:
		s.reply(t)
	}
}

func (s *sim) openEvent(t *simThread) {
	c := &t.call
	if s.pushOpen(t.proc, bitOpen, c.dir, c.name, c.dentry.inode) {
		c.deed.made = true
		c.deed.event = s.queue[len(s.queue)-1]
	}
}

// plain tells whether a name can be made or removed.
func plain(name string) bool { return name != "" && name != "." && name != ".." }

// effect is the instant in which a call changes the names. It reports false if
// it fails.
func (s *sim) effect(t *simThread) bool {
	c := &t.call
	p := t.proc
	switch c.step.op {
	case doChdir, doFchdir:
		var i *simInode
		if c.step.op == doFchdir {
			i = p.fd
		} else if d := s.look(p, c.step.a, true); d != nil {
			i = d.inode
		}
		if i == nil || !i.isDir() {
			return false
		}
		p.cwd = i
		s.deed(t, want{kind: output.Chdir, path: loc{dir: i}})
		return true
	case doTruncate:
		d := s.look(p, c.step.a, true)
		if d == nil || d.inode.kind != unix.S_IFREG {
			return false
		}
		at := s.textLoc(p, c.step.a)
		s.deed(t, want{kind: output.Write, op: output.Truncate, path: at, inferred: true}).other = loc{text: s.locPath(at)}
		return true
	case doUnlink, doRmdir:
		dir, name := s.walk(p, c.step.a)
		if dir == nil || !plain(name) {
			return false
		}
		d := dir.find(name)
		if c.step.op == doUnlink && !p.tree {
			return false
		}
		if d == nil || d.inode.isDir() != (c.step.op == doRmdir) || len(d.inode.names) > 0 {
			return false
		}
		s.leave(d)
		w := want{kind: output.Delete, op: output.Unlink, path: loc{dir: dir, name: name}}
		if c.step.op == doRmdir {
			w.op = output.Rmdir
		}
		deed := s.deed(t, w)
		deed.does = does{need: d.inode, dir: dir, name: name, gone: true}
		deed.made = s.pushName(p, bitDelete, dir, name, d.inode)
		return true
	case doMkdir, doMknod, doSymlink, doLink:
		return s.makeName(t)
	}
	return s.rename(t)
}

func (s *sim) locPath(l loc) string {
	if p := s.path(l.dir); p != "/" {
		return p + "/" + l.name
	}
	return "/" + l.name
}

// textLoc is the place that a text names to a call.
func (s *sim) textLoc(p *simProc, text string) loc {
	dir, name := s.walk(p, text)
	return loc{dir: dir, name: name}
}

func (s *sim) makeName(t *simThread) bool {
	c := &t.call
	p := t.proc
	text := c.step.a
	if c.step.op == doLink || c.step.op == doSymlink {
		text = c.step.b
	}
	dir, name := s.walk(p, text)
	if dir == nil || !plain(name) || dir.find(name) != nil || !p.tree && c.step.op != doMkdir {
		return false
	}
	at := loc{dir: dir, name: name}
	var i *simInode
	var w want
	switch c.step.op {
	case doMkdir:
		i, w = s.newInode(unix.S_IFDIR), want{kind: output.Write, op: output.Mkdir, path: at}
	case doMknod:
		i, w = s.newInode(unix.S_IFIFO), want{kind: output.Write, op: output.Mknod, path: at}
	case doSymlink:
		i = s.newInode(unix.S_IFLNK)
		i.text = c.step.a
		w = want{kind: output.Link, op: output.Symbolic, path: loc{text: c.step.a}, target: at}
	case doLink:
		d := s.look(p, c.step.a, false)
		if d == nil || d.inode.isDir() {
			return false
		}
		i, w = d.inode, want{kind: output.Link, op: output.Hard, path: loc{dir: d.dir, name: d.name}, target: at}
	}
	s.enter(dir, name, i)
	deed := s.deed(t, w)
	if c.step.op == doLink {
		deed.other = loc{text: s.locPath(w.path)}
	}
	deed.does = does{make: i, dir: dir, name: name}
	deed.made = s.pushName(p, bitCreate, dir, name, i)
	return true
}

func (s *sim) rename(t *simThread) bool {
	c := &t.call
	p := t.proc
	from, name := s.walk(p, c.step.a)
	to, toName := s.walk(p, c.step.b)
	if from == nil || to == nil || !plain(name) || !plain(toName) {
		return false
	}
	d, over := from.find(name), to.find(toName)
	if d == nil || d.inode.isDir() && s.below(to, d.inode) || over != nil && over.inode.isDir() && s.below(from, over.inode) {
		return false
	}
	if !p.tree && (!d.inode.isDir() || over != nil && !over.inode.isDir()) {
		return false
	}
	w := want{kind: output.Rename, path: loc{dir: from, name: name}, target: loc{dir: to, name: toName}}
	if over != nil && over.inode == d.inode {
		if c.step.a != c.step.b || c.step.a[0] != '/' {
			return false // nothing would tell it from a rename through a symbolic link, or from where the directory moved
		}
		w.inferred = true
		// Two names of one file: it succeeds, does nothing and tells nobody, so
		// that only the texts tell of it.
		deed := s.deed(t, w)
		deed.other, deed.otherTo = loc{text: c.step.a}, loc{text: c.step.b}
		if c.step.a[0] != '/' {
			deed.other.text = s.locPath(w.path)
		}
		if c.step.b[0] != '/' {
			deed.otherTo.text = s.locPath(w.target)
		}
		return true
	}
	if c.step.op == doExchange {
		if over == nil {
			return false
		}
		w.op = output.Exchange
		deed := s.deed(t, w, want{kind: output.Rename, op: output.Exchange, path: w.target, target: w.path})
		deed.does = does{need: d.inode, dir: from, name: name, other: over.inode, to: to, toName: toName}
		s.moveTo(d, to, toName)
		over.dir.names = slices.DeleteFunc(over.dir.names, func(o *simDentry) bool { return o == over })
		over.dir, over.name = from, name
		from.names = append(from.names, over)
		a := s.push(simEvent{mask: bitRename | d.inode.dirBit(), proc: p, dir: from, name: name, newDir: to, to: toName, target: d.inode})
		b := s.push(simEvent{mask: bitRename | over.inode.dirBit(), proc: p, dir: to, name: toName, newDir: from, to: name, target: over.inode})
		deed.made = a && b
		return true
	}
	if over != nil {
		if over.inode.isDir() != d.inode.isDir() || len(over.inode.names) > 0 {
			return false
		}
		s.leave(over)
		s.replaced = s.replaced || over.inode.isDir()
	}
	s.moveTo(d, to, toName)
	deed := s.deed(t, w)
	deed.does = does{need: d.inode, dir: from, name: name, to: to, toName: toName}
	deed.made = s.push(simEvent{mask: bitRename | d.inode.dirBit(), proc: p, dir: from, name: name, newDir: to, to: toName, target: d.inode})
	return true
}

// reply is the return of a call.
func (s *sim) reply(t *simThread) {
	c := &t.call
	s.end(t)
	h := s.head(t)
	c.deed.exit, t.told = h.Time, h.Time
	c.deed.threads = t.proc.threads
	if !t.proc.tree {
		return
	}
	r := ebpf.Call{Header: h}
	base := func(i int, text string) {
		dir, text := s.base(t.proc, text)
		r.File[i], r.Text[i] = s.file(dir.self, false), []byte(text)
	}
	switch c.step.op {
	case doOpen:
		r.Op = ebpf.OpOpen
		mode := c.step.mode
		r.FMode = uint32(mode & (openRead | openWrite))
		switch {
		case c.dentry == nil:
			comps := strings.Split(c.step.a[1:], "/")
			slices.Reverse(comps)
			r.File[0] = ebpf.File{Ino: 1, Dev: elseDev, Mode: unix.S_IFREG, Walk: []byte(strings.Join(comps, "\x00") + "\x00")}
		default:
			r.File[0] = s.file(c.dentry, true)
			if !c.dentry.inode.isDir() {
				c.deed.final = loc{dir: c.dentry.dir, name: c.dentry.name}
			}
			if c.deed.does.make != nil {
				r.FMode |= ebpf.FModeCreated
			}
		}
	case doChdir, doFchdir:
		r.Op, r.File[0] = ebpf.OpChdir, s.file(t.proc.cwd.self, true)
		c.deed.other = loc{dir: t.proc.cwd} // where another thread went meanwhile
	case doTruncate:
		r.Op = ebpf.OpTruncate
		base(0, c.step.a)
	case doUnlink, doRmdir, doMkdir, doMknod:
		r.Op = [...]ebpf.Op{doUnlink: ebpf.OpUnlink, doRmdir: ebpf.OpRmdir, doMkdir: ebpf.OpMkdir, doMknod: ebpf.OpMknod}[c.step.op]
		base(0, c.step.a)
	case doSymlink:
		r.Op, r.Text[0] = ebpf.OpSymlink, []byte(c.step.a)
		base(1, c.step.b)
	case doLink, doRename, doExchange:
		r.Op = ebpf.OpRename
		if c.step.op == doLink {
			r.Op = ebpf.OpLink
		}
		if c.step.op == doExchange {
			r.Flags = unix.RENAME_EXCHANGE
		}
		base(0, c.step.a)
		base(1, c.step.b)
	}
	s.calls = append(s.calls, r)
	if n := len(s.calls); s.jitter && n > 1 && s.calls[n-2].ID != r.ID && h.Time-s.calls[n-2].Time < 50 {
		s.calls[n-1], s.calls[n-2] = s.calls[n-2], s.calls[n-1]
	}
}

func (s *sim) exec(t *simThread) {
	c := &t.call
	p := t.proc
	load := func(d *simDentry) {
		c.dentry = d
		s.pushName(p, bitOpen|bitOpenExec, d.dir, d.name, d.inode)
	}
	switch c.stage {
	case 1:
		d := s.look(p, c.step.a, true)
		if d == nil || d.inode.kind != unix.S_IFREG {
			s.end(t)
			return
		}
		load(d)
		if strings.HasPrefix(d.inode.text, "#!") {
			c.script = d
			at := loc{dir: d.dir, name: d.name}
			c.loaded, c.was = want{kind: output.Read, op: output.Loader, path: at}, s.locPath(at)
		}
	case 2:
		if c.script != nil {
			d := s.look(p, c.script.inode.text[2:], true)
			if d == nil || d.inode.kind != unix.S_IFREG {
				s.end(t)
				return
			}
			load(d)
		}
		if !strings.HasPrefix(c.dentry.inode.text, "ELF") {
			s.end(t) // ENOEXEC
		}
	case 3:
		image := c.dentry
		if text := image.inode.text; len(text) > 4 {
			d := s.look(p, text[4:], true)
			if d == nil || d.inode.kind != unix.S_IFREG {
				s.end(t)
				return
			}
			load(d)
			c.dentry, c.loader = image, d
		}
	case 4:
		// The other threads are ended first; their calls return, but for an execve.
		for _, o := range s.threads {
			if o.proc == p && o != t && o.busy && o.call.step.op != doExec {
				c.stage--
				return
			}
		}
		for _, o := range s.threads {
			if o.proc == p && o != t {
				o.gone, o.busy = true, false
			}
		}
		p.threads, t.tid = 1, p.id.TGID
		wants := []want{{kind: output.Exec, path: loc{dir: c.dentry.dir, name: c.dentry.name}}}
		r := ebpf.Process{Header: s.head(t), Kind: ebpf.Exec, Image: s.file(c.dentry, true), Filename: []byte(c.step.a)}
		if i := bytes.LastIndex(r.Filename, []byte("fd:")); i == 0 {
			r.Filename = append([]byte("/dev/fd/3/"), r.Filename[3:]...)
		}
		if c.script != nil {
			r.Flags |= ebpf.Script
			wants = append(wants, c.loaded)
		}
		if d := c.loader; d != nil {
			r.Flags |= ebpf.Interp
			r.Interp = s.file(d, true)
			wants = append(wants, want{kind: output.Read, op: output.Loader, path: loc{dir: d.dir, name: d.name}})
		}
		deed := s.deed(t, wants...)
		deed.exit, t.told = r.Time, r.Time
		if c.script != nil {
			deed.other = loc{text: c.was}
		}
		s.end(t)
		if p.tree {
			s.procs = append(s.procs, r)
		} else {
			s.others = s.others[:len(s.others)-1]
		}
	}
}

func (s *sim) exit(t *simThread) {
	c := &t.call
	p := t.proc
	s.end(t)
	if c.step.mode == 1 && p.threads > 1 { // only the thread
		p.threads--
		t.gone = true
		return
	}
	for _, o := range s.threads {
		if o.proc == p && o != t && o.busy {
			return
		}
	}
	for _, o := range s.threads {
		if o.proc == p {
			o.gone = true
		}
	}
	p.threads, p.gone = 1, true
	h := s.head(t)
	if p.tree {
		s.procs = append(s.procs, ebpf.Process{Header: h, Kind: ebpf.Exit, Status: 3 << 8})
		s.deed(t, want{kind: output.Exit}).exit = h.Time
	}
	if p.tree {
		s.pids = append(s.pids, p.id.TGID)
	}
}
