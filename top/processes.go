package top

import (
	"slices"
	"time"

	"fanrec/output"
)

// process is one that is shown.
type process struct {
	id     uint64 // given once
	pid    uint32 // 0: the place is free
	start  uint64 // 0: not known yet
	parent int32  // -1: none that is shown
	comm   string
	ended  bool
	seen   bool      // by a tick, after it ended
	since  time.Time // of that tick
}

// processes are all of them, by index.
type processes struct {
	all  []process
	free []int32
	by   map[uint32]int32 // who has the number now
	made uint64
	kept uint64 // the id of one that stays though it ended; 0: none
}

// gone stands for processes that have ended and were nobody's children.
const gone = int32(0)

func (p *processes) init() {
	p.by = map[uint32]int32{}
	p.all = []process{gone: {id: 1, parent: -1, comm: "(ended)"}}
	p.made = 1
}

func (p *processes) len() int { return len(p.all) - len(p.free) }

func (p *processes) add(pid uint32, start uint64, parent int32, comm string) int32 {
	p.made++
	one := process{id: p.made, pid: pid, start: start, parent: parent, comm: comm}
	var i int32
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
		p.all[i] = one
	} else {
		i = int32(len(p.all))
		p.all = append(p.all, one)
	}
	if old, ok := p.by[pid]; ok {
		p.all[old].ended = true // the number is another process's now
	}
	p.by[pid] = i
	return i
}

// find returns the process that has a number, -1 if there is none that is shown.
func (p *processes) find(pid uint32) int32 {
	if i, ok := p.by[pid]; ok && pid != 0 {
		return i
	}
	return -1
}

func (p *processes) end(i int32) { p.all[i].ended = true }

// process returns who did what a record says, and takes from it what it tells of
// processes.
func (m *Model) process(r *output.Record) int32 {
	ps := &m.processes
	i := ps.find(r.PID)
	if i >= 0 && ps.all[i].start != 0 && r.Start != 0 && ps.all[i].start != r.Start {
		i = -1 // whoever had the number before
	}
	if r.Kind == output.Fork && r.Attached {
		// Of a parent that is not of the recording only the number is known; 0 is the kernel.
		if i < 0 && r.Comm != "" && r.PID != 0 {
			i = m.appear(r)
		}
		m.child(r.Child, i)
		return max(i, gone)
	}
	switch {
	case r.PID == 0:
		return gone // the kernel itself, which no record should be of
	case i < 0:
		i = m.appear(r)
	}
	p := &ps.all[i]
	if p.start == 0 {
		p.start = r.Start
	}
	if r.Comm != "" && p.comm != r.Comm {
		p.comm = r.Comm
	}
	if r.Kind == output.Fork && r.Child != 0 {
		m.makeRoom(i)
		ps.add(r.Child, 0, i, ps.all[i].comm)
	}
	return i
}

// appear adds who did something and is not shown.
func (m *Model) appear(r *output.Record) int32 {
	m.makeRoom(-1)
	return m.processes.add(r.PID, r.Start, m.processes.find(r.PPID), r.Comm)
}

// child takes who is the parent of a process that was there already; -1: nobody that
// is shown.
func (m *Model) child(pid uint32, parent int32) {
	ps := &m.processes
	i := ps.find(pid)
	if i < 0 {
		if pid != 0 {
			m.makeRoom(parent)
			ps.add(pid, 0, parent, "")
		}
		return
	}
	for j := parent; j >= 0; j = ps.all[j].parent {
		if j == i {
			return // a circle would show nobody who is in it
		}
	}
	ps.all[i].parent = parent
}

// Keep has a process stay, though it ends; 0: none. One that is looked at must not
// vanish.
func (m *Model) Keep(id uint64) { m.processes.kept = id }

// fade counts those that ended some time ago as their parents.
func (m *Model) fade(now time.Time) {
	var old []int32
	for i := range m.processes.all {
		p := &m.processes.all[i]
		switch {
		case p.pid == 0 || !p.ended:
		case !p.seen:
			p.seen, p.since = true, now
		case now.Sub(p.since) >= fade && p.id != m.processes.kept:
			old = append(old, int32(i))
		}
	}
	m.fold(old)
}

// makeRoom counts processes as their parents when there are too many: those that have
// ended, and then the quietest, but not one of them. Who does something again is shown
// again.
func (m *Model) makeRoom(but int32) {
	ps := &m.processes
	if ps.len() < m.limits.Processes {
		return
	}
	var out []int32
	for i := range ps.all {
		if p := &ps.all[i]; p.pid != 0 && p.ended && p.id != ps.kept && int32(i) != but {
			out = append(out, int32(i))
		}
	}
	if wanted := max((m.limits.Processes+3)/4, ps.len()-m.limits.Processes+1); len(out) < wanted {
		heat := make([]uint64, len(ps.all))
		for i := range m.pairs.all {
			if p := &m.pairs.all[i]; p.process >= 0 {
				heat[p.process] += p.heat + heatOf(&p.since)
			}
		}
		var living []int32
		for i := range ps.all {
			if p := &ps.all[i]; p.pid != 0 && !p.ended && p.id != ps.kept && int32(i) != but {
				living = append(living, int32(i))
			}
		}
		// Of those that are equally quiet the youngest: old ones have children.
		slices.SortFunc(living, func(a, b int32) int {
			switch {
			case heat[a] != heat[b] && heat[a] < heat[b], heat[a] == heat[b] && ps.all[a].id > ps.all[b].id:
				return -1
			}
			return 1
		})
		out = append(out, living[:min(len(living), wanted-len(out))]...)
	}
	m.fold(out)
}

// fold counts processes as who forked them.
func (m *Model) fold(who []int32) {
	if len(who) == 0 {
		return
	}
	ps := &m.processes
	leaves := make([]bool, len(ps.all))
	for _, i := range who {
		leaves[i] = true
	}
	heir := func(i int32) int32 { // who is nearest above and stays
		for i = ps.all[i].parent; i >= 0 && leaves[i]; i = ps.all[i].parent {
		}
		return i
	}
	heirs := make([]int32, len(ps.all))
	for i := range ps.all {
		heirs[i] = heir(int32(i))
	}
	for i := range m.pairs.all {
		if p := &m.pairs.all[i]; p.process >= 0 && leaves[p.process] {
			m.move(int32(i), max(heirs[p.process], gone), p.file)
		}
	}
	for i := range ps.all {
		ps.all[i].parent = heirs[i]
	}
	for _, i := range who {
		if ps.by[ps.all[i].pid] == i {
			delete(ps.by, ps.all[i].pid)
		}
		ps.all[i] = process{parent: -1}
		ps.free = append(ps.free, i)
	}
}
