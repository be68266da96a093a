package output_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// readJSONL reads a recording to its end.
func readJSONL(r io.Reader) (h *output.Header, records []output.Record, end *output.Trailer, err error) {
	j, err := output.NewJSONLReader(r)
	if err != nil {
		return nil, nil, nil, err
	}
	for {
		var rec output.Record
		if err := j.Read(&rec); err == io.EOF {
			return j.Header(), records, j.Trailer(), nil
		} else if err != nil {
			return nil, nil, nil, err
		}
		records = append(records, rec)
	}
}

// What is written is read, byte for byte.
func TestJSONLReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := func(label string) []byte {
			b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, label)
			if len(b) == 0 {
				return nil
			}
			return b
		}
		h := output.Header{Target: 7, Start: rapid.Int64Range(0, 1<<62).Draw(t, "start"), Command: []string{"a", "b c", string(name("arg"))}, Notes: []string{"a note"}, Key: "k", Origin: output.Origin{Host: "h", Boot: "b", Version: "v"}}
		h.Command[2] = strings.ReplaceAll(h.Command[2], "\x00", "")
		records := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) output.Record {
			r := output.Record{
				Time: rapid.Int64Range(0, 1<<62).Draw(t, "time"), PID: rapid.Uint32().Draw(t, "pid"), PPID: rapid.Uint32().Draw(t, "ppid"),
				Start: rapid.Uint64().Draw(t, "start"), UID: rapid.Uint32().Draw(t, "uid"),
				Kind: output.Fork + output.Kind(rapid.IntRange(0, output.Kinds-2).Draw(t, "kind")), Op: output.Op(rapid.IntRange(0, int(output.Inherited)).Draw(t, "op")),
				Comm: string(name("comm")), Exe: name("exe"), Inferred: rapid.Bool().Draw(t, "inferred"), Attached: rapid.Bool().Draw(t, "attached"),
				NSPID: rapid.Uint32().Draw(t, "nspid"), Container: rapid.String().Draw(t, "container"), ContainerName: rapid.String().Draw(t, "container name"),
			}
			switch r.Kind {
			case output.Fork:
				r.ChildNSPID = rapid.Uint32().Draw(t, "child nspid")
				r.Child, r.ChildStart = rapid.Uint32().Draw(t, "child"), rapid.Uint64().Draw(t, "child start")
			case output.Exit:
				r.Code, r.Signal = rapid.IntRange(0, 255).Draw(t, "code"), rapid.IntRange(0, 64).Draw(t, "signal")
			case output.Rename, output.Link:
				r.Target, r.SeenTarget = name("target"), name("seen target")
				fallthrough
			default:
				r.Path, r.Seen = name("path"), name("seen")
			}
			if r.Kind == output.Exec {
				r.Args = []byte("x\x00\x00y\xff\x00")
			}
			return r
		}), 0, 5).Draw(t, "records")
		end := output.Trailer{Stop: 5}
		if rapid.Bool().Draw(t, "incomplete") {
			end.Incomplete = []string{"this", "that"}
		}
		var b bytes.Buffer
		w := output.NewJSONL(&b)
		w.Begin(&h)
		for i := range records {
			w.Write(&records[i])
		}
		if err := w.End(&end); err != nil {
			t.Fatal(err)
		}
		gotH, got, gotEnd, err := readJSONL(&b)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			records = nil
		}
		if diff := cmp.Diff(&h, gotH) + cmp.Diff(records, got) + cmp.Diff(&end, gotEnd); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestJSONLReaderMalformed(t *testing.T) {
	const (
		head = `{"kind":"header","version":1,"time":"2026-01-01T00:00:00Z","pid":1,"command":["x"]}` + "\n"
		rec  = `{"kind":"read","time":"2026-01-01T00:00:00Z","pid":1,"path":"/a"}` + "\n"
		end  = `{"kind":"trailer","time":"2026-01-01T00:00:00Z","complete":true}` + "\n"
	)
	for text, want := range map[string]string{
		"":                  "line 1: ",
		"x\n":               "line 1: ",
		rec:                 "line 1: ",
		head + "\n":         "line 2: ",
		head + rec + "[]\n": "line 3: ",
		head + `{"kind":"nosuch","time":"2026-01-01T00:00:00Z"}` + "\n":              "line 2: ",
		head + `{"kind":"read","op":"x","time":"2026-01-01T00:00:00Z"}` + "\n":       "line 2: ",
		head + `{"kind":"read","time":"yesterday"}` + "\n":                           "line 2: ",
		head + `{"kind":"read","time":"2026-01-01T00:00:00Z","path_raw":"?"}` + "\n": "line 2: ",
		head + strings.TrimSuffix(rec, "\n") + rec:                                   "line 2: ",
		head + end + rec: "line 3: ",
	} {
		_, _, _, err := readJSONL(strings.NewReader(text))
		if !errors.Is(err, output.ErrMalformed) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s...", text, err, want)
		}
	}
	for text, want := range map[string][]string{
		head + rec + end: nil,
		head + rec:       {"no trailer"},
		head + `{"kind":"trailer","time":"2026-01-01T00:00:00Z","complete":false}`:                    {"the log says so, and not why"},
		head + `{"kind":"trailer","time":"2026-01-01T00:00:00Z","complete":false,"incomplete":["x"]}`: {"x"},
	} {
		if _, _, end, err := readJSONL(strings.NewReader(text)); err != nil || cmp.Diff(want, end.Incomplete) != "" {
			t.Errorf("%q: %v, %v, want %q", text, end, err, want)
		}
	}
}

func FuzzJSONLReader(f *testing.F) {
	var b bytes.Buffer
	w := output.NewJSONL(&b)
	w.Begin(&output.Header{Target: 1, Command: []string{"x\xff"}})
	w.Write(&output.Record{Kind: output.Link, Op: output.Hard, Path: []byte("/a\xff"), Target: []byte("/b"), Seen: []byte("/s")})
	w.Write(&output.Record{Kind: output.Exec, Path: []byte("/x"), Args: []byte("x\x00\xff\x00")})
	w.End(&output.Trailer{})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, _, err := readJSONL(bytes.NewReader(b)); err != nil && !errors.Is(err, output.ErrMalformed) {
			t.Error(err)
		}
	})
}
