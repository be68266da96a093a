package fanrec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
	"fanrec/proctree"
)

// The recorder of the model: what recorder.go does, in steps between which
// the processes go on.

type recStage uint8

const (
	recIdle recStage = iota
	recRaise
	recRead
	recTake
	recDrain
	recLookup
)

// model is a simulated kernel with a recorder that watches it.
type model struct {
	sim    *sim
	join   *joiner
	log    []told
	stage  recStage
	mark   int
	before int64
	after  int64
	begin  int64
	batch  []simEvent
	sealed int
	full   bool        // the read(2) has returned
	asked  []fan.Inode // directories to look up
	found  []simLookup // and what was found
	looks  bool        // the barrier is one after lookups
	epochs int         // that are over
	final  bool        // lookups after the last epoch
	steps  []step      // what was done, to be told
	given  []step      // without what finish did
	start  *replay     // the file system before anything happened
}

type simLookup struct {
	dir   fan.Inode
	links []fan.Link
	gone  bool
}

func newModel() *model {
	s := newSim()
	m := &model{sim: s, start: newReplay(s.root)}
	mount := fan.Mount{Dev: simDev, Root: "/", Mountpoint: "/", Type: "ext4"}
	fs := fan.NewFilesystems()
	graph := fan.NewGraph(1 << 16)
	graph.AddRoot(fs.Define(mount, simFSID, s.root.ino, s.root.gen), "")
	m.join = newJoiner(fs, graph, fan.NewMountTable([]fan.Mount{mount}))
	m.join.retired = func(p *proctree.Process) {
		if s.numbers[p.ID.TGID] == p.ID.Start {
			delete(s.numbers, p.ID.TGID)
		}
	}
	m.join.emit = func(r *output.Record) {
		m.log = append(m.log, told{
			pid: r.PID, start: r.Start, kind: r.Kind, op: r.Op, path: string(r.Path), target: string(r.Target),
			child: r.Child, code: r.Code, inferred: r.Inferred,
		})
	}
	root := s.spawn(nil, false)
	root.proc.tree = true
	s.member(root, ebpf.Recorder)
	s.spawn(nil, false)
	s.tick()
	return m
}

// record takes the recorder one step further; n is how many events a read(2)
// takes meanwhile.
func (m *model) record(n int) {
	s := m.sim
	s.tick()
	switch m.stage {
	case recIdle:
		m.hurry()
		m.before = s.now
		s.barriers = append(s.barriers, s.now)
		m.stage = recRaise
	case recRaise:
		m.mark++
		s.push(simEvent{mark: m.mark, proc: recorderProc})
		m.after = s.tick()
		m.begin = s.tick()
		m.full = false
		m.stage = recRead
	case recRead:
		// The read(2) goes on until its buffer is full or the queue is empty.
		n = min(n+1, len(s.queue))
		m.batch = append(m.batch, s.queue[:n]...)
		s.queue = s.queue[:copy(s.queue, s.queue[n:])]
		if n <= 1 || len(s.queue) == 0 {
			m.stage = recTake
		}
	case recTake:
		m.take()
	case recDrain:
		for i := range s.calls {
			if !m.join.addCall(&s.calls[i]) {
				m.drainProcs()
				m.join.addCall(&s.calls[i])
			}
		}
		s.calls = s.calls[:0]
		m.join.seal(m.before, m.after, m.sealed)
		m.ask()
	case recLookup:
		if len(m.found) == len(m.asked) {
			m.looks, m.stage = true, recIdle
			return
		}
		m.found = append(m.found, m.lookup(m.asked[len(m.found)]))
	}
}

// hurry ends the calls that were under way at two barriers already: the joiner
// does not remember for ever.
func (m *model) hurry() {
	s := m.sim
	n := len(s.barriers)
	for _, t := range s.threads {
		for i := 0; i < 10 && n > 1 && t.busy && t.call.entry < s.barriers[n-2]; i++ {
			s.goOn(t)
		}
	}
}

var recorderProc = &simProc{}

func (m *model) drainProcs() {
	for i := range m.sim.procs {
		m.join.addProcess(&m.sim.procs[i])
	}
	m.sim.procs = m.sim.procs[:0]
}

// take adds what a read(2) returned.
func (m *model) take() {
	end := m.sim.now
	m.drainProcs()
	found := false
	for i := range m.batch {
		e := &m.batch[i]
		if e.mark == m.mark {
			found = true
			if !m.looks {
				m.sealed = len(m.join.now.events)
			}
			m.join.raised(m.before)
			continue
		}
		e.read = end
		m.sim.taken = append(m.sim.taken, *e)
		ev := e.event()
		m.join.addEvent(&ev, m.begin, end)
	}
	m.batch = m.batch[:0]
	switch {
	case !found:
		m.begin = m.sim.tick()
		m.stage = recRead
	case m.looks:
		for _, f := range m.found {
			if f.gone {
				m.join.vanished(f.dir)
			} else {
				m.join.learn(f.links)
			}
		}
		m.looks = false
		if m.final {
			m.stage = recIdle
			return
		}
		m.ask()
	default:
		m.stage = recDrain
	}
}

func (m *model) ask() {
	m.asked, m.found = slices.Clone(m.join.unknown()), m.found[:0]
	if len(m.asked) > 0 {
		m.stage = recLookup
		return
	}
	m.join.release(false)
	m.epochs++
	m.stage = recIdle
}

func (m *model) lookup(dir fan.Inode) simLookup {
	s := m.sim
	f := simLookup{dir: dir}
	var i *simInode
	for _, o := range s.inodes {
		if o.ino == dir.Ino && o.gen == dir.Gen {
			i = o
		}
	}
	if i == nil || !s.attached(i) {
		f.gone = true
		return f
	}
	for i != s.root {
		up := i.self.dir
		f.links = append(f.links, fan.Link{Dir: simIno(i), Parent: simIno(up), Name: i.self.name})
		if m.join.graph.Known(simIno(up)) {
			break
		}
		i = up
	}
	return f
}

func simIno(i *simInode) fan.Inode { return fan.Inode{Ino: i.ino, Gen: i.gen, FS: 1} }

// A step of a history. A history can be written down, a step a line:
//
//	0 open rw /a/f      thread 0 makes a call: it enters and returns
//	0 open rw /a/f +1   it enters and gets to its first instant
//	0 +1                it gets to the next
//	0 +                 it returns
//	rec 3               the recorder goes one step, a read takes 3 more events
//	epoch               the recorder goes on until an epoch is over
//	wait 300            nothing happens for 300 ms
type step struct {
	who  int // thread; -1: the recorder, -2: time
	op   do
	mode int
	a, b string
	n    int // instants, or events, or ms; 0 instants: all
}

type do uint8

const (
	doOn do = iota
	doOpen
	doUnlink
	doRename
	doMkdir
	doRmdir
	doLink
	doSymlink
	doMknod
	doExchange
	doChdir
	doFchdir
	doFD
	doTruncate
	doFork
	doThread
	doExec
	doExit
	doCount
)

var doNames = [...]string{
	doOn: "", doOpen: "open", doUnlink: "unlink", doRename: "rename", doMkdir: "mkdir", doRmdir: "rmdir", doLink: "link",
	doSymlink: "symlink", doMknod: "mknod", doExchange: "exchange", doChdir: "chdir", doFchdir: "fchdir", doFD: "fd",
	doTruncate: "truncate", doFork: "fork", doThread: "thread", doExec: "exec", doExit: "exit",
}

const everyInstant = 100

func (s step) String() string {
	switch s.who {
	case -1:
		return fmt.Sprintf("rec %d", s.n)
	case -2:
		return fmt.Sprintf("wait %d", s.n)
	}
	words := []string{strconv.Itoa(s.who)}
	if s.op != doOn {
		words = append(words, doNames[s.op])
	}
	if s.op == doOpen {
		words = append(words, openModes[s.mode])
	} else if s.mode != 0 {
		words = append(words, strconv.Itoa(s.mode))
	}
	if s.a != "" {
		words = append(words, s.a)
	}
	if s.b != "" {
		words = append(words, s.b)
	}
	switch {
	case s.n == everyInstant && s.op == doOn:
		words = append(words, "+")
	case s.n != everyInstant:
		words = append(words, fmt.Sprintf("+%d", s.n))
	}
	return strings.Join(words, " ")
}

var openModes = [...]string{openRead: "r", openWrite: "w", openRead | openWrite: "rw",
	openCreate | openRead: "cr", openCreate | openWrite: "cw", openCreate | openRead | openWrite: "crw"}

// parseStep reads a line.
func parseStep(line string) (step, error) {
	words := strings.Fields(line)
	s := step{n: everyInstant}
	switch words[0] {
	case "rec", "wait":
		s.who = map[string]int{"rec": -1, "wait": -2}[words[0]]
		n, err := strconv.Atoi(words[1])
		s.n = n
		return s, err
	}
	var err error
	if s.who, err = strconv.Atoi(words[0]); err != nil {
		return s, err
	}
	words = words[1:]
	if last := words[len(words)-1]; last[0] == '+' {
		words = words[:len(words)-1]
		if last != "+" {
			if s.n, err = strconv.Atoi(last[1:]); err != nil {
				return s, err
			}
		}
	}
	if len(words) == 0 {
		return s, nil
	}
	i := slices.Index(doNames[:], words[0])
	if i < 0 {
		return s, fmt.Errorf("no call %q", words[0])
	}
	s.op = do(i)
	words = words[1:]
	switch s.op {
	case doOpen:
		s.mode = slices.Index(openModes[:], words[0])
		words = words[1:]
	case doFork, doExit:
		if len(words) > 0 {
			if s.mode, err = strconv.Atoi(words[0]); err != nil {
				return s, err
			}
			words = words[1:]
		}
	}
	if len(words) > 0 {
		s.a = words[0]
	}
	if len(words) > 1 {
		s.b = words[1]
	}
	return s, nil
}

// onRecord, if it is set, is called after each step of the recorder.
var onRecord func(*model, step)

// do does a step.
func (m *model) do(st step) {
	m.steps = append(m.steps, st)
	s := m.sim
	switch st.who {
	case -1:
		m.record(st.n)
		if onRecord != nil {
			onRecord(m, st)
		}
		return
	case -2:
		s.now += int64(st.n) * 1e6
		return
	}
	t := s.threads[st.who]
	if t.gone {
		return
	}
	if st.op != doOn {
		if t.busy {
			return
		}
		s.begin(t, st)
	}
	for i := 0; i < st.n && t.busy; i++ {
		s.goOn(t)
		if i > 10 && t.call.step.op == doExec {
			return // it waits for another thread
		}
	}
}

// epoch takes the recorder to the end of an epoch.
func (m *model) epoch() {
	for n, steps := m.epochs, 0; m.epochs == n; steps++ {
		m.do(step{who: -1, n: 100})
		if steps > 500 {
			panic("the epoch does not end")
		}
	}
}

// finish ends the history as recorder.go ends a recording.
func (m *model) finish() {
	m.given = slices.Clone(m.steps)
	for again := true; again; {
		again = false
		for i, t := range m.sim.threads {
			if t.busy && !t.gone {
				m.do(step{who: i, n: everyInstant})
				again = again || t.busy
			}
		}
	}
	for m.stage != recIdle {
		m.do(step{who: -1, n: 100})
	}
	m.epoch()
	m.epoch()
	for m.asked = m.join.unknown(); len(m.asked) > 0; m.asked = m.join.unknown() {
		m.stage, m.found = recLookup, m.found[:0]
		m.asked = slices.Clone(m.asked)
		m.final = true
		for m.stage != recIdle || m.looks {
			m.do(step{who: -1, n: 100})
		}
	}
	m.join.release(true)
}

// verdict tells what is wrong with the log.
func (m *model) verdict() error {
	if f := m.join.faults; f.Unresolved > 0 && m.sim.replaced {
		// Nothing may tell of a directory that another was renamed over. The
		// log says that it is not complete, which is all that can be asked.
		return nil
	}
	if m.join.faults != (faults{}) {
		return fmt.Errorf("faults: %+v", m.join.faults)
	}
	var others []*deed
	for _, d := range m.sim.others {
		if d.does.make != nil || d.does.gone || d.does.to != nil {
			others = append(others, d)
		}
	}
	// Two records that say the same are told apart in one of two ways.
	var err error
	for _, before := range [...]func(a, b *deed) int{
		func(a, b *deed) int { return cmp.Compare(a.exit, b.exit) },
		func(a, b *deed) int { return cmp.Compare(a.at, b.at) },
	} {
		if err = check(m.start.copy(m.sim, others), m.sim.deeds, m.log, before); err == nil {
			break
		}
	}
	return err
}
