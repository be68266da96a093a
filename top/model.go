package top

import (
	"time"

	"fanrec/output"
)

// Limits bound the memory of a Model: some 300 bytes for each pair, and the paths.
type Limits struct {
	Pairs     int // of a process and a file, beside two of each process
	Bytes     int // of all paths
	Processes int
}

// DefaultLimits take some 20 MiB at most, 12 with paths of an ordinary length.
var DefaultLimits = Limits{Pairs: 30_000, Bytes: 8 << 20, Processes: 5_000}

// fade is how long a process that has ended is shown.
const fade = 5 * time.Second

// Model counts records. Its methods are for one goroutine.
type Model struct {
	limits    Limits
	processes processes
	files     files
	pairs     pairs
	sum       tally // of what is shown
	recorded  tally // of all records, shown or not
	began     time.Time
	ticked    time.Time     // the last Tick
	interval  time.Duration // between the last two
}

// tally is what was counted until the last tick, in the interval before it, and since.
// What is shown stands still between two ticks.
type tally struct{ shown, last, since Counts }

func (t *tally) tick() {
	t.last = t.since
	t.shown.Add(&t.since)
	t.since = Counts{}
}

func (t *tally) add(o *tally) {
	t.shown.Add(&o.shown)
	t.last.Add(&o.last)
	t.since.Add(&o.since)
}

// of returns the counts that are shown: in all, or in the last interval.
func (t *tally) of(total bool) *Counts {
	if total {
		return &t.shown
	}
	return &t.last
}

// New returns a model that begins now.
func New(limits Limits, now time.Time) *Model {
	m := &Model{limits: limits, began: now, ticked: now}
	m.processes.init()
	m.files.init()
	m.pairs.init()
	return m
}

// Add takes a record. What is not to be shown still tells of processes that come and
// go, and counts as recorded. What was so already when the recording began
// (Record.Attached) is told, not counted: nobody did it.
func (m *Model) Add(r *output.Record, show bool) {
	p := m.process(r)
	if !r.Attached {
		col := columnOf(r)
		m.recorded.since[col]++
		if show {
			m.sum.since[col]++
			m.pair(p, m.files.of(r)).since[col]++
		}
	}
	if r.Kind == output.Exit {
		m.processes.end(p)
	}
}

// Tick ends an interval: what is shown from now on is what was counted until now, and
// rates are of the time since the last tick.
func (m *Model) Tick(now time.Time) {
	m.interval, m.ticked = now.Sub(m.ticked), now
	m.sum.tick()
	m.recorded.tick()
	for i := range m.pairs.all {
		if p := &m.pairs.all[i]; p.process >= 0 {
			p.tick()
			p.heat = p.heat/2 + heatOf(&p.last)
		}
	}
	m.fade(now)
}
