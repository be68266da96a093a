package output_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// whole is all of a log.
type whole struct {
	Version int
	Header  output.Header
	Records []output.Record
	Lines   []int // on which the records begin
	Trailer output.Trailer
}

func readAll(r io.Reader) (whole, error) {
	f, err := output.NewFilemonReader(r)
	if err != nil {
		return whole{}, err
	}
	w := whole{Version: f.Version()}
	for {
		var rec output.Record
		if err := f.Read(&rec); err == io.EOF {
			break
		} else if err != nil {
			if again := f.Read(&rec); again != err {
				return w, fmt.Errorf("%w, and then %w", err, again)
			}
			return w, err
		}
		rec.Path, rec.Target = bytes.Clone(rec.Path), bytes.Clone(rec.Target)
		w.Records, w.Lines = append(w.Records, rec), append(w.Lines, f.Line())
	}
	w.Header, w.Trailer = *f.Header(), *f.Trailer()
	return w, nil
}

const (
	head5 = "# filemon version 5\n# Target pid 7\n# Start 1700000000.000001\nV 5\n"
	foot5 = "# Stop 1700000001.999999\n# Bye bye\n"
)

// What each record is written as is what it is read from.
func TestFilemonReaderRecords(t *testing.T) {
	for name, c := range filemonRecords {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(strings.NewReader(head5 + c.want + foot5))
			if err != nil {
				t.Fatal(err)
			}
			want := c.rec
			want.Op = output.NoOp
			if name == "backslash 012" {
				want.Path = []byte("/\n") // the format cannot tell
			}
			wants := []output.Record{want}
			switch {
			case want.Kind == output.Modify && want.First:
				wants[0].Kind, wants[0].First = output.Write, false // what the format has for it
			case want.Kind == output.Modify, want.Kind == output.Attrib:
				wants = nil // nothing, or a comment
			}
			if diff := cmp.Diff(wants, got.Records, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilemonReaderWhole(t *testing.T) {
	rec := func(kind output.Kind, path, target string) output.Record {
		return output.Record{Kind: kind, PID: 2, Path: []byte(path), Target: []byte(target)}
	}
	const start, stop = 1_700_000_000_000_001_000, 1_700_000_001_999_999_000
	for name, c := range map[string]struct {
		text string
		want whole
	}{
		"nothing happened": {head5 + foot5, whole{Version: 5, Header: output.Header{Target: 7, Start: start}, Trailer: output.Trailer{Stop: stop}}},
		"notes": {head5 + "# /proc is not watched\n# two\\012lines\nF 2 3\n# said later\n#\n" + foot5, whole{
			Version: 5, Header: output.Header{Target: 7, Start: start, Notes: []string{"/proc is not watched", "two\nlines"}},
			Records: []output.Record{{Kind: output.Fork, PID: 2, Child: 3}}, Lines: []int{7}, Trailer: output.Trailer{Stop: stop},
		}},
		"attached": {head5 + "# Key a b\n# attached: what was there already\nF 2 3\n# attached: what is done from here on\nF 3 4\n" + foot5, whole{
			Version: 5, Header: output.Header{Target: 7, Start: start, Key: "a b"},
			Records: []output.Record{{Kind: output.Fork, PID: 2, Child: 3, Attached: true}, {Kind: output.Fork, PID: 3, Child: 4}}, Lines: []int{7, 9}, Trailer: output.Trailer{Stop: stop},
		}},
		"NetBSD": {"# filemon version 4\n# Target pid 7\nV 4\nA 2 x\nR 2 /d/x\nX 2 -1\n# Bye bye\n", whole{
			Version: 4, Header: output.Header{Target: 7},
			Records: []output.Record{rec(output.Read, "/d/x", ""), {Kind: output.Exit, PID: 2, Code: -1}}, Lines: []int{5, 6},
		}},
		// FreeBSD before version 5; it quotes names, and no more than that.
		"FreeBSD 4": {"# filemon version 4\n# Target pid 7\n# Start 1700000000.000001\nV 4\nS 2 x\nM 2 'a b' 'it's'\nL 2 'a b' 'c'\n# Stop 1700000001.999999\n# Bye bye\n", whole{
			Version: 4, Header: output.Header{Target: 7, Start: start}, Trailer: output.Trailer{Stop: stop},
			Records: []output.Record{rec(output.Rename, "a b", "it's"), rec(output.Link, "a b", "c")}, Lines: []int{6, 7},
		}},
		"says that it is incomplete": {head5 + "R 2 /a\n# INCOMPLETE: events were lost\n# INCOMPLETE: two\\012lines\nR 2\n# Stop 1700000001.999999\n", whole{
			Version: 5, Header: output.Header{Target: 7, Start: start},
			Records: []output.Record{rec(output.Read, "/a", "")}, Lines: []int{5},
			Trailer: output.Trailer{Stop: stop, Incomplete: []string{"events were lost", "two\nlines"}},
		}},
		"poisoned":  {head5 + "R 2\n# Stop 1700000001.999999\n", whole{Version: 5, Header: output.Header{Target: 7, Start: start}, Trailer: output.Trailer{Stop: stop, Incomplete: []string{"a record without a path"}}}},
		"no footer": {head5, whole{Version: 5, Header: output.Header{Target: 7, Start: start}, Trailer: output.Trailer{Incomplete: []string{"no # Bye bye"}}}},
		// A D and a W behind an M are its companions only if its names are hard,
		// and only if it is theirs.
		"companions": {
			head5 + `M 2 '/a' '/b'
D 2 /a
W 2 /b
M 2 '/a' 'b' '/c'
D 2 /a' 'b
W 2 /c
M 2 '/a' '/b c'
D 2 /a
W 2 /b c
M 2 '/a b' '/c'
D 2 /a b
W 3 /c
# L 2 'te' 'xt' '/b c'
W 2 /b c
# L is no record here
C 2 /
` + foot5,
			whole{
				Version: 5, Header: output.Header{Target: 7, Start: start}, Trailer: output.Trailer{Stop: stop},
				Records: []output.Record{
					rec(output.Rename, "/a", "/b"), rec(output.Delete, "/a", ""), rec(output.Write, "/b", ""),
					rec(output.Rename, "/a' 'b", "/c"), rec(output.Rename, "/a", "/b c"),
					rec(output.Rename, "/a b", "/c"), rec(output.Delete, "/a b", ""), {Kind: output.Write, PID: 3, Path: []byte("/c")},
					rec(output.Link, "te' 'xt", "/b c"), rec(output.Chdir, "/", ""),
				},
				Lines: []int{5, 6, 7, 8, 11, 14, 15, 16, 17, 20},
			},
		},
		"longer than a buffer": {head5 + "W 2 /" + strings.Repeat("x", 200_000) + "\n" + foot5, whole{
			Version: 5, Header: output.Header{Target: 7, Start: start}, Trailer: output.Trailer{Stop: stop},
			Records: []output.Record{rec(output.Write, "/"+strings.Repeat("x", 200_000), "")}, Lines: []int{5},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"at once": strings.NewReader(c.text), "by bytes": iotest.OneByteReader(strings.NewReader(c.text))} {
				got, err := readAll(r)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
}

func TestFilemonReaderErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":                 {"", `line 1: malformed log: no line "# filemon version "`},
		"something else":        {"#!/bin/sh\n", `line 1: malformed log: not a line "# filemon version ": "#!/bin/sh"`},
		"version 6":             {"# filemon version 6\n", `line 1: malformed log: neither version 4 nor 5: "# filemon version 6"`},
		"no target":             {"# filemon version 5\n# Target pid \n", `line 2: malformed log: no process id: "# Target pid "`},
		"start without micro":   {"# filemon version 5\n# Target pid 1\n# Start 17.\nV 5\n", "line 3: malformed log: not a time"},
		"no V":                  {"# filemon version 5\n# Target pid 1\n# Start 17.000000\nR 1 /a\n", `line 4: malformed log: not a line "V ": "R 1 /a"`},
		"another V":             {"# filemon version 5\n# Target pid 1\nV 4\n", `line 3: malformed log: another version`},
		"only the first line":   {"# filemon version 5\n", `line 2: malformed log: no line "# Target pid "`},
		"cut in the header":     {"# filemon ver", `line 1: malformed log: the last line has no newline`},
		"blank line":            {head5 + "\n" + foot5, `line 5: malformed log: an empty line`},
		"NUL":                   {head5 + "R 2 /a\x00\n" + foot5, `line 5: malformed log: a NUL`},
		"no record":             {head5 + "hello\n" + foot5, `line 5: malformed log: not a record: "hello"`},
		"no path":               {head5 + "W 2\n" + foot5, `line 5: malformed log: nothing after the process id: "W 2"`},
		"empty path":            {head5 + "W 2 \n" + foot5, `line 5: malformed log: nothing after the process id: "W 2 "`},
		"no pid":                {head5 + "R /a b\n" + foot5, `line 5: malformed log: no process id: "R /a b"`},
		"pid 0":                 {head5 + "R 0 /a\n" + foot5, `line 5: malformed log: no process id: "R 0 /a"`},
		"pid too large":         {head5 + "R 4294967296 /a\n" + foot5, `line 5: malformed log: no process id`},
		"letter":                {head5 + "B 2 /a\n" + foot5, `line 5: malformed log: unknown letter: "B 2 /a"`},
		"no child":              {head5 + "F 2 x\n" + foot5, `line 5: malformed log: no process id: "F 2 x"`},
		"exit of version 4":     {head5 + "X 2 0\n" + foot5, `line 5: malformed log: exit status of another version than 5: "X 2 0"`},
		"exit, three numbers":   {head5 + "X 2 0 0 0\n" + foot5, `line 5: malformed log: no exit status`},
		"rename, bare":          {head5 + "M 2 /a /b\n" + foot5, `line 5: malformed log: not two names in quotes: "M 2 /a /b"`},
		"rename, one name":      {head5 + "M 2 '/a'\n" + foot5, `line 5: malformed log: not two names in quotes`},
		"rename, one quote":     {head5 + "M 2 '\n" + foot5, `line 5: malformed log: not two names in quotes`},
		"rename, empty name":    {head5 + "M 2 '' '/a'\n" + foot5, `line 5: malformed log: an empty name`},
		"rename, two readings":  {head5 + "M 2 '/a' '/b' '/c'\n" + foot5, `line 5: malformed log: names that cannot be told apart`},
		"rename, overlapping":   {head5 + "M 2 '/a' ' '/b'\n" + foot5, `line 5: malformed log: names that cannot be told apart`},
		"rename, other D":       {head5 + "M 2 '/a' 'b' '/c'\nD 2 /a\nW 2 /c\n" + foot5, `line 5: malformed log: names that cannot be told apart`},
		"link, no W":            {head5 + "# L 2 '/a b' '/c'\n" + foot5, `line 5: malformed log: a link in a comment, and no W of it in the next line: "# L 2 '/a b' '/c'"`},
		"link, wrong W":         {head5 + "# L 2 '/a b' '/c'\nW 2 /d\n" + foot5, `line 5: malformed log: a link in a comment`},
		"link, unclosed":        {head5 + "# L 2 '/a b' '/cx\nW 2 /c\n" + foot5, `line 5: malformed log: a link in a comment`},
		"cut":                   {head5 + "R 2 /a\nR 2 /b", `line 6: malformed log: the last line has no newline`},
		"cut in a rename":       {head5 + "M 2 '/a b' '/c'\nD 2 /a", `line 6: malformed log: the last line has no newline`},
		"more after":            {head5 + foot5 + "R 2 /a\n", `line 7: malformed log: after # Bye bye: "R 2 /a"`},
		"in the footer":         {head5 + "# Stop 1.000000\nR 2 /a\n# Bye bye\n", `line 6: malformed log: after # Stop: "R 2 /a"`},
		"two footers":           {head5 + foot5 + "# Bye bye\n", `line 7: malformed log: after # Bye bye`},
		"stop":                  {head5 + "# Stop never\n", `line 5: malformed log: not a time of seconds and microseconds: "# Stop never"`},
		"incomplete, yet ended": {head5 + "# INCOMPLETE: all is lost\n" + foot5, `line 7: malformed log: # Bye bye in a log that says it is incomplete`},
		"poisoned, yet ended":   {head5 + "R 2\n" + foot5, `line 7: malformed log: # Bye bye in a log that says it is incomplete`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readAll(strings.NewReader(c.text))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, output.ErrMalformed) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// A log that cannot be read is not malformed.
func TestFilemonReaderReadError(t *testing.T) {
	for _, text := range []string{"", "# filemon version 5\n", head5, head5 + "R 2 /a\n", head5 + "R 2 /a", head5 + "M 2 '/a b' '/c'\n"} {
		_, err := readAll(io.MultiReader(strings.NewReader(text), iotest.ErrReader(errDisk)))
		if !errors.Is(err, errDisk) || errors.Is(err, output.ErrMalformed) {
			t.Errorf("after %q: %v", text, err)
		}
	}
}

// names are those that a file can have, and some that the format has trouble with.
func names(min int) *rapid.Generator[[]byte] {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{"' '", "'", " ", "\n", "\\", "# ", "D 5 /", "/", "a", "\\01", "012"}),
		rapid.Custom(func(t *rapid.T) string { return string([]byte{rapid.ByteRange(1, 255).Draw(t, "byte")}) }),
	)
	return rapid.Map(rapid.SliceOfN(piece, min, 12), func(pieces []string) []byte {
		// The one thing that does not come back.
		return []byte(strings.ReplaceAll(strings.Join(pieces, ""), `\012`, "\n"))
	})
}

// lines are texts of the header and the trailer.
func lines(t *rapid.T, what string) []string {
	return rapid.SliceOfN(rapid.Map(names(1), func(b []byte) string { return "it: " + string(b) }), 0, 3).Draw(t, what)
}

// What was written is what is read, whatever the names are.
func TestFilemonReaderInvertsWriter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.IntRange(4, 5).Draw(t, "version")
		pid := rapid.Uint32Range(1, 1<<32-1)
		second := rapid.Int64Range(0, 1<<33-1)
		want := whole{
			Version: version, Header: output.Header{Target: pid.Draw(t, "target"), Notes: lines(t, "notes"), Key: rapid.SampledFrom([]string{"", "k", "a\nb c"}).Draw(t, "key")},
			Trailer: output.Trailer{Incomplete: lines(t, "reasons")},
		}
		if version == 5 {
			want.Header.Start = second.Draw(t, "start")*1e9 + 123_456_000
			want.Trailer.Stop = second.Draw(t, "stop")*1e9 + 999_999_000
		}
		var b bytes.Buffer
		w := output.NewFilemon(&b, version)
		w.Begin(&want.Header)
		for range rapid.IntRange(0, 8).Draw(t, "records") {
			r := output.Record{Kind: output.Kind(rapid.IntRange(int(output.Fork), int(output.Absent)).Draw(t, "kind")), PID: pid.Draw(t, "pid")}
			switch r.Kind {
			case output.Fork:
				r.Child = pid.Draw(t, "child")
			case output.Exit:
				r.Code = rapid.IntRange(0, 255).Draw(t, "code")
				if version == 5 {
					r.Signal = rapid.IntRange(0, 127).Draw(t, "signal")
				}
			case output.Rename, output.Link:
				r.Target = names(1).Draw(t, "target")
				fallthrough
			default:
				r.Path = names(1).Draw(t, "path")
			}
			w.Flush()
			want.Records, want.Lines = append(want.Records, r), append(want.Lines, 1+bytes.Count(b.Bytes(), []byte{'\n'}))
			if r.Kind == output.Rename { // with its line alone it would be read all the same, if names are not too odd
				w.Write(&r)
				w.Write(&output.Record{Kind: output.Delete, PID: r.PID, Path: r.Path})
				w.Write(&output.Record{Kind: output.Write, PID: r.PID, Path: r.Target})
				line := want.Lines[len(want.Lines)-1] + 1
				if bytes.ContainsAny(r.Path, " '") || bytes.ContainsAny(r.Target, " '") {
					line += 2
				}
				want.Records = append(want.Records, output.Record{Kind: output.Delete, PID: r.PID, Path: r.Path}, output.Record{Kind: output.Write, PID: r.PID, Path: r.Target})
				want.Lines = append(want.Lines, line, line+1)
				continue
			}
			w.Write(&r)
		}
		w.End(&want.Trailer)
		got, err := readAll(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.Bytes())
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s\nin\n%s", diff, b.Bytes())
		}
		var again bytes.Buffer
		w = output.NewFilemon(&again, version)
		w.Begin(&got.Header)
		for i := range got.Records {
			w.Write(&got.Records[i])
		}
		w.End(&got.Trailer)
		if diff := cmp.Diff(b.String(), again.String()); diff != "" {
			t.Fatalf("written again (-first +again):\n%s", diff)
		}
	})
}

// FuzzFilemonReader: any bytes are read to their end or to an error; what was
// read, written again, is read as the same.
func FuzzFilemonReader(f *testing.F) {
	for _, c := range filemonRecords {
		f.Add([]byte(head5 + c.want + foot5))
	}
	f.Add([]byte("# filemon version 4\n# Target pid 7\nV 4\n# note\nA 2 x\nX 2 1\n# INCOMPLETE: all is lost\nR 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		log, err := readAll(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, output.ErrMalformed) || !strings.HasPrefix(err.Error(), "line ") {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		writeAll(t, output.NewFilemon(&again, log.Version), &log.Header, log.Records, &log.Trailer)
		got, err := readAll(&again)
		if err != nil {
			t.Fatal(err)
		}
		if log.Version == 4 { // has no times if we write it
			log.Header.Start, log.Trailer.Stop = 0, 0
		}
		log.Lines, got.Lines = nil, nil
		if diff := cmp.Diff(log, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}

// A reader of millions of records allocates for none.
func TestFilemonReaderAllocs(t *testing.T) {
	var text strings.Builder
	text.WriteString(head5)
	for range 2000 {
		for _, c := range filemonRecords {
			text.WriteString(c.want)
		}
	}
	f, err := output.NewFilemonReader(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var r output.Record
	if n := testing.AllocsPerRun(1000, func() {
		if err := f.Read(&r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFilemonRead(b *testing.B) {
	line := "R 12345 /usr/include/x86_64-linux-gnu/bits/types.h\n"
	f, err := output.NewFilemonReader(io.MultiReader(strings.NewReader(head5), &repeat{text: line}))
	if err != nil {
		b.Fatal(err)
	}
	var r output.Record
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if err := f.Read(&r); err != nil {
			b.Fatal(err)
		}
	}
}

// repeat reads as a text for ever.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		k := copy(p[n:], r.text[r.at:])
		n, r.at = n+k, (r.at+k)%len(r.text)
	}
	return len(p), nil
}
