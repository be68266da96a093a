package logfile

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrSlow is why a log is given up whose reader, or whose file system, takes
// less than is written.
var ErrSlow = errors.New("it is not taken as fast as it is written")

// spool writes from a goroutine of its own, so that a reader that stops, or a
// file system that hangs, keeps nobody.
type spool struct {
	to    io.Writer
	limit int // bytes that may wait

	mu     sync.Mutex
	change sync.Cond
	wait   []byte
	busy   bool // something is being written
	closed bool
	err    error
}

func newSpool(to io.Writer, limit int) *spool {
	s := &spool{to: to, limit: limit}
	s.change.L = &s.mu
	go s.run()
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
	s.change.Broadcast()
	return len(p), nil
}

func (s *spool) run() {
	var spare []byte
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.wait) == 0 && !s.closed {
			s.change.Wait()
		}
		if len(s.wait) == 0 {
			return
		}
		p := s.wait
		s.wait, s.busy = spare[:0], true
		s.mu.Unlock()
		_, err := s.to.Write(p)
		s.mu.Lock()
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

// sync waits until nothing waits to be written.
func (s *spool) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (len(s.wait) > 0 || s.busy) {
		s.change.Wait()
	}
	return s.err
}

// close ends the goroutine when all is written. It does not wait for that.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.change.Broadcast()
}
