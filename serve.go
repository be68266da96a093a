package fanrec

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"fanrec/ebpf"
	"fanrec/output"
	"fanrec/proctree"

	"golang.org/x/sys/unix"
)

// Many trees through one recorder: Serve is its loop, and everything else is
// done between two epochs, on the loop's goroutine, by functions given to Do.

// wake is an eventfd that ends the sleep of the loop.
type wake int

func newWake() (wake, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return wake(fd), err
}

func (w wake) raise() { unix.Write(int(w), []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// lower reports whether it was raised.
func (w wake) lower() bool {
	var b [8]byte
	n, _ := unix.Read(int(w), b[:])
	return n == len(b)
}

// posted are functions that wait for the loop.
type posted struct {
	mu   sync.Mutex
	fns  []func()
	over bool
}

// waiting is somebody who waits for records.
type waiting struct {
	recording uint32
	at        int64 // of what was done before this time
	ready     func() bool
	done      func(error)
}

// ErrStopped is what is said to who waits when the recorder ends.
var ErrStopped = errors.New("the recorder stopped")

// stoppedBy returns ErrStopped, with the error that stopped it if there was one.
func stoppedBy(err error) error {
	if err == nil {
		return ErrStopped
	}
	return fmt.Errorf("%w: %w", ErrStopped, err)
}

// Do runs a function on the loop's goroutine. It reports false if there is none
// any more.
func (r *Recorder) Do(fn func()) bool {
	r.do.mu.Lock()
	defer r.do.mu.Unlock()
	if r.do.over {
		return false
	}
	r.do.fns = append(r.do.fns, fn)
	r.wake.raise()
	return true
}

// Quit makes Serve return.
func (r *Recorder) Quit() { r.Do(func() { r.stopped = true }) }

// Serve records until Quit. It needs Options.Serve.
func (r *Recorder) Serve() error {
	if err := r.tracker.Grow(growBytes); err != nil {
		r.opts.Log.Debug().Err(err).Msg("the ring stays small")
	}
	r.grown = true
	var failed error
	r.idle = time.Now()
	for failed == nil && !r.stopped {
		var due bool
		if r.resting {
			failed = poll([]unix.PollFd{{Fd: int32(r.wake), Events: unix.POLLIN}}, -1)
		} else {
			due, failed = r.sleep(r.patience())
		}
		if failed == nil && r.wake.lower() {
			failed = r.runPosted()
		}
		if failed != nil || r.resting {
			continue
		}
		if len(r.recordings) == 0 && time.Since(r.idle) >= lingerTime {
			failed = r.rest()
		} else if due || len(r.waiting) > 0 {
			failed = r.serveEpoch()
		}
	}
	r.stopped = true
	r.do.mu.Lock()
	r.do.over = true
	rest := r.do.fns
	r.do.fns = nil
	r.do.mu.Unlock()
	why := stoppedBy(failed)
	for _, rec := range r.recordings {
		rec.missing = append(rec.missing, why.Error())
	}
	for _, fn := range rest {
		fn() // whoever asked is answered below
	}
	for _, w := range r.waiting {
		w.done(why)
	}
	r.waiting = nil
	return failed
}

// lingerTime is how long everything is still watched when nothing is recorded
// any more: the next job of a build comes soon. Then an idle service costs the
// machine nothing.
const lingerTime = time.Second

func (r *Recorder) rest() error {
	r.resting = true
	err := errors.Join(r.unwatch(), r.tracker.Detach())
	r.join = nil // another one begins
	debug.FreeOSMemory()
	return err
}

// rouse ends a rest.
func (r *Recorder) rouse() error {
	if err := r.watch(); err != nil {
		return err
	}
	if err := r.tellAll(); err != nil {
		return err
	}
	r.resting, r.deadline = false, time.Time{}
	return r.tracker.Attach()
}

// runPosted runs what was posted until now.
func (r *Recorder) runPosted() error {
	r.do.mu.Lock()
	fns := r.do.fns
	r.do.fns = nil
	r.do.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
	return r.failed
}

// patience returns how long the loop may sleep though nothing happens, in
// milliseconds; for ever: -1.
func (r *Recorder) patience() int {
	switch {
	case len(r.recordings) == 0:
		return max(int((lingerTime-time.Since(r.idle))/time.Millisecond), 0) + 1
	case len(r.waiting) == 0:
		return -1
	}
	for _, w := range r.waiting {
		if w.ready == nil {
			return 1
		}
	}
	if r.lossy() {
		return int(r.opts.Epoch / time.Millisecond) // no record may tell of an end
	}
	return -1
}

// serveEpoch hands out what is certain, and answers who waited for it.
func (r *Recorder) serveEpoch() error {
	r.deadline = time.Time{}
	r.join.awaited = len(r.waiting) > 0
	if err := r.epoch(); err != nil {
		return err
	}
	for _, rec := range r.recordings {
		if f := rec.found; f != nil && r.join.out(rec.id) > f.until {
			rec.found = nil
			f.handOut(r.join.clock, rec.handOut)
		}
		rec.flushOut()
	}
	left := r.waiting[:0]
	var served []waiting
	for _, w := range r.waiting {
		if r.join.out(w.recording) > w.at && (w.ready == nil || w.ready()) {
			served = append(served, w)
		} else {
			left = append(left, w)
		}
	}
	clear(r.waiting[len(left):])
	r.waiting = left
	for _, w := range served {
		w.done(nil)
	}
	return nil
}

// What an epoch has of one recording, and how much of a processor the join may
// take for an epoch, before others are thought of. (8,000 items take some 5 ms.)
const (
	muchOfOne = 5_000
	longEpoch = 250 * time.Millisecond
)

// relieve gives up a recording that keeps all others waiting: it did more, and of
// a kind that takes longer to join, than can be followed. Such a log says so.
func (r *Recorder) relieve() {
	r.distrust()
	much := muchOfOne
	if len(r.recordings) == 1 {
		much *= 10 // somebody may come
	}
	if r.took < longEpoch || r.busy < much {
		return
	}
	j := r.join
	items := map[uint32]int{}
	for i := range j.now.calls {
		items[j.now.calls[i].proc.Recording]++
	}
	for i := range j.now.events {
		if e := &j.now.events[i]; !e.outside {
			items[j.recordingOf(e)]++
		}
	}
	for id, rec := range r.recordings {
		if t := j.trees.open[id]; t != nil && !t.trusted && items[id] > much {
			rec.missing = append(rec.missing, fmt.Sprintf("it kept the service from others with %d records at once, and was given up", items[id]))
			j.abandon(id)
		}
	}
}

// distrust ends the recordings of who may not see everything when a record of a
// process was lost: it may have told that one gained privileges.
func (r *Recorder) distrust() {
	if !r.opts.Serve {
		return
	}
	lost, err := r.tracker.Lost()
	if err != nil || lost.Processes == r.lost {
		return
	}
	r.lost = lost.Processes
	for id := range r.recordings {
		if t := r.join.trees.open[id]; t != nil && !t.trusted {
			r.join.abandon(id)
		}
	}
}

// A Recording is what one of several trees did. Its methods are for the
// goroutine of the loop: see Do.
type Recording struct {
	r       *Recorder
	id      uint32
	out     func(*output.Record)
	comment func(string)
	flush   func()
	wrote   bool
	records [output.Kinds]int
	began   time.Time
	missing []string
	// What was lost before it began.
	before              ebpf.Lost
	missedBefore        uint64 // Tracker.Missed
	overflow, malformed int
	missed              int    // of Recorder.missing
	found               *found // by Attach, until it is handed out
	delays              Delays
}

// Sink is where the records of a recording go.
type Sink struct {
	Record  func(*output.Record)
	Comment func(string) // text between the records
	Flush   func()       // called after each batch
	Full    bool         // fill Record.Handle, Seen, SeenTarget and Args as the Options say
}

// Open begins a recording, of nobody yet. With trusted, it goes on where a
// program gives privileges to who executes it.
func (r *Recorder) Open(to Sink, trusted bool) (*Recording, error) {
	if r.stopped || r.failed != nil {
		return nil, stoppedBy(r.failed)
	}
	if r.resting {
		if err := r.rouse(); err != nil {
			r.failed = err
			return nil, err
		}
	}
	for r.numbers++; r.numbers == 0 || r.numbers == proctree.Nobody || r.recordings[r.numbers] != nil; r.numbers++ {
	}
	rec := &Recording{r: r, id: r.numbers, out: to.Record, comment: to.Comment, flush: to.Flush, began: time.Now()}
	rec.before, _ = r.tracker.Lost() // else its end says the error
	rec.missedBefore, _ = r.tracker.Missed()
	rec.missed = len(r.missing)
	rec.overflow, rec.malformed = r.join.faults.Overflow, r.join.faults.Malformed
	r.recordings[rec.id] = rec
	r.join.trees.open[rec.id] = &tree{outer: proctree.Nobody, trusted: trusted, full: to.Full}
	return rec, nil
}

func (rec *Recording) put(record *output.Record) {
	if rec.found != nil {
		rec.found.put(record)
		return
	}
	rec.handOut(record)
}

func (rec *Recording) handOut(record *output.Record) {
	if !record.Attached {
		rec.records[record.Kind]++
	}
	if rec.out != nil {
		if !rec.wrote && !record.Attached {
			rec.delays.add(record.Time, rec.r.join.clock+monotonic())
		}
		rec.wrote = true
		rec.out(record)
	}
}

func (rec *Recording) flushOut() {
	if rec.wrote && rec.flush != nil {
		rec.wrote = false
		rec.flush()
	}
}

// FollowOptions say how a process is followed.
type FollowOptions struct {
	Children  bool         // not the process, only what it forks from now on
	Exclusive bool         // not if another recording follows it
	Allowed   func() error // asked when it can get no privileges any more that are not noticed
}

// Follow makes a process that runs, and what it forks from now on, part of a
// recording; if it is of another one, it leaves that. When it returns, what the
// process does next is recorded. Errors wrap unix.ESRCH if it has ended,
// unix.EBUSY, or what Allowed returns.
func (rec *Recording) Follow(pid int, o FollowOptions) error {
	r := rec.r
	if r.stopped || r.failed != nil { // nothing is handed out any more: whoever is told so ends the log
		return stoppedBy(r.failed)
	}
	_, p := r.join.tree.Since(uint32(pid))
	if o.Exclusive && p != nil && !p.Exited && p.Recording != proctree.Nobody && p.Recording != rec.id {
		return fmt.Errorf("process %d is followed by another recording: %w", pid, unix.EBUSY)
	}
	if p == nil || p.Exited {
		// What it did before is of nobody of the tree, and read as such.
		if err := r.serveEpoch(); err != nil {
			r.failed = err
			return err
		}
	}
	r.requests++
	n := r.requests
	f := &follow{recording: rec.id, children: o.Children}
	r.join.trees.follows[n] = f
	refuse := func(err error) error {
		delete(r.join.trees.follows, n)
		return err
	}
	if err := r.tracker.Follow(uint32(pid), n); err != nil {
		return refuse(err)
	}
	if err := r.malformed(r.tracker.DrainProcesses(r.join.addProcess)); err != nil {
		r.failed = err
		return refuse(err)
	}
	if !f.found {
		return refuse(fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH))
	}
	if o.Allowed != nil {
		if err := o.Allowed(); err != nil {
			return refuse(err)
		}
	}
	return nil
}

// Unfollow ends the following of all processes of the recording. What they did
// and is not yet handed out is another's or nobody's: see Drain.
func (rec *Recording) Unfollow() { rec.r.join.unfollow(rec.id) }

// Drain calls done when all records of what was done until now are handed out.
func (rec *Recording) Drain(done func(error)) {
	rec.r.waiting = append(rec.r.waiting, waiting{recording: rec.id, at: monotonic(), done: done})
}

// Wait calls done when no process of the recording lives. What it returns ends
// the wait.
func (rec *Recording) Wait(done func(error)) (cancel func()) {
	r, over := rec.r, false
	r.waiting = append(r.waiting, waiting{recording: rec.id, at: monotonic(), ready: func() bool { return over || rec.empty() }, done: func(err error) {
		if !over {
			done(err)
		}
	}})
	return func() { over = true }
}

// Live returns how many of its processes live, for all that was handed out.
func (rec *Recording) Live() int { return rec.r.join.tree.In(rec.id) }

func (rec *Recording) empty() bool {
	if rec.Live() == 0 {
		return true
	}
	if !rec.r.lossy() {
		return false
	}
	some := false // records of ends may be lost: ask the kernel
	rec.r.join.tree.All(func(p *proctree.Process) {
		some = some || p.Recording == rec.id && !p.Exited && alive(int(p.ID.TGID))
	})
	return !some
}

// Close ends a recording, and calls done with what it had when all records of
// what was done until now are handed out. Each of why says that something is missing.
func (rec *Recording) Close(why []string, done func(*Result)) {
	rec.missing = append(rec.missing, why...)
	rec.Drain(func(err error) {
		r := rec.r
		t := r.join.trees.open[rec.id]
		res := rec.result(&t.faults)
		res.Stats.Events, res.Stats.Processes = t.events, t.processes
		res.Stats.Elapsed = time.Since(rec.began)
		r.join.closeTree(rec.id)
		delete(r.recordings, rec.id)
		r.idle = time.Now()
		done(res)
	})
}

// readable tells whether a descriptor is.
func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1
}
