package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"fanrec/output"
)

// memory is a store that takes as little, as late and with as many errors as is asked.
type memory struct {
	mu     sync.Mutex
	logs   []bytes.Buffer
	writes int
	most   int // bytes that were offered at once
	take   func(write int, b []byte) (int, error)
	turns  int
	closed bool
	first  []byte // of the logs, as it was read
}

func (m *memory) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := len(b), error(nil)
	m.most = max(m.most, len(b))
	if m.writes++; m.take != nil {
		n, err = m.take(m.writes, b)
	}
	if len(m.logs) == 0 {
		m.logs = append(m.logs, bytes.Buffer{})
	}
	m.logs[len(m.logs)-1].Write(b[:n])
	return n, err
}

var errTurn = errors.New("not yet")

func (m *memory) Turn() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turns++; m.turns%2 == 1 {
		return errTurn
	}
	m.logs = append(m.logs, bytes.Buffer{})
	return nil
}

func (m *memory) Close() error { m.closed = true; return nil }

// read returns the numbers of the records, log by log, and why logs are incomplete.
func (m *memory) read(t *testing.T) (numbers [][]int, incomplete []string) {
	t.Helper()
	m.first = bytes.Clone(m.logs[0].Bytes())
	for i := range m.logs {
		r, err := output.NewReader(&m.logs[i])
		if err != nil {
			t.Fatal(err)
		}
		var all []int
		var rec output.Record
		for err = r.Read(&rec); err == nil; err = r.Read(&rec) {
			var n int
			fmt.Sscanf(string(rec.Path), "/%d", &n)
			all = append(all, n)
		}
		if err != io.EOF {
			t.Fatal(err)
		}
		numbers, incomplete = append(numbers, all), append(incomplete, r.Trailer().Incomplete...)
	}
	return numbers, incomplete
}

func write(s *Spool, from, to int) {
	for i := from; i < to; i++ {
		s.Write(&output.Record{Kind: output.Read, PID: 1, Time: 1, Path: fmt.Appendf(nil, "/%d", i)})
	}
	s.Flush()
}

func open(t *testing.T, o Options, to Store) *Spool {
	t.Helper()
	o.Format, o.Slow, o.Retry = "jsonl", "it was slow", time.Millisecond
	s, err := New(o, to, &output.Header{Start: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPieces: whatever a store takes at once, and however often it fails, it gets
// everything, in order, once.
func TestPieces(t *testing.T) {
	m := &memory{take: func(write int, b []byte) (int, error) {
		switch write % 3 {
		case 0:
			return 0, errors.New("no")
		case 1:
			return min(7, len(b)), nil
		}
		return min(1000, len(b)), errors.New("some")
	}}
	var said []error
	s := open(t, Options{Log: func(err error) { said = append(said, err) }}, m)
	write(s, 0, 100)
	s.Reopen()
	write(s, 100, 200)
	for s.Waits() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.End(&output.Trailer{Stop: 1}); err != nil {
		// The end is written with errors, too, and those are final.
		t.Log(err)
	}
	numbers, _ := m.read(t)
	next := 0
	for _, log := range numbers {
		for _, n := range log {
			if n != next {
				t.Fatalf("%d comes where %d should be", n, next)
			}
			next++
		}
	}
	if next != 200 || len(numbers) != 2 || len(numbers[0]) != 100 || !m.closed || len(said) == 0 {
		t.Errorf("%d records in %d logs, closed %v, %d messages", next, len(numbers), m.closed, len(said))
	}
}

// TestBatch: what waits is written together, but not across the end of a log, and not
// more than is asked for.
func TestBatch(t *testing.T) {
	go1 := make(chan bool)
	m := &memory{take: func(write int, b []byte) (int, error) {
		if write == 1 {
			<-go1
		}
		return len(b), nil
	}}
	s := open(t, Options{Batch: 4000}, m)
	for i := range 200 {
		write(s, i, i+1)
	}
	close(go1)
	if err := s.End(&output.Trailer{Stop: 1}); err != nil {
		t.Fatal(err)
	}
	size := m.logs[0].Len()
	if m.most > 4000 || m.writes > size/3000+3 {
		t.Errorf("%d bytes in %d writes of %d at most", size, m.writes, m.most)
	}
}

// TestLimit: more than the limit never waits; what is dropped is counted and said.
func TestLimit(t *testing.T) {
	gate := make(chan bool)
	m := &memory{take: func(_ int, b []byte) (int, error) { <-gate; return len(b), nil }}
	s := open(t, Options{Limit: 10_000}, m)
	most := 0
	for i := range 100 {
		write(s, 10*i, 10*i+10)
		most = max(most, s.Waits())
	}
	if !s.Losing() || most > 10_000 || s.Dropped() < 500 {
		t.Errorf("%d bytes waited, %d were dropped", most, s.Dropped())
	}
	close(gate)
	for s.Losing() {
		time.Sleep(time.Millisecond)
		s.Flush()
	}
	write(s, 1000, 1010)
	end := &output.Trailer{Stop: 1}
	if err := s.End(end); err != nil {
		t.Fatal(err)
	}
	numbers, incomplete := m.read(t)
	got := 0
	for _, log := range numbers {
		got += len(log)
	}
	var dropped int
	fmt.Sscan(strings.Join(incomplete, " "), &dropped)
	if len(incomplete) != 1 || got+dropped != 1010 || dropped != s.Dropped() || len(end.Incomplete) != 1 || len(numbers[1]) != 10 {
		t.Errorf("%d came, %q, at the end %q", got, incomplete, end.Incomplete)
	}
}

// TestToldWhereItIsMissing: what is dropped when a log ends, in whatever way, is said at
// the end of just that log, which can be read though it has no other record.
func TestToldWhereItIsMissing(t *testing.T) {
	for name, finish := range map[string]func(s *Spool){
		"end":    func(*Spool) {},
		"reopen": func(s *Spool) { s.Reopen() },
		"due":    func(s *Spool) { write(s, 1000, 1001) },
	} {
		t.Run(name, func(t *testing.T) {
			gate := make(chan bool)
			m := &memory{take: func(_ int, b []byte) (int, error) { <-gate; return len(b), nil }}
			m.turns = 1 // it turns at once
			due := false
			s := open(t, Options{Limit: 4000, Due: func(int64, time.Time) bool { return due }}, m)
			n := 0
			for ; s.Waits() < 3500; n++ {
				write(s, n, n+1)
			}
			for range 4 { // 500 bytes are too much, 1,000 would be handed on
				s.Write(&output.Record{Kind: output.Read, PID: 1, Time: 1, Path: fmt.Appendf(nil, "/%d/%0100d", n, 0)})
				n++
			}
			s.w.Flush()
			if s.losing || s.buf.Len() < 500 {
				t.Fatalf("%d bytes are not handed on, losing is %v", s.buf.Len(), s.losing)
			}
			due = true
			finish(s)
			due = false
			go func() { // nothing is taken before the last log has ended
				for s.mu.Lock(); !s.closed; s.mu.Lock() {
					s.mu.Unlock()
					time.Sleep(time.Millisecond)
				}
				s.mu.Unlock()
				close(gate)
			}()
			end := &output.Trailer{Stop: 1}
			if err := s.End(end); err != nil {
				t.Fatal(err)
			}
			got, dropped := 0, 0
			numbers, incomplete := m.read(t)
			for _, log := range numbers {
				got += len(log)
			}
			for _, why := range incomplete {
				var d int
				fmt.Sscan(why, &d)
				dropped += d
			}
			if name == "due" {
				n++
			}
			if len(incomplete) == 0 || got+dropped != n || dropped != s.Dropped() || len(end.Incomplete) != 1 {
				t.Errorf("%d of %d came; logs say %q, the end says %q", got, n, incomplete, end.Incomplete)
			}
			if r, _ := output.NewReader(bytes.NewReader(m.first)); r == nil {
				t.Error("the first log cannot be read")
			} else {
				var rec output.Record
				for r.Read(&rec) == nil {
				}
				if len(r.Trailer().Incomplete) == 0 {
					t.Error("the log in whose time they were dropped does not say so")
				}
			}
		})
	}
}

// TestGiveUp: nobody waits for what nobody takes who has said so.
func TestGiveUp(t *testing.T) {
	gate := make(chan bool)
	m := &memory{take: func(_ int, b []byte) (int, error) { <-gate; return len(b), nil }}
	s := open(t, Options{}, m)
	write(s, 0, 10)
	time.AfterFunc(10*time.Millisecond, s.GiveUp)
	end := &output.Trailer{Stop: 1}
	if err := s.End(end); err == nil || !strings.Contains(err.Error(), "bytes still wait") || len(end.Incomplete) != 1 {
		t.Errorf("%v, %q", err, end.Incomplete)
	}
	close(gate)
}

// TestNothingFits: a log of which no record fits has a header and an end.
func TestNothingFits(t *testing.T) {
	m := &memory{}
	s := open(t, Options{Limit: 10}, m)
	write(s, 0, 100)
	end := &output.Trailer{Stop: 1}
	if err := s.End(end); err != nil {
		t.Fatal(err)
	}
	if _, incomplete := m.read(t); len(incomplete) == 0 || s.Dropped() != 100 {
		t.Errorf("%q, %d dropped", incomplete, s.Dropped())
	}
}

// TestSlowEnd: one that gets on, but too slowly, does not keep the end for ever.
func TestSlowEnd(t *testing.T) {
	m := &memory{take: func(_ int, b []byte) (int, error) { time.Sleep(5 * time.Millisecond); return 1, nil }}
	s := open(t, Options{patience: 100 * time.Millisecond}, m)
	write(s, 0, 1000)
	begin := time.Now()
	end := &output.Trailer{Stop: 1}
	if err := s.End(end); err == nil || strings.Contains(end.Incomplete[0], "\n") {
		t.Errorf("%v, %q", err, end.Incomplete)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// stuck never returns from Write until it is abandoned.
type stuck struct {
	memory
	over chan bool
}

func (s *stuck) Write([]byte) (int, error) { <-s.over; return 0, errors.New("over") }
func (s *stuck) Abandon()                  { close(s.over) }

// TestAbandon: the end does not wait for ever.
func TestAbandon(t *testing.T) {
	s := open(t, Options{stall: 50 * time.Millisecond}, &stuck{over: make(chan bool)})
	write(s, 0, 1)
	end := &output.Trailer{Stop: 1}
	if err := s.End(end); err == nil || len(end.Incomplete) != 1 || !strings.Contains(end.Incomplete[0], "still wait") {
		t.Errorf("%v, %q", err, end.Incomplete)
	}
}
