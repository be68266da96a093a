// Package spool writes a recording that lasts to where it may be slow: nobody waits for
// that. What waits is held in memory up to a limit; what does not fit is dropped, and
// the log in whose time that was says so at its end. Then comes one that is complete
// again, as a log of its own, with header and end.
package spool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"fanrec/output"
)

// A Store is where logs go. Its methods are called by one goroutine.
type Store interface {
	// Write takes lines, or some bytes of them, and returns how many it has for good.
	// What it does not take is offered again, with what follows.
	Write(b []byte) (int, error)
	// Turn ends a log: what comes next begins another one. It is called again if it
	// fails.
	Turn() error
	// Close is called once, after everything else.
	Close() error
}

// A Store may also have Abandon(), which End calls if Write does not return.

// Options of a Spool.
type Options struct {
	Format string      // of output.NewWriter
	Limit  int         // bytes that may wait; 0: 64 MiB
	Batch  int         // at most about so many bytes are written at once
	Slow   string      // why records are dropped: "the disk did not take them in time"
	Failed string      // what is said of an error at the end; "": the log could not be written
	Log    func(error) // what goes wrong and is tried again; may be nil

	// Due tells whether it is time for another log: this one has so many bytes, and
	// began then. May be nil.
	Due func(size int64, begun time.Time) bool

	Now   func() time.Time // nil: time.Now
	Retry time.Duration    // how long to wait before what failed is tried again; 0: a second

	stall    time.Duration // how long End waits though nothing is taken
	patience time.Duration // how long it waits in all
}

// defaultLimit is how much may wait unless otherwise said.
const defaultLimit = 64 << 20

// batchBytes is about how much is handed on at once.
const batchBytes = 64 << 10

// stall is how long End waits though nothing is taken.
const stall = 10 * time.Second

// grace is how long it waits after GiveUp: what is taken at once is not given up.
const grace = 200 * time.Millisecond

// patience is how long End waits in all: who stops a service or a pod waits for 30 s.
const patience = 20 * time.Second

// A Spool is a recording as one log after another. Its methods are for one goroutine.
type Spool struct {
	o     Options
	store Store

	head   output.Header
	w      output.Writer
	buf    bytes.Buffer // whole lines, after w.Flush
	fresh  int          // records that are in w or buf
	size   int64        // of the log, with what waits
	begun  time.Time
	losing bool
	lost   int // records since losing began
	from   time.Time
	total  int // records that were ever dropped

	lastTries int // after End, of the writer

	mu     sync.Mutex
	change sync.Cond
	queue  []chunk
	wait   int // bytes in the queue, and being written
	turns  int // so many writes have returned
	closed bool
	done   bool  // the writer has ended
	leave  bool  // GiveUp
	taken  bool  // all is written, and the store is being closed
	failed error // what the writer met last, nil if it goes on
}

// chunk is what is to be written.
type chunk struct {
	b   []byte
	cut bool // it is the end of a log
}

// maxLastTries is how often something is tried again after End.
const maxLastTries = 3

// Check returns what is wrong with the options.
func (o *Options) Check() error {
	_, err := output.NewWriter(o.Format, io.Discard)
	return err
}

// New returns a spool before a store, to which a log with these notes is begun.
func New(o Options, store Store, head *output.Header, notes []string) (*Spool, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.defaults()
	s := &Spool{o: o, store: store, head: *head}
	s.change.L = &s.mu
	s.begin(notes)
	go s.run()
	return s, nil
}

func (o *Options) defaults() {
	o.Limit = cmp.Or(o.Limit, defaultLimit)
	o.Batch = cmp.Or(o.Batch, batchBytes)
	o.Retry = cmp.Or(o.Retry, time.Second)
	o.stall = cmp.Or(o.stall, stall)
	o.patience = cmp.Or(o.patience, patience)
	o.Failed = cmp.Or(o.Failed, "the log could not be written")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(error) {}
	}
	if o.Due == nil {
		o.Due = func(int64, time.Time) bool { return false }
	}
}

// begin begins a log. Its header is handed on whatever waits: without it nothing of the
// log could be read.
func (s *Spool) begin(notes []string) {
	s.begun, s.size = s.o.Now(), 0
	s.w = Begin(s.o.Format, &s.head, &s.buf, s.begun, notes)
	s.handOnAll(false)
}

// Begin writes the header of a log that begins at a time, with more notes. The format
// must be one of output.NewWriter, and writing must not fail.
func Begin(format string, of *output.Header, to io.Writer, at time.Time, notes []string) output.Writer {
	head := *of
	head.Start, head.Notes = at.UnixNano(), append(notes, head.Notes...)
	w, _ := output.NewWriter(format, to)
	w.Begin(&head)
	return w
}

// Write appends a record.
func (s *Spool) Write(r *output.Record) {
	if s.losing {
		s.lost++
		return
	}
	if s.o.Due(s.size+int64(s.buf.Len()), s.begun) {
		s.turn()
	}
	s.w.Write(r)
	if s.fresh++; s.buf.Len() >= min(batchBytes, s.o.Limit/4) {
		s.handOn()
	}
}

// Comment appends a line of text that is no record.
func (s *Spool) Comment(text string) {
	if !s.losing {
		s.w.Comment(text)
	}
}

// Flush hands on what was appended.
func (s *Spool) Flush() {
	if s.losing {
		s.recover(s.o.Limit / 2)
		return
	}
	s.handOn()
}

// handOn gives whole lines to the writer, or drops them.
func (s *Spool) handOn() {
	s.w.Flush()
	if s.buf.Len() == 0 {
		return
	}
	if !s.push(chunk{b: bytes.Clone(s.buf.Bytes())}, s.o.Limit) {
		s.losing, s.lost, s.from = true, s.fresh, s.o.Now()
	} else {
		s.size += int64(s.buf.Len())
	}
	s.buf.Reset()
	s.fresh = 0
}

// push appends to the queue. It reports false if more than a limit would wait then.
func (s *Spool) push(c chunk, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait+len(c.b) > limit {
		return false
	}
	s.queue = append(s.queue, c)
	s.wait += len(c.b)
	s.change.Broadcast()
	return true
}

// handOnAll gives what is not a record, which is little, to the writer.
func (s *Spool) handOnAll(cut bool) {
	s.w.Flush()
	s.push(chunk{b: bytes.Clone(s.buf.Bytes()), cut: cut}, math.MaxInt)
	s.size += int64(s.buf.Len())
	s.buf.Reset()
}

// recover ends the log in whose time records were dropped, and begins one that is
// complete, once less than a limit waits.
func (s *Spool) recover(limit int) {
	if s.Waits() <= limit {
		s.turn()
	}
}

// settle returns what was dropped in the time of this log, "" for nothing.
func (s *Spool) settle() (why string) {
	if !s.losing {
		return ""
	}
	why = fmt.Sprintf("%d records were dropped from %s to %s: %s", s.lost, s.from.UTC().Format(time.RFC3339), s.o.Now().UTC().Format(time.RFC3339), s.o.Slow)
	s.total += s.lost
	s.losing, s.lost = false, 0
	return why
}

// end ends the log, with what was dropped in its time besides.
func (s *Spool) end(t output.Trailer, cut bool) (why string) {
	s.handOn()
	if why = s.settle(); why != "" {
		t.Incomplete = append(t.Incomplete[:len(t.Incomplete):len(t.Incomplete)], why)
	}
	s.w.End(&t)
	s.handOnAll(cut)
	return why
}

// turn ends the log and begins another one.
func (s *Spool) turn() {
	note := "continues an earlier log"
	if why := s.end(output.Trailer{Stop: s.o.Now().UnixNano()}, true); why != "" {
		note = "complete again after " + why
	}
	s.begin([]string{note})
}

// Reopen begins another log.
func (s *Spool) Reopen() {
	if !s.losing { // else another one begins soon
		s.turn()
	}
}

// Err returns why nothing is written at the moment, nil if that is not so.
func (s *Spool) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Losing tells whether records are dropped at the moment.
func (s *Spool) Losing() bool { return s.losing }

// Dropped returns how many records were dropped until now.
func (s *Spool) Dropped() int { return s.total + s.lost }

// Waits returns how many bytes wait.
func (s *Spool) Waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wait
}

// End ends the last log. If not everything was written, the trailer is made to say
// so, and an error is returned.
func (s *Spool) End(t *output.Trailer) error {
	s.end(*t, false)
	s.mu.Lock()
	s.closed = true
	s.change.Broadcast()
	s.mu.Unlock()
	err := s.join()
	if s.total > 0 {
		t.Incomplete = append(t.Incomplete, fmt.Sprintf("%d records were dropped: %s", s.total, s.o.Slow))
	}
	if err != nil {
		t.Incomplete = append(t.Incomplete, fmt.Sprintf("%s: %v", s.o.Failed, err))
	}
	return err
}

// join waits for the writer, as long as it gets on, but not for ever.
func (s *Spool) join() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline := time.Now().Add(s.o.patience)
	left := false
	for !s.done {
		if s.leave && !left {
			left, deadline = true, time.Now().Add(grace)
		}
		turns := s.turns
		late := false
		timer := time.AfterFunc(min(s.o.stall, time.Until(deadline)), func() {
			s.mu.Lock()
			late = true
			s.mu.Unlock()
			s.change.Broadcast()
		})
		s.change.Wait()
		timer.Stop()
		if late && (s.turns == turns || !time.Now().Before(deadline)) {
			break
		}
	}
	if s.done || s.taken {
		return s.failed
	}
	if a, ok := s.store.(interface{ Abandon() }); ok {
		a.Abandon()
	}
	if s.failed != nil {
		return fmt.Errorf("%w; %d bytes still wait", s.failed, s.wait)
	}
	return fmt.Errorf("%d bytes still wait", s.wait)
}

// GiveUp has End, in another goroutine, wait no longer.
func (s *Spool) GiveUp() {
	s.mu.Lock()
	s.leave = true
	s.mu.Unlock()
	s.change.Broadcast()
}

// run writes what is in the queue.
func (s *Spool) run() {
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.change.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			break
		}
		c := s.take()
		s.mu.Unlock()
		if !s.write(c.b) || c.cut && !s.try(s.store.Turn) {
			break // what follows would stand behind half a line, or the end of a log
		}
	}
	s.mu.Lock()
	s.taken = len(s.queue) == 0
	s.mu.Unlock()
	s.change.Broadcast()
	err := s.store.Close()
	s.mu.Lock()
	s.failed, s.done = errors.Join(s.failed, err), true
	s.mu.Unlock()
	s.change.Broadcast()
}

// take takes as much from the queue as is written at once.
func (s *Spool) take() chunk {
	c := s.queue[0]
	n := 1
	for ; n < len(s.queue) && !c.cut && len(c.b)+len(s.queue[n].b) <= s.o.Batch; n++ {
		c.b, c.cut = append(c.b, s.queue[n].b...), s.queue[n].cut
	}
	clear(s.queue[:n])
	s.queue = s.queue[n:]
	return c
}

// write writes bytes, and tries again until they are written, or it is given up.
func (s *Spool) write(b []byte) (ok bool) {
	for ok = true; ok && len(b) > 0; {
		ok = s.try(func() error {
			n, err := s.store.Write(b)
			b = b[n:]
			s.mu.Lock()
			s.wait -= n
			s.turns++
			s.mu.Unlock()
			s.change.Broadcast()
			return err
		})
	}
	return ok
}

// try does something until it succeeds. It reports false if it is given up.
func (s *Spool) try(fn func() error) bool {
	for err := fn(); err != nil; err = fn() {
		if !s.pause(err) {
			return false
		}
	}
	s.mu.Lock()
	s.failed = nil
	s.mu.Unlock()
	return true
}

// pause waits before something is tried again. It reports false if nobody waits for
// that any more.
func (s *Spool) pause(err error) bool {
	s.mu.Lock()
	first := s.failed == nil
	s.failed = err
	closed := s.closed
	s.mu.Unlock()
	if first {
		s.o.Log(fmt.Errorf("%w; it is tried again until it succeeds", err))
	}
	if closed {
		if s.lastTries++; s.lastTries > maxLastTries {
			return false
		}
	}
	time.Sleep(s.o.Retry)
	return true
}
