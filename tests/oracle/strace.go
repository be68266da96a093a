package oracle

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// StraceArgs are the flags, but for -o FILE, whose output [ReadStrace] understands.
//
// Failed calls are not left out with -z: strace would then write each call in one piece, and the cut pieces are what shows which calls
// overlapped. Signals are not left out with --signal=none: `+++ killed by` would go, too. The default escapes are exact for any bytes, and
// paths are never cut short by -s.
var StraceArgs = []string{
	"-f", "-y", "--seccomp-bpf", "--quiet=attach,personality", "--decode-pids=pidns", "-e", "trace=" + traced,
}

// traced are the calls that make records, and those that change where paths start. A question mark is for calls that some architectures lack.
const traced = "?open,openat,?openat2,?creat,open_by_handle_at," +
	"?mkdir,mkdirat,?mknod,mknodat,?unlink,unlinkat,?rmdir,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat," +
	"truncate,?truncate64,bind,chdir,fchdir,chroot,unshare,execve,execveat,?fork,?vfork,clone,?clone3"

// Trace is what strace saw.
type Trace struct {
	Ops []Op // in the order in which the calls returned
	// Doubts are places where the tree of names and strace disagreed although nothing was renamed meanwhile. The path that the kernel gave is
	// taken; but paths without such a proof may be wrong, too.
	Doubts []string
	Proven int // paths of opened files that the tree of names gave as the kernel did
}

// ReadStrace reads the output of strace with [StraceArgs]. dir is the working directory of the first process, absolute and without links.
func ReadStrace(r io.Reader, dir string, disk Disk) (*Trace, error) {
	events, err := readEvents(r)
	if err != nil {
		return nil, err
	}
	steps, err := joinCalls(events)
	if err != nil {
		return nil, err
	}
	rep := newReplay(steps, dir, disk)
	for _, s := range steps {
		if err := rep.step(s); err != nil {
			return nil, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	for tid := range rep.threads {
		return nil, fmt.Errorf("thread %d never ended: the trace is cut short", tid)
	}
	markChanged(rep.trace.Ops)
	return &rep.trace, nil
}

func readEvents(r io.Reader) ([]event, error) {
	in := bufio.NewReader(r)
	var events []event
	for number := 1; ; number++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return events, nil
		}
		if err == io.EOF {
			return nil, fmt.Errorf("line %d: cut short: %.80q", number, line)
		}
		if err != nil {
			return nil, fmt.Errorf("read strace output: %w", err)
		}
		ev, err := parseLine(number, strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		if ev.kind != evNone {
			events = append(events, ev)
		}
	}
}

// stepKind is what happens at a line once cut calls are joined.
type stepKind int

const (
	stepEnter  stepKind = iota // a call begins
	stepLeave                  // it returns; a call on one line is both, one after the other
	stepExit                   // a thread ends
	stepRename                 // a thread takes the id of its leader, which is gone, in execve
)

type step struct {
	kind         stepKind
	line         int
	tid          int
	call         *call // stepEnter, stepLeave
	old          int   // stepRename: the id that the thread had
	code, signal int   // stepExit
}

// joinCalls puts the pieces of cut calls together. A call is whole already when its thread enters it: the steps know the future.
func joinCalls(events []event) ([]step, error) {
	j := joiner{cut: map[int]*cutCall{}}
	for _, ev := range events {
		if err := j.add(ev); err != nil {
			return nil, fmt.Errorf("line %d: %w", ev.line, err)
		}
	}
	for tid, c := range j.cut {
		return nil, fmt.Errorf("line %d: thread %d never ended its call: the trace is cut short", c.begin, tid)
	}
	return j.steps, nil
}

type joiner struct {
	steps []step
	cut   map[int]*cutCall // by thread id
}

// cutCall is a call whose end is still to come.
type cutCall struct {
	*call
	head    string
	execved bool // an execve that is known to have succeeded, whatever strace shows as its result
}

func (c *cutCall) finish(tail string) error {
	whole, err := parseCall(c.head + tail)
	if err != nil {
		return err
	}
	c.name, c.args, c.result = whole.name, whole.args, whole.result
	return nil
}

func (j *joiner) enter(ev event) *cutCall {
	c := &cutCall{call: &call{tid: ev.tid, begin: ev.line, end: ev.line}, head: ev.text}
	j.steps = append(j.steps, step{kind: stepEnter, line: ev.line, tid: ev.tid, call: c.call})
	return c
}

func (j *joiner) leave(c *cutCall, ev event, tail string) error {
	if err := c.finish(tail); err != nil {
		return err
	}
	if c.execved {
		c.result = result{ok: true, lost: !c.result.ok}
	}
	c.end = ev.line
	j.steps = append(j.steps, step{kind: stepLeave, line: ev.line, tid: ev.tid, call: c.call})
	return nil
}

// abandon ends a call that never returned.
func (j *joiner) abandon(ev event) error {
	c := j.cut[ev.tid]
	if c == nil {
		return nil
	}
	delete(j.cut, ev.tid)
	return j.leave(c, ev, "")
}

func (j *joiner) add(ev event) error {
	switch ev.kind {
	case evCall:
		return j.leave(j.enter(ev), ev, "")
	case evEnter:
		j.cut[ev.tid] = j.enter(ev)
	case evSwitch: // an execve: evSuperseded looks for it under the old id
		j.cut[ev.tid] = j.enter(ev)
	case evResume:
		c := j.cut[ev.tid]
		if c == nil {
			return fmt.Errorf("thread %d resumes what it did not begin", ev.tid)
		}
		delete(j.cut, ev.tid)
		return j.leave(c, ev, ev.text)
	case evSuperseded:
		return j.supersede(ev)
	case evExit:
		if err := j.abandon(ev); err != nil {
			return err
		}
		j.steps = append(j.steps, step{kind: stepExit, line: ev.line, tid: ev.tid, code: ev.code, signal: ev.signal})
	}
	return nil
}

// supersede gives the execve of a thread to the id of the leader. What the leader itself was doing never returned.
func (j *joiner) supersede(ev event) error {
	if err := j.abandon(ev); err != nil {
		return err
	}
	if c := j.cut[ev.other]; c != nil {
		delete(j.cut, ev.other)
		// With --seccomp-bpf strace 6.1 may miss the end of this execve and show the number of the next call as its result, -1 (errno
		// 18446744073709551359) for openat. But a leader is superseded only by an execve that succeeded.
		c.execved = true
		j.cut[ev.tid] = c
	}
	j.steps = append(j.steps, step{kind: stepRename, line: ev.line, tid: ev.tid, old: ev.other})
	return nil
}
