package logfile

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrSlow is why a log is given up whose reader, or whose file system, takes
// less than is written.
var ErrSlow = errors.New("it is not taken as fast as it is written")

// ErrGivenUp is why a log is not whole that somebody did not want to wait for.
var ErrGivenUp = errors.New("it was not waited for")

// spool writes from a goroutine of its own, so that a reader that stops, or a
// file system that hangs, keeps nobody.
type spool struct {
	to    io.Writer
	limit int // bytes that may wait

	mu     sync.Mutex
	change sync.Cond
	wait   []byte
	begun  bool // there is the goroutine
	busy   bool // something is being written
	closed bool
	left   bool   // giveUp
	over   func() // called when the goroutine ends
	turn   int    // so many writes have returned
	err    error
}

func newSpool(to io.Writer, limit int) *spool {
	s := &spool{to: to, limit: limit}
	s.change.L = &s.mu
	return s
}

// Write implements io.Writer. Errors are those of earlier writes.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && len(s.wait)+len(p) > s.limit {
		s.err = fmt.Errorf("%d bytes wait to be written: %w", len(s.wait), ErrSlow)
		s.wait = nil
	}
	if s.err != nil {
		return 0, s.err
	}
	s.wait = append(s.wait, p...)
	if !s.begun { // a log that is refused before it has anything needs none
		s.begun = true
		go s.run()
	}
	s.change.Broadcast()
	return len(p), nil
}

// turnBytes is how much is written in a turn: who takes that much within the
// time that sync gives takes something.
const turnBytes = 64 << 10

func (s *spool) run() {
	var spare []byte
	s.mu.Lock()
	defer func() {
		over := s.over
		s.begun = false
		s.mu.Unlock()
		if over != nil {
			over()
		}
	}()
	for {
		for len(s.wait) == 0 && !s.closed {
			s.change.Wait()
		}
		if len(s.wait) == 0 {
			return
		}
		p := s.wait
		s.wait, s.busy = spare[:0], true
		var err error
		for rest := p; len(rest) > 0 && err == nil; s.turn++ {
			part := rest[:min(len(rest), turnBytes)]
			rest = rest[len(part):]
			s.mu.Unlock()
			_, err = s.to.Write(part)
			s.mu.Lock()
			if err == nil {
				err = s.err // given up meanwhile
			}
		}
		s.busy, spare = false, p
		if cap(spare) > s.limit/8 {
			spare = nil // what waits seldom is not worth its memory
		}
		if err != nil && s.err == nil {
			s.err, s.wait = err, nil
		}
		s.change.Broadcast()
	}
}

// sync waits until nothing waits to be written. If nothing is taken for some
// time, the log is given up; 0: never.
func (s *spool) sync(stall time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (len(s.wait) > 0 || s.busy) {
		if stall == 0 {
			s.change.Wait()
			continue
		}
		if s.left {
			s.err, s.wait = ErrGivenUp, nil
			break
		}
		turn := s.turn
		timer := time.AfterFunc(stall, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.turn == turn && s.err == nil {
				s.err, s.wait = ErrSlow, nil
			}
			s.change.Broadcast()
		})
		s.change.Wait()
		timer.Stop()
	}
	return s.err
}

// giveUp has sync give the log up where that may be.
func (s *spool) giveUp() {
	s.mu.Lock()
	s.left = true
	s.mu.Unlock()
	s.change.Broadcast()
}

// close ends the goroutine when all is written. It does not wait for that: over
// is called then.
func (s *spool) close(over func()) {
	s.mu.Lock()
	s.closed, s.over = true, over
	begun := s.begun
	s.mu.Unlock()
	s.change.Broadcast()
	if !begun {
		over()
	}
}
