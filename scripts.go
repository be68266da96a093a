package fanrec

import (
	"bytes"

	"fanrec/fan"
)

// The interpreter that a #! line names may be a script, too, and so on. The
// kernel opens each, but the record of the exec only has the first, by the name
// given, and the last, which is the image. The events say what was between.

// maxMiddle is how many scripts there can be behind the first: the kernel
// rewrites an exec five times at most (exec_binprm).
const maxMiddle = 4

// scriptArgs is how many bytes of the arguments of a script are always told.
const scriptArgs = 512

var noMiddle = [maxMiddle]int32{-1, -1, -1, -1}

// matchMiddle finds the events of the scripts that the kernel opened between
// the script of an exec and its image. Another thread's exec, or one that failed,
// may have opened what is there, too: only what the arguments name is taken, as
// far as these are known.
func (j *joiner) matchMiddle(p *process) {
	first := j.now.events[p.script].seq
	var found [maxMiddle]int32
	n := 0
	for i := range j.now.events[:j.sealed] {
		e := &j.now.events[i]
		if e.seq <= first || e.pid != p.ID.TGID || e.mask&bitOpenExec == 0 || e.outside {
			continue
		}
		if e.target == p.image.self || e.target == p.interp.self || n == maxMiddle {
			break
		}
		if e.claimed&bitOpenExec == 0 && e.possible(p.proc, p.Time, p.prev) {
			found[n] = int32(i)
			n++
		}
	}
	shown := j.behind(p.image.self, p.ID.TGID, first) || j.behind(p.interp.self, p.ID.TGID, first)
	k := 0
	for _, i := range found[:n] {
		if e := &j.now.events[i]; shown && p.args.n >= scriptArgs || j.amongScripts(p, j.now.get(e.name)) {
			p.middle[k] = i
			k++
			e.claimed |= bitOpen | bitOpenExec
		}
	}
}

// behind tells whether an exec of a process opened a file behind a place in the
// queue.
func (j *joiner) behind(target fan.Inode, pid uint32, place uint64) bool {
	for i := j.targets.first(targetHash(pid, target)); i >= 0; i = j.now.events[i].nextTarget {
		if e := &j.now.events[i]; e.pid == pid && e.target == target && e.mask&bitOpenExec != 0 && e.seq > place {
			return true
		}
	}
	return false
}

// amongScripts tells whether the arguments of a script's image have a script of
// a name between the image and the first script. They are: the last interpreter,
// what its #! line adds, the last script, and so on down to the first, and then
// what the caller gave.
func (j *joiner) amongScripts(p *process, name []byte) bool {
	given, args := j.now.get(p.filename), j.now.get(p.args)
	for n := 0; n < 2*(maxMiddle+2); n++ {
		arg, rest, ok := bytes.Cut(args, []byte{0})
		if !ok || n > 0 && bytes.Equal(arg, given) {
			return false
		}
		if _, is := last(arg); n > 0 && bytes.Equal(is, name) {
			return true
		}
		args = rest
	}
	return false
}
