package fanrec

import (
	"bytes"
	"cmp"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
	"fanrec/proctree"

	"golang.org/x/sys/unix"
)

// writer is a process and a file that it wrote to.
type writer struct {
	pid  uint32
	file fan.Inode
}

// start begins a record.
func (j *joiner) start(p *proctree.Process, uid uint32, at int64) *output.Record {
	j.who = p
	j.rec = output.Record{
		Time: at + j.clock, PID: p.ID.TGID, PPID: p.Parent.TGID, Start: p.ID.Start, UID: uid, Comm: p.Comm, Exe: p.Exe, NSPID: nested(p),
		Container: p.Container, ContainerName: p.ContainerName,
	}
	return &j.rec
}

// nested returns the number of a process in its own pid namespace, 0 if that is the same.
func nested(p *proctree.Process) uint32 {
	if p.OwnPID == p.ID.TGID {
		return 0
	}
	return p.OwnPID
}

// say hands out the record that start began.
func (j *joiner) say(kind output.Kind, op output.Op, path, target []byte) {
	if j.who.Recording == proctree.Nobody {
		return
	}
	j.rec.Kind, j.rec.Op, j.rec.Path, j.rec.Target = kind, op, path, target
	if j.seen && j.wantsAll() {
		j.fillSeen()
	}
	j.emit(&j.rec)
}

// unresolved counts a record that cannot be had.
func (j *joiner) unresolved() { j.blame(j.who).Unresolved++ }

func (j *joiner) setHandle(i fan.Inode) {
	if !j.handles || !j.wantsAll() {
		return
	}
	if h, ok := j.fs.Handle(i); ok {
		j.rec.Handle = h.String()
	}
}

// at returns the path that an event says: the name in its directory, or the
// directory itself.
func (j *joiner) at(dst []byte, e *event) ([]byte, bool) {
	switch {
	case e.aside:
		return append(dst, j.now.get(e.name)...), true
	case e.dir == (fan.Inode{}):
		return j.appendDir(dst, e.target)
	}
	return j.appendIn(dst, e.dir, j.now.get(e.name))
}

func (j *joiner) emitProcess(p *process) {
	switch p.kind {
	case ebpf.Fork:
		p.proc.Comm = string(j.now.get(p.comm))
		if p.parent != nil {
			p.proc.Exe, p.proc.Root = p.parent.Exe, p.parent.Root
		}
		j.inherit(p)
		if p.root || p.parent == nil || p.parent.Recording != p.proc.Recording {
			return // the root of a tree
		}
		r := j.start(p.parent, p.parent.UID, p.Time)
		r.Child, r.ChildStart, r.ChildNSPID = p.proc.ID.TGID, p.proc.ID.Start, nested(p.proc)
		j.say(output.Fork, output.NoOp, nil, nil)
	case ebpf.Exec:
		j.emitExec(p)
		if p.Flags&ebpf.Secure != 0 {
			j.privileged(p.proc)
		}
	case ebpf.Follow:
		j.followed(p)
	case ebpf.Held:
		j.emitHeld(p)
	case ebpf.Exit:
		r := j.start(p.proc, p.proc.UID, p.Time)
		r.Code, r.Signal = int(p.status>>8&0xff), int(p.status&0x7f)
		j.say(output.Exit, output.NoOp, nil, nil)
		j.tree.Leave(p.proc)
	}
}

func (j *joiner) emitExec(p *process) {
	j.root = p.proc.Root
	p.proc.Comm, p.proc.UID = string(j.now.get(p.comm)), p.UID
	j.contain(p.proc, p.cgroup)
	image, ok := j.appendHost(j.path[0][:0], p.proc, &p.image)
	j.path[0] = image
	if !ok {
		j.unresolved()
		return
	}
	if !bytes.Equal(p.proc.Exe, image) {
		p.proc.Exe = bytes.Clone(image)
	}
	r := j.start(p.proc, p.UID, p.Time)
	if j.args && j.wantsAll() {
		r.Args = j.now.get(p.args)
	}
	j.setHandle(p.image.self)
	j.say(output.Exec, output.NoOp, image, nil)
	j.rec.Args = nil
	if p.Flags&ebpf.Script != 0 {
		j.emitLoaded(p, p.script, nil)
		for _, i := range p.middle {
			if i >= 0 {
				j.emitLoaded(p, i, nil)
			}
		}
	}
	if p.Flags&ebpf.Interp != 0 {
		j.emitLoaded(p, p.loader, &p.interp)
	}
}

// script returns the path of a script as its text says.
func (j *joiner) script(p *process) ([]byte, bool) {
	path, ok := j.appendTextIn(j.path[0][:0], &p.Header, &p.base, j.now.get(p.filename))
	if ok {
		path = append(path[:0], j.follow(path, &p.Header)...) // it may be called by a symbolic link
	}
	return path, ok
}

// hostScript turns the path of a script into the recorder's.
func (j *joiner) hostScript(p *process, path []byte) []byte {
	if !j.byWalk(&p.base) {
		return path
	}
	return j.host(path, 0, p.proc, 0)
}

// emitLoaded hands out the R of what the kernel opened for an exec: by its
// event, by the record of the file, or else by the name that was executed.
func (j *joiner) emitLoaded(p *process, event int32, f *file) {
	var path []byte
	var ok bool
	j.rec.Inferred, j.rec.Handle = false, ""
	switch {
	case f != nil && (f.self.FS != 0 || f.walk.n > 0):
		path, ok = j.appendHost(j.path[0][:0], p.proc, f)
		j.setHandle(f.self)
	case event >= 0:
		e := &j.now.events[event]
		if event == p.script {
			if path, ok = j.shownScript(p, e); ok {
				path = j.hostScript(p, path)
			}
		}
		if !ok {
			path, ok = j.at(j.path[0][:0], e)
		}
		j.setHandle(e.target)
	case f == nil && p.filename.n > 0:
		// fanotify does not watch it, or this process executed it before, in
		// one event with now.
		j.rec.Inferred = true
		if path, ok = j.script(p); ok {
			path = j.hostScript(p, path)
		}
	}
	j.path[0] = path
	if !ok {
		if f == nil {
			j.unresolved()
		}
		return
	}
	j.say(output.Read, output.Loader, path, nil)
}

func (j *joiner) emitCall(c *call) {
	j.start(c.proc, c.UID, c.Time)
	c.proc.UID = c.UID
	j.root = c.proc.Root
	var e *event
	if c.event >= 0 {
		e = &j.now.events[c.event]
		j.setHandle(e.target)
		if j.maker(c) {
			j.rec.Time = max(min(c.Time, e.bound), c.prev) + j.clock
		}
	}
	switch c.op {
	case ebpf.OpOpen:
		j.emitOpen(c, e)
	case ebpf.OpChdir:
		if c.Flags&ebpf.Alone == 0 {
			c.proc.Went, c.proc.Goer = c.Time, c.TID
		}
		if path, ok := j.appendHost(j.path[0][:0], c.proc, &c.file[0]); ok {
			j.path[0] = path
			j.setHandle(c.file[0].self)
			j.say(output.Chdir, output.NoOp, path, nil)
		} else {
			j.unresolved()
		}
	case ebpf.OpChroot:
		if path, ok := j.appendFile(nil, &c.file[0]); ok {
			c.proc.Root = path
		}
	case ebpf.OpAbsent:
		j.emitAbsent(c)
	case ebpf.OpTruncate:
		j.emitText(c, output.Write, output.Truncate)
	case ebpf.OpMkdir:
		j.emitName(c, e, bitCreate, output.Write, output.Mkdir)
	case ebpf.OpMknod:
		j.emitName(c, e, bitCreate, output.Write, output.Mknod)
	case ebpf.OpBind:
		j.emitName(c, e, bitCreate, output.Write, output.Bind)
	case ebpf.OpUnlink:
		j.emitName(c, e, bitDelete, output.Delete, output.Unlink)
	case ebpf.OpRmdir:
		j.emitName(c, e, bitDelete, output.Delete, output.Rmdir)
	case ebpf.OpRename:
		j.emitRename(c, e)
	case ebpf.OpLink:
		j.emitLink(c, e, output.Hard)
	case ebpf.OpSymlink:
		j.emitLink(c, e, output.Symbolic)
	}
}

func (j *joiner) emitOpen(c *call, e *event) {
	f := &c.file[0]
	if f.unnamed() && !c.blind() {
		return
	}
	var path []byte
	var ok bool
	switch {
	case e != nil && (c.over > 0 || !j.walked(f, cmp.Or(e.dir, e.target))):
		path, ok = j.placed(j.path[0][:0], c, e)
		path, ok = j.shown(c, 0, path, ok)
	case c.blind():
		if path, ok = j.appendTextIn(j.path[0][:0], &c.Header, &c.file[1], j.now.get(c.text[0])); ok {
			path = append(path[:0], j.follow(path, &c.Header)...) // a symbolic link at the end, too
			if j.byWalk(&c.file[1]) {
				path = j.host(path, 0, c.proc, 0)
			}
		}
		j.rec.Inferred = true
	default:
		path, ok = j.appendHost(j.path[0][:0], c.proc, f)
		j.setHandle(f.self)
	}
	j.path[0] = path
	if !ok {
		j.unresolved()
		return
	}
	if c.flags&unix.O_TMPFILE == unix.O_TMPFILE && !c.blind() {
		j.rememberTemporary(f)
	}
	op := output.Open
	if c.fmode&ebpf.FModeCreated != 0 {
		op = output.Create
	}
	read, write := c.fmode&ebpf.FModeRead != 0, c.fmode&ebpf.FModeWrite != 0
	if read && !write && op == output.Create {
		j.say(output.Write, output.Create, path, nil)
		op = output.Open
	}
	if read || !write {
		j.say(output.Read, op, path, nil)
	}
	if write {
		if e != nil {
			j.noteWriter(writing{c.ID, e.target}, true)
		}
		j.say(output.Write, op, path, nil)
	}
}

// emitName hands out a record of a name that was made or removed.
func (j *joiner) emitName(c *call, e *event, bit uint32, kind output.Kind, op output.Op) {
	if e == nil {
		j.emitText(c, kind, op)
		return
	}
	path, ok := j.placed(j.path[0][:0], c, e)
	path, ok = j.shown(c, 0, path, ok)
	path, ok = j.remounted(c, 0, e.dir, path, ok)
	j.path[0] = path
	if ok {
		j.say(kind, op, path, nil)
	} else {
		j.unresolved()
	}
	if c.whiteout {
		bit = bitRename
	}
	j.apply(e, bit)
}

// emitText hands out a record whose path only the call's text tells: where
// fanotify does not watch, and of truncate(2), which makes no event.
func (j *joiner) emitText(c *call, kind output.Kind, op output.Op) {
	if j.emitMerged(c, kind, op) {
		return
	}
	path, ok := j.appendText(j.path[0][:0], c, 0)
	if c.op == ebpf.OpTruncate {
		path = j.follow(path, &c.Header)
	}
	j.path[0] = path
	if !ok {
		j.unresolved()
		return
	}
	j.rec.Inferred = c.text[0].n > 0 // else it was a descriptor, and the kernel side has its path
	j.say(kind, op, path, nil)
}

func (j *joiner) emitRename(c *call, e *event) {
	if e == nil && c.blank {
		return // between two names of one file
	}
	if e == nil && j.emitMerged(c, output.Rename, output.NoOp) {
		return
	}
	if e == nil {
		from, ok1 := j.appendText(j.path[0][:0], c, 0)
		to, ok2 := j.appendText(j.path[1][:0], c, 1)
		j.path[0], j.path[1] = from, to
		if !ok1 || !ok2 {
			j.unresolved()
			return
		}
		if j.disk.same(from, to) {
			return // hard links of one file: nothing was renamed
		}
		j.rec.Inferred = true
		j.say(output.Rename, output.NoOp, from, to)
		return
	}
	op := output.NoOp
	if c.flags&unix.RENAME_EXCHANGE != 0 {
		op = output.Exchange
	}
	j.renamed(c, e, op, 0, 1)
	if c.other >= 0 {
		o := &j.now.events[c.other]
		j.setHandle(o.target)
		j.renamed(c, o, op, 1, 0)
	}
}

// renamed hands out the record of a rename event; old and new are which text of
// the call has which name.
func (j *joiner) renamed(c *call, e *event, op output.Op, old, new int) {
	from, ok1 := j.appendIn(j.path[0][:0], e.dir, j.now.get(e.name))
	to, ok2 := j.appendIn(j.path[1][:0], e.newDir, j.now.get(e.to))
	from, ok1 = j.shown(c, old, from, ok1)
	to, ok2 = j.shown(c, new, to, ok2)
	from, ok1 = j.remounted(c, old, e.dir, from, ok1)
	to, ok2 = j.remounted(c, new, e.newDir, to, ok2)
	j.path[0], j.path[1] = from, to
	if ok1 && ok2 {
		j.say(output.Rename, op, from, to)
	} else {
		j.unresolved()
	}
	j.apply(e, bitRename)
}

func (j *joiner) emitLink(c *call, e *event, op output.Op) {
	text := j.now.get(c.text[0])
	var from []byte
	ok := true
	switch {
	case c.over > 0 && op == output.Hard && c.merged[0].n > 0:
		from = j.appendMerged(j.path[0][:0], c, 0)
	case op == output.Symbolic:
		from, ok = append(j.path[0][:0], text...), len(text) > 0
	case e != nil && bytes.HasPrefix(text, []byte("/proc/")):
		// A descriptor by a name that the kernel side does not understand: what
		// was opened without a name is found by its inode.
		from, ok = j.appendTemporary(j.path[0][:0], e.target)
		if ok {
			break
		}
		fallthrough
	default:
		from, ok = j.appendText(j.path[0][:0], c, 0)
		if c.flags&unix.AT_SYMLINK_FOLLOW != 0 {
			from = j.follow(from, &c.Header)
		}
	}
	j.path[0] = from
	var to []byte
	ok2 := true
	switch {
	case e != nil:
		to, ok2 = j.placed(j.path[1][:0], c, e)
		to, ok2 = j.shown(c, 1, to, ok2)
		to, ok2 = j.remounted(c, 1, e.dir, to, ok2)
	case c.over > 0:
		to = j.appendMerged(j.path[1][:0], c, 1)
		j.rec.Inferred = true
	default:
		to, ok2 = j.appendText(j.path[1][:0], c, 1)
		j.rec.Inferred = true
	}
	j.path[1] = to
	if !ok || !ok2 {
		j.unresolved()
		return
	}
	j.say(output.Link, op, from, to)
}

// eventPath returns the path of an event, in j.path[0]; that there is none is noted.
func (j *joiner) eventPath(e *event) (path []byte, ok bool) {
	path, ok = j.at(j.path[0][:0], e)
	j.path[0] = path
	if !ok {
		j.unresolved()
	}
	return path, ok
}

// placed returns the path of the name that a call made or removed.
func (j *joiner) placed(dst []byte, c *call, e *event) ([]byte, bool) {
	if c.whiteout {
		return j.appendIn(dst, e.newDir, j.now.get(e.to))
	}
	return j.at(dst, e)
}

// rememberTemporary remembers where a file without a name was made: a later
// link gives it one.
func (j *joiner) rememberTemporary(f *file) {
	if f.self.FS == 0 {
		return
	}
	if len(j.temporary) > 1<<12 {
		clear(j.temporary)
	}
	j.temporary[f.self] = place{f.parent, string(j.now.get(f.name))}
}

// appendTemporary appends the path of a file without a name, opened with
// O_TMPFILE: the directory and "#" with its inode number.
func (j *joiner) appendTemporary(dst []byte, i fan.Inode) ([]byte, bool) {
	t, ok := j.temporary[i]
	if !ok {
		return dst, false
	}
	return j.appendIn(dst, t.dir, []byte(t.name))
}

// actor returns the process of an event that no call tells of, nil if it is not
// of the tree or not known.
func (j *joiner) actor(e *event) *proctree.Process {
	p, shared := j.tree.Owner(e.pid, e.bound)
	if p != nil && e.bound < p.Forked {
		p = nil // whoever had the number before
	}
	if before, _ := j.tree.Owner(e.pid, e.floor); p != nil && shared && before != p && !e.outside {
		j.blame(p).Ambiguous++
		p = nil
	}
	if p != nil && p.Met && e.floor < p.Forked {
		p = nil // it may have been done before it was followed
	}
	return p
}

// emitEvent hands out what nobody but the event tells, and what others did to
// directories.
func (j *joiner) emitEvent(e *event) {
	p := j.actor(e)
	if p == nil || e.outside {
		for _, bit := range [...]uint32{bitCreate, bitRename, bitDelete} {
			if e.mask&bit != 0 {
				j.apply(e, bit)
			}
		}
		return
	}
	j.start(p, p.UID, e.bound)
	j.rec.Inferred = true
	j.setHandle(e.target)
	left := e.left()
	if left&bitRename != 0 {
		j.renamed(nil, e, output.NoOp, 0, 1)
		return
	}
	path, ok := j.eventPath(e)
	if !ok {
		return
	}
	if left&(bitCreate|bitOpen) != 0 || !j.calls && e.mask&(bitModify|bitClosed) != 0 {
		j.inferOpen(p, e, left, path)
	}
	if left&bitCreate != 0 {
		j.apply(e, bitCreate)
	}
	if left&bitDelete != 0 {
		op := output.Unlink
		if e.mask&bitDir != 0 {
			op = output.Rmdir
		}
		j.say(output.Delete, op, path, nil)
		j.apply(e, bitDelete)
	}
}

// inferOpen says R or W of what was opened or made without a call record.
func (j *joiner) inferOpen(p *proctree.Process, e *event, left uint32, path []byte) {
	switch {
	case left&bitCreate != 0 && e.mask&bitDir != 0:
		j.say(output.Write, output.Mkdir, path, nil)
	case left&bitCreate != 0:
		op := output.Create
		if e.mask&bitOpen == 0 {
			op = output.Mknod
		}
		j.sayWrite(p, e, op, path)
	case e.mask&(bitModify|bitClosed) != 0:
		j.sayWrite(p, e, output.Open, path)
	default:
		if j.guess {
			// Perhaps it was for writing, which a later event tells.
			if len(j.guessed) > 1<<12 {
				clear(j.guessed)
			}
			j.guessed[writing{p.ID, e.target}] = struct{}{}
		}
		j.say(output.Read, output.Open, path, nil)
	}
}

// sayWrite says that a process writes to a file. Without call records the
// events of one open may be read apart, and each would say it again.
func (j *joiner) sayWrite(p *proctree.Process, e *event, op output.Op, path []byte) {
	if !j.calls {
		w := writer{e.pid, e.target}
		if _, told := j.wrote[w]; told && e.mask&bitOpen == 0 {
			return
		}
		if len(j.wrote) > 1<<16 {
			clear(j.wrote)
		}
		j.wrote[w] = struct{}{}
	}
	j.noteWriter(writing{p.ID, e.target}, true)
	j.say(output.Write, op, path, nil)
}

// retire notes that the exit of a process is out.
func (j *joiner) retire(p *proctree.Process) {
	j.zombies = append(j.zombies, p)
}

// bury retires the processes of which nothing can come any more: with call
// records nothing follows the exit; without, the closes of its files do, until
// the kernel has freed it.
func (j *joiner) bury() {
	left := j.zombies[:0]
	for _, p := range j.zombies {
		if !j.calls && (p.Freed == 0 || p.Freed > j.closed) {
			left = append(left, p)
			continue
		}
		j.tree.Retire(p)
		j.retired(p)
	}
	clear(j.zombies[len(left):])
	j.zombies = left
}
