package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// replay follows the calls in the order of their steps and keeps what their meaning depends on: processes, their directories, names.
type replay struct {
	trace   Trace
	tree    *tree
	threads map[int]*thread
	births  map[int][]*call // calls that made a thread or process, by the new id, not yet seen to live
	orphans []orphan

	renaming map[*call][]Op // renames that are under way
	renamed  []Op           // renames in the order in which they returned
}

// orphan is a call that made a thread or process but whose caller was killed in it: strace never says what it made.
type orphan struct {
	parent *thread
	call   *call
}

// thread is a thread of a traced process.
type thread struct {
	tid     int
	proc    *process
	fs      *fsState
	entered entry
	told    int // since when what it told last may have been done
}

// entry is what a call looked like when its thread entered it.
type entry struct {
	base  []*node // where its relative paths start, by argument
	ops   []Op
	moves *[2]place // of a rename: from, to
	since int       // line of the last that was seen of the process before
}

// process is a thread group.
type process struct {
	pid   int
	fds   map[int]string // paths of descriptors that it opened; not exact, for links of proc(5) only
	image string         // what it runs
	last  int            // line of the last that was seen of it
}

// fsState is what threads made with CLONE_FS share.
type fsState struct{ cwd, root *node }

func newReplay(steps []step, dir string, disk Disk) *replay {
	r := &replay{tree: newTree(disk), threads: map[int]*thread{}, births: map[int][]*call{}, renaming: map[*call][]Op{}}
	for _, s := range steps {
		if s.kind == stepLeave && s.call.result.ok && forks[s.call.name] {
			child := s.call.result.value
			r.births[child] = append(r.births[child], s.call)
		}
	}
	if len(steps) > 0 {
		first := &process{pid: steps[0].tid, fds: map[int]string{}}
		r.threads[first.pid] = &thread{tid: first.pid, proc: first, fs: &fsState{r.tree.at(dir), r.tree.root}}
	}
	return r
}

// forks are the calls that make a thread or process.
var forks = map[string]bool{"fork": true, "vfork": true, "clone": true, "clone3": true}

func (r *replay) step(s step) error {
	t, err := r.thread(s)
	if err != nil {
		return err
	}
	switch s.kind {
	case stepEnter:
		r.enter(t, s.call)
	case stepLeave:
		r.leave(t, s.call)
	case stepExit:
		r.exit(t, s)
	case stepRename:
		if old := r.threads[s.old]; old != nil {
			t.entered, t.fs = old.entered, old.fs
			delete(r.threads, s.old)
		}
	}
	t.proc.last = s.line
	return nil
}

// thread returns the thread of a step. A new one may be seen before the call that made it has returned.
func (r *replay) thread(s step) (*thread, error) {
	if t := r.threads[s.tid]; t != nil {
		return t, nil
	}
	if births := r.births[s.tid]; len(births) > 0 && births[0].begin <= s.line {
		return r.born(s.tid, births[0]), nil
	}
	if len(r.orphans) > 0 {
		o := r.orphans[0]
		r.orphans = r.orphans[1:]
		t := r.child(s.tid, o.parent, o.call)
		if t.proc != o.parent.proc {
			r.addForkOf(o, s.tid)
		}
		return t, nil
	}
	return nil, fmt.Errorf("thread %d: nothing made it", s.tid)
}

// addForkOf takes down the fork that made an orphan, before the end of its parent if that is known already.
func (r *replay) addForkOf(o orphan, child int) {
	pid := o.parent.proc.pid
	op := Op{
		PID: pid, Record: Record{Letter: 'F', Child: child}, Line: o.call.end, Optional: true,
		Begin: firstInstant(o.call.begin), End: lastInstant(o.call.end),
	}
	at := len(r.trace.Ops)
	for i, op := range r.trace.Ops {
		if op.PID == pid && op.Letter == 'X' && op.Line >= o.call.end {
			at = i
			break
		}
	}
	r.trace.Ops = slices.Insert(r.trace.Ops, at, op)
}

// born lets a thread or process begin to live, once.
func (r *replay) born(tid int, by *call) *thread {
	r.births[tid] = r.births[tid][1:]
	return r.child(tid, r.threads[by.tid], by)
}

// child makes the thread or process of a call.
func (r *replay) child(tid int, parent *thread, by *call) *thread {
	t := &thread{tid: tid, proc: parent.proc, fs: parent.fs}
	r.threads[tid] = t
	if !by.cloneFlag("CLONE_FS") {
		fs := *parent.fs
		t.fs = &fs
	}
	if by.cloneFlag("CLONE_THREAD") {
		return t
	}
	t.proc = &process{pid: tid, fds: parent.proc.fds, image: parent.proc.image, last: by.begin}
	if !by.cloneFlag("CLONE_FILES") {
		t.proc.fds = maps.Clone(parent.proc.fds)
	}
	return t
}

// enter notes what the call means before it runs.
func (r *replay) enter(t *thread, c *call) {
	t.entered = entry{base: r.bases(t, c), since: t.proc.last}
	d := r.describe(t, c, result{unknown: true})
	t.entered.ops, t.entered.moves = d.ops, d.moves
	if strings.HasPrefix(c.name, "rename") {
		r.renaming[c] = t.entered.ops
	}
	if d.moves != nil && !c.result.failed() {
		r.tree.move(d.moves[0], d.moves[1])
	}
	if forks[c.name] && c.result.unknown {
		r.orphans = append(r.orphans, orphan{t, c})
	}
}

// bases returns where the relative paths of the call start. strace prints the path of a directory argument when the call enters, so it must be looked
// up then.
func (r *replay) bases(t *thread, c *call) []*node {
	dirs := make([]*node, len(c.args))
	for n, arg := range c.args {
		cwd := strings.HasPrefix(arg, "AT_FDCWD<")
		if !cwd && (arg == "" || arg[0] < '0' || arg[0] > '9') {
			continue
		}
		f := parseFile(arg)
		switch {
		case f.path == "":
		case cwd && f.path == t.fs.cwd.path():
			dirs[n] = t.fs.cwd
		default:
			dirs[n] = r.tree.at(f.path)
			if cwd && len(r.renaming) == 0 {
				r.doubt(c, "working directory is %q, not %q", f.path, t.fs.cwd.path())
				t.fs.cwd = dirs[n]
			}
		}
	}
	return dirs
}

func (r *replay) doubt(c *call, format string, args ...any) {
	r.trace.Doubts = append(r.trace.Doubts, fmt.Sprintf("line %d: %s: ", c.end, c.name)+fmt.Sprintf(format, args...))
}

// leave takes down the operations of a call that returned.
func (r *replay) leave(t *thread, c *call) {
	if strings.HasPrefix(c.name, "rename") {
		delete(r.renaming, c)
	}
	if t.entered.moves != nil {
		delete(r.tree.moving, t.entered.moves[1])
	}
	switch {
	case c.result.failed():
		r.told(t, c)
	case c.result.unknown:
		for _, op := range t.entered.ops {
			op.Optional = true
			r.add(op, c)
		}
	case c.result.ok:
		d := r.describe(t, c, c.result)
		r.alternatives(d.ops, t.entered.ops, c)
		r.addAll(d.ops, c)
		if c.result.lost { // most likely the loader's first open
			r.add(Op{PID: t.proc.pid, Record: Record{Letter: 'R'}, AnyName: true, Optional: true}, c)
		}
		if d.effect != nil {
			d.effect()
		}
		if strings.HasPrefix(c.name, "rename") {
			r.renamed = append(r.renamed, r.trace.Ops[len(r.trace.Ops)-len(d.ops):]...)
		}
	}
}

// Instants are four to a line, so that there is room for order on it.
func firstInstant(line int) int { return 4 * line }
func lastInstant(line int) int  { return 4*line + 3 }

// add takes down an operation that was done at some time during the call.
func (r *replay) add(op Op, c *call) {
	op.Line, op.Begin, op.End = c.end, firstInstant(c.begin), lastInstant(c.end)
	r.trace.Ops = append(r.trace.Ops, op)
}

// addAll takes down the operations of a call. The two of O_RDWR have an order, others of one call have none.
func (r *replay) addAll(ops []Op, c *call) {
	for _, op := range ops {
		r.add(op, c)
	}
	if len(ops) == 2 && ops[0].Letter == 'R' && !ops[1].Optional {
		done := r.trace.Ops[len(r.trace.Ops)-2:]
		done[0].End -= 2
		done[1].Begin += 2
		done[1].AfterRead = true
	}
}

// exit ends a thread, and with the leader its process: strace is told of the leader's end last.
func (r *replay) exit(t *thread, s step) {
	delete(r.threads, t.tid)
	if t.tid != t.proc.pid {
		return
	}
	r.trace.Ops = append(r.trace.Ops, Op{
		PID: t.proc.pid, Record: Record{Letter: 'X', Code: s.code, Signal: s.signal}, Line: s.line,
		// The line tells when strace heard of it, which may be long after.
		Begin: lastInstant(t.proc.last), End: lastInstant(s.line),
	})
}

// alternatives adds to each operation the names that are as true if another thread renamed a directory or changed a link while the call ran.
func (r *replay) alternatives(ops, entered []Op, c *call) {
	renames := r.renamesDuring(c)
	for i := range ops {
		if (c.begin < c.end || len(renames) > 0) && len(ops) == len(entered) {
			ops[i].alternative(entered[i].Record)
		}
		names := []Record{ops[i].Record}
		for n := 0; n < len(names) && len(names) < maxNames; n++ { // a renamed name may have been renamed, too
			for _, m := range renames {
				for _, rec := range []Record{names[n].renamed(m.Path, m.Target), names[n].renamed(m.Target, m.Path)} {
					if !slices.Contains(names, rec) {
						names = append(names, rec)
						ops[i].alternative(rec)
					}
				}
			}
		}
	}
}

// maxNames bounds how many names an operation may have had at a time.
const maxNames = 64

// renamesDuring returns the renames that overlapped a call which returns now.
func (r *replay) renamesDuring(c *call) []Record {
	var during []Record
	for _, ops := range r.renaming {
		for _, m := range ops {
			during = append(during, m.Record)
		}
	}
	for i := len(r.renamed) - 1; i >= 0 && r.renamed[i].Line >= c.begin; i-- {
		if m := r.renamed[i].Record; !slices.Contains(during, m) {
			during = append(during, m)
		}
	}
	return during
}

func (op *Op) alternative(rec Record) {
	if rec != op.Record && rec.Letter == op.Letter && rec.Path != "" && !slices.Contains(op.Alts, rec) {
		op.Alts = append(op.Alts, rec)
	}
}

// renamed returns the record as it would be had one directory another name.
func (r Record) renamed(from, to string) Record {
	r.Path, r.Target = replaceDir(r.Path, from, to), replaceDir(r.Target, from, to)
	return r
}

func replaceDir(path, from, to string) string {
	if rest, below := strings.CutPrefix(path, from); below && (rest == "" || rest[0] == '/') {
		return to + rest
	}
	return path
}

// view returns where the paths of a thread start.
func (r *replay) view(t *thread) view {
	return view{t.fs.cwd, t.fs.root, func(path string) (string, bool, bool) { return t.magic(path) }}
}

// magic follows the links of proc(5) that depend on the process. Those of other processes are not known.
func (t *thread) magic(path string) (target string, magic, known bool) {
	pid := strconv.Itoa(t.proc.pid)
	switch path {
	case "/proc/self":
		return pid, true, true
	case "/proc/thread-self":
		return pid + "/task/" + strconv.Itoa(t.tid), true, true
	}
	parts := components(path) // proc, number, ...
	if len(parts) < 3 {
		return "", false, true
	}
	if _, err := strconv.Atoi(parts[1]); err != nil {
		return "", false, true
	}
	if len(parts) > 4 && parts[2] == "task" {
		parts = append(parts[:2:2], parts[4:]...)
	}
	switch kind := parts[2]; {
	case len(parts) == 3 && (kind == "exe" || kind == "cwd" || kind == "root"):
		target = map[string]string{"exe": t.proc.image, "cwd": t.fs.cwd.path(), "root": t.fs.root.path()}[kind]
	case len(parts) == 4 && kind == "fd":
		fd, err := strconv.Atoi(parts[3])
		if err != nil {
			return "", true, false
		}
		target = t.proc.fds[fd]
	default:
		return "", false, true
	}
	return target, true, target != "" && parts[1] == pid
}
