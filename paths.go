package fanrec

import (
	"bytes"

	"fanrec/ebpf"
	"fanrec/fan"

	"golang.org/x/sys/unix"
)

// Paths are those of the watermark: the graph has every change of a directory
// that was released and none that is pending. A directory that the graph does
// not know is looked up, which shows it as it is now; what is pending tells
// what of that is newer than the watermark.

// unknown returns the directories that must be looked up before release. The
// caller looks them up, passes one more barrier so that every change that the
// lookups may have seen is pending, and hands them to learn. What release still
// holds back is asked for, too: the next release may be the last.
func (j *joiner) unknown() []fan.Inode {
	j.asked = j.asked[:0]
	clear(j.sought)
	if !j.matched {
		// Paths tell which of several events of one name a call made.
		for i := range j.now.events[:j.sealed] {
			if e := &j.now.events[i]; !e.outside && !e.done {
				j.needEvent(int32(i))
			}
		}
		for i := range j.now.calls {
			c := &j.now.calls[i]
			for k := range c.text {
				if !c.ready && bytes.HasPrefix(j.now.get(c.text[k]), []byte("..")) {
					j.need(c.file[k].self)
				}
			}
		}
		if len(j.overlays.list) > 0 {
			for i := range j.now.calls { // what a text leads to tells of an overlay
				if c := &j.now.calls[i]; c.op != ebpf.OpOpen && !c.ready {
					j.need(c.file[0].self)
					j.need(c.file[1].self)
				}
			}
		}
		if len(j.asked) > 0 {
			return j.asked
		}
		j.resolve(false)
	}
	j.collect()
	for i := range j.ops {
		o := &j.ops[i]
		switch o.kind {
		case opCall:
			j.needCall(&j.now.calls[o.i])
		case opProcess:
			switch p := &j.now.procs[o.i]; p.kind {
			case ebpf.Follow:
				j.need(p.image.parent)
				j.need(p.base.self)
				j.need(p.interp.self)
			case ebpf.Held:
				if p.image.mode&unix.S_IFMT == unix.S_IFDIR {
					j.need(p.image.self)
				} else {
					j.need(p.image.parent)
				}
			case ebpf.Exec:
				j.need(p.image.parent)
				j.need(p.interp.parent)
				j.need(p.base.self)
				j.needEvent(p.script)
				j.needEvent(p.loader)
				for _, i := range p.middle {
					j.needEvent(i)
				}
			}
		case opNote:
			j.needEvent(o.i)
		case opEvent:
			e := &j.now.events[o.i]
			if _, made := j.born[e.target]; !e.outside {
				j.needEvent(o.i)
			} else if made || j.graph.Known(e.target) {
				j.need(e.newDir)
			}
		}
	}
	return j.asked
}

func (j *joiner) needCall(c *call) {
	j.needEvent(c.event)
	j.needEvent(c.other)
	switch {
	case c.blind():
		j.need(c.file[1].self)
	case c.op == ebpf.OpChdir, c.op == ebpf.OpChroot, c.op == ebpf.OpOpen && c.file[0].mode&unix.S_IFMT == unix.S_IFDIR:
		j.need(c.file[0].self)
	case c.op == ebpf.OpOpen && c.event < 0:
		j.need(c.file[0].parent)
	case c.op == ebpf.OpLink, c.op != ebpf.OpOpen && c.event < 0:
		j.need(c.file[0].self)
		j.need(c.file[1].self)
	}
}

func (j *joiner) needEvent(i int32) {
	if i < 0 {
		return
	}
	e := &j.now.events[i]
	if e.dir == (fan.Inode{}) {
		j.need(e.target)
		return
	}
	j.need(e.dir)
	j.need(e.newDir)
}

// need asks for a directory and its parents, as far as they are not known and
// no pending event makes them.
func (j *joiner) need(dir fan.Inode) {
	for dir.FS != 0 {
		missing, ok := j.graph.Missing(dir)
		if !ok || j.lost[missing] {
			return
		}
		i, made := j.born[missing]
		if !made {
			if !j.sought[missing] {
				j.sought[missing] = true
				j.asked = append(j.asked, missing)
			}
			return
		}
		dir = j.now.events[i].dir
	}
}

// learn takes the outcome of a lookup: where directories were when they were
// looked up. What is pending leads back to where they were at the watermark.
func (j *joiner) learn(links []fan.Link) {
	for _, l := range links {
		if j.graph.Known(l.Dir) {
			continue
		}
		if e := j.firstChange(l.Dir); e != nil {
			j.graph.Set(l.Dir, e.dir, j.now.get(e.name))
		} else {
			j.graph.Set(l.Dir, l.Parent, []byte(l.Name))
		}
	}
}

// vanished takes the outcome of a lookup of a directory that is gone: a pending
// event has its name. If none has, its path is lost.
func (j *joiner) vanished(dir fan.Inode) {
	if j.graph.Known(dir) {
		return
	}
	if e := j.firstChange(dir); e != nil {
		j.graph.Set(dir, e.dir, j.now.get(e.name))
		return
	}
	// No event tells of a directory that another was renamed over. Its name
	// stays in the kernel, and whoever opened it or went there told it.
	for i := range j.now.calls {
		if f := &j.now.calls[i].file[0]; f.self == dir && f.name.n > 0 {
			j.graph.Set(dir, f.parent, j.now.get(f.name))
			return
		}
	}
	if e := j.replacer(dir); e != nil {
		j.graph.Set(dir, e.newDir, j.now.get(e.to))
		return
	}
	j.lost[dir] = true
}

// replacer returns the only pending event that can have renamed a directory
// over one that was there.
func (j *joiner) replacer(dir fan.Inode) *event {
	var over *event
	for i := range j.now.events {
		e := &j.now.events[i]
		switch {
		case e.dir == dir || e.newDir == dir:
			over = nil // it is still there
		case e.mask&bitDir == 0 || e.mask&bitRename == 0 || e.applied != 0 || e.target == dir || e.newDir.FS != dir.FS:
		case j.otherHalf(e) >= 0 || j.vacated(e):
		case over != nil:
			return nil
		default:
			over = e
		}
	}
	return over
}

// vacated tells whether what had the new name of a rename was renamed before.
func (j *joiner) vacated(e *event) bool {
	for i := range j.now.events {
		o := &j.now.events[i]
		if o.seq >= e.seq {
			return false
		}
		if o.mask&bitRename != 0 && o.dir == e.newDir && bytes.Equal(j.now.get(o.name), j.now.get(e.to)) {
			return true
		}
	}
	return false
}

// firstChange returns the first pending event that renamed or removed a directory.
func (j *joiner) firstChange(dir fan.Inode) *event {
	if i, ok := j.left[dir]; ok {
		return &j.now.events[i]
	}
	return nil
}

// appendDir appends the path of a directory.
func (j *joiner) appendDir(dst []byte, dir fan.Inode) ([]byte, bool) {
	fs := j.fs.Get(dir.FS)
	if fs == nil {
		return dst, false
	}
	inside, ok := j.graph.Path(dir)
	if !ok {
		path, ok := j.glimpses[dir]
		return append(dst, path...), ok
	}
	j.named++
	n := len(dst)
	dst = j.mounts.append(dst, fs.Mount.Dev, inside)
	if len(dst) == n {
		dst = append(dst, '/')
	}
	return dst, true
}

// appendIn appends the path of a name in a directory.
func (j *joiner) appendIn(dst []byte, dir fan.Inode, name []byte) ([]byte, bool) {
	n := len(dst)
	dst, ok := j.appendDir(dst, dir)
	if !ok {
		return dst, false
	}
	if !(len(dst) == n+1 && dst[n] == '/') {
		dst = append(dst, '/')
	}
	return append(dst, name...), true
}

// appendFile appends the path of a file by what its record says: the walked
// path, which is that of the process, or its name in its parent; that of a directory by itself.
func (j *joiner) appendFile(dst []byte, f *file) ([]byte, bool) {
	switch {
	case f.self.FS == 0 && f.walk.n == 0 && f.self.Ino == 0 && f.mode == 0:
		return dst, false
	case j.byWalk(f):
		return ebpf.AppendPath(dst, j.now.get(f.walk)), true
	case f.mode&unix.S_IFMT == unix.S_IFDIR:
		return j.appendDir(dst, f.self)
	}
	return j.appendIn(dst, f.parent, j.now.get(f.name))
}

// unnamed tells whether a file is in no directory: a namespace of proc(5).
func (f *file) unnamed() bool {
	return f.self.FS == 0 && f.walk.n == 0 && f.mode&unix.S_IFMT == unix.S_IFREG
}

// appendText appends the path that one text of a call means, relative to its
// base, as the recorder has it.
func (j *joiner) appendText(dst []byte, c *call, i int) ([]byte, bool) {
	n := len(dst)
	dst, ok := j.appendTextIn(dst, &c.Header, &c.file[i], j.now.get(c.text[i]))
	if ok && j.byWalk(&c.file[i]) {
		dst = j.host(dst, n, c.proc, 0)
	}
	return dst, ok
}

// appendTextIn appends the path that a text means to the thread of a record: relative
// to a base, the symbolic links on its way resolved as they are now. The last
// component is kept. It is the thread's own path if it has another root or other
// mounts. Only for what no event tells.
func (j *joiner) appendTextIn(dst []byte, h *ebpf.Header, base *file, text []byte) ([]byte, bool) {
	dir, name := last(text)
	if len(name) == 0 {
		if len(text) == 0 && base.walk.n > 0 { // a descriptor: the base is the file
			return j.appendFile(dst, base)
		}
		return dst, false
	}
	n := len(dst)
	var ok bool
	if dst, ok = j.appendFile(dst, base); !ok {
		return dst, false
	}
	if len(dir) > 0 {
		dst = append(append(dst, '/'), dir...)
		dst = append(dst[:n], j.follow(dst[n:], h)...)
	}
	if dst[len(dst)-1] != '/' {
		dst = append(dst, '/')
	}
	return append(dst, name...), true
}

// follow returns where a path leads now that a thread gave, the path itself if
// it leads nowhere. To a process in another mount namespace it need not lead
// where it does here.
func (j *joiner) follow(path []byte, h *ebpf.Header) []byte {
	p := j.tree.Find(h.ID)
	if p == nil {
		p = j.who
	}
	// The file system is asked with the rights of the recorder. Who may not look
	// there could change a link, after a call, into one that leads where he may not.
	if t := j.trees.of(p); p != nil && p.MountNS != 0 || t != nil && !t.trusted {
		return appendClean([]byte{'/'}, 0, path)
	}
	if real, ok := j.disk.real(j.root, path, h.ID.TGID, h.TID); ok {
		return real
	}
	return appendClean([]byte{'/'}, 0, path)
}

// appendClean appends the components of a path to the directory that begins at
// n in dst, without "." and "..".
func appendClean(dst []byte, n int, path []byte) []byte {
	for len(dst) > n+1 && dst[len(dst)-1] == '/' {
		dst = dst[:len(dst)-1]
	}
	for comp := range bytes.SplitSeq(path, []byte{'/'}) {
		switch string(comp) {
		case "", ".":
		case "..":
			dst = dst[:n+max(bytes.LastIndexByte(dst[n:], '/'), 0)]
			if len(dst) == n {
				dst = append(dst, '/')
			}
		default:
			if dst[len(dst)-1] != '/' {
				dst = append(dst, '/')
			}
			dst = append(dst, comp...)
		}
	}
	return dst
}

// apply changes the directory graph as an event says.
func (j *joiner) apply(e *event, bit uint32) {
	if e.mask&bitDir == 0 {
		return
	}
	e.applied |= bit
	switch bit {
	case bitCreate:
		j.graph.Set(e.target, e.dir, j.now.get(e.name))
		delete(j.born, e.target)
	case bitRename:
		switch {
		case e.outside && !j.graph.Known(e.target):
			return
		case e.outside && !j.last && j.returns(e):
			// More renames may have been merged into these, and there are no
			// calls to tell: it must be looked up again.
			j.graph.Forget(e.target)
			j.forgot = true
			return
		}
		j.graph.Set(e.target, e.newDir, j.now.get(e.to))
	case bitDelete:
		// It keeps its last name: a process may still be in it.
		if !j.graph.Known(e.target) {
			j.graph.Set(e.target, e.dir, j.now.get(e.name))
		}
	}
}

// returns tells whether a rename took a directory back to a place where it was
// before in what is pending.
func (j *joiner) returns(e *event) bool {
	for i, ok := j.moved[e.target]; ok && i >= 0; i = j.now.events[i].moved {
		o := &j.now.events[i]
		if o.seq < e.seq && o.pid == e.pid && o.dir == e.newDir && bytes.Equal(j.now.get(o.name), j.now.get(e.to)) {
			return true
		}
	}
	return false
}
