package output_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"fanrec/output"
	"fanrec/tests/schema"
)

// hostile are names that have to be written with care.
var hostile = []string{
	"/a", "/", "", "/usr/include/stdio.h", "/etc/.profile", "/a.", "/x/..b", "name", "/\xff\xfe.\x80", "/\"}\n{\"", "/\u2028\x00\x7f\\", "/ä/é.ü", "/" + strings.Repeat("x", 255) + "/y",
}

// corpus is a record of each kind with each operation, with all names, and with
// everything that a record may have or lack.
func corpus() []output.Record {
	var all []output.Record
	for kind := output.Fork; int(kind) < output.Kinds; kind++ {
		for op := output.NoOp; op <= output.Mapped; op++ {
			if kind <= output.Chdir && op != output.NoOp {
				continue // what is about a process has none
			}
			for i, name := range hostile {
				r := output.Record{Kind: kind, Op: op, Time: 1_700_000_000_123_456_789, PID: 7, Comm: "x\xff", Path: []byte(name)}
				if i%2 == 0 {
					r.PPID, r.Start, r.UID, r.Exe, r.Handle, r.Inferred = 6, 99, 1000, []byte("/bin/x\xfe"), "ab:1:cd", true
					r.Seen, r.SeenTarget = []byte(name), []byte(name)
				}
				r.Attached = i%3 == 0
				if i%4 == 0 {
					r.NSPID, r.Container = 1, strings.Repeat("0123456789abcdef", 4)
				}
				if i%8 == 0 {
					r.ContainerName = name
				}
				switch kind {
				case output.Fork:
					r.Path, r.Child = nil, 8
					if i%2 == 0 {
						r.ChildStart, r.ChildNSPID = 100, 1
					}
				case output.Exec:
					if i%4 < 2 {
						r.Args = []byte("x\x00" + strings.ReplaceAll(name, "\x00", "") + "\x00")
					}
				case output.Exit:
					r.Path, r.Code, r.Signal = nil, 3*(i%2), 9*(i%3)
				case output.Rename, output.Link:
					r.Target = []byte("/new" + name)
				}
				all = append(all, r)
			}
		}
	}
	return all
}

// schemas are what is known of the formats.
func schemas(t testing.TB) map[string]schema.Checker {
	t.Helper()
	of, err := schema.Load("testdata/schema")
	if err != nil {
		t.Fatal(err)
	}
	return of
}

// schemaLines writes a recording and returns its lines.
func schemaLines(t testing.TB, format string, h *output.Header, records []output.Record, end *output.Trailer) []map[string]any {
	t.Helper()
	var b bytes.Buffer
	w, err := output.NewWriter(format, &b)
	if err != nil {
		t.Fatal(err)
	}
	w.Begin(h)
	for i := range records {
		if err := w.Write(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	w.Comment("a \"comment\"\n\xff")
	if err := w.End(end); err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(b.Bytes()) {
		t.Fatalf("not UTF-8: %q", b.String())
	}
	var all []map[string]any
	for line := range bytes.Lines(b.Bytes()) {
		o, err := schema.Line(line)
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, o)
	}
	if len(all) != len(records)+3 {
		t.Fatalf("%d lines of %d records", len(all), len(records))
	}
	return all
}

// Each line is of the published schema: names, types, values, what must be there.
func TestSchemas(t *testing.T) {
	for format, check := range schemas(t) {
		for _, h := range []output.Header{
			{},
			{
				Target: 7, Start: 1_700_000_000_000_000_000, Command: []string{"x", "\xff\n"}, Notes: []string{"a note"}, Key: "k\"ey\n",
				Origin: output.Origin{Host: "host.example", Boot: "0ed1f1a8-5b1b-4a2c-8f55-6e3b1a6c7d10", Version: "v1.2.3"},
			},
		} {
			for _, end := range []output.Trailer{{Stop: 1_700_000_001_000_000_000}, {Incomplete: []string{"events were lost", "two\nlines"}}} {
				for i, line := range schemaLines(t, format, &h, corpus(), &end) {
					if wrong := check.Check(line); len(wrong) > 0 {
						t.Fatalf("%s, line %d: %v\n%s", format, i+1, wrong, mustJSON(line))
					}
				}
			}
		}
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// What the test above rests on finds what is wrong.
func TestSchemaChecks(t *testing.T) {
	origin := output.Origin{Host: "h", Boot: "0ed1f1a8-5b1b-4a2c-8f55-6e3b1a6c7d10"}
	r := output.Record{Kind: output.Write, Op: output.Create, PID: 1, PPID: 2, Start: 3, Exe: []byte("/bin/x"), Path: []byte("/a"), Time: 5}
	for _, c := range []struct {
		format, at string
		value      any // nil: taken away
		want       string
	}{
		{"ecs", "@timestamp", nil, "@timestamp: missing"},
		{"ecs", "@timestamp", "yesterday", "@timestamp: yesterday is no date"},
		{"ecs", "file.pathname", "x", "file.pathname: no such field"},
		{"ecs", "process.pid", "1", "process.pid: 1 is no long"},
		{"ecs", "user.id", json.Number("1"), "user.id: 1 is no keyword"},
		{"ecs", "event.category", "file", "event.category: an array is false, want true"},
		{"ecs", "event.kind", "evnt", "event.kind: evnt is none of "},
		{"ecs", "event.type", []any{"start"}, "event.type: start does not go with file"},
		{"ecs", "ecs.version", "1.0", "ecs.version: not "},
		{"ocsf", "file", nil, "file: missing"},
		{"ocsf", "file.name", nil, "file.name: missing"},
		{"ocsf", "file.type_id", json.Number("42"), "file.type_id: 42 is none of "},
		{"ocsf", "file.directory", "/", "file.directory: no such attribute"},
		{"ocsf", "activity_id", json.Number("2"), "type_uid: 100101, not 100102"},
		{"ocsf", "activity_id", json.Number("77"), "activity_id: 77 is none of "},
		{"ocsf", "class_uid", json.Number("1002"), "class_uid: no such class"},
		{"ocsf", "category_uid", json.Number("6"), "category_uid: 6 is none of "},
		{"ocsf", "time", "now", "time: now is no timestamp_t"},
		{"ocsf", "time_dt", "now", "time_dt: now does not match "},
		{"ocsf", "metadata.profiles", []any{"host"}, "time_dt: the profile datetime is not said"},
		{"ocsf", "actor.process", nil, "actor: at_least_one of "},
		{"ocsf", "actor.process.user.uid", json.Number("0"), "actor.process.user.uid: 0 is no string_t"},
		{"ocsf", "device.hostname", nil, "device: at_least_one of "},
		{"ocsf", "metadata.labels", "x", "metadata.labels: an array is false, want true"},
	} {
		line := schemaLines(t, c.format, &output.Header{Origin: origin}, []output.Record{r}, &output.Trailer{})[1]
		at, names := line, strings.Split(c.at, ".")
		if c.at == "@timestamp" {
			names = []string{c.at}
		}
		for _, name := range names[:len(names)-1] {
			at = at[name].(map[string]any)
		}
		if at[names[len(names)-1]] = c.value; c.value == nil {
			delete(at, names[len(names)-1])
		}
		wrong := schemas(t)[c.format].Check(line)
		if !slices.ContainsFunc(wrong, func(s string) bool { return strings.HasPrefix(s, c.want) }) {
			t.Errorf("%s with %s %v: %q, want %s...", c.format, c.at, c.value, wrong, c.want)
		}
	}
}

// What becomes of what: docs/schemas.md is this table.
func TestSchemaMapping(t *testing.T) {
	path, target := []byte("/d/a.txt"), []byte("/d/b.c")
	for name, c := range map[string]struct {
		rec       output.Record
		ecs, ocsf string
	}{
		"fork": {output.Record{Kind: output.Fork, Child: 8, ChildStart: 6}, "process start fork success; 8 B-8-6 below 7 B-7-5", "100701 1 launch 2; 8 B-8-6 by 7 B-7-5"},
		"exec": {output.Record{Kind: output.Exec, Path: path, Args: []byte("x\x00y z\x00")}, "process start exec success; 7 B-7-5 below 6; a.txt /d/a.txt [x y z] 2",
			"100701 1 launch 3; 7 B-7-5 by 7 B-7-5; a.txt /d/a.txt x y z"},
		"exit":     {output.Record{Kind: output.Exit, Code: 3}, "process end exit success; 7 B-7-5 below 6; exit 3", "100702 1; 7 B-7-5 by 7 B-7-5; exit 3"},
		"killed":   {output.Record{Kind: output.Exit, Signal: 9}, "process end exit success; 7 B-7-5 below 6; signal 9", "100702 1; 7 B-7-5 by 7 B-7-5; signal 9"},
		"chdir":    {output.Record{Kind: output.Chdir, Path: path}, "process change chdir success; 7 B-7-5 below 6; in /d/a.txt", "100799 1 Change Directory; 7 B-7-5 by 7 B-7-5; in /d/a.txt"},
		"read":     {output.Record{Kind: output.Read, Op: output.Open, Path: path}, "file access read success; /d/a.txt", "100102 1; /d/a.txt 0"},
		"loader":   {output.Record{Kind: output.Read, Op: output.Loader, Path: path}, "file access read success; /d/a.txt", "100102 1; /d/a.txt 0"},
		"write":    {output.Record{Kind: output.Write, Op: output.Open, Path: path}, "file change write success; /d/a.txt", "100103 1; /d/a.txt 0"},
		"create":   {output.Record{Kind: output.Write, Op: output.Create, Path: path}, "file creation create success; /d/a.txt file", "100101 1; /d/a.txt 1"},
		"mkdir":    {output.Record{Kind: output.Write, Op: output.Mkdir, Path: path}, "file creation mkdir success; /d/a.txt dir", "100101 1; /d/a.txt 2"},
		"mknod":    {output.Record{Kind: output.Write, Op: output.Mknod, Path: path}, "file creation mknod success; /d/a.txt", "100101 1; /d/a.txt 0"},
		"bind":     {output.Record{Kind: output.Write, Op: output.Bind, Path: path}, "file creation bind success; /d/a.txt", "100101 1; /d/a.txt 5"},
		"truncate": {output.Record{Kind: output.Write, Op: output.Truncate, Path: path}, "file change truncate success; /d/a.txt file", "100103 1; /d/a.txt 1"},
		"unlink":   {output.Record{Kind: output.Delete, Op: output.Unlink, Path: path}, "file deletion delete success; /d/a.txt", "100104 1; /d/a.txt 0"},
		"rmdir":    {output.Record{Kind: output.Delete, Op: output.Rmdir, Path: path}, "file deletion rmdir success; /d/a.txt dir", "100104 1; /d/a.txt 2"},
		"rename":   {output.Record{Kind: output.Rename, Path: path, Target: target}, "file change rename success; /d/b.c; own /d/a.txt", "100105 1; /d/a.txt 0; to /d/b.c; own /d/a.txt"},
		"exchange": {output.Record{Kind: output.Rename, Op: output.Exchange, Path: path, Target: target}, "file change exchange success; /d/b.c; own /d/a.txt", "100105 1; /d/a.txt 0; to /d/b.c; own /d/a.txt"},
		"link":     {output.Record{Kind: output.Link, Op: output.Hard, Path: path, Target: target}, "file creation link success; /d/b.c; own /d/a.txt", "100101 1; /d/b.c 0; own /d/a.txt"},
		"symlink":  {output.Record{Kind: output.Link, Op: output.Symbolic, Path: path, Target: target}, "file creation symlink success; /d/b.c symlink -> /d/a.txt; own /d/a.txt", "100101 1; /d/b.c 7; own /d/a.txt"},
		"absent":   {output.Record{Kind: output.Absent, Path: path}, "file access absent failure; /d/a.txt", "100199 2 Look Up; /d/a.txt 0"},
		"modify":   {output.Record{Kind: output.Modify, Op: output.Inherited, Path: path}, "file change modify success; /d/a.txt", "100103 1; /d/a.txt 0"},
		"attrib":   {output.Record{Kind: output.Attrib, Path: path}, "file change attrib success; /d/a.txt", "100106 1; /d/a.txt 0"},
		"found":    {output.Record{Kind: output.Exec, Path: path, Attached: true}, "state: process info found success; 7 B-7-5 below 6; a.txt /d/a.txt", "100799 1 Found; 7 B-7-5 by 7 B-7-5; a.txt /d/a.txt"},
		"child":    {output.Record{Kind: output.Fork, Child: 8, ChildStart: 6, Attached: true}, "state: process info found success; 8 B-8-6 below 7 B-7-5", "100799 1 Found; 8 B-8-6 by 7 B-7-5"},
		"held":     {output.Record{Kind: output.Write, Op: output.Held, Path: path, Attached: true}, "state: file info held success; /d/a.txt", "100199 1 Held; /d/a.txt 0"},
		"mapped":   {output.Record{Kind: output.Read, Op: output.Mapped, Path: path, Attached: true}, "state: file info mapped success; /d/a.txt", "100199 1 Mapped; /d/a.txt 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c.rec.PID, c.rec.PPID, c.rec.Start, c.rec.UID, c.rec.Comm = 7, 6, 5, 1000, "comm"
			h := output.Header{Origin: output.Origin{Boot: "B"}}
			ecs := schemaLines(t, "ecs", &h, []output.Record{c.rec}, &output.Trailer{})[1]
			ocsf := schemaLines(t, "ocsf", &h, []output.Record{c.rec}, &output.Trailer{})[1]
			if got := sayECS(ecs); got != c.ecs {
				t.Errorf("ecs:  %s\nwant: %s", got, c.ecs)
			}
			if got := sayOCSF(ocsf); got != c.ocsf {
				t.Errorf("ocsf: %s\nwant: %s", got, c.ocsf)
			}
		})
	}
}

// at returns what stands somewhere in a line, "" if nothing does.
func at(line map[string]any, path string) string {
	var v any = line
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	if v == nil {
		return ""
	}
	return strings.Trim(fmt.Sprint(v), " ")
}

// sayECS puts what matters of a line into a few words.
func sayECS(l map[string]any) string {
	s := strings.Trim(at(l, "event.category"), "[]") + " " + strings.Trim(at(l, "event.type"), "[]") + " " + at(l, "event.action") + " " + at(l, "event.outcome")
	if k := at(l, "event.kind"); k != "event" {
		s = k + ": " + s
	}
	if at(l, "event.dataset") == "fanrec.process" {
		s += "; " + at(l, "process.pid") + " " + at(l, "process.entity_id") + " below " + strings.TrimSpace(at(l, "process.parent.pid")+" "+at(l, "process.parent.entity_id"))
	}
	return s + words(l, "; ", "file.path", " ", "file.type", " -> ", "file.target_path", "; ", "process.working_directory", "; exit ", "process.exit_code", "; signal ", "fanrec.signal",
		"; own ", "fanrec.path") + executed(l, "process.name", "process.executable", "process.args", "process.args_count")
}

// sayOCSF likewise.
func sayOCSF(l map[string]any) string {
	s := at(l, "type_uid") + " " + at(l, "status_id") + words(l, " ", "activity_name", " launch ", "launch_type_id")
	if at(l, "class_uid") == "1007" {
		s += "; " + at(l, "process.pid") + " " + at(l, "process.uid") + " by " + at(l, "actor.process.pid") + " " + at(l, "actor.process.uid")
	}
	return s + words(l, "; ", "file.path", " ", "file.type_id", "; to ", "file_result.path", "; ", "process.working_directory", "; exit ", "exit_code", "; signal ", "unmapped.signal",
		"; own ", "unmapped.path") + executed(l, "process.name", "process.file.path", "process.cmd_line")
}

// words returns, in pairs, what stands in front of what, and where that is.
func words(l map[string]any, pairs ...string) string {
	s := ""
	for i := 0; i < len(pairs); i += 2 {
		if v := at(l, pairs[i+1]); v != "" {
			if strings.HasSuffix(pairs[i+1], "working_directory") {
				v = "in " + v
			}
			s += pairs[i] + v
		}
	}
	return s
}

// executed says what an exec tells.
func executed(l map[string]any, paths ...string) string {
	if at(l, paths[1]) == "" || at(l, "file.path") != "" {
		return ""
	}
	s := "; "
	for _, p := range paths {
		s += at(l, p) + " "
	}
	return strings.TrimSpace(s)
}

// How a recording ends is said: it looks whole only if it is.
func TestSchemaEnd(t *testing.T) {
	whole, cut := output.Trailer{Stop: 5}, output.Trailer{Stop: 5, Incomplete: []string{"events were lost", "so were calls"}}
	for _, c := range []struct {
		format string
		end    *output.Trailer
		want   map[string]string
	}{
		{"ecs", &whole, map[string]string{"event.action": "recording-ended", "event.kind": "event", "event.outcome": "success", "event.type": "[end]", "error.message": "", "fanrec.complete": "true"}},
		{"ecs", &cut, map[string]string{
			"event.action": "recording-ended", "event.kind": "pipeline_error", "event.outcome": "failure", "event.type": "[end error]",
			"error.message": "the recording is incomplete: events were lost; so were calls", "fanrec.complete": "false", "fanrec.incomplete": "[events were lost so were calls]",
		}},
		{"ocsf", &whole, map[string]string{"type_uid": "600204", "status_id": "1", "severity_id": "1", "status_detail": "", "unmapped.complete": "true"}},
		{"ocsf", &cut, map[string]string{
			"type_uid": "600204", "status_id": "2", "severity_id": "3", "status_detail": "the recording is incomplete: events were lost; so were calls",
			"unmapped.complete": "false", "unmapped.incomplete": "[events were lost so were calls]",
		}},
	} {
		all := schemaLines(t, c.format, &output.Header{Key: "k"}, nil, c.end)
		last := all[len(all)-1]
		for path, want := range c.want {
			if got := at(last, path); got != want {
				t.Errorf("%s: %s is %q, want %q in %s", c.format, path, got, want, mustJSON(last))
			}
		}
	}
}

// The last line of a log is known, and no other, whatever a name says.
func TestIsEnd(t *testing.T) {
	path := []byte(`# Stop {"kind":"trailer"},"action":"recording-ended","type_uid":600204,`)
	for _, format := range append(output.Schemas, "filemon", "jsonl") {
		var b bytes.Buffer
		w, err := output.NewWriter(format, &b)
		if err != nil {
			t.Fatal(err)
		}
		w.Begin(&output.Header{Command: []string{string(path)}, Key: string(path)})
		w.Write(&output.Record{Kind: output.Read, Comm: string(path), Path: path})
		w.End(&output.Trailer{})
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for i, line := range lines {
			if got, want := output.IsEnd([]byte(line)), i == len(lines)-1 || strings.HasPrefix(line, "# Stop "); got != want {
				t.Errorf("%s, line %d: %v, want %v: %s", format, i+1, got, want, line)
			}
		}
	}
}

// Lines are numbered, and say which recording they are of and where it was made.
func TestSchemaSame(t *testing.T) {
	h := output.Header{Key: "nightly", Origin: output.Origin{Host: "h1", Boot: "B", Version: "v9"}}
	records := []output.Record{{Kind: output.Fork, Time: 1_700_000_000_123_456_789, PID: 1, Child: 2}, {Kind: output.Exit, PID: 2}}
	for format, paths := range map[string]map[string]string{
		"ecs":  {"host.name": "h1", "host.boot.id": "B", "labels.recording": "nightly"},
		"ocsf": {"device.hostname": "h1", "device.boot_uid": "B", "metadata.tags": "[map[name:recording value:nightly]]", "metadata.product.version": "v9"},
	} {
		all := schemaLines(t, format, &h, records, &output.Trailer{})
		for i, line := range all {
			paths[map[string]string{"ecs": "event.sequence", "ocsf": "metadata.sequence"}[format]] = fmt.Sprint(i + 1)
			for path, want := range paths {
				if got := at(line, path); got != want {
					t.Errorf("%s, line %d: %s is %q, want %q", format, i+1, path, got, want)
				}
			}
		}
		const when = "2023-11-14T22:13:20.123456789Z"
		if at(all[1], "@timestamp") != when && (at(all[1], "time") != "1700000000123" || at(all[1], "time_dt") != when) {
			t.Errorf("%s: other times than %s: %s", format, when, mustJSON(all[1]))
		}
	}
}

// FuzzSchema: whatever a process calls itself and its files, a record is one line of
// the schema, and the names are read back.
func FuzzSchema(f *testing.F) {
	for _, c := range filemonRecords {
		f.Add(uint8(c.rec.Kind), uint8(c.rec.Op), c.rec.PID, "comm", c.rec.Path, c.rec.Target, []byte(nil))
	}
	f.Add(uint8(output.Exec), uint8(0), uint32(1), "\"}\n{", []byte("\"}\n{\"kind\":\"trailer\"}\n"), []byte("\u2028\x7f"), []byte("a\x00\xff\n\x00"))
	checks := schemas(f)
	f.Fuzz(func(t *testing.T, kind, op uint8, pid uint32, comm string, path, target, args []byte) {
		r := output.Record{
			Kind: output.Fork + output.Kind(kind)%output.Attrib, Op: output.Op(op) % (output.Mapped + 1), PID: pid, Start: 5, Child: 5, Comm: comm, Exe: target,
			Path: path, Target: target, Args: args, Attached: op&0x40 != 0,
		}
		if r.Kind <= output.Chdir {
			r.Op = output.NoOp
		}
		for format, check := range checks {
			line := schemaLines(t, format, &output.Header{Key: comm, Origin: output.Origin{Boot: "0ed1f1a8-5b1b-4a2c-8f55-6e3b1a6c7d10", Host: comm}}, []output.Record{r}, &output.Trailer{})[1]
			if wrong := check.Check(line); len(wrong) > 0 {
				t.Fatalf("%s: %v in %s", format, wrong, mustJSON(line))
			}
			var exact, own string
			switch {
			case r.Kind == output.Rename || r.Kind == output.Link:
				exact, own = string(r.Target), "target_raw"
			case r.Kind > output.Chdir:
				exact, own = string(r.Path), "path_raw"
			default:
				continue
			}
			file, private := "file.path", "unmapped."
			if format == "ecs" {
				private = "fanrec."
			} else if r.Kind == output.Rename {
				file = "file_result.path"
			}
			got := text(line, file)
			if raw := text(line, private+own); raw != "" {
				b, err := base64.StdEncoding.DecodeString(raw)
				if err != nil {
					t.Fatal(err)
				}
				got = string(b)
			}
			if got != exact {
				t.Fatalf("%s: %s and %s say %q, want %q", format, file, private+own, got, exact)
			}
		}
	})
}

// text returns the text somewhere in a line, as it is.
func text(line map[string]any, path string) string {
	var v any = line
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

func TestSchemaAllocs(t *testing.T) {
	if raced {
		t.Skip("the race detector is on")
	}
	for _, format := range output.Schemas {
		w, err := output.NewWriter(format, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		w.Begin(&output.Header{Key: "k", Origin: output.Origin{Host: "h", Boot: "0ed1f1a8-5b1b-4a2c-8f55-6e3b1a6c7d10"}})
		for _, r := range corpus() {
			r.Start *= 1e12
			// As of TestJSONLAllocs.
			least := math.Inf(1)
			for n := 0; n < 100 && least > 0; n++ {
				least = min(least, testing.AllocsPerRun(1, func() { w.Write(&r) }))
			}
			if least != 0 {
				t.Fatalf("%s: %v allocations for %s %s", format, least, r.Kind, r.Op)
			}
		}
	}
}

func BenchmarkSchemaWrite(b *testing.B) {
	for _, format := range output.Schemas {
		b.Run(format, func(b *testing.B) {
			w, err := output.NewWriter(format, io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			w.Begin(&output.Header{Origin: output.Origin{Host: "host", Boot: "0ed1f1a8-5b1b-4a2c-8f55-6e3b1a6c7d10"}})
			r := output.Record{
				Kind: output.Read, Op: output.Open, PID: 12345, PPID: 12344, Start: 1234567890123, Time: 1_700_000_000_123_456_789,
				Comm: "cc1", Exe: []byte("/usr/libexec/gcc/cc1"), Path: []byte("/usr/include/x86_64-linux-gnu/bits/types.h"),
			}
			b.ReportAllocs()
			for b.Loop() {
				w.Write(&r)
			}
		})
	}
}

// A log of a schema is not taken for one that can be read.
func TestSchemaReader(t *testing.T) {
	for _, format := range output.Schemas {
		var b bytes.Buffer
		w, _ := output.NewWriter(format, &b)
		w.Begin(&output.Header{})
		w.End(&output.Trailer{})
		_, err := output.NewReader(&b)
		if !errors.Is(err, output.ErrMalformed) || !strings.Contains(err.Error(), "--schema") {
			t.Errorf("%s: %v", format, err)
		}
	}
}
