// Package meta gives the .meta files of a bmake(1) that has no filemon the section
// that one with filemon would have written, out of a recording of the whole run.
//
// Which processes are the job of which .meta file is told by what make itself
// does: it opens the .meta for writing and then forks what it runs for the
// target (bmake's job.c and compat.c). Nothing is guessed from times.
package meta

import (
	"fmt"
	"path"
	"strings"

	"fanrec/output"
)

// Jobs finds out which processes are the job of which .meta file. The zero value
// has seen no record.
type Jobs struct {
	processes map[uint32]*process // that live
	groups    []group             // [0] is whoever belongs to no make
	makes     []*maker
	last      map[string]*Job // the last one that a .meta was opened for
}

// Job is what make ran for a target, and so what its .meta file is about.
type Job struct {
	Path  string // of the .meta file
	Make  uint32 // pid of the make
	Start int64  // when make opened the .meta, ns since 1970
	Stop  int64  // when the last of its commands ended
	// Cut says why the job is not done, or why it is not known to be; else it is empty.
	Cut string
	// Open: make goes on, and may write to the .meta.
	Open bool

	groups  int // that are its commands, and have not ended when the records are read back
	wanted  bool
	section *section
}

// process is one that lives.
type process struct {
	group int
	root  bool   // make's own child, with which its group began
	maker *maker // what it did as a make; nil if it did not
	temp  string // a file that may be a script, until it forks
}

// maker is a process that does what a make does.
type maker struct {
	steps []step
	ended bool
}

// group is a child of a make and its descendants, but for what an inner make
// has for children.
type group struct {
	parent int
	args   string // argv of the first program that its root ran, each with a NUL
	ended  bool
	code   int
	signal int
	stop   int64
	job    *Job // that it was found to be of
}

// step is one of what make does from target to target.
type step struct {
	kind  stepKind
	job   *Job // opened
	group int  // forked
}

type stepKind uint8

const (
	script stepKind = iota // a temporary file for the commands of a job: there is none without -j
	opened                 // a .meta for writing
	forked
)

// Add takes the next record, in the order of the recording, and returns the group
// of processes that it belongs to, and whether it is the group's end.
func (j *Jobs) Add(r *output.Record) (in int, end bool) {
	if j.processes == nil {
		j.processes, j.last, j.groups = map[uint32]*process{}, map[string]*Job{}, make([]group, 1)
	}
	p := j.processes[r.PID]
	if p == nil {
		p = &process{}
		j.processes[r.PID] = p
	}
	switch r.Kind {
	case output.Fork:
		child := &process{group: p.group}
		p.temp = ""
		if p.maker != nil {
			j.groups = append(j.groups, group{parent: p.group})
			child.group, child.root = len(j.groups)-1, true
			p.step(j, step{kind: forked, group: child.group})
		}
		j.processes[r.Child] = child
	case output.Exec:
		if g := &j.groups[p.group]; p.root && g.args == "" {
			g.args = string(r.Args)
		}
	case output.Write:
		switch name := path.Base(string(r.Path)); {
		case strings.HasSuffix(name, ".meta") && (r.Op == output.Open || r.Op == output.Create || r.Op == output.NoOp):
			job := &Job{Path: string(r.Path), Make: r.PID, Start: r.Time, Stop: r.Time}
			j.last[job.Path] = job
			p.step(j, step{kind: opened, job: job})
		case r.Op == output.Create && isScript(name):
			p.temp = string(r.Path)
		}
	case output.Delete:
		// What a later make asks for in many words is in such a file, too, but that is
		// there until it was read.
		if p.temp != "" && string(r.Path) == p.temp {
			p.temp = ""
			p.step(j, step{kind: script})
		}
	case output.Exit:
		if end = p.root; end {
			g := &j.groups[p.group]
			g.ended, g.code, g.signal, g.stop = true, r.Code, r.Signal, r.Time
		}
		if p.maker != nil {
			p.maker.ended = true
		}
		delete(j.processes, r.PID)
	}
	return p.group, end
}

// isScript tells whether a name is one of mkstemp(3) for make's TMPPAT.
func isScript(name string) bool {
	return len(name) == len("makeXXXXXX") && strings.HasPrefix(name, "make")
}

// step appends what a make did. A script says the same as two.
func (p *process) step(j *Jobs, s step) {
	if p.maker == nil {
		p.maker = &maker{}
		j.makes = append(j.makes, p.maker)
	}
	m := p.maker
	if n := len(m.steps); s.kind != script || n == 0 || m.steps[n-1].kind != script {
		m.steps = append(m.steps, s)
	}
}

// Assign is called after the last record, with what reads the head of a .meta
// file: nil if there is none, or it is no such file. It returns the jobs whose
// .meta files have a section to get. Of several that one .meta was opened for,
// that is the last: the file has what that one wrote.
func (j *Jobs) Assign(head func(path string) *Head) []*Job {
	var jobs []*Job
	for _, m := range j.makes {
		var a assignment
		for _, s := range m.steps {
			switch s.kind {
			case script:
				a.close()
				a.script = true
			case opened:
				script := a.script && a.job == nil // that of this job
				a.close()
				a.script = script
				h := head(s.job.Path)
				if h == nil {
					continue
				}
				last := j.last[s.job.Path] == s.job
				a.job, a.commands, a.known = s.job, h.Commands, last
				s.job.Open = !m.ended
				if last && !h.Section {
					jobs = append(jobs, s.job)
				}
			case forked:
				g := &j.groups[s.group]
				g.job = a.take(g)
			}
		}
		a.close()
	}
	return jobs
}

// Of returns the job that a group belongs to, nil if there is none. Each process
// belongs to the innermost, as with filemon(4), where a process that is attached
// leaves the log that it was in.
func (j *Jobs) Of(in int) *Job {
	for ; in != 0; in = j.groups[in].parent {
		if job := j.groups[in].job; job != nil {
			return job
		}
	}
	return nil
}

// assignment goes through the steps of a make, and tells which of its children are
// the job of the .meta that it opened. With -j that is one shell, which reads the
// commands from a script; without, it is a child for each command. Others are what
// make asks for the value of a variable, and commands of targets without .meta.
type assignment struct {
	job      *Job // whose children come next
	commands []Command
	known    bool // the commands are those of this job
	script   bool // its commands are in a script
	at       int  // the command that comes next
	last     *group
}

// take returns the job of a child, nil if it has none.
func (a *assignment) take(g *group) *Job {
	ask := isQuery(g.args)
	if a.job == nil {
		a.script = a.script && ask
		return nil
	}
	job := a.job
	switch {
	case a.script && ask:
		return nil
	case a.script:
		a.last, a.at = g, len(a.commands)
	default:
		at := a.find(g.args)
		switch {
		case at < 0 && ask:
			return nil
		case at < 0 && a.failed():
			a.close() // with .IGNORE it is the next command, else that of another target
			job.Cut = "a command failed, and whose the next one was cannot be told"
			return nil
		case at < 0:
			at = a.at // it was expanded twice, for the .meta and to be run, and not to the same
		}
		a.last, a.at = g, at+1
	}
	job.groups++
	if a.script || a.known && a.at >= len(a.commands) {
		a.close()
	}
	return job
}

// find returns the next command that a program was run for by its arguments, or -1.
func (a *assignment) find(args string) int {
	for i := a.at; i < len(a.commands); i++ {
		if a.commands[i].ran(args) {
			return i
		}
	}
	return -1
}

// failed tells whether the last command ended the job.
func (a *assignment) failed() bool {
	return a.last != nil && a.last.ended && (a.last.code != 0 || a.last.signal != 0) &&
		!(a.at <= len(a.commands) && a.commands[a.at-1].Ignore)
}

// close is called when no more children of the job can come.
func (a *assignment) close() {
	if job, g := a.job, a.last; job != nil {
		switch {
		case job.Open:
			job.Cut = "make has not ended"
		case g == nil && len(a.commands) > 0:
			job.Cut = "make did not run the commands"
		case g == nil:
		case !g.ended:
			job.Cut = "the commands have not ended"
		case g.signal != 0:
			job.Cut = fmt.Sprintf("the command was killed by signal %d", g.signal)
		case a.at < len(a.commands) && !a.failed():
			job.Cut = "make did not run all the commands"
		}
		if g != nil && g.ended {
			job.Stop = g.stop
		}
	}
	*a = assignment{}
}

// isQuery tells whether make ran a program for the value of a variable, by
// Cmd_Exec of its main.c, which gives the shell its name. Without -j the shell of
// a command is given its path, and with -j a script.
func isQuery(args string) bool {
	argv := strings.Split(args, "\x00")
	return len(argv) == 4 && argv[1] == "-c" && !strings.Contains(argv[0], "/")
}
