package series

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/output/spool"

	"golang.org/x/sys/unix"
)

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// clock goes on a millisecond whenever somebody looks.
func clock() func() time.Time {
	at := time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)
	ticks := make(chan time.Time)
	go func() {
		for {
			at = at.Add(time.Millisecond)
			ticks <- at
		}
	}()
	return func() time.Time { return <-ticks }
}

func open(t *testing.T, o Options) *spool.Spool {
	t.Helper()
	o.Format, o.retry = "jsonl", 20*time.Millisecond
	o.Log = func(err error) { t.Log(err) }
	if o.Now == nil {
		o.Now = clock()
	}
	s, err := Open(o, &output.Header{Target: 7, Start: 1, Key: "k", Notes: []string{"a note"}})
	do(t, err)
	return s
}

// numbered appends so many records, each with its number.
func numbered(s *spool.Spool, from, n int) {
	for i := range n {
		s.Write(&output.Record{Kind: output.Read, PID: 1, Time: int64(from + i + 1), Path: fmt.Appendf(nil, "/%d", from+i)})
		if i%10 == 9 {
			s.Flush()
		}
	}
	s.Flush()
}

// a piece is a file of a series as it was read.
type piece struct {
	name    string
	header  output.Header
	paths   []string
	trailer output.Trailer
}

func pieces(t *testing.T, name string) []piece {
	t.Helper()
	names, err := Earlier(name)
	do(t, err)
	var all []piece
	for _, n := range append(names, name) {
		f, err := os.Open(n)
		do(t, err)
		defer f.Close()
		in, err := Reader(f)
		do(t, err)
		defer in.Close()
		r, err := output.NewReader(in)
		if err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		p := piece{name: n, header: *r.Header()}
		var rec output.Record
		for err = r.Read(&rec); err == nil; err = r.Read(&rec) {
			p.paths = append(p.paths, string(rec.Path))
		}
		if err != io.EOF {
			t.Fatalf("%s: %v", n, err)
		}
		p.trailer = *r.Trailer()
		all = append(all, p)
	}
	return all
}

// whole checks that the pieces have all records in order, but for gaps that they
// tell of, and returns how many are in those.
func whole(t *testing.T, all []piece, n int) (dropped int) {
	t.Helper()
	next := 0
	for _, p := range all {
		for _, path := range p.paths {
			var i int
			fmt.Sscanf(path, "/%d", &i)
			if i != next {
				t.Fatalf("%s: record %d comes where %d should be", p.name, i, next)
			}
			next++
		}
		for _, why := range p.trailer.Incomplete {
			var lost int
			if _, err := fmt.Sscanf(why, "%d records were dropped", &lost); err != nil {
				t.Errorf("%s is incomplete: %s", p.name, why)
			}
			next += lost
			dropped += lost
		}
		if p.header.Target != 7 || p.header.Key != "k" || p.header.Notes[len(p.header.Notes)-1] != "a note" {
			t.Errorf("%s begins with %+v", p.name, p.header)
		}
	}
	if next != n {
		t.Errorf("the files end with record %d, want %d", next, n)
	}
	return dropped
}

func TestRotate(t *testing.T) {
	for _, o := range []Options{{Size: 20_000}, {Every: 2 * time.Second}} {
		o.Name = filepath.Join(t.TempDir(), "log")
		s := open(t, o)
		numbered(s, 0, 5000)
		end := &output.Trailer{Stop: 1}
		do(t, s.End(end))
		all := pieces(t, o.Name)
		if whole(t, all, 5000) != 0 || len(end.Incomplete) > 0 {
			t.Error("some are missing")
		}
		if len(all) < 3 {
			t.Errorf("%d files", len(all))
		}
		for _, p := range all[:len(all)-1] {
			if st, err := os.Stat(p.name); !strings.HasSuffix(p.name, ".zst") || err != nil || o.Size > 0 && st.Size() > o.Size/2 {
				t.Errorf("%s is not compressed: %v", p.name, err)
			}
		}
		if st, err := os.Stat(o.Name); err != nil || o.Size > 0 && st.Size() > o.Size*3/2 {
			t.Errorf("%d bytes in a file, %v", st.Size(), err)
		}
	}
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "log")
	for _, other := range []string{"log.1", "log.gz", "log.20261120T130000.000000000Z.bak", "log2.20261120T130000.000000000Z"} {
		do(t, os.WriteFile(filepath.Join(dir, other), []byte("x"), 0o600))
	}
	s := open(t, Options{Name: name, Size: 5_000, Keep: 3})
	numbered(s, 0, 3000)
	do(t, s.End(&output.Trailer{Stop: 1}))
	all := pieces(t, name)
	if len(all) != 4 {
		t.Errorf("%d files are there, want 4", len(all))
	}
	if last := all[3].paths; last[len(last)-1] != "/2999" {
		t.Errorf("it ends with %s", last[len(last)-1])
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 4+4 {
		t.Errorf("%v", entries)
	}
	// By age: of what was written now, all is younger than a minute and older than nothing.
	s = open(t, Options{Name: name, Age: time.Nanosecond, Now: time.Now})
	do(t, s.End(&output.Trailer{Stop: 1}))
	if names, err := Earlier(name); err != nil || len(names) != 0 {
		t.Errorf("kept, though too old: %v, %v", names, err)
	}
}

func TestRestart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	s := open(t, Options{Name: name})
	numbered(s, 0, 10)
	do(t, s.End(&output.Trailer{Stop: 1}))
	s = open(t, Options{Name: name})
	numbered(s, 10, 10)
	do(t, s.End(&output.Trailer{Stop: 1}))
	all := pieces(t, name)
	if whole(t, all, 20); len(all) != 2 || !strings.Contains(all[1].header.Notes[0], "what was done until now is missing") {
		t.Errorf("%d files, the second begins with %q", len(all), all[1].header.Notes)
	}
	// Killed before anything was written, or before there was a file.
	for _, left := range []func() error{
		func() error {
			return errors.Join(os.Rename(name, name+".20261120T140000.000000000Z"), os.WriteFile(name, nil, 0o600))
		},
		func() error { return os.Remove(name) },
	} {
		do(t, left())
		s = open(t, Options{Name: name})
		do(t, s.End(&output.Trailer{Stop: 1}))
		if all := pieces(t, name); !strings.Contains(all[len(all)-1].header.Notes[0], "what was done until now is missing") {
			t.Errorf("it begins with %q", all[len(all)-1].header.Notes)
		}
	}
	// A directory that is none.
	if _, err := Open(Options{Name: filepath.Join(name, "x"), Format: "jsonl"}, &output.Header{}); err == nil {
		t.Error("a file is a directory")
	}
	if _, err := Open(Options{Name: name, Format: "x"}, &output.Header{}); err == nil {
		t.Error("x is a format")
	}
	if _, err := Open(Options{Name: "/dev/null", Format: "jsonl"}, &output.Header{}); err == nil {
		t.Error("a device is rotated")
	}
}

// TestReopen: somebody moves the file away and says so, or says so only.
func TestReopen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	s := open(t, Options{Name: name})
	numbered(s, 0, 10)
	s.Reopen()
	numbered(s, 10, 10)
	until(t, func() bool { return strings.Contains(text(name), `"/19"`) })
	do(t, os.Rename(name, name+".20261120T140000.000000000Z"))
	numbered(s, 20, 10) // goes along
	s.Reopen()
	numbered(s, 30, 10)
	do(t, s.End(&output.Trailer{Stop: 1}))
	all := pieces(t, name)
	if whole(t, all, 40) != 0 || len(all) != 3 || len(all[1].paths) != 20 {
		t.Errorf("%d files", len(all))
	}
}

func text(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited too long")
		}
	}
}

// TestRemoved: the directory is removed with all that is in it.
func TestRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	do(t, os.Mkdir(dir, 0o755))
	name := filepath.Join(dir, "log")
	s := open(t, Options{Name: name, Now: time.Now})
	numbered(s, 0, 10)
	until(t, func() bool { return strings.Contains(text(name), `"/9"`) })
	do(t, os.RemoveAll(dir))
	time.Sleep(checkEvery + 100*time.Millisecond)
	numbered(s, 10, 10)
	do(t, s.End(&output.Trailer{Stop: 1}))
	all := pieces(t, name)
	if len(all) != 1 || len(all[0].paths) != 10 || all[0].paths[0] != "/10" || !strings.Contains(all[0].header.Notes[0], "removed") {
		t.Errorf("%+v", all)
	}
}

// small returns a directory of so many bytes.
func small(t *testing.T, bytes int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("to mount needs root")
	}
	dir := t.TempDir()
	do(t, unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestDiskFull: what a full disk does not take waits; what does not fit in is dropped,
// and that is said; when there is room again, the rest is complete.
func TestDiskFull(t *testing.T) {
	dir := small(t, 256<<10)
	ballast := filepath.Join(dir, "ballast")
	do(t, os.WriteFile(ballast, make([]byte, 128<<10), 0o600))
	name := filepath.Join(dir, "log")
	s := open(t, Options{Name: name, Spool: 64 << 10, Size: 40 << 10, Keep: 100})
	n := 0
	more := func(count int) {
		numbered(s, n, count)
		n += count
	}
	for s.Err() == nil {
		more(10)
		time.Sleep(time.Millisecond)
	}
	for !s.Losing() {
		more(10)
	}
	more(500)
	do(t, os.Remove(ballast))
	until(t, func() bool { s.Flush(); return !s.Losing() })
	if s.Err() != nil {
		until(t, func() bool { return s.Err() == nil })
	}
	more(100)
	end := &output.Trailer{Stop: 1}
	do(t, s.End(end))
	dropped := whole(t, pieces(t, name), n)
	if dropped < 400 || len(end.Incomplete) != 1 || !strings.HasPrefix(end.Incomplete[0], fmt.Sprintf("%d records were dropped", dropped)) {
		t.Errorf("%d were dropped; at the end: %v", dropped, end.Incomplete)
	}
}

// TestEndFull: the disk is full until the end, which does not wait for ever.
func TestEndFull(t *testing.T) {
	name := filepath.Join(small(t, 32<<10), "log")
	s := open(t, Options{Name: name, Spool: 64 << 10})
	for i := 0; !s.Losing(); i += 20 {
		numbered(s, i, 20)
	}
	end := &output.Trailer{Stop: 1}
	if err := s.End(end); !errors.Is(err, unix.ENOSPC) || len(end.Incomplete) == 0 {
		t.Errorf("%v, %v", err, end.Incomplete)
	}
}

// TestReaderHostile: what says it is compressed and is not.
func TestReaderHostile(t *testing.T) {
	for _, b := range []string{"", "x", "\x28\xb5\x2f\xfd", "\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		r, err := Reader(strings.NewReader(b))
		if err != nil {
			continue
		}
		got, err := io.ReadAll(r)
		if err == nil && len(b) > 4 {
			t.Errorf("%q is read as %q", b, got)
		}
		r.Close()
	}
}
