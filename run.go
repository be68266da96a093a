package fanrec

import (
	"fmt"
	"syscall"
	"time"

	"fanrec/output"

	"golang.org/x/sys/unix"
)

// Start starts the command; all that it and its descendants do from its first
// instruction on is recorded. Errors wrap ErrNotFound or ErrNotExecutable.
func (r *Recorder) Start(c *Command) (pid int, err error) {
	if err := r.tracker.AdoptChildren(true); err != nil {
		return 0, err
	}
	r.started = time.Now()
	child, err := c.Start()
	if stop := r.tracker.AdoptChildren(false); stop != nil && err == nil {
		child.Kill()
		err = stop
	}
	if err != nil {
		return 0, err
	}
	r.child.Store(child)
	return child.PID(), nil
}

// Signal passes a signal on to the command, unless it has ended: then it is as
// Stop.
func (r *Recorder) Signal(sig syscall.Signal) {
	if child := r.child.Load(); child != nil && !child.Signal(sig) {
		r.Stop()
	}
}

// StopAfter is how long after the end of the command Stop is heard. What came
// before may be the very signal that ended the command.
const StopAfter = time.Second

// Stop ends a recording that with WaitAll goes on after the command. Before
// the command has ended it does nothing.
func (r *Recorder) Stop() {
	if child := r.child.Load(); child != nil && child.Ended(StopAfter) {
		r.wake.raise()
	}
}

// Run hands records to out, in order, until the command has ended, or with
// WaitAll its last descendant. flush is called after each batch of records.
func (r *Recorder) Run(out func(*output.Record), flush func()) (*Result, error) {
	rec := &Recording{r: r, out: out}
	r.recordings[0] = rec
	child := r.child.Load()
	r.ending = child.FD()
	var failed error
	for failed == nil && !r.over(child, rec) {
		patience := -1
		if r.doubtful {
			patience = int(r.opts.Epoch / time.Millisecond)
		}
		var due bool
		if due, failed = r.sleep(patience); failed == nil && due {
			failed = r.epoch()
			flush()
		}
		r.settleIn()
	}
	// What returns late was merged into events that are already here: one more
	// barrier sees it. Then nothing will come of what has ended.
	for i := 0; i < 2 && failed == nil; i++ {
		failed = r.epoch()
	}
	r.join.release(true)
	flush()
	if _, err := child.Reap(true); err != nil {
		return nil, err
	}
	if failed != nil {
		rec.missing = append(rec.missing, fmt.Sprintf("the recorder failed: %v", failed))
	}
	res := rec.result(&r.join.faults)
	res.Status = child.Status()
	res.Stats.Processes, res.Stats.Events = r.join.tree.Total(), r.join.events
	res.Stats.Elapsed = time.Since(r.started)
	return res, nil
}

// growAfter is when a recording is taken for one that lasts. It then gets a ring
// that holds what a tree does in several seconds, for when nothing drains it.
const (
	growAfter = 500 * time.Millisecond
	growBytes = 32 << 20
)

// settleIn does what is too slow for the start of a recording.
func (r *Recorder) settleIn() {
	if r.grown || r.opts.NoCalls || r.opts.CallRing != 0 || time.Since(r.started) < growAfter {
		return
	}
	r.grown = true
	if err := r.tracker.Grow(growBytes); err != nil {
		r.opts.Log.Debug().Err(err).Msg("the ring stays small")
	}
}

// over tells whether the recording of a command has come to its end.
func (r *Recorder) over(child *Child, rec *Recording) bool {
	if ended, err := child.Reap(false); err != nil || !ended {
		return err != nil
	}
	r.ending = -1 // it stays readable
	if !r.opts.WaitAll {
		return true
	}
	if r.wake.lower() {
		rec.missing = append(rec.missing, fmt.Sprintf("stopped while %d of its processes were running", r.join.tree.Live()))
		return true
	}
	if !r.lossy() {
		return r.join.tree.Live() == 0
	}
	r.doubtful = true // no record may tell of the end
	// The last exit record may be among what was lost: ask the kernel.
	ids, err := r.tracker.Tracked()
	if err != nil {
		return true
	}
	for _, id := range ids {
		if alive(int(id.TGID)) {
			return false
		}
	}
	return true
}

// alive tells whether a process runs; a zombie does not. The number may have
// been given away meanwhile: then the recording only lasts longer.
func alive(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return !readable(fd)
}

func (r *Recorder) lossy() bool {
	lost, err := r.tracker.Lost()
	return err != nil || lost.Processes+lost.Untracked > 0
}
