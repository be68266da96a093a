package output_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
)

// filemonRecords are a record of each kind and its lines in version 5.
var filemonRecords = map[string]struct {
	rec  output.Record
	want string
}{
	"fork":     {output.Record{Kind: output.Fork, PID: 10, Child: 11}, "F 10 11\n"},
	"exec":     {output.Record{Kind: output.Exec, PID: 10, Path: []byte("/bin/sh")}, "E 10 /bin/sh\n"},
	"exit":     {output.Record{Kind: output.Exit, PID: 10}, "X 10 0 0\n"},
	"exit 3":   {output.Record{Kind: output.Exit, PID: 10, Code: 3}, "X 10 3 0\n"},
	"killed":   {output.Record{Kind: output.Exit, PID: 10, Signal: 9}, "X 10 0 9\n"},
	"chdir":    {output.Record{Kind: output.Chdir, PID: 10, Path: []byte("/a b")}, "C 10 /a b\n"},
	"read":     {output.Record{Kind: output.Read, Op: output.Open, PID: 10, Path: []byte("/a")}, "R 10 /a\n"},
	"write":    {output.Record{Kind: output.Write, Op: output.Create, PID: 10, Path: []byte("/a")}, "W 10 /a\n"},
	"delete":   {output.Record{Kind: output.Delete, Op: output.Unlink, PID: 10, Path: []byte("/a")}, "D 10 /a\n"},
	"rename":   {output.Record{Kind: output.Rename, PID: 10, Path: []byte("/a"), Target: []byte("/b")}, "M 10 '/a' '/b'\n"},
	"link":     {output.Record{Kind: output.Link, Op: output.Hard, PID: 10, Path: []byte("/a"), Target: []byte("/b")}, "L 10 '/a' '/b'\n"},
	"symlink":  {output.Record{Kind: output.Link, Op: output.Symbolic, PID: 10, Path: []byte("../a"), Target: []byte("/b")}, "L 10 '../a' '/b'\n"},
	"absent":   {output.Record{Kind: output.Absent, PID: 10, Path: []byte("/a\nb c")}, "N 10 /a\\012b c\n"},
	"modify":   {output.Record{Kind: output.Modify, Op: output.Inherited, PID: 10, Path: []byte("/a"), First: true}, "W 10 /a\n"},
	"again":    {output.Record{Kind: output.Modify, Op: output.Inherited, PID: 10, Path: []byte("/a")}, ""},
	"attrib":   {output.Record{Kind: output.Attrib, PID: 10, Path: []byte("/a\nBye")}, "# A 10 /a\\012Bye\n"},
	"last pid": {output.Record{Kind: output.Read, PID: 1<<32 - 1, Path: []byte("/a")}, "R 4294967295 /a\n"},

	// R, W, E, C and D take the rest of the line as the name.
	"blanks and quotes":  {output.Record{Kind: output.Read, PID: 10, Path: []byte("/a 'b' ")}, "R 10 /a 'b' \n"},
	"newline":            {output.Record{Kind: output.Write, PID: 10, Path: []byte("/a\nD 10 /b\n")}, "W 10 /a\\012D 10 /b\\012\n"},
	"newlines in both":   {output.Record{Kind: output.Rename, PID: 10, Path: []byte("/\n\n"), Target: []byte("\n")}, "M 10 '/\\012\\012' '\\012'\n"},
	"not UTF-8":          {output.Record{Kind: output.Delete, PID: 10, Path: []byte("/\xff\x80\x01\t\\")}, "D 10 /\xff\x80\x01\t\\\n"},
	"backslash 012":      {output.Record{Kind: output.Read, PID: 10, Path: []byte(`/\012`)}, "R 10 /\\012\n"},
	"link, tab":          {output.Record{Kind: output.Link, PID: 10, Path: []byte("/a\tb"), Target: []byte("/c")}, "L 10 '/a\tb' '/c'\n"},
	"rename, blank from": {output.Record{Kind: output.Rename, PID: 10, Path: []byte("/a b"), Target: []byte("/c")}, "M 10 '/a b' '/c'\nD 10 /a b\nW 10 /c\n"},
	"rename, blank to":   {output.Record{Kind: output.Rename, PID: 10, Path: []byte("/a"), Target: []byte("/b c")}, "M 10 '/a' '/b c'\nD 10 /a\nW 10 /b c\n"},
	"rename, quote":      {output.Record{Kind: output.Rename, PID: 10, Path: []byte("/a"), Target: []byte("/it's")}, "M 10 '/a' '/it's'\nD 10 /a\nW 10 /it's\n"},
	"link, blank":        {output.Record{Kind: output.Link, PID: 10, Path: []byte("/a b"), Target: []byte("/c")}, "# L 10 '/a b' '/c'\nW 10 /c\n"},
	"link, quote to":     {output.Record{Kind: output.Link, PID: 10, Path: []byte("/a"), Target: []byte("/'c'")}, "# L 10 '/a' '/'c''\nW 10 /'c'\n"},
	"symlink, blank":     {output.Record{Kind: output.Link, Op: output.Symbolic, PID: 10, Path: []byte("no where"), Target: []byte("/c")}, "# L 10 'no where' '/c'\nW 10 /c\n"},
	"link, newline and blank": {
		output.Record{Kind: output.Link, PID: 10, Path: []byte("/a\nW 1 /x b"), Target: []byte("/c")},
		"# L 10 '/a\\012W 1 /x b' '/c'\nW 10 /c\n",
	},
}

// What a format is to its readers is its bytes, so each kind is compared whole.
func TestFilemonRecords(t *testing.T) {
	for name, c := range filemonRecords {
		t.Run(name, func(t *testing.T) {
			got := string(output.NewFilemon(io.Discard, 5).Append(nil, &c.rec))
			if got != c.want {
				t.Errorf("version 5: got %q, want %q", got, c.want)
			}
			// Version 4 is the same but for X, which has no signal.
			want := c.want
			if c.rec.Kind == output.Exit {
				want = fmt.Sprintf("X %d %d\n", c.rec.PID, c.rec.Code)
			}
			if got := string(output.NewFilemon(io.Discard, 4).Append(nil, &c.rec)); got != want {
				t.Errorf("version 4: got %q, want %q", got, want)
			}
		})
	}
}

func TestFilemonAppendKeepsWhatIsThere(t *testing.T) {
	r := output.Record{Kind: output.Read, PID: 1, Path: []byte("/a")}
	got := output.NewFilemon(io.Discard, 5).Append([]byte("before\n"), &r)
	if want := "before\nR 1 /a\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFilemonWhole(t *testing.T) {
	const (
		start = 1_700_000_000_000_001_999 // the format has microseconds: the rest is cut, not rounded
		stop  = 1_700_000_001_999_999_999
	)
	header := output.Header{Target: 7, Start: start, Command: []string{"make"}}
	noted := header
	noted.Notes = []string{"/proc is not watched", "two\nlines"}
	records := []output.Record{
		{Kind: output.Exec, PID: 7, Path: []byte("/bin/true")},
		{Kind: output.Fork, PID: 7, Child: 8},
		{Kind: output.Exit, PID: 8, Code: 1},
	}
	for name, c := range map[string]struct {
		version int
		header  output.Header
		records []output.Record
		trailer output.Trailer
		want    string
	}{
		"version 5": {
			5, header, records, output.Trailer{Stop: stop},
			"# filemon version 5\n# Target pid 7\n# Start 1700000000.000001\nV 5\n" +
				"E 7 /bin/true\nF 7 8\nX 8 1 0\n" +
				"# Stop 1700000001.999999\n# Bye bye\n",
		},
		"version 4": {
			4, header, records, output.Trailer{Stop: stop},
			"# filemon version 4\n# Target pid 7\nV 4\n" +
				"E 7 /bin/true\nF 7 8\nX 8 1\n" +
				"# Bye bye\n",
		},
		"with notes": {
			5, noted, nil, output.Trailer{Stop: stop},
			"# filemon version 5\n# Target pid 7\n# Start 1700000000.000001\nV 5\n" +
				"# /proc is not watched\n# two\\012lines\n" +
				"# Stop 1700000001.999999\n# Bye bye\n",
		},
		// The record without a path is of the last process that was told of:
		// bmake knows that one.
		"incomplete": {
			5, header, records, output.Trailer{Stop: stop, Incomplete: []string{"events were lost", "two\n# Bye bye\nlines"}},
			"# filemon version 5\n# Target pid 7\n# Start 1700000000.000001\nV 5\n" +
				"E 7 /bin/true\nF 7 8\nX 8 1 0\n" +
				"# INCOMPLETE: events were lost\n# INCOMPLETE: two\\012# Bye bye\\012lines\nR 8\n" +
				"# Stop 1700000001.999999\n",
		},
		"incomplete and empty": {
			5, header, nil, output.Trailer{Stop: stop, Incomplete: []string{"all is lost"}},
			"# filemon version 5\n# Target pid 7\n# Start 1700000000.000001\nV 5\n" +
				"# INCOMPLETE: all is lost\nR 7\n" +
				"# Stop 1700000001.999999\n",
		},
		"incomplete, version 4": {
			4, header, records[:1], output.Trailer{Stop: stop, Incomplete: []string{"all is lost"}},
			"# filemon version 4\n# Target pid 7\nV 4\nE 7 /bin/true\n# INCOMPLETE: all is lost\nR 7\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			writeAll(t, output.NewFilemon(&b, c.version), &c.header, c.records, &c.trailer)
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func writeAll(t *testing.T, w output.Writer, h *output.Header, records []output.Record, tr *output.Trailer) {
	t.Helper()
	if err := w.Begin(h); err != nil {
		t.Fatalf("Begin: %v", err)
	}
	for i := range records {
		if err := w.Write(&records[i]); err != nil {
			t.Fatalf("Write %d: %v", i, err)
		}
	}
	if err := w.End(tr); err != nil {
		t.Fatalf("End: %v", err)
	}
}

// writers are the formats, for what holds of every one.
var writers = map[string]func(io.Writer) output.Writer{
	"filemon 4": func(w io.Writer) output.Writer { return output.NewFilemon(w, 4) },
	"filemon 5": func(w io.Writer) output.Writer { return output.NewFilemon(w, 5) },
	"jsonl":     func(w io.Writer) output.Writer { return output.NewJSONL(w) },
	"ecs":       func(w io.Writer) output.Writer { return output.NewECS(w) },
	"ocsf":      func(w io.Writer) output.Writer { return output.NewOCSF(w) },
}

// Whoever follows the log sees the records that were flushed.
func TestFlush(t *testing.T) {
	for name, open := range writers {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := open(&b)
			if err := w.Begin(&output.Header{Target: 1}); err != nil {
				t.Fatal(err)
			}
			if err := w.Write(&output.Record{Kind: output.Read, PID: 1, Path: []byte("/needle")}); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "/needle") {
				t.Error("a record was written at once: every record would be a system call")
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); !strings.Contains(got, "/needle") || !strings.HasSuffix(got, "\n") {
				t.Errorf("after Flush: %q", got)
			}
		})
	}
}

// brokenWriter takes so many bytes, as a full disk does.
type brokenWriter struct{ left int }

var errDisk = errors.New("no space left")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		n := w.left
		w.left = 0
		return n, errDisk
	}
	w.left -= len(p)
	return len(p), nil
}

// A log that could not be written is not complete. Wherever the disk filled
// up, it is said at the next Flush and again at the End.
func TestFailingWriter(t *testing.T) {
	rec := output.Record{Kind: output.Read, PID: 1, Path: bytes.Repeat([]byte("x"), 1000)}
	for name, open := range writers {
		t.Run(name, func(t *testing.T) {
			for _, room := range []int{0, 1, 100, 5_000, 100_000} {
				w := open(&brokenWriter{room})
				w.Begin(&output.Header{Target: 1}) // may or may not have been written yet
				for range 200 {
					w.Write(&rec)
				}
				if err := w.Flush(); !errors.Is(err, errDisk) {
					t.Errorf("room for %d bytes: Flush returned %v", room, err)
				}
				if err := w.End(&output.Trailer{}); !errors.Is(err, errDisk) {
					t.Errorf("room for %d bytes: End returned %v", room, err)
				}
			}
			// It fails at the very end, and only End is asked.
			var whole bytes.Buffer
			writeAll(t, open(&whole), &output.Header{Target: 1}, []output.Record{rec}, &output.Trailer{})
			w := open(&brokenWriter{whole.Len() - 1})
			if err := w.Begin(&output.Header{Target: 1}); err != nil {
				t.Errorf("Begin: %v", err)
			}
			if err := w.Write(&rec); err != nil {
				t.Errorf("Write: %v", err)
			}
			if err := w.End(&output.Trailer{}); !errors.Is(err, errDisk) {
				t.Errorf("one byte short: End returned %v", err)
			}
		})
	}
}

// The recorder writes tens of thousands of records in a second.
func TestFilemonAllocs(t *testing.T) {
	for name, c := range filemonRecords {
		w := output.NewFilemon(io.Discard, 5)
		if n := testing.AllocsPerRun(100, func() { w.Write(&c.rec) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzFilemonForge: whatever the names are, the lines are those of the record,
// and the reader finds the kind and the pid in each.
func FuzzFilemonForge(f *testing.F) {
	for _, c := range filemonRecords {
		f.Add(uint8(c.rec.Kind), c.rec.PID, c.rec.Path, c.rec.Target)
	}
	f.Add(uint8(output.Link), uint32(3), []byte("\n"), []byte(" \n# Bye bye\n"))
	f.Fuzz(func(t *testing.T, kind uint8, pid uint32, path, target []byte) {
		r := output.Record{Kind: output.Fork + output.Kind(kind)%output.Attrib, PID: pid, Child: 5, Path: path, Target: target, First: true}
		hard := bytes.ContainsAny(path, " '") || bytes.ContainsAny(target, " '")
		letters := string(r.Kind.Letter())
		switch {
		case r.Kind == output.Rename && hard:
			letters = "MDW"
		case r.Kind == output.Attrib:
			letters = "#"
		case r.Kind == output.Link && hard:
			letters = "#W"
		}
		got := string(output.NewFilemon(io.Discard, 5).Append(nil, &r))
		if !strings.HasSuffix(got, "\n") {
			t.Fatalf("%q does not end its line", got)
		}
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) != len(letters) {
			t.Fatalf("%d lines, want %q: %q", len(lines), letters, got)
		}
		for i, line := range lines {
			want := fmt.Sprintf("%c %d ", letters[i], pid)
			if letters[i] == '#' {
				want = fmt.Sprintf("# %c %d ", r.Kind.Letter(), pid)
			}
			if !strings.HasPrefix(line, want) {
				t.Errorf("line %d begins with %q, want %q", i, line, want)
			}
		}
		if r.Kind != output.Rename && r.Kind != output.Link || hard {
			return
		}
		// What bmake makes of M and L: apart at the first blank, each half
		// from its first quote to the next.
		fields := strings.SplitN(lines[0], " ", 4)
		for i, name := range [][]byte{path, target} {
			want := "'" + strings.ReplaceAll(string(name), "\n", `\012`) + "'"
			if got := fields[2+i]; got != want {
				t.Errorf("bmake reads name %d as %q, want %q", i, got, want)
			}
		}
	})
}

func BenchmarkFilemonWrite(b *testing.B) {
	w := output.NewFilemon(io.Discard, 5)
	r := output.Record{Kind: output.Read, PID: 12345, Path: []byte("/usr/include/x86_64-linux-gnu/bits/types.h")}
	b.ReportAllocs()
	for b.Loop() {
		w.Write(&r)
	}
}
