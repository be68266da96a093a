package fanrec

import (
	"bytes"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
	"fanrec/proctree"

	"golang.org/x/sys/unix"
)

// An overlayfs is not watched itself: its opens are those of call records. But
// what it does in its layers is done by the process that uses it, with events.
// A call that names something in an overlay is matched with the event in the
// upper layer, which has the same paths below its root, and keeps the path that
// it meant. What is left in the layers, and can be the doing of an overlay, is
// no act of the process: copies, whiteouts, the opens of the real files.

// overlays are the overlays whose layers are watched.
type overlays struct {
	list   []*fan.Overlay
	layers map[fan.Inode]bool // roots of layers; true: a work directory
}

// add learns of an overlay.
func (o *overlays) add(overlay *fan.Overlay) {
	if o.layers == nil {
		o.layers = map[fan.Inode]bool{}
	}
	if i := o.find(overlay.Dev); i != 0 {
		o.list[i-1].Dev = 0 // its device is this one's now
	}
	o.list = append(o.list, overlay)
	for _, i := range overlay.Layers() {
		if !o.layers[i] {
			o.layers[i] = false
		}
	}
	if overlay.Work != (fan.Inode{}) {
		o.layers[overlay.Work] = true
	}
}

// forget is for an overlay that is gone: the number of its device is free.
func (o *overlays) forget(dev uint32) {
	if i := o.find(dev); i != 0 {
		o.list[i-1].Dev = 0
	}
}

// find returns the number of an overlay, from 1; 0 if there is none.
func (o *overlays) find(dev uint32) int32 {
	for i, v := range o.list {
		if v.Dev == dev {
			return int32(i + 1)
		}
	}
	return 0
}

// layer climbs from a directory to the root of the layer that it is in.
func (j *joiner) layer(dir fan.Inode) (root fan.Inode, work, ok bool) {
	for range maxClimb {
		if dir.FS == 0 {
			break
		}
		if work, ok := j.overlays.layers[dir]; ok {
			return dir, work, true
		}
		if i, made := j.born[dir]; made {
			dir = j.now.events[i].dir
			continue
		}
		parent, _, ok := j.graph.Where(dir)
		if !ok {
			break
		}
		dir = parent
	}
	return fan.Inode{}, false, false
}

// maxClimb bounds a climb that a damaged graph could make endless.
const maxClimb = 4096

// reaches notes that a process used an overlay.
func (j *joiner) reaches(p *proctree.Process, devs ...uint32) {
	for _, dev := range devs {
		if dev != 0 && !p.Layered && j.overlays.find(dev) != 0 {
			p.Layered = true
		}
	}
}

// layered tells whether a process, or one that it may have descriptors from,
// used an overlay.
func (j *joiner) layered(p *proctree.Process) bool {
	for q := p; q != nil; q = j.tree.Find(q.Parent) {
		if q.Layered {
			p.Layered = true
			return true
		}
	}
	return false
}

// meant is what a call said, before its texts became paths of the upper layer.
type meant struct {
	call int
	file [2]file
	text [2]span
}

// matchThrough matches the calls that name something in an overlay, of those
// that no event tells of under the name that they used: first those whose path
// leads to the directory of an event, then by the last component, as the links
// in a path may be others by now. Every such call made an event.
func (j *joiner) matchThrough(calls []call) {
	if len(j.overlays.list) == 0 {
		return
	}
	for i := range j.now.procs {
		if p := &j.now.procs[i]; p.kind == ebpf.Exec {
			j.reaches(p.proc, p.image.dev, p.interp.dev)
		}
	}
	j.findWhiteouts()
	var rest []meant
	for i := range calls {
		c := &calls[i]
		if !c.ready {
			j.reaches(c.proc, c.file[0].dev, c.file[1].dev)
		}
		if c.ready || c.event >= 0 || c.over != 0 || c.Time > j.closed {
			continue
		}
		if c.op == ebpf.OpOpen {
			j.matchMade(c)
			continue
		}
		m := meant{i, c.file, c.text}
		if j.through(c); c.over <= 0 {
			continue
		}
		c.proc.Layered = true
		if !j.matchUpper(c, sameDir) {
			rest = append(rest, m)
		}
	}
	for _, m := range rest {
		c := &calls[m.call]
		file, text := c.file, c.text
		c.file, c.text = m.file, m.text
		c.blank = !j.matchUpper(c, 0) && j.overlays.list[c.over-1].Upper != (fan.Inode{})
		c.file, c.text = file, text
	}
}

// findWhiteouts lists the renames out of a workdir, by the new name: so appear
// whiteouts, and what replaces one. What was opened there without a name and is
// then linked is a copy, which no call made.
func (j *joiner) findWhiteouts() {
	clear(j.whiteouts)
	clear(j.copies)
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.outside || e.mask&(bitOpen|bitCreate|bitRename) == 0 {
			continue
		}
		if e.mask&bitCreate != 0 && e.dir.FS != 0 && j.copies[e.target] {
			e.copied = true
		}
		if _, work, _ := j.layer(e.dir); !work {
			continue
		}
		if j.whiteouts == nil {
			j.whiteouts, j.copies = map[string][]int32{}, map[fan.Inode]bool{}
		}
		if e.mask&bitRename == 0 {
			j.copies[e.target] = true
		} else if !e.done {
			name := string(j.now.get(e.to))
			j.whiteouts[name] = append(j.whiteouts[name], int32(i))
		}
	}
}

// matchUpper finds the event of a call in the upper layer, of those that fit at
// least so well.
func (j *joiner) matchUpper(c *call, least int) bool {
	bit, dir, side := nameBits(c.op)
	if c.text[side].n == 0 {
		return false
	}
	text := j.now.get(c.text[side])
	_, name := last(text)
	b := j.searchName(c, bit, dir, side, name)
	if bit == bitRename {
		least *= 2
	}
	if _, _, in := j.layerOf(&b); !in {
		b = best{}
	}
	if bit != bitRename {
		if bit == bitDelete {
			dir = 0 // a whiteout is no directory
		}
		j.searchWhiteout(&b, c, dir, side, name)
	}
	if b.count == 0 || b.score < least {
		return false
	}
	e := &j.now.events[b.event]
	if c.whiteout = e.mask&bit == 0; c.whiteout {
		bit = bitRename
	}
	j.claim(c, b.event, bit, b.certain(&c.Header))
	if c.op == ebpf.OpLink {
		e.linked = true
	}
	if c.op == ebpf.OpRename {
		j.back(e)
		if c.flags&unix.RENAME_EXCHANGE != 0 {
			j.matchExchange(c)
		}
	}
	return true
}

// searchWhiteout looks for the first rename out of a workdir to a name that fits
// better than what was found.
func (j *joiner) searchWhiteout(b *best, c *call, dir uint32, side int, name []byte) {
	for _, i := range j.whiteouts[string(name)] {
		e := &j.now.events[i]
		if e.pid != c.ID.TGID || e.claimed|e.maybe != 0 || e.mask&bitDir != dir || !e.possible(c.proc, c.Time, c.prev) {
			continue
		}
		score := j.scoreDir(c, e, j.now.get(c.text[side]), side, e.newDir)
		if score >= 0 && (b.count == 0 || score > b.score) {
			*b = best{event: i, first: i, score: score, count: 1, free: true}
		}
	}
}

// layerOf returns the layer that the choice of a search is in.
func (j *joiner) layerOf(b *best) (root fan.Inode, work, ok bool) {
	if b.count == 0 {
		return fan.Inode{}, false, false
	}
	e := &j.now.events[b.event]
	if j.lost[e.dir] {
		return e.dir, false, true
	}
	return j.layer(e.dir)
}

// matchMade finds the event of an open that made a file of an overlay: nobody
// else may take it for his. The call says itself which file it opened.
func (j *joiner) matchMade(c *call) {
	c.over = -1
	f := c.file[0]
	if c.fmode&ebpf.FModeCreated == 0 || f.self.FS != 0 || !c.proc.Layered {
		return
	}
	path := ebpf.AppendPath(j.path[2][:0], j.now.get(f.walk))
	j.path[2] = path
	m, ok := j.mounts.of(c.proc, c.Time).On(path)
	over := j.overlays.find(m.Dev)
	if !ok || over == 0 {
		return
	}
	inside := j.now.put(bytes.TrimPrefix(m.Inside(path), []byte("/")))
	_, name := last(j.now.get(inside))
	c.text[0], c.file[0] = inside, file{self: j.overlays.list[over-1].Upper}
	b := j.searchName(c, bitCreate, 0, 0, name)
	j.searchWhiteout(&b, c, 0, 0, name)
	c.text[0], c.file[0] = span{}, f
	if b.count == 0 || b.score < sameDir {
		return
	}
	e := &j.now.events[b.event]
	bits := uint32(bitCreate)
	if c.whiteout = e.mask&bitCreate == 0; c.whiteout {
		bits = bitRename
	} else if e.mask&^(e.claimed|e.maybe)&bitOpen != 0 {
		bits |= bitOpen
	}
	c.over, c.merged[0] = over, j.now.put(ebpf.AppendPath(j.path[2][:0], j.now.get(f.walk)))
	j.claim(c, b.event, bits, true)
}

// through finds out whether a call names something in an overlay. Its texts are
// then paths from the root of the upper layer.
func (j *joiner) through(c *call) {
	c.over = -1
	for q := c.proc; j.foreign && c.proc.MountNS == 0 && q != nil; q = j.tree.Find(q.Parent) {
		c.proc.MountNS = q.MountNS // its fork may have been told of before its parent's call
	}
	first, end := 0, 1
	switch c.op {
	case ebpf.OpMkdir, ebpf.OpMknod, ebpf.OpBind, ebpf.OpUnlink, ebpf.OpRmdir:
	case ebpf.OpRename, ebpf.OpLink:
		end = 2
	case ebpf.OpSymlink:
		first, end = 1, 2
	default:
		return
	}
	var mounts [2]fan.Mount
	if c.op == ebpf.OpLink && (c.text[0].n == 0 || bytes.HasPrefix(j.now.get(c.text[0]), []byte("/proc/"))) {
		first = 1 // by a descriptor
	}
	for k := first; k < end; k++ {
		path, ok := j.appendTextIn(j.path[2][:0], &c.Header, &c.file[k], j.now.get(c.text[k]))
		j.path[2] = path
		if !ok {
			return
		}
		if mounts[k], ok = j.mounts.of(c.proc, c.Time).On(path); !ok {
			return
		}
		if f := &c.file[k]; f.walk.n == 0 && j.overlays.find(f.dev) != 0 {
			// Its root directory now: the mount table may be that of before.
			mounts[k] = fan.Mount{Dev: f.dev, Root: "/", Mountpoint: "/"}
		}
		c.merged[k] = j.now.put(path)
	}
	if c.op == ebpf.OpRename && mounts[0].Dev != mounts[1].Dev {
		return
	}
	if t := mounts[end-1].Type; t != "" && t != "overlay" {
		return // the device was an overlay's before
	}
	if c.over = j.overlays.find(mounts[end-1].Dev); c.over == 0 {
		c.over = -1
		return
	}
	upper := j.overlays.list[c.over-1].Upper
	for k := first; k < end; k++ {
		inside := mounts[k].Inside(j.now.get(c.merged[k]))
		c.text[k] = j.now.put(bytes.TrimPrefix(inside, []byte("/")))
		c.file[k] = file{self: upper, mode: c.file[k].mode}
	}
}

// shown turns the path that an event in the upper layer tells of one of the
// names of a call into that of the overlay through which the call made it. A
// layer need not be where anybody can see it: then the path is the call's.
func (j *joiner) shown(c *call, side int, path []byte, ok bool) ([]byte, bool) {
	switch {
	case c == nil || c.over <= 0:
		return path, ok
	case !ok || c.proc.MountNS != 0:
		j.rec.Inferred = true
		return j.appendMerged(path[:0], c, side), true
	}
	o := j.overlays.list[c.over-1]
	return j.shownBy(j.mounts.of(c.proc, c.Time), o, o.Upper, path), true
}

// shownBy turns a path below a layer into that of the overlay.
func (j *joiner) shownBy(table *fan.MountTable, o *fan.Overlay, layer fan.Inode, path []byte) []byte {
	root, ok := j.appendDir(j.path[2][:0], layer)
	j.path[2] = root
	if !ok || !bytes.HasPrefix(path, root) {
		return path
	}
	inside := append([]byte("/"), bytes.TrimPrefix(path[len(root):], []byte("/"))...)
	out, _ := table.Append(path[:0], o.Dev, inside)
	return out
}

// shownScript returns the path of a script that the kernel opened in a layer,
// if it was executed in the overlay.
func (j *joiner) shownScript(p *process, e *event) ([]byte, bool) {
	if len(j.overlays.list) == 0 {
		return nil, false
	}
	if _, _, ok := j.layer(e.dir); !ok {
		return nil, false
	}
	path, ok := j.script(p)
	if !ok {
		return nil, false
	}
	m, ok := j.mounts.of(p.proc, p.Time).On(path)
	return path, ok && j.overlays.find(m.Dev) != 0
}

// emitMerged hands out a record of a call through an overlay that no event
// tells of: a name of a lower layer was removed, or replaced a whiteout.
func (j *joiner) emitMerged(c *call, kind output.Kind, op output.Op) bool {
	if c.over <= 0 {
		return false
	}
	j.rec.Inferred = true
	j.path[0] = j.appendMerged(j.path[0][:0], c, 0)
	if c.op != ebpf.OpRename {
		j.say(kind, op, j.path[0], nil)
		return true
	}
	j.path[1] = j.appendMerged(j.path[1][:0], c, 1)
	j.say(kind, op, j.path[0], j.path[1])
	return true
}

// appendMerged appends the path in an overlay that a call gave, as the recorder has it.
func (j *joiner) appendMerged(dst []byte, c *call, side int) []byte {
	return j.host(append(dst, j.now.get(c.merged[side])...), len(dst), c.proc, j.overlays.list[c.over-1].Dev)
}

// noise tells whether an event that no call explains was made by an overlay
// that the process uses.
func (j *joiner) noise(e *event, p *proctree.Process) bool {
	if len(j.overlays.list) == 0 || !j.calls {
		return false
	}
	dirs := [...]fan.Inode{e.dir, e.newDir}
	if e.dir == (fan.Inode{}) {
		dirs[0] = e.target
	}
	in := false
	for _, dir := range dirs {
		if dir.FS == 0 {
			continue
		}
		_, work, ok := j.layer(dir)
		if work {
			p.Layered = true
			return true
		}
		in = in || ok || j.lost[dir]
	}
	return in && j.layered(p)
}

// ignore marks what is left of an event as the doing of an overlay. Changes of
// directories are still followed.
func (e *event) ignore() {
	const changes = bitCreate | bitDelete | bitRename
	if e.claimed|e.maybe == 0 && e.mask&bitDir != 0 && e.mask&changes != 0 {
		e.settled, e.outside = true, true
		return
	}
	e.claimed |= e.unexplained()
	e.settled, e.done = true, true
}
