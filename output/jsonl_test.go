package output_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"
)

// jsonLine is the line that a record becomes.
func jsonLine(t require, r *output.Record) string {
	var b bytes.Buffer
	w := output.NewJSONL(&b)
	if err := w.Write(r); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if err := w.Flush(); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	return b.String()
}

// require is what *testing.T and *rapid.T have in common here.
type require interface {
	Fatalf(string, ...any)
}

func TestJSONLRecords(t *testing.T) {
	const at = 1_700_000_000_000_000_009
	// The fields that every record has.
	const who = `"pid":10,"ppid":9,"start":123456789012345678,"uid":1000,"comm":"cc"`
	base := output.Record{Time: at, PID: 10, PPID: 9, Start: 123456789012345678, UID: 1000, Comm: "cc"}
	for name, c := range map[string]struct {
		fill func(r *output.Record)
		want string // behind the time
	}{
		"fork":  {func(r *output.Record) { r.Kind, r.Child = output.Fork, 11 }, `"kind":"fork",` + who + `,"child":11`},
		"chdir": {func(r *output.Record) { r.Kind, r.Path = output.Chdir, []byte("/d") }, `"kind":"chdir",` + who + `,"path":"/d"`},
		"exit":  {func(r *output.Record) { r.Kind, r.Code = output.Exit, 3 }, `"kind":"exit",` + who + `,"code":3,"signal":0`},
		"killed": {
			func(r *output.Record) { r.Kind, r.Signal = output.Exit, 9 },
			`"kind":"exit",` + who + `,"code":0,"signal":9`,
		},
		"exec with arguments": {
			func(r *output.Record) {
				r.Kind, r.Path, r.Args = output.Exec, []byte("/bin/sh"), []byte("sh\x00-c\x00\x00\"x\"\n\x00")
			},
			`"kind":"exec",` + who + `,"path":"/bin/sh","args":["sh","-c","","\"x\"\n"]`,
		},
		"exec with one empty argument": {
			func(r *output.Record) { r.Kind, r.Path, r.Args = output.Exec, []byte("/x"), []byte("\x00") },
			`"kind":"exec",` + who + `,"path":"/x","args":[""]`,
		},
		"exec with arguments cut": {
			func(r *output.Record) { r.Kind, r.Path, r.Args = output.Exec, []byte("/x"), []byte("x\x00abc") },
			`"kind":"exec",` + who + `,"path":"/x","args":["x","abc"]`,
		},
		"arguments not UTF-8": {
			func(r *output.Record) { r.Kind, r.Path, r.Args = output.Exec, []byte("/x"), []byte("x\x00\xff\x00") },
			`"kind":"exec",` + who + `,"path":"/x","args":["x","\ufffd"],"args_raw":["eA==","/w=="]`,
		},
		"open": {
			func(r *output.Record) { r.Kind, r.Op, r.Path = output.Read, output.Open, []byte("/a") },
			`"kind":"read","op":"open",` + who + `,"path":"/a"`,
		},
		"everything": {
			func(r *output.Record) {
				r.Kind, r.Op, r.Path = output.Write, output.Create, []byte("/a\n")
				r.Exe, r.Handle, r.Inferred = []byte("/usr/bin/cc"), "01:1:ff", true
			},
			`"kind":"write","op":"create",` + who + `,"exe":"/usr/bin/cc","path":"/a\n","handle":"01:1:ff","inferred":true`,
		},
		"modify": {
			func(r *output.Record) {
				r.Kind, r.Op, r.Path, r.First = output.Modify, output.Inherited, []byte("/a"), true
			},
			`"kind":"modify","op":"inherited",` + who + `,"path":"/a"`,
		},
		"delete": {
			func(r *output.Record) { r.Kind, r.Op, r.Path = output.Delete, output.Rmdir, []byte("/d") },
			`"kind":"delete","op":"rmdir",` + who + `,"path":"/d"`,
		},
		"rename": {
			func(r *output.Record) {
				r.Kind, r.Op, r.Path, r.Target = output.Rename, output.Exchange, []byte("/a 'b'"), []byte("/c")
			},
			`"kind":"rename","op":"exchange",` + who + `,"path":"/a 'b'","target":"/c"`,
		},
		"symlink, not UTF-8": {
			func(r *output.Record) {
				r.Kind, r.Op, r.Path, r.Target = output.Link, output.Symbolic, []byte("\xff"), []byte("/l\xfe")
			},
			`"kind":"link","op":"symbolic",` + who + `,"path":"\ufffd","path_raw":"/w==","target":"/l\ufffd","target_raw":"L2z+"`,
		},
		"names of a process with a root directory of its own": {
			func(r *output.Record) {
				r.Kind, r.Op, r.Path, r.Target = output.Link, output.Hard, []byte("/in/a"), []byte("/in/b\xff")
				r.Seen, r.SeenTarget = []byte("/a"), []byte("/b\xff")
			},
			`"kind":"link","op":"hard",` + who + `,"path":"/in/a","target":"/in/b\ufffd","target_raw":"L2luL2L/","seen":"/a","seen_target":"/b\ufffd","seen_target_raw":"L2L/"`,
		},
		"exe not UTF-8": {
			func(r *output.Record) { r.Kind, r.Exe, r.Path = output.Read, []byte("\x80"), []byte("/") },
			`"kind":"read",` + who + `,"exe":"\ufffd","exe_raw":"gA==","path":"/"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := base
			c.fill(&r)
			want := `{"time":"2023-11-14T22:13:20.000000009Z",` + c.want + "}\n"
			if diff := cmp.Diff(want, jsonLine(t, &r)); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
		})
	}
}

// Every operation and kind has a name of its own: consumers tell them by it.
func TestNames(t *testing.T) {
	seen := map[string]bool{"": true}
	for k := output.Fork; k <= output.Attrib; k++ {
		if s := k.String(); seen[s] {
			t.Errorf("kind %d is called %q like another one", k, s)
		} else {
			seen[s] = true
		}
	}
	if got := output.NoOp.String(); got != "" {
		t.Errorf("no operation is called %q", got)
	}
	seen = map[string]bool{"": true}
	for o := output.Open; o <= output.Inherited; o++ {
		if s := o.String(); seen[s] {
			t.Errorf("operation %d is called %q like another one", o, s)
		} else {
			seen[s] = true
		}
	}
}

func TestJSONLWhole(t *testing.T) {
	const start, stop = 1_700_000_000_100_000_000, 1_700_000_000_120_000_000
	for name, c := range map[string]struct {
		header  output.Header
		trailer output.Trailer
		want    string
	}{
		"complete": {
			output.Header{Target: 7, Start: start, Command: []string{"sh", "-c", "echo \"\n\""}},
			output.Trailer{Stop: stop},
			`{"kind":"header","version":1,"time":"2023-11-14T22:13:20.100000000Z","pid":7,"command":["sh","-c","echo \"\n\""]}
{"time":"2023-11-14T22:13:20.110000000Z","kind":"fork","pid":7,"ppid":0,"start":0,"uid":0,"comm":"","child":8}
{"kind":"trailer","time":"2023-11-14T22:13:20.120000000Z","complete":true}
`,
		},
		"incomplete, with notes": {
			output.Header{Target: 7, Start: start, Command: []string{"x"}, Notes: []string{"/proc is not watched"}},
			output.Trailer{Stop: stop, Incomplete: []string{"events were lost", "so were calls"}},
			`{"kind":"header","version":1,"time":"2023-11-14T22:13:20.100000000Z","pid":7,"command":["x"],"notes":["/proc is not watched"]}
{"time":"2023-11-14T22:13:20.110000000Z","kind":"fork","pid":7,"ppid":0,"start":0,"uid":0,"comm":"","child":8}
{"kind":"trailer","time":"2023-11-14T22:13:20.120000000Z","complete":false,"incomplete":["events were lost","so were calls"]}
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			records := []output.Record{{Kind: output.Fork, Time: (start + stop) / 2, PID: 7, Child: 8}}
			writeAll(t, output.NewJSONL(&b), &c.header, records, &c.trailer)
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

// jsonNames is what a reader takes from a line.
type jsonNames struct {
	Time      string   `json:"time"`
	Kind      string   `json:"kind"`
	PID       uint32   `json:"pid"`
	Exe       string   `json:"exe"`
	ExeRaw    []byte   `json:"exe_raw"`
	Path      string   `json:"path"`
	PathRaw   []byte   `json:"path_raw"`
	Target    string   `json:"target"`
	TargetRaw []byte   `json:"target_raw"`
	Args      []string `json:"args"`
	ArgsRaw   [][]byte `json:"args_raw"`
	Comm      string   `json:"comm"`
	CommRaw   []byte   `json:"comm_raw"`
	Command   []string `json:"command"`
	CmdRaw    [][]byte `json:"command_raw"`
}

// exact is the name that a reader gets out of a field and its _raw.
func exact(s string, raw []byte) string {
	if raw != nil {
		return string(raw)
	}
	return s
}

// checkJSONL asserts that a record is one line of JSON that says its names.
func checkJSONL(t require, r *output.Record) {
	line := jsonLine(t, r)
	if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		t.Fatalf("not one line: %q", line)
	}
	if !utf8.ValidString(line) {
		t.Fatalf("not UTF-8: %q", line)
	}
	var got jsonNames
	d := json.NewDecoder(strings.NewReader(line))
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if rest, err := io.ReadAll(d.Buffered()); err != nil || strings.TrimSpace(string(rest)) != "" {
		t.Fatalf("behind the object: %q, %v", rest, err)
	}
	if got.Kind != r.Kind.String() || got.PID != r.PID {
		t.Fatalf("kind %q of process %d, want %q of %d: %q", got.Kind, got.PID, r.Kind, r.PID, line)
	}
	if s := exact(got.Exe, got.ExeRaw); s != string(r.Exe) {
		t.Fatalf("exe %q, want %q", s, r.Exe)
	}
	if s := exact(got.Path, got.PathRaw); s != string(r.Path) {
		t.Fatalf("path %q, want %q", s, r.Path)
	}
	if s := exact(got.Target, got.TargetRaw); s != string(r.Target) {
		t.Fatalf("target %q, want %q", s, r.Target)
	}
	if s := exact(got.Comm, got.CommRaw); s != r.Comm {
		t.Fatalf("comm %q, want %q", s, r.Comm)
	}
	if len(r.Args) > 0 {
		var args []string
		for i, arg := range got.Args {
			if got.ArgsRaw != nil {
				arg = string(got.ArgsRaw[i])
			}
			args = append(args, arg)
		}
		if s := strings.Join(args, "\x00"); s != strings.TrimSuffix(string(r.Args), "\x00") {
			t.Fatalf("args %q, want %q", s, r.Args)
		}
	}
	for i, n := range []struct {
		name []byte
		raw  []byte
	}{{[]byte(r.Comm), got.CommRaw}, {r.Exe, got.ExeRaw}, {r.Path, got.PathRaw}, {r.Target, got.TargetRaw}} {
		if utf8.Valid(n.name) != (n.raw == nil) {
			t.Fatalf("name %d, %q: base64 %q stands there without need or is missing", i, n.name, n.raw)
		}
	}
}

// The command line is read back as it was given.
func TestJSONLCommand(t *testing.T) {
	want := []string{"sh", "\xff\xfe", "é", ""}
	var b bytes.Buffer
	if err := output.NewJSONL(&b).Begin(&output.Header{Command: want}); err != nil {
		t.Fatal(err)
	}
	var got jsonNames
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v: %q", err, b.String())
	}
	var raw []string
	for _, arg := range got.CmdRaw {
		raw = append(raw, string(arg))
	}
	if diff := cmp.Diff(want, raw); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	if len(got.Command) != len(want) || got.Command[0] != "sh" || !utf8.ValidString(b.String()) {
		t.Errorf("command %q in %q", got.Command, b.String())
	}
}

func TestJSONLEveryByte(t *testing.T) {
	for c := range 256 {
		checkJSONL(t, &output.Record{
			Kind: output.Rename, PID: 1, Exe: []byte{'/', byte(c)},
			Path: []byte{'/', byte(c), 'x'}, Target: []byte{byte(c)},
		})
	}
}

func TestJSONLNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Runes of all lengths, and bytes that cut them short.
		name := rapid.Custom(func(t *rapid.T) []byte {
			if rapid.Bool().Draw(t, "bytes") {
				return rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "name")
			}
			s := []byte(rapid.StringN(0, 30, -1).Draw(t, "name"))
			return s[:rapid.IntRange(0, len(s)).Draw(t, "cut")]
		})
		checkJSONL(t, &output.Record{
			Kind: rapid.SampledFrom([]output.Kind{output.Rename, output.Link}).Draw(t, "kind"),
			Exe:  name.Draw(t, "exe"), Path: name.Draw(t, "path"), Target: name.Draw(t, "target"),
		})
	})
}

// FuzzJSONLForge: whatever a process calls itself and its files, a record is one
// line, and the names in it are read back.
func FuzzJSONLForge(f *testing.F) {
	for _, c := range filemonRecords {
		f.Add(uint8(c.rec.Kind), c.rec.PID, "comm", c.rec.Path, c.rec.Target, []byte(nil))
	}
	f.Add(uint8(output.Exec), uint32(1), "\"}\n{", []byte("\"}\n{\"kind\":\"trailer\"}\n"), []byte("\u2028\x7f"), []byte("a\x00\xff\n\x00"))
	f.Fuzz(func(t *testing.T, kind uint8, pid uint32, comm string, path, target, args []byte) {
		r := output.Record{
			Kind: output.Fork + output.Kind(kind)%output.Attrib, PID: pid, Child: 5, Comm: comm, Exe: target,
			Path: path, Target: target, Args: args,
		}
		switch r.Kind {
		case output.Fork, output.Exit:
			r.Path, r.Target = nil, nil
		case output.Rename, output.Link:
		default:
			r.Target = nil
		}
		checkJSONL(t, &r)
	})
}

func TestJSONLTimes(t *testing.T) {
	defer func(zone *time.Location) { time.Local = zone }(time.Local)
	time.Local = time.FixedZone("elsewhere", 5*3600+1800)
	for ns, want := range map[int64]string{
		0:                             "1970-01-01T00:00:00.000000000Z",
		1:                             "1970-01-01T00:00:00.000000001Z",
		1_700_000_000_000_000_000:     "2023-11-14T22:13:20.000000000Z",
		1_700_000_000_120_000_000:     "2023-11-14T22:13:20.120000000Z",
		1_700_000_000_999_999_999:     "2023-11-14T22:13:20.999999999Z",
		1<<63 - 1:                     "2262-04-11T23:47:16.854775807Z",
		1_709_164_800_000_000_000 - 1: "2024-02-28T23:59:59.999999999Z",
	} {
		var got jsonNames
		if err := json.Unmarshal([]byte(jsonLine(t, &output.Record{Kind: output.Fork, Time: ns})), &got); err != nil {
			t.Fatal(err)
		}
		if got.Time != want {
			t.Errorf("%d: %s, want %s", ns, got.Time, want)
		}
	}
}

// A program that silences zerolog silences this writer, too: it must not take
// the empty recording for a good one.
func TestJSONLSilenced(t *testing.T) {
	before := zerolog.GlobalLevel()
	defer zerolog.SetGlobalLevel(before)
	for name, call := range map[string]func(output.Writer) error{
		"Begin": func(w output.Writer) error { return w.Begin(&output.Header{}) },
		"Write": func(w output.Writer) error { return w.Write(&output.Record{Kind: output.Fork}) },
		"End":   func(w output.Writer) error { return w.End(&output.Trailer{}) },
	} {
		var b bytes.Buffer
		w := output.NewJSONL(&b)
		zerolog.SetGlobalLevel(zerolog.Disabled)
		if err := call(w); err == nil {
			t.Errorf("%s wrote nothing and returned no error", name)
		}
		zerolog.SetGlobalLevel(before)
		// The recording has a hole from then on.
		if err := w.Flush(); err == nil {
			t.Errorf("Flush returned no error after %s", name)
		}
		if err := w.End(&output.Trailer{}); err == nil {
			t.Errorf("End returned no error after %s", name)
		}
		if strings.Contains(b.String(), `"complete":true`) {
			t.Errorf("the trailer says complete after %s: %s", name, b.String())
		}
	}
}

func TestJSONLAllocs(t *testing.T) {
	for name, r := range map[string]output.Record{
		"fork":          {Kind: output.Fork, PID: 1, Child: 2, Comm: "make"},
		"exit":          {Kind: output.Exit, PID: 1, Comm: "make"},
		"read":          {Kind: output.Read, Op: output.Open, PID: 1, Comm: "make", Exe: []byte("/bin/make"), Path: []byte("/usr/include/stdio.h")},
		"rename":        {Kind: output.Rename, PID: 1, Path: []byte("/a"), Target: []byte("/b")},
		"not UTF-8":     {Kind: output.Rename, PID: 1, Path: []byte("/\xff"), Target: []byte("/\xfe")},
		"arguments":     {Kind: output.Exec, PID: 1, Path: []byte("/bin/cc"), Args: []byte("cc\x00-c\x00x.c\x00")},
		"with a handle": {Kind: output.Read, PID: 1, Path: []byte("/a"), Handle: "0123456789abcdef:1:0123", Inferred: true},
	} {
		w := output.NewJSONL(io.Discard)
		// The logger has a pool, which loses some of what is put there when
		// the race detector is on. Fewest is what a record needs.
		least := math.Inf(1)
		for range 100 {
			least = min(least, testing.AllocsPerRun(1, func() { w.Write(&r) }))
		}
		if least != 0 {
			t.Errorf("%s: %v allocations", name, least)
		}
	}
}

func BenchmarkJSONLWrite(b *testing.B) {
	w := output.NewJSONL(io.Discard)
	r := output.Record{
		Kind: output.Read, Op: output.Open, PID: 12345, PPID: 12344, Start: 1234567890123, Time: 1_700_000_000_123_456_789,
		Comm: "cc1", Exe: []byte("/usr/libexec/gcc/cc1"), Path: []byte("/usr/include/x86_64-linux-gnu/bits/types.h"),
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Write(&r)
	}
}
