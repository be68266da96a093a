package fanrec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"fanrec/fan"
	"fanrec/output"
)

// The truth of the model, and whether a log tells it.

// loc is a place: a name in a directory, a directory, or a mere text.
type loc struct {
	dir  *simInode
	name string
	text string
}

// want is a record that the log must have.
type want struct {
	kind     output.Kind
	op       output.Op
	path     loc
	target   loc
	child    uint32
	inferred bool
}

// does is what a deed does to the names, or needs of them: for the replay.
type does struct {
	make, need *simInode // one of the two, in dir under name
	dir        *simInode
	name       string
	gone       bool      // need is removed
	to         *simInode // need is renamed to toName here
	toName     string
	other      *simInode // and changes places with this one
}

// deed is something that a process did: the true history is made of these.
type deed struct {
	proc      *simProc
	thread    *simThread
	step      step
	entry, at int64 // when the call began, and had its effect
	exit      int64 // and returned; 0 if it has not
	wants     []want
	does      does
	other     loc // another name that its path may be told by: it was renamed in the meantime
	otherTo   loc
	made      bool // it made an event; else it was merged into an earlier one, or makes none
	told      int  // records seen
}

const (
	openRead   = 1
	openWrite  = 2
	openCreate = 4
)

// openWants returns the records of an open.
func openWants(mode int, made bool, at loc) []want {
	var w []want
	op := output.Open
	if made {
		op = output.Create
	}
	read, write := mode&openRead != 0, mode&openWrite != 0
	if made && read && !write {
		w = append(w, want{kind: output.Write, op: op, path: at})
		op = output.Open
	}
	if read {
		w = append(w, want{kind: output.Read, op: op, path: at})
	}
	if write {
		w = append(w, want{kind: output.Write, op: op, path: at})
	}
	return w
}

// told is a record of the log.
type told struct {
	pid          uint32
	start        uint64
	kind         output.Kind
	op           output.Op
	path, target string
	child        uint32
	code         int
	inferred     bool
}

func (r *told) String() string {
	s := fmt.Sprintf("%c %d/%d %s %s", r.kind.Letter(), r.pid, r.start, r.path, r.target)
	if r.child != 0 {
		s += fmt.Sprint(r.child)
	}
	if r.op != 0 {
		s += " (" + r.op.String() + ")"
	}
	if r.inferred {
		s += " inferred"
	}
	return s
}

// replay is the file system as the log tells it: names are added to it and
// taken away as records say.
type replay struct {
	root   *simInode
	names  map[place]*simInode
	where  []loc // of each directory, by id
	others []*deed
	trail  []change
}

func newReplay(root *simInode) *replay {
	r := &replay{root: root, names: map[place]*simInode{}}
	r.start(root)
	return r
}

func key(dir *simInode, name string) place {
	return place{dir: fan.Inode{Ino: uint64(dir.id)}, name: name}
}

func (r *replay) start(dir *simInode) {
	for _, d := range dir.names {
		r.set(dir, d.name, d.inode)
		if d.inode.isDir() {
			r.start(d.inode)
		}
	}
}

// change is what a name and a directory were.
type change struct {
	place place
	inode *simInode
	dir   *simInode
	where loc
}

// undo takes back what was set since the trail was emptied.
func (r *replay) undo() {
	for _, c := range slices.Backward(r.trail) {
		if c.inode == nil {
			delete(r.names, c.place)
		} else {
			r.names[c.place] = c.inode
		}
		if c.dir != nil {
			r.where[c.dir.id] = c.where
		}
	}
}

func (r *replay) set(dir *simInode, name string, i *simInode) {
	c := change{place: key(dir, name), inode: r.names[key(dir, name)]}
	if i.isDir() && i.id < len(r.where) {
		c.dir, c.where = i, r.where[i.id]
	}
	r.trail = append(r.trail, c)
	if i == nil {
		delete(r.names, key(dir, name))
		return
	}
	r.names[key(dir, name)] = i
	if i.isDir() {
		for len(r.where) <= i.id {
			r.where = append(r.where, loc{})
		}
		r.where[i.id] = loc{dir: dir, name: name}
	}
}

func (r *replay) dirPath(i *simInode) string {
	if i == r.root {
		return "/"
	}
	p := ""
	for i != r.root {
		if i.id >= len(r.where) || r.where[i.id].dir == nil {
			return "?" + p
		}
		w := r.where[i.id]
		p = "/" + w.name + p
		i = w.dir
	}
	return p
}

func (r *replay) path(l loc) string {
	if l.dir == nil {
		return l.text
	}
	p := r.dirPath(l.dir)
	if l.name == "" {
		return p
	}
	if p == "/" {
		return p + l.name
	}
	return p + "/" + l.name
}

// allows tells what is wrong with doing a deed now, "" if nothing.
func (r *replay) allows(d *deed) string {
	w := &d.does
	at := func(dir *simInode, name string) *simInode { return r.names[key(dir, name)] }
	switch {
	case w.make != nil:
		if at(w.dir, w.name) != nil {
			return "it makes a name that is there"
		}
	case w.need != nil:
		if w.dir == r.root && w.need == r.root || w.need.isDir() && w.to == nil && !w.gone {
			return "" // opened by itself: it may be removed
		}
		if at(w.dir, w.name) != w.need {
			return "it needs a name that is not there"
		}
		if w.other != nil && at(w.to, w.toName) != w.other {
			return "it exchanges with what is not there"
		}
	}
	return ""
}

// do does a deed.
func (r *replay) do(d *deed) {
	w := &d.does
	switch {
	case w.make != nil:
		r.set(w.dir, w.name, w.make)
	case w.need == nil:
	case w.gone:
		r.set(w.dir, w.name, nil)
	case w.to != nil:
		r.set(w.dir, w.name, w.other)
		r.set(w.to, w.toName, w.need)
	}
}

// settleOthers does what others must have done before a deed.
func (r *replay) settleOthers(d *deed) {
	for len(r.others) > 0 {
		o := r.others[0]
		if o.exit == 0 || o.exit >= d.entry || !d.made || r.allows(o) != "" {
			return
		}
		r.do(o)
		r.others = r.others[1:]
	}
}

// next does one thing more that others may have done before a deed.
func (r *replay) next(d *deed) bool {
	if len(r.others) == 0 || d.exit != 0 && r.others[0].entry > d.exit || r.allows(r.others[0]) != "" {
		return false
	}
	r.do(r.others[0])
	r.others = r.others[1:]
	return true
}

// check compares a log with the truth.
func check(r *replay, deeds []*deed, log []told) error {
	byProc := map[uint64][]*deed{}
	for _, d := range deeds {
		byProc[d.proc.id.Start] = append(byProc[d.proc.id.Start], d)
	}
	order := make([]*deed, 0, len(log))
	for i := range log {
		rec := &log[i]
		d, why := find(r, byProc[rec.start], rec)
		if d == nil {
			return fmt.Errorf("record %d, %v, is not true: %s", i, rec, why)
		}
		d.told++
		if d.told == 1 {
			if why := r.allows(d); why != "" {
				return fmt.Errorf("record %d, %v: %s", i, rec, why)
			}
			order = append(order, d)
		} else if order[len(order)-1] != d {
			return fmt.Errorf("record %d, %v, stands apart from the first of the same call", i, rec)
		}
		if d.told == len(d.wants) {
			r.do(d)
		}
	}
	for _, d := range deeds {
		if d.exit != 0 && d.told != len(d.wants) {
			return fmt.Errorf("the log lacks %v", d)
		}
	}
	least := int64(1 << 62)
	var which *deed
	for i := len(order) - 1; i >= 0; i-- {
		d := order[i]
		if least < d.entry {
			return fmt.Errorf("%v stands before %v, which was over when it began", d, which)
		}
		if d.exit < least {
			least, which = d.exit, d
		}
	}
	return nil
}

// find returns the deed that a record tells of: of those that it may be, the
// one that was over first.
func find(r *replay, deeds []*deed, rec *told) (*deed, string) {
	why := "nothing like it is left to be told"
	var like [8]*deed
	var seen [8]*simThread // each thread's deeds come one after the other
	n, threads := 0, 0
	for _, d := range deeds {
		if d.told == len(d.wants) || slices.Contains(seen[:threads], d.thread) {
			continue
		}
		seen[threads] = d.thread
		threads++
		w := &d.wants[d.told]
		if w.kind == rec.kind && w.op == rec.op && w.child == rec.child && w.inferred == rec.inferred && (rec.kind != output.Exit || rec.code == 3) {
			like[n] = d
			n++
		}
	}
	slices.SortFunc(like[:n], func(a, b *deed) int { return cmp.Compare(a.exit, b.exit) })
	for _, d := range like[:n] {
		w := &d.wants[d.told]
		others := r.others
		r.trail = r.trail[:0]
		if d.told == 0 {
			r.settleOthers(d)
		}
		for {
			path, target := r.path(w.path), r.path(w.target)
			if (path == rec.path || rec.path == r.path(d.other)) && (target == rec.target || rec.target == r.path(d.otherTo)) &&
				(d.told > 0 || r.allows(d) == "") {
				return d, ""
			}
			why = fmt.Sprintf("%v has the path %s", d, strings.TrimSpace(path+" "+target))
			if s := r.allows(d); s != "" {
				why += ", and " + s
			}
			if !r.next(d) {
				break
			}
		}
		r.undo()
		r.others = others
	}
	return nil, why
}

func (d *deed) String() string {
	merged := ""
	if !d.made {
		merged = " merged"
	}
	return fmt.Sprintf("[%d,%d,%d] pid %d: %v%s", d.entry, d.at, d.exit, d.proc.id.TGID, d.step, merged)
}
