package main

import (
	"bytes"
	"cmp"
	"path"
	"strings"
	"testing"

	"fanrec/output"

	"pgregory.net/rapid"
)

// lineOf returns a record as a line of JSON.
func lineOf(t *rapid.T, r *output.Record) []byte {
	var b bytes.Buffer
	w := output.NewJSONL(&b)
	if err := w.Write(r); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.Bytes()
}

// TestGlance: what a glance drops is never what is searched for, whatever the patterns
// and the names are.
func TestGlance(t *testing.T) {
	dropped, kept := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`(/[ab.*\[\]\\"<]{1,3}){1,4}`), rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 6), func(b []byte) string { return "/" + string(b) }))
		glob := rapid.OneOf(rapid.StringMatching(`/?([ab.?]|\*|\*\*|\\[ab*\[]|\[!?[ab]\]|/){1,8}`), name)
		r := output.Record{
			Time: rapid.Int64Range(1, 4e18).Draw(t, "time"), PID: uint32(rapid.IntRange(1, 120).Draw(t, "pid")), UID: uint32(rapid.IntRange(0, 11).Draw(t, "uid")),
			Kind: output.Kind(rapid.IntRange(1, output.Kinds-1).Draw(t, "kind")), Comm: strings.TrimPrefix(name.Draw(t, "comm"), "/"),
			Path: []byte(name.Draw(t, "path")), Target: []byte(name.Draw(t, "target")),
		}
		if r.Kind == output.Fork || r.Kind == output.Exit {
			r.Path = nil
		}
		if r.Kind != output.Rename && r.Kind != output.Link {
			r.Target = nil
		}
		var f filterFlags
		pick := func(what string) bool { return rapid.IntRange(0, 2).Draw(t, what) == 0 }
		if pick("by path") {
			f.path = rapid.SliceOfN(glob, 1, 2).Draw(t, "paths")
		}
		if pick("by comm") {
			f.comm = rapid.SliceOfN(glob, 1, 2).Draw(t, "comms")
		}
		if pick("by pid") {
			f.pid = []uint{uint(rapid.IntRange(1, 120).Draw(t, "a pid"))}
		}
		if pick("by uid") {
			f.uid = []string{rapid.SampledFrom([]string{"0", "1", "11"}).Draw(t, "a uid")}
		}
		if pick("by kind") {
			f.only = []string{rapid.SampledFrom([]string{"W", "read", "F", "modify"}).Draw(t, "a kind")}
		}
		filter, err := f.compile()
		_, bad := newGlobs("path", f.path)
		for _, c := range f.comm {
			_, no := path.Match(c, "")
			bad = cmp.Or(bad, no)
		}
		if bad != nil {
			t.Skip(bad) // what was drawn is no pattern
		}
		if err != nil {
			t.Fatal(err)
		}
		s := &search{filter: filter}
		bounds := rapid.Int64Range(0, 4e18)
		if pick("from") {
			s.start = rapid.OneOf(bounds, rapid.Just(r.Time)).Draw(t, "start")
		}
		if pick("until") {
			s.end = rapid.OneOf(bounds, rapid.Just(r.Time)).Draw(t, "end")
		}
		g := newGlance(s)
		if g == nil || !g.drops(lineOf(t, &r)) {
			kept++
			return
		}
		dropped++
		if s.matches(&r) {
			t.Fatalf("dropped, though it is searched for: %s", lineOf(t, &r))
		}
	})
	if !testing.Short() && (dropped < 10 || kept < 10) {
		t.Errorf("%d dropped, %d kept: that shows little", dropped, kept)
	}
}

// TestGlanceSubtree: what tells who is of a tree is always read.
func TestGlanceSubtree(t *testing.T) {
	f := filterFlags{path: []string{"/nowhere"}}
	filter, err := f.compile()
	if err != nil {
		t.Fatal(err)
	}
	g := newGlance(&search{filter: filter, roots: map[uint32]bool{7: true}})
	rapid.Check(t, func(t *rapid.T) {
		for kind, dropped := range map[output.Kind]bool{output.Fork: false, output.Exit: false, output.Read: true} {
			if g.drops(lineOf(t, &output.Record{Time: 1, Kind: kind, PID: 7, Path: []byte("/x")})) != dropped {
				t.Errorf("%v: dropped %v", kind, !dropped)
			}
		}
	})
}

func TestLiteral(t *testing.T) {
	for pattern, want := range map[string]string{
		"/etc/**": "/etc/", "*.o": ".o", "a/**/bcd": "/bcd", "[ab]cd": "", "x[ab]cdefg": "x", `\*ab`: "ab", "?": "", "lib*.so.6": ".so.6", "ä/etc": "/etc",
	} {
		if got := literal(pattern); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}
