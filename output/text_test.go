package output

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	at := time.Date(2026, 11, 20, 13, 14, 15, 123456789, time.Local).UnixNano()
	who := func(r Record) Record {
		r.Time, r.PID, r.Comm = at, 4711, "cc"
		return r
	}
	for want, r := range map[string]Record{
		"fork     12":                         {Kind: Fork, Child: 12},
		"exec     /bin/cc":                    {Kind: Exec, Path: []byte("/bin/cc")},
		"exit     3":                          {Kind: Exit, Code: 3},
		"exit     killed by SIGSEGV":          {Kind: Exit, Signal: 11},
		"exit     killed by signal 63":        {Kind: Exit, Signal: 63},
		"chdir    /a":                         {Kind: Chdir, Path: []byte("/a")},
		"read     /new":                       {Kind: Read, Op: Create, Path: []byte("/new")},
		"read     /a b":                       {Kind: Read, Op: Open, Path: []byte("/a b")},
		"write    /a":                         {Kind: Write, Op: Open, Path: []byte("/a")},
		"create   /a":                         {Kind: Write, Op: Create, Path: []byte("/a")},
		"mkdir    /a":                         {Kind: Write, Op: Mkdir, Path: []byte("/a")},
		"truncate /a":                         {Kind: Write, Op: Truncate, Path: []byte("/a")},
		"delete   /a":                         {Kind: Delete, Op: Unlink, Path: []byte("/a")},
		"rmdir    /a":                         {Kind: Delete, Op: Rmdir, Path: []byte("/a")},
		"rename   /a -> /b":                   {Kind: Rename, Path: []byte("/a"), Target: []byte("/b")},
		"link     /a -> /b":                   {Kind: Link, Op: Hard, Path: []byte("/a"), Target: []byte("/b")},
		"symlink  a -> /b":                    {Kind: Link, Op: Symbolic, Path: []byte("a"), Target: []byte("/b")},
		"absent   /a":                         {Kind: Absent, Path: []byte("/a")},
		"modify   /a":                         {Kind: Modify, Path: []byte("/a")},
		"attrib   /a":                         {Kind: Attrib, Path: []byte("/a")},
		"held     /a":                         {Kind: Read, Op: Held, Path: []byte("/a")},
		"held w   /a":                         {Kind: Write, Op: Held, Path: []byte("/a")},
		"mapped   /a":                         {Kind: Read, Op: Mapped, Path: []byte("/a")},
		`read     /\x1b[2J\x0a\\\xff/\u202eä`: {Kind: Read, Path: []byte("/\x1b[2J\n\\\xff/\u202eä")},
	} {
		var b bytes.Buffer
		w := NewText(&b, TextOptions{Live: true})
		r = who(r)
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if got, want := b.String(), "13:14:15.123456 cc[4711]               "+want+"\n"; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		// The columns are where they are without colours.
		b.Reset()
		w = NewText(&b, TextOptions{Color: true, Live: true})
		w.Write(&r)
		w.Flush()
		got := b.String()
		for _, c := range []string{dim, red, green, yellow, purple, cyan, usual} {
			got = strings.ReplaceAll(got, c, "")
		}
		if want := "13:14:15.123456 cc[4711]               " + want + "\n"; got != want {
			t.Errorf("in colours %q\nwant %q", got, want)
		}
	}
}

// TestTextDate: a line says of which day it is, or one between does.
func TestTextDate(t *testing.T) {
	day := time.Date(2026, 11, 20, 23, 59, 59, 0, time.Local)
	for live, want := range map[bool]string{
		false: "2026-11-20 23:59:59.000000 [1]\n2026-11-21 00:00:00.000000 [1]\n2026-11-21 00:00:01.000000 [1]\n",
		true:  "23:59:59.000000 [1]\n# 2026-11-21\n00:00:00.000000 [1]\n00:00:01.000000 [1]\n",
	} {
		var b bytes.Buffer
		w := NewText(&b, TextOptions{Live: live})
		for i := range 3 {
			w.Write(&Record{Kind: Read, Op: Open, PID: 1, Time: day.Add(time.Duration(i) * time.Second).UnixNano(), Path: []byte("/a")})
		}
		w.Flush()
		var got strings.Builder
		for line := range strings.Lines(b.String()) {
			text, _, cut := strings.Cut(line, "   ")
			if got.WriteString(text); cut {
				got.WriteByte('\n')
			}
		}
		if got.String() != want {
			t.Errorf("live %v: %q, want %q", live, got.String(), want)
		}
		if _, err := NewReader(&b); err == nil || !strings.Contains(err.Error(), "text for people") {
			t.Errorf("read: %v", err)
		}
	}
}

// FuzzText: whatever a name is, a line is one line of printable characters.
func FuzzText(f *testing.F) {
	f.Add([]byte("/a\x1b[0m"), "cc", []byte("\xc2\x9b"))
	f.Fuzz(func(t *testing.T, path []byte, comm string, target []byte) {
		var b bytes.Buffer
		w := NewText(&b, TextOptions{Live: true})
		w.Write(&Record{Kind: Rename, Path: path, Target: target, Comm: comm})
		w.Comment(string(target))
		w.Flush()
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Fatalf("%d lines", n)
		}
		for _, r := range strings.ReplaceAll(b.String(), "\n", "") {
			if r == utf8.RuneError && !bytes.Contains(path, []byte("\uFFFD")) && !strings.Contains(comm, "\uFFFD") && !bytes.Contains(target, []byte("\uFFFD")) || !unicode.IsPrint(r) {
				t.Fatalf("%q is not printable in %q", r, b.String())
			}
		}
	})
}
