// Package series writes a recording that lasts into one file after another.
//
// Each file is a log of its own, whole, with header and end; the one that is written
// has the name that was asked for, and the others that name and the time at which they
// began. A disk that is slow or full keeps nobody: what waits for it is held in memory
// up to a limit. What does not fit is dropped, and the file in whose time that was says
// so at its end; the next one is complete again.
package series

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"fanrec/output"
)

// Options of a Series.
type Options struct {
	Name   string        // path of the file that is written
	Format string        // of output.NewWriter
	Size   int64         // begin another file when this one has so many bytes; 0: never
	Every  time.Duration // begin another when this one is so old; 0: never
	Keep   int           // so many earlier files are kept; 0: all
	Age    time.Duration // earlier files are kept so long; 0: for ever
	Spool  int           // bytes that may wait for the disk; 0: 64 MiB
	Log    func(error)   // what goes wrong and is tried again; may be nil

	now   func() time.Time // for tests
	retry time.Duration    // how long to wait before what failed is tried again
}

// defaultSpool is how much may wait for the disk unless otherwise said.
const defaultSpool = 64 << 20

// batchBytes is about how much is handed on at once.
const batchBytes = 64 << 10

// stall is how long End waits though nothing is taken.
const stall = 10 * time.Second

// Series is a recording in several files. Its methods are for one goroutine.
type Series struct {
	o     Options
	files *files

	head   output.Header
	w      output.Writer
	buf    bytes.Buffer // whole lines, after w.Flush
	fresh  int          // records that are in w or buf
	size   int64        // of the file, with what waits
	begun  time.Time
	losing bool
	lost   int // records since losing began
	from   time.Time
	total  int // records that were ever dropped

	mu     sync.Mutex
	change sync.Cond
	queue  []chunk
	wait   int // bytes in the queue, and being written
	turns  int // so many writes have returned
	closed bool
	done   bool  // the writer has ended
	failed error // what the writer met last, nil if it goes on
}

// chunk is what is to be written.
type chunk struct {
	b   []byte
	cut bool // it is the end of a file
}

// Open begins a series. A file of that name that is there already is kept as an
// earlier one; the header then says that something may be missing in between.
func Open(o Options, head *output.Header) (*Series, error) {
	if o.Spool == 0 {
		o.Spool = defaultSpool
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.retry == 0 {
		o.retry = time.Second
	}
	if o.Log == nil {
		o.Log = func(error) {}
	}
	if _, err := output.NewWriter(o.Format, io.Discard); err != nil {
		return nil, err
	}
	s := &Series{o: o, head: *head}
	s.change.L = &s.mu
	s.files = &files{o: o, header: s.header}
	before, until, err := s.files.setAside()
	if err != nil {
		return nil, err
	}
	if err := s.files.open(); err != nil {
		return nil, err
	}
	var notes []string
	if before != "" {
		notes = append(notes, fmt.Sprintf("continues %s, last written to %s: what was done until now is missing", before, until.UTC().Format(time.RFC3339)))
	}
	s.begin(notes)
	go s.run()
	return s, nil
}

// begin begins a file.
func (s *Series) begin(notes []string) {
	s.begun, s.size = s.o.now(), 0
	s.w = s.header(&s.buf, s.begun, notes)
}

// header writes the header of a file into memory, where nothing fails.
func (s *Series) header(to io.Writer, at time.Time, notes []string) output.Writer {
	head := s.head
	head.Start, head.Notes = at.UnixNano(), append(notes, head.Notes...)
	w, _ := output.NewWriter(s.o.Format, to) // it was tried before
	w.Begin(&head)
	return w
}

// Write appends a record.
func (s *Series) Write(r *output.Record) {
	if s.losing {
		s.lost++
		return
	}
	if s.due() {
		s.end(nil)
		s.begin([]string{"continues an earlier file"})
	}
	s.w.Write(r)
	if s.fresh++; s.buf.Len() >= batchBytes {
		s.handOn()
	}
}

// due tells whether the file is large or old enough.
func (s *Series) due() bool {
	return s.o.Size > 0 && s.size+int64(s.buf.Len()) >= s.o.Size || s.o.Every > 0 && s.o.now().Sub(s.begun) >= s.o.Every
}

// Comment appends a line of text that is no record.
func (s *Series) Comment(text string) {
	if !s.losing {
		s.w.Comment(text)
	}
}

// Flush hands on what was appended.
func (s *Series) Flush() {
	if s.losing {
		s.recover(s.o.Spool / 2)
		return
	}
	s.handOn()
}

// handOn gives whole lines to the writer, or drops them.
func (s *Series) handOn() {
	s.w.Flush()
	if s.buf.Len() == 0 {
		return
	}
	if !s.push(chunk{b: bytes.Clone(s.buf.Bytes())}, s.o.Spool) {
		s.losing, s.lost, s.from = true, s.fresh, s.o.now()
	} else {
		s.size += int64(s.buf.Len())
	}
	s.buf.Reset()
	s.fresh = 0
}

// push appends to the queue. It reports false if more than a limit would wait then.
func (s *Series) push(c chunk, limit int) bool {
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

// recover ends the file in whose time records were dropped, and begins one that is
// complete, once less than a limit waits.
func (s *Series) recover(limit int) {
	s.mu.Lock()
	waits := s.wait
	s.mu.Unlock()
	if waits > limit {
		return
	}
	now := s.o.now()
	why := fmt.Sprintf("%d records were dropped from %s to %s: the disk did not take them in time", s.lost, s.from.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	s.total += s.lost
	s.losing = false
	s.end([]string{why})
	s.begin([]string{"complete again after " + why})
	s.handOn()
}

// end ends the file.
func (s *Series) end(incomplete []string) {
	s.handOn()
	s.w.End(&output.Trailer{Stop: s.o.now().UnixNano(), Incomplete: incomplete})
	b := bytes.Clone(s.buf.Bytes())
	s.buf.Reset()
	s.fresh = 0
	s.push(chunk{b: b, cut: true}, int(^uint(0)>>1)) // it is small, and without it all would be lost
}

// Reopen begins another file: what rotates logs has moved away the one that is
// written, or else that becomes an earlier one.
func (s *Series) Reopen() {
	if !s.losing { // else another one begins soon
		s.end(nil)
		s.begin([]string{"continues an earlier file"})
		s.handOn()
	}
}

// Err returns why nothing is written at the moment, nil if that is not so.
func (s *Series) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// End ends the last file. If not everything was written, the trailer is made to say
// so, and an error is returned.
func (s *Series) End(t *output.Trailer) error {
	if s.losing {
		s.recover(int(^uint(0) >> 1))
	}
	s.handOn()
	incomplete := t.Incomplete
	s.w.End(&output.Trailer{Stop: t.Stop, Incomplete: incomplete})
	s.push(chunk{b: bytes.Clone(s.buf.Bytes())}, int(^uint(0)>>1))
	s.mu.Lock()
	s.closed = true
	s.change.Broadcast()
	s.mu.Unlock()
	err := s.join()
	if s.total > 0 {
		t.Incomplete = append(t.Incomplete, fmt.Sprintf("%d records were dropped: the disk did not take them in time", s.total))
	}
	if err != nil {
		t.Incomplete = append(t.Incomplete, fmt.Sprintf("the log could not be written: %v", err))
	}
	return err
}

// join waits for the writer, as long as it gets on.
func (s *Series) join() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.done {
		turns := s.turns
		late := false
		timer := time.AfterFunc(stall, func() {
			s.mu.Lock()
			late = true
			s.mu.Unlock()
			s.change.Broadcast()
		})
		s.change.Wait()
		timer.Stop()
		if late && s.turns == turns && !s.done {
			return errors.Join(s.failed, fmt.Errorf("%d bytes still wait", s.wait))
		}
	}
	return s.failed
}

// run writes what is in the queue.
func (s *Series) run() {
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.change.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			break
		}
		c := s.queue[0]
		s.queue[0] = chunk{}
		s.queue = s.queue[1:]
		s.mu.Unlock()
		s.write(c.b)
		if c.cut {
			s.try(s.files.turn)
		}
	}
	err := s.files.close()
	s.mu.Lock()
	s.failed, s.done = errors.Join(s.failed, err), true
	s.mu.Unlock()
	s.change.Broadcast()
}

// write writes bytes, and tries again until they are written, or it is given up.
func (s *Series) write(b []byte) {
	s.try(func() error {
		n, err := s.files.write(b)
		b = b[n:]
		s.mu.Lock()
		s.wait -= n
		s.turns++
		s.mu.Unlock()
		s.change.Broadcast()
		return err
	})
}

// try does something until it succeeds, or it is given up.
func (s *Series) try(fn func() error) {
	for err := fn(); err != nil; err = fn() {
		if !s.pause(err) {
			return
		}
	}
	s.mu.Lock()
	s.failed = nil
	s.mu.Unlock()
}

// pause waits before something is tried again. It reports false if nobody waits for
// that any more.
func (s *Series) pause(err error) bool {
	s.mu.Lock()
	first := s.failed == nil
	s.failed = err
	closed := s.closed
	s.mu.Unlock()
	if first {
		s.o.Log(err)
	}
	if closed {
		return false
	}
	time.Sleep(s.o.retry)
	return true
}
