package fanrec

import (
	"fmt"
	"maps"
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
	final     loc  // and another, when it returned
	made      bool // it made an event; else it was merged into an earlier one, or makes none
	event     simEvent
	swapped   bool  // told by the name of another thread's open
	threads   int   // of the process when it returned
	prev      int64 // when its thread's last call returned
	told      int   // records seen
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
	sim    *sim
}

func newReplay(root *simInode) *replay {
	r := &replay{root: root, names: map[place]*simInode{}}
	r.start(root)
	return r
}

// copy returns a replay that begins where this one is.
func (r *replay) copy(s *sim, others []*deed) *replay {
	return &replay{root: r.root, names: maps.Clone(r.names), where: slices.Clone(r.where), sim: s, others: others}
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
		if w.other != nil {
			if at(w.dir, w.name) == nil || at(w.to, w.toName) == nil {
				return "it exchanges with what is not there"
			}
			return ""
		}
		if at(w.dir, w.name) != w.need && (d.final.dir == nil || at(d.final.dir, d.final.name) != w.need) {
			return "it needs a name that is not there"
		}
	}
	return ""
}

// late tells whether a deed overlaps another that changes what its name means,
// and one of the two was under way at a barrier: what was released then cannot
// be put right when it returns.
func (r *replay) late(d *deed) bool {
	for _, list := range [...][]*deed{r.sim.deeds, r.sim.others} {
		for _, o := range list {
			if o == d || o.entry > d.exit || d.entry > o.exit || !d.does.touches(&o.does) {
				continue
			}
			if !o.proc.tree || o.does.to != nil && d.wants[0].op == output.Open {
				return true // nobody tells of it, or an open says what it opened only after that was replaced
			}
			for _, at := range r.sim.barriers {
				if d.entry <= at && at <= d.exit || o.entry <= at && at <= o.exit {
					return true
				}
			}
		}
	}
	return false
}

// touches tells whether one deed changes a name that another one uses.
func (w *does) touches(o *does) bool {
	same := func(dir *simInode, name string) bool {
		return dir != nil && (dir == o.dir && name == o.name || dir == o.to && name == o.toName)
	}
	return (w.make != nil || w.gone || w.to != nil || o.make != nil || o.gone || o.to != nil) && (same(w.dir, w.name) || same(w.to, w.toName))
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
	case w.other != nil:
		a, b := r.names[key(w.dir, w.name)], r.names[key(w.to, w.toName)]
		r.set(w.dir, w.name, b)
		r.set(w.to, w.toName, a)
	case w.to != nil:
		r.set(w.dir, w.name, nil)
		r.set(w.to, w.toName, w.need)
	}
}

// settleOthers does what others must have done before a deed, or all that they
// had done.
func (r *replay) settleOthers(d *deed, all bool) {
	for len(r.others) > 0 {
		o := r.others[0]
		if all && o.at >= d.at || !all && (o.exit == 0 || o.exit >= d.entry || !d.made || r.rival(d) || r.allows(o) != "") {
			return
		}
		if r.allows(o) == "" {
			r.do(o)
		}
		r.others = r.others[1:]
	}
}

// rival tells whether a deed that made an event may as well have been merged
// into an earlier one, for all that can be known: that was still being read
// when the thread had told of what it did before, or too far away in the queue,
// or another thread may have made it.
func (r *replay) rival(d *deed) bool {
	if d.step.op != doOpen || d.does.make != nil {
		return false
	}
	for i := range r.sim.taken {
		e := &r.sim.taken[i]
		if e.read >= d.prev && e.sameKey(&d.event) && e.serial < d.event.serial {
			return true
		}
	}
	return d.event.twin || d.threads > 1
}

// next does one thing more that others may have done before a deed.
func (r *replay) next(d *deed) bool {
	if len(r.others) == 0 || d.exit != 0 && r.others[0].entry > d.exit {
		return false
	}
	if r.allows(r.others[0]) == "" { // else it has no effect any more
		r.do(r.others[0])
	}
	r.others = r.others[1:]
	return true
}

// check compares a log with the truth. before says which of two deeds is tried
// first, if a record can be of either.
func check(r *replay, deeds []*deed, log []told, before func(a, b *deed) int) error {
	byProc := map[uint64][]*deed{}
	for _, d := range deeds {
		d.told = 0
		byProc[d.proc.id.Start] = append(byProc[d.proc.id.Start], d)
	}
	order := make([]*deed, 0, len(log))
	for i := range log {
		rec := &log[i]
		candidates := byProc[rec.start]
		if n := len(order); n > 0 && order[n-1].told < len(order[n-1].wants) {
			candidates = order[n-1:]
		}
		d, why := find(r, candidates, rec, before)
		if d == nil {
			return fmt.Errorf("record %d, %v, is not true: %s", i, rec, why)
		}
		d.told++
		if d.told == 1 {
			d.swapped = r.swapped(d, rec)
			if why := r.allows(d); why != "" && !r.late(d) && !d.swapped {
				return fmt.Errorf("record %d, %v: %s", i, rec, why)
			}
			order = append(order, d)
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
		if least < d.entry && !r.sim.reused && !r.long(which) && !r.long(d) && !d.swapped && !which.swapped {
			return fmt.Errorf("%v stands before %v, which was over when it began", d, which)
		}
		if d.exit < least {
			least, which = d.exit, d
		}
	}
	return nil
}

// fits tells whether a record can be of a deed. late: even if its name is not
// what it was, as another call overlaps it.
func (r *replay) fits(d *deed, rec *told) func(late bool) string {
	return func(late bool) string {
		w := &d.wants[d.told]
		path, target := r.path(w.path), r.path(w.target)
		if (path != rec.path && rec.path != r.path(d.other) && rec.path != r.path(d.final) && !r.swapped(d, rec)) || (target != rec.target && rec.target != r.path(d.otherTo)) {
			return fmt.Sprintf("%v has the path %s", d, strings.TrimSpace(path+" "+target))
		}
		if s := r.allows(d); d.told == 0 && s != "" && !(late && r.late(d)) && !r.swapped(d, rec) {
			return fmt.Sprintf("%v: %s", d, s)
		}
		return ""
	}
}

// swapped tells whether a record of an open has the name that another thread
// opened the same file by at the same time: the events do not say which thread
// made which.
func (r *replay) swapped(d *deed, rec *told) bool {
	if d.step.op != doOpen {
		return false
	}
	for _, o := range r.sim.deeds {
		if o.proc == d.proc && o.thread != d.thread && o.step.op == doOpen && o.inode() == d.inode() && o.entry < d.exit && d.entry < o.exit &&
			(rec.path == r.path(o.wants[0].path) || rec.path == r.path(o.other) || rec.path == r.path(o.final)) {
			return true
		}
	}
	return false
}

// inode is what a deed made or used.
func (d *deed) inode() *simInode {
	if d.does.make != nil {
		return d.does.make
	}
	return d.does.need
}

// long tells whether a call was under way over several epochs: the event that
// it was merged into is then no longer known when it returns.
func (r *replay) long(d *deed) bool {
	n := 0
	for _, at := range r.sim.barriers {
		if d.entry <= at && at <= d.exit {
			n++
		}
	}
	return !d.made && n > 1
}

// find returns the deed that a record tells of.
func find(r *replay, deeds []*deed, rec *told, before func(a, b *deed) int) (*deed, string) {
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
		if w.kind == rec.kind && w.op == rec.op && w.child == rec.child && (w.inferred == rec.inferred || w.op == output.Loader) && (rec.kind != output.Exit || rec.code == 3) {
			like[n] = d
			n++
		}
	}
	slices.SortFunc(like[:n], before)
	for _, d := range like[:n] {
		// First with what others had done by then; if that does not fit, with
		// as little of it as can be, and more and more.
		fits := r.fits(d, rec)
		try := 0
		if !d.made || r.rival(d) {
			try = 1
		}
		for ; try < 3; try++ {
			others := r.others
			r.trail = r.trail[:0]
			if d.told == 0 {
				r.settleOthers(d, try == 0)
			}
			for {
				if why = fits(try == 2); why == "" {
					return d, ""
				}
				if try == 0 || !r.next(d) {
					break
				}
			}
			r.undo()
			r.others = others
		}
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
