package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"fanrec/output"
)

var errFull = errors.New("no room")

// full is a writer that fails.
type full struct{ output.Writer }

func (full) End(*output.Trailer) error { return errFull }

// TestSalvage: wherever a write stops, what stands in the log is whole records
// and the end of an incomplete one, and no more than there was; what was in the
// file before stays.
func TestSalvage(t *testing.T) {
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "R %d /some/directory/file\n", i+1)
	}
	for _, mode := range []struct {
		name, before string
		flags        int
	}{
		{"new", "", 0}, {"used", "somebody else's\n", 0}, {"append", "somebody else's\n", os.O_APPEND},
	} {
		for _, size := range []int{0, 1, 30, 200, 4096, 65000, 65536, 70000, text.Len()} {
			name := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(name, []byte(mode.before), 0o666); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(name, os.O_WRONLY|mode.flags, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.Seek(0, io.SeekEnd)
			file := NewFile(f)
			l, err := New(file, "filemon")
			if err != nil {
				t.Fatal(err)
			}
			for rest := []byte(text.String()[:size]); len(rest) > 0; { // in pieces, as bufio does
				n := min(len(rest), 65536)
				if _, err := file.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			l.head, l.w = &output.Header{Target: 42}, full{l.w}
			end := &output.Trailer{}
			if err := l.End(end); err != nil || len(end.Incomplete) != 1 {
				t.Fatal(err, end)
			}
			f.Close()
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b, ok := bytes.CutPrefix(b, []byte(mode.before))
			if !ok {
				t.Fatalf("%s, size %d: what was there before is gone: %.40q", mode.name, size, b)
			}
			records, tail, ok := bytes.Cut(b, []byte("# INCOMPLETE: the log could not be written: no room\nR 42\n# Stop "))
			if !ok || bytes.Contains(tail, []byte("Bye")) || !bytes.HasSuffix(b, []byte("\n")) {
				t.Fatalf("%s, size %d: the end is not that of an incomplete log: %q", mode.name, size, b[max(0, len(b)-100):])
			}
			if !strings.HasPrefix(text.String(), string(records)) || len(records) > 0 && records[len(records)-1] != '\n' {
				t.Errorf("%s, size %d: records are cut: %q", mode.name, size, records[max(0, len(records)-100):])
			}
			if size > 200 && (len(b) > size || len(b) < size-200) {
				t.Errorf("%s, size %d: %d bytes are left", mode.name, size, len(b))
			}
		}
	}
}

// TestStream: what is somebody else's, too, is neither cut nor closed.
func TestStream(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := New(Stream(f), "filemon")
	if err != nil {
		t.Fatal(err)
	}
	l.Begin(&output.Header{Target: 1})
	if err := l.End(&output.Trailer{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more"); err != nil {
		t.Error(err)
	}
}

// TestSpool: nobody waits for who does not read, until too much waits; then the
// log is given up. Who reads gets all.
func TestSpool(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := NewFile(w)
	f.Spool(1 << 20)
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	wrote := 0
	for err == nil && wrote < 10<<20 {
		var n int
		n, err = f.Write(chunk)
		wrote += n
	}
	if !errors.Is(err, ErrSlow) || wrote < 1<<20 {
		t.Errorf("%d bytes, then %v", wrote, err)
	}
	if err := f.Sync(); !errors.Is(err, ErrSlow) {
		t.Error(err)
	}

	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	read := make(chan int)
	go func() {
		n, _ := io.Copy(io.Discard, r2)
		read <- int(n)
	}()
	f = NewFile(w2)
	f.Spool(64 << 20)
	for range 200 {
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	w2.Close()
	if n := <-read; n != 200*len(chunk) {
		t.Errorf("%d bytes came", n)
	}
}

// sizes are those of the writes.
type sizes []int

func (s *sizes) Write(p []byte) (int, error) {
	*s = append(*s, len(p))
	return len(p), nil
}

// TestSpoolTurns: what is written at once is little, so that a slow reader is
// not taken for one that takes nothing.
func TestSpoolTurns(t *testing.T) {
	var to sizes
	s := newSpool(&to, 8<<20)
	if _, err := s.Write(make([]byte, 1<<20+1)); err != nil {
		t.Fatal(err)
	}
	if err := s.sync(0); err != nil {
		t.Fatal(err)
	}
	s.close(func() {})
	if len(to) != 17 || slices.Max(to) != turnBytes || s.turn != 17 {
		t.Errorf("%d turns, writes of %v bytes", s.turn, to)
	}
}

// TestSpoolUnused: a log that nothing is written to has no goroutine.
func TestSpoolUnused(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		newSpool(io.Discard, 1)
	}
	if n := runtime.NumGoroutine(); n >= before+100 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// gate is a writer that waits to be opened.
type gate chan struct{}

func (g gate) Write(p []byte) (int, error) {
	<-g
	return len(p), nil
}

// Who does not wait gets the log given up, and only where that may be.
func TestSpoolGiveUp(t *testing.T) {
	from, to := io.Pipe()
	s := newSpool(to, 1<<20)
	s.Write([]byte("a line\n"))
	time.AfterFunc(10*time.Millisecond, s.giveUp)
	if err := s.sync(time.Hour); !errors.Is(err, ErrGivenUp) {
		t.Errorf("%v", err)
	}
	from.Close()
}

// TestSpoolOver: a log that was given up is over when its last write returned.
func TestSpoolOver(t *testing.T) {
	to := make(gate)
	s := newSpool(to, 1<<20)
	if _, err := s.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := s.sync(time.Nanosecond); !errors.Is(err, ErrSlow) {
		t.Error(err)
	}
	over := make(chan struct{})
	s.close(func() { close(over) })
	select {
	case <-over:
		t.Error("it is over while it is being written")
	default:
	}
	close(to)
	<-over
	s = newSpool(to, 1)
	over = make(chan struct{})
	s.close(func() { close(over) })
	<-over // nothing was written
}
