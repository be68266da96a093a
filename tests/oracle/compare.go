package oracle

import (
	"path/filepath"
	"slices"
	"strings"
)

// Compare judges a log by what strace saw of the same run. Of the log, only processes that strace traced count.
func Compare(trace, log []Op) *Report {
	c := comparison{report: &Report{}, trace: trace, log: onlyTraced(trace, log)}
	c.pair()
	c.report.Diffs = append(c.report.Diffs, frames(log, tracedPIDs(trace))...)
	c.processOrder()
	c.pathOrder(true)
	c.readFirst()
	c.locate()
	return c.report
}

func tracedPIDs(trace []Op) map[int]bool {
	pids := map[int]bool{}
	for _, op := range trace {
		pids[op.PID] = true
	}
	return pids
}

func onlyTraced(trace, log []Op) []Op {
	pids := tracedPIDs(trace)
	var traced []Op
	for _, op := range log {
		if pids[op.PID] {
			traced = append(traced, op)
		}
	}
	return traced
}

// comparison is the state of a comparison of two lists, whose processes have the same ids.
type comparison struct {
	report     *Report
	trace, log []Op
	pairs      []pair // in the order of the log
	undone     []pair // optional operations that the log lacks; their log index means nothing
}

// pair is an operation that both witnesses have, by its index in either list. Identical operations of a process are not told apart: any of them
// may stand for another, so only the records of a pair, not its instants, belong together.
type pair struct {
	process    instance
	trace, log int
}

// pair finds, process by process, which operations both have. What is left over is missing or extra.
func (c *comparison) pair() {
	traceOf, order := byInstance(c.trace)
	logOf, _ := byInstance(c.log)
	c.report.Processes = len(order)
	for _, p := range order {
		m := newMatch(c.trace, traceOf[p], c.log, logOf[p])
		delete(logOf, p)
		c.take(p, m)
	}
	for _, left := range logOf { // lives of a process id that strace did not see
		for _, i := range left {
			c.report.Log++
			c.report.Diffs = append(c.report.Diffs, Diff{Kind: Extra, PID: c.log[i].PID, Record: c.log[i].Record, Log: c.log[i].Line})
		}
	}
	slices.SortFunc(c.pairs, func(a, b pair) int { return a.log - b.log })
}

// byInstance returns the indexes of the operations of each process, and the processes in the order of their first.
func byInstance(ops []Op) (of map[instance][]int, order []instance) {
	of = map[instance][]int{}
	for i, p := range instances(ops) {
		if of[p] == nil {
			order = append(order, p)
		}
		of[p] = append(of[p], i)
	}
	return of, order
}

// take adds the outcome for one process to the report.
func (c *comparison) take(p instance, m *match) {
	r := c.report
	r.Allowed += len(m.allowed)
	r.Log += len(m.log) - len(m.allowed)
	r.Common += len(m.pairs)
	r.Strace += len(m.pairs) + len(m.missing) // an optional operation counts if the log has it
	for _, q := range m.pairs {
		c.pairs = append(c.pairs, pair{p, q[0], q[1]})
	}
	for _, i := range m.undone {
		c.undone = append(c.undone, pair{process: p, trace: i})
	}
	for _, i := range m.missing {
		op := c.trace[i]
		r.Diffs = append(r.Diffs, Diff{Kind: Missing, PID: op.PID, Record: op.Record, Strace: op.Line, Note: op.note()})
	}
	for _, i := range m.extra {
		op := c.log[i]
		r.Diffs = append(r.Diffs, Diff{Kind: Extra, PID: op.PID, Record: op.Record, Log: op.Line})
	}
	for _, l := range m.unloaded {
		op := c.trace[l.exec]
		r.Diffs = append(r.Diffs, Diff{
			Kind: Loader, PID: op.PID, Record: op.Record, Strace: op.Line, Log: c.log[l.log].Line, Note: "no R " + l.path + " after it",
		})
	}
}

// note says what else would have done.
func (op *Op) note() string {
	if op.AnyName {
		return "strace could not tell the name, any would do"
	}
	var alts []string
	for _, alt := range op.Alts {
		alts = append(alts, alt.String())
	}
	if len(alts) == 0 {
		return ""
	}
	return "or " + strings.Join(alts, " or ")
}

// match pairs the operations of one process.
type match struct {
	traceOps, logOps []Op
	trace, log       []int // indexes of the operations of this process

	pairs    [][2]int // indexes in trace and log
	allowed  []int    // opens by the kernel, in the log only
	missing  []int
	undone   []int // missing, but optional
	extra    []int
	unloaded []unloaded
}

// unloaded is an open by the kernel that the log should have after an E, as both indexes.
type unloaded struct {
	exec, log int
	path      string
}

func newMatch(traceOps []Op, trace []int, logOps []Op, log []int) *match {
	m := &match{traceOps: traceOps, logOps: logOps, trace: trace, log: log}
	loads := m.loads()
	leftTrace, leftLog := m.pairInOrder(loads)
	leftTrace, leftLog = m.pairEqual(leftTrace, leftLog, loads)
	leftTrace, leftLog = m.pairAlike(leftTrace, leftLog, loads)
	for _, i := range leftTrace {
		if traceOps[i].Optional {
			m.undone = append(m.undone, i)
		} else {
			m.missing = append(m.missing, i)
		}
	}
	for _, i := range leftLog {
		if loads[i] {
			m.allowed = append(m.allowed, i)
		} else {
			m.extra = append(m.extra, i)
		}
	}
	return m
}

// execs returns the indexes of the E of each list. The n-th of one list is the n-th of the other, as a process runs one image after the other.
func (m *match) execs() (trace, log []int) {
	for _, i := range m.trace {
		if m.traceOps[i].Letter == 'E' {
			trace = append(trace, i)
		}
	}
	for i, at := range m.log {
		if m.logOps[at].Letter == 'E' {
			log = append(log, i) // in m.log, as what follows matters
		}
	}
	return trace, log
}

// loads returns which records of the log may be opens by the kernel: R directly after an E, of a file that execve opens for it.
func (m *match) loads() map[int]bool {
	loads := map[int]bool{}
	trace, log := m.execs()
	for n, at := range log {
		if n == len(trace) {
			break
		}
		exec := m.traceOps[trace[n]]
		seen := map[string]bool{}
		for _, i := range m.log[at+1:] {
			op := m.logOps[i]
			if op.Letter != 'R' || !exec.mayLoad(op.Path) || seen[op.Path] {
				break
			}
			seen[op.Path], loads[i] = true, true
		}
		for _, path := range exec.Exec.Opens {
			if !exec.Exec.Unsure && !seen[path] {
				m.unloaded = append(m.unloaded, unloaded{trace[n], m.log[at], path})
			}
		}
	}
	return loads
}

// mayLoad tells whether the kernel may have opened a file by itself for an E. Of an image that is gone it is not known whether it was a
// script and what its interpreter was: then the script and anything that looks like an ELF interpreter will do.
func (op *Op) mayLoad(path string) bool {
	if slices.Contains(op.Exec.Opens, path) {
		return true
	}
	name := filepath.Base(path)
	return op.Exec.Unsure && (path == op.Exec.Asked || strings.HasPrefix(name, "ld") && strings.Contains(name, ".so") && name != "ld.so.cache")
}

// pairInOrder pairs what stands in the same order in both lists, if some operation of the process could have one of several names: which one it
// had then shows in its place. It returns what is left over of each list.
func (m *match) pairInOrder(loads map[int]bool) (leftTrace, leftLog []int) {
	if !slices.ContainsFunc(m.trace, func(i int) bool { return len(m.traceOps[i].Alts) > 0 }) {
		return m.trace, m.log
	}
	log := slices.DeleteFunc(slices.Clone(m.log), func(j int) bool { return loads[j] })
	trace, paired := map[int]bool{}, map[int]bool{}
	for _, p := range align(m.trace, log, m.worth) {
		i, j := m.trace[p[0]], log[p[1]]
		m.pairs = append(m.pairs, [2]int{i, j})
		trace[i], paired[j] = true, true
	}
	return slices.DeleteFunc(slices.Clone(m.trace), func(i int) bool { return trace[i] }),
		slices.DeleteFunc(slices.Clone(m.log), func(j int) bool { return paired[j] })
}

// worth is how good it is to pair two operations. One that is optional is worth little.
func (m *match) worth(trace, log int) int32 {
	op, rec := &m.traceOps[trace], m.logOps[log].Record
	switch {
	case op.Optional && (op.Record == rec || slices.Contains(op.Alts, rec)):
		return 1
	case op.Record == rec && len(op.Alts) == 0:
		return full
	case op.Record == rec:
		return full - 1
	case slices.Contains(op.Alts, rec):
		return full - 2
	}
	return 0
}

// pairEqual pairs equal records and returns what is left over of each list. Where the log has more of a record than the trace, those that the kernel
// may have made are left over first.
func (m *match) pairEqual(trace, log []int, loads map[int]bool) (leftTrace, leftLog []int) {
	want := map[Record][]int{}
	for _, optional := range []bool{false, true} { // the optional ones last, as only they may be left over
		for _, i := range trace {
			if op := m.traceOps[i]; op.Optional == optional && !op.AnyName {
				want[op.Record] = append(want[op.Record], i)
			} else if op.AnyName && !optional {
				leftTrace = append(leftTrace, i)
			}
		}
	}
	surplus := map[Record]int{}
	for _, i := range log {
		surplus[m.logOps[i].Record]++
	}
	for rec, list := range want {
		surplus[rec] -= len(list)
	}
	for _, i := range log {
		rec := m.logOps[i].Record
		if list := want[rec]; len(list) > 0 && !(loads[i] && surplus[rec] > 0) {
			m.pairs = append(m.pairs, [2]int{list[0], i})
			want[rec] = list[1:]
			continue
		}
		surplus[rec]--
		leftLog = append(leftLog, i)
	}
	for _, list := range want {
		leftTrace = append(leftTrace, list...)
	}
	slices.Sort(leftTrace)
	return leftTrace, leftLog
}

// pairAlike pairs what is left over and not equal, but as true as far as strace can tell. Opens by the kernel are not for pairing: an operation whose
// name strace could not tell must not hide behind one.
func (m *match) pairAlike(trace, log []int, loads map[int]bool) (leftTrace, leftLog []int) {
	taken := map[int]bool{}
	for _, i := range trace {
		at := slices.IndexFunc(log, func(j int) bool { return !taken[j] && !loads[j] && m.alike(i, j) })
		if at < 0 {
			leftTrace = append(leftTrace, i)
			continue
		}
		taken[log[at]] = true
		m.pairs = append(m.pairs, [2]int{i, log[at]})
	}
	for _, j := range log {
		if !taken[j] {
			leftLog = append(leftLog, j)
		}
	}
	return leftTrace, leftLog
}

func (m *match) alike(trace, log int) bool {
	op, rec := m.traceOps[trace], m.logOps[log].Record
	switch {
	case op.Letter != rec.Letter:
		return false
	case op.AnyName, slices.Contains(op.Alts, rec):
		return true
	case op.Exec != nil && op.Exec.Unsure:
		return m.scriptRan(trace, log)
	}
	return false
}

// scriptRan tells whether an E may be of the interpreter of a script that is gone: then the first thing the kernel opened was the script.
func (m *match) scriptRan(exec, log int) bool {
	traceExecs, logExecs := m.execs()
	n := slices.Index(traceExecs, exec)
	if n >= len(logExecs) || m.log[logExecs[n]] != log || logExecs[n]+1 == len(m.log) {
		return false
	}
	next := m.logOps[m.log[logExecs[n]+1]].Record
	return next == Record{Letter: 'R', Path: m.traceOps[exec].Exec.Asked}
}

// locate gives each difference that strace knows nothing of the line of its output that is nearest: that of what the process did before, or else first.
func (c *comparison) locate() {
	first, done := map[int]int{}, map[int][]pair{}
	for _, op := range c.trace {
		if first[op.PID] == 0 {
			first[op.PID] = op.Line
		}
	}
	for _, p := range c.pairs {
		done[p.process.pid] = append(done[p.process.pid], p)
	}
	for i, d := range c.report.Diffs {
		if d.Strace != 0 {
			continue
		}
		line := first[d.PID]
		for _, p := range done[d.PID] {
			if c.log[p.log].Line <= d.Log {
				line = c.trace[p.trace].Line
			}
		}
		c.report.Diffs[i].Strace = line
	}
}
