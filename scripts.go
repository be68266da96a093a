package fanrec

import (
	"bytes"

	"fanrec/ebpf"
)

// The interpreter that a #! line names may be a script, too, and so on. The
// kernel opens each, but the record of the exec only has the first, by the name
// given, and the last, which is the image. The events say what was between.

// maxMiddle is how many scripts there can be behind the first: the kernel
// rewrites an exec five times at most (exec_binprm).
const maxMiddle = 4

var noMiddle = [maxMiddle]int32{-1, -1, -1, -1}

// matchMiddle finds the events of the scripts that the kernel opened between
// the script of an exec and its image.
func (j *joiner) matchMiddle(p *process) {
	first := j.now.events[p.script].seq
	end := j.nextLoad(p, first)
	n := 0
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		switch {
		case e.seq <= first || e.pid != p.ID.TGID || e.mask&bitOpenExec == 0 || e.outside:
		case e.seq >= end || e.target == p.image.self || n == maxMiddle:
			return
		case e.claimed&bitOpenExec == 0 && e.target != p.interp.self && possible(e, p.Time, p.prev):
			p.middle[n] = int32(i)
			n++
			e.claimed |= bitOpen | bitOpenExec
		}
	}
}

// nextLoad returns the place in the queue, behind another, of what the kernel
// opened first for the process's next exec that is known.
func (j *joiner) nextLoad(p *process, behind uint64) uint64 {
	end := j.seq
	for k := range j.now.procs {
		next := &j.now.procs[k]
		if next.kind != ebpf.Exec || next.ID != p.ID || next.Time <= p.Time {
			continue
		}
		_, name := last(j.now.get(next.filename))
		for i := j.names.first(nameHash(uint64(p.ID.TGID), name)); i >= 0; i = j.now.events[i].nextName {
			e := &j.now.events[i]
			if e.pid == p.ID.TGID && e.mask&bitOpenExec != 0 && e.seq > behind && bytes.Equal(j.now.get(e.name), name) {
				return min(end, e.seq)
			}
		}
	}
	return end
}
