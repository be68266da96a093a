package top

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 21, 13, 5, 41, 0, time.UTC)

// history feeds a model with what a text says, a record or a tick a line:
//
//	tick 2s
//	12 sh read /etc/passwd
//	12 sh there-fork 13
//	12 sh hidden-read /etc/group
func history(t *testing.T, limits Limits, text string) *Model {
	t.Helper()
	m := New(limits, start)
	now := start
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] == "tick" {
			d, err := time.ParseDuration(f[1])
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
			m.Tick(now)
			continue
		}
		r := output.Record{Comm: f[1]}
		what := f[2]
		if rest, ok := strings.CutPrefix(what, "there-"); ok {
			what, r.Attached = rest, true
		}
		what, hidden := strings.CutPrefix(what, "hidden-")
		if _, err := fmt.Sscan(f[0], &r.PID); err != nil {
			t.Fatal(err)
		}
		r.Start = uint64(r.PID)
		switch what {
		case "fork":
			r.Kind = output.Fork
			fmt.Sscan(f[3], &r.Child)
		case "exit":
			r.Kind = output.Exit
		case "exec":
			r.Kind, r.Path = output.Exec, []byte(f[3])
		case "read":
			r.Kind, r.Op, r.Path = output.Read, output.Open, []byte(f[3])
		case "write":
			r.Kind, r.Op, r.Path = output.Write, output.Open, []byte(f[3])
		case "create":
			r.Kind, r.Op, r.Path = output.Write, output.Create, []byte(f[3])
		case "mkdir":
			r.Kind, r.Op, r.Path = output.Write, output.Mkdir, []byte(f[3])
		case "modify":
			r.Kind, r.Path = output.Modify, []byte(f[3])
		case "delete":
			r.Kind, r.Path = output.Delete, []byte(f[3])
		case "rename":
			r.Kind, r.Path, r.Target = output.Rename, []byte(f[3]), []byte(f[4])
		case "link":
			r.Kind, r.Path, r.Target = output.Link, []byte(f[3]), []byte(f[4])
		default:
			t.Fatalf("%q", line)
		}
		m.Add(&r, !hidden)
	}
	return m
}

// show returns a view as its rows are, without what is 0.
func show(m *Model, q Query) string {
	v := m.View(&q)
	v.Sort(&q)
	var b strings.Builder
	counts := func(c *Counts) {
		for col := Reads; int(col) < Counted; col++ {
			if n := c.Of(col); n > 0 {
				fmt.Fprintf(&b, " %s=%d", col, n)
			}
		}
		b.WriteByte('\n')
	}
	for i := range v.Processes {
		p := &v.Processes[i]
		b.WriteString(strings.Repeat("  ", p.Depth) + p.Label())
		counts(&p.Counts)
	}
	for i := range v.Files {
		b.WriteString(v.Files[i].Label())
		counts(&v.Files[i].Counts)
	}
	if v.Gone {
		b.WriteString("gone\n")
	}
	return b.String()
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func idOf(t *testing.T, m *Model, comm string) uint64 {
	t.Helper()
	for _, p := range m.View(&Query{}).Processes {
		if p.Comm == comm {
			return p.ID
		}
	}
	t.Fatalf("there is no %s", comm)
	return 0
}

const build = `
10 make fork 11
11 make exec /usr/bin/cc
11 cc read /src/a.c
11 cc read /src/a.h
11 cc create /src/a.o
10 make fork 12
12 make exec /usr/bin/ld
12 ld read /src/a.o
12 ld create /src/tmp
12 ld rename /src/tmp /src/prog
12 ld link /src/prog /bin/prog
12 ld mkdir /src/d
12 ld write /var/log
12 ld modify /var/log
tick 1s
10 make delete /src/a.o
11 cc read /src/a.h
11 cc read /src/a.h
12 ld hidden-read /hidden
tick 2s
`

func TestView(t *testing.T) {
	m := history(t, DefaultLimits, build)
	check(t, "all", show(m, Query{Total: true, Sort: Total}), `
make[10] DELETE=1 OTHER=2
  ld[12] READ=1 WRITE=2 CREATE=3 RENAME=1 OTHER=1
  cc[11] READ=4 CREATE=1 OTHER=1
/src/a.h READ=3
/src/a.o READ=1 CREATE=1 DELETE=1
(no file) OTHER=2
/var/log WRITE=2
/bin/prog CREATE=1
/src/a.c READ=1
/src/d CREATE=1
/src/prog RENAME=1
/src/tmp CREATE=1
/usr/bin/cc OTHER=1
/usr/bin/ld OTHER=1
`)
	check(t, "the last interval", show(m, Query{Busy: true}), `
make[10] DELETE=1
  cc[11] READ=2
/src/a.h READ=2
/src/a.o DELETE=1
`)
	check(t, "one process", show(m, Query{Process: idOf(t, m, "ld"), Total: true, Sort: Creations}), `
ld[12] READ=1 WRITE=2 CREATE=3 RENAME=1 OTHER=1
/bin/prog CREATE=1
/src/d CREATE=1
/src/tmp CREATE=1
/var/log WRITE=2
/src/a.o READ=1
/src/prog RENAME=1
/usr/bin/ld OTHER=1
`)
	check(t, "below a directory, by name", show(m, Query{Path: "/src", Total: true, Sort: Name, Busy: true, Flat: true}), `
cc[11] READ=4 CREATE=1
ld[12] READ=1 CREATE=2 RENAME=1
make[10] DELETE=1
/src/a.c READ=1
/src/a.h READ=3
/src/a.o READ=1 CREATE=1 DELETE=1
/src/d CREATE=1
/src/prog RENAME=1
/src/tmp CREATE=1
`)
	check(t, "directories, the least first", show(m, Query{Total: true, Sort: Total, Directories: true, Reverse: true, Comm: func(s string) bool { return s == "cc" }}), `
make[10] DELETE=1 OTHER=2
  cc[11] READ=4 CREATE=1 OTHER=1
/bin CREATE=1
/var WRITE=2
/usr/bin OTHER=2
(no file) OTHER=2
/src READ=5 CREATE=3 DELETE=1 RENAME=1
`)
	check(t, "a file", show(m, Query{Path: "/src/a.o", Total: true, Sort: Creations, Busy: true}), `
make[10] DELETE=1
  cc[11] CREATE=1
  ld[12] READ=1
/src/a.o READ=1 CREATE=1 DELETE=1
`)
	if v := m.View(&Query{}); v.Recorded.Of(Total) != 18 || v.Recorded[Reads] != 6 || v.InAll() != "in all, of 18 recorded" {
		t.Errorf("%s: %v", v.InAll(), v.Recorded)
	}
}

// TestEnded: who has ended is shown for some seconds; what it did stays.
func TestEnded(t *testing.T) {
	const text = `
10 make fork 11
11 sh fork 12
12 cc read /a
11 sh exit
12 cc read /b
tick 1s
`
	m := history(t, DefaultLimits, text)
	check(t, "at once", show(m, Query{Total: true, Sort: Total}), `
make[10] OTHER=1
  sh[11] ended OTHER=2
    cc[12] READ=2
(no file) OTHER=3
/a READ=1
/b READ=1
`)
	m = history(t, DefaultLimits, text+"tick 6s\n12 cc read /b\ntick 1s\n")
	check(t, "later", show(m, Query{Total: true, Sort: Total}), `
make[10] OTHER=3
  cc[12] READ=3
(no file) OTHER=3
/b READ=2
/a READ=1
`)
	if v := m.View(&Query{Process: 3}); !v.Gone {
		t.Error("who has ended is still found")
	}
	m = history(t, DefaultLimits, text)
	m.Keep(idOf(t, m, "sh"))
	m.Tick(start.Add(time.Minute))
	if got := show(m, Query{}); !strings.Contains(got, "sh[11] ended") {
		t.Errorf("who is looked at is gone:\n%s", got)
	}
	m.Keep(0)
	m.Tick(start.Add(2 * time.Minute))
	if got := show(m, Query{}); strings.Contains(got, "sh[11]") {
		t.Errorf("it is kept for ever:\n%s", got)
	}
}

// TestAttached: the tree of those that were there already, whose numbers may come in
// any order; a number that is used again is another process.
func TestAttached(t *testing.T) {
	m := history(t, DefaultLimits, `
0 swapper there-fork 1
1 init there-fork 20
20 sh there-read /held
1 init there-exec /sbin/init
20 sh read /a
20 sh exit
1 init fork 20
tick 1s
`)
	check(t, "the tree", show(m, Query{Total: true, Sort: Name}), `
init[1] OTHER=1
  init[20]
  sh[20] ended READ=1 OTHER=1
(no file) OTHER=2
/a READ=1
`)
}

// TestBounds: whatever is recorded, no more is kept than the limits say, and every sum
// is exact. It tries the same histories each time, -rapid.checks=N new ones.
func TestBounds(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		seed := flag.Lookup("rapid.seed")
		f.Value.Set("2000")
		seed.Value.Set("1")
		defer f.Value.Set(f.DefValue)
		defer seed.Value.Set(seed.DefValue)
	}
	flag.Set("rapid.nofailfile", "true")
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Pairs: rapid.IntRange(1, 12).Draw(t, "pairs"), Bytes: rapid.IntRange(0, 200).Draw(t, "bytes"), Processes: rapid.IntRange(2, 6).Draw(t, "processes")}
		m := New(limits, start)
		now := start
		var want, last, since Counts
		var recorded, all uint64 // until the last tick, and until now
		number := rapid.Uint32Range(0, 8)
		path := rapid.SampledFrom([]string{"", "/", "/a", "/a/b", "/a/b/c", "/a/c", "/a/b/d/e/f", "/d/e", "/d/f", "odd", "/g/h", "/i/j"})
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 7).Draw(t, "tick") == 0 {
				now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "seconds")) * time.Second)
				m.Tick(now)
				want.Add(&since)
				recorded = all
				last, since = since, Counts{}
				continue
			}
			r := output.Record{
				PID: number.Draw(t, "pid"), PPID: number.Draw(t, "ppid"), Start: rapid.Uint64Range(0, 2).Draw(t, "start"),
				Kind: output.Kind(rapid.IntRange(1, output.Kinds-1).Draw(t, "kind")), Comm: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "comm"),
				Path: []byte(path.Draw(t, "path")), Target: []byte(path.Draw(t, "target")), Child: number.Draw(t, "child"),
				Attached: rapid.IntRange(0, 5).Draw(t, "attached") == 0,
			}
			shown := rapid.Bool().Draw(t, "shown")
			m.Add(&r, shown)
			if !r.Attached {
				all++
				if shown {
					since[columnOf(&r)]++
				}
			}
		}
		if n := m.pairs.len(); n > limits.Pairs+2*m.processes.len()+1 {
			t.Fatalf("%d pairs, of %d processes", n, m.processes.len())
		}
		if m.processes.len() > limits.Processes+1 || len(m.files.by) > m.pairs.len()+int(keptFiles) {
			t.Fatalf("%d processes, %d files in %d pairs", m.processes.len(), len(m.files.by), m.pairs.len())
		}
		for _, q := range []Query{{}, {Total: true}, {Directories: true}, {Total: true, Flat: true, Directories: true, Busy: true}, {Total: true, Limit: 2}} {
			wanted := last
			if q.Total {
				wanted = want
			}
			v := m.View(&q)
			v.Sort(&q)
			sum := v.Sum
			if q.Total {
				sum = v.SumTotal
			}
			if v.Recorded.Of(Total) != recorded {
				t.Fatalf("%d recorded, want %d", v.Recorded.Of(Total), recorded)
			}
			if p, f := sums(v); p != wanted || f != wanted || sum != wanted {
				t.Fatalf("%+v: processes %v, files %v, sum %v, want %v", q, p, f, sum, wanted)
			}
			if all := m.View(&Query{Total: q.Total, Directories: q.Directories}); q.Limit > 0 {
				all.Sort(&q)
				if n := min(q.Limit, len(all.Files)); !slices.Equal(v.Files, all.Files[:n]) || v.More != len(all.Files)-n {
					t.Fatalf("the first are %v, want %v", v.Files, all.Files)
				}
			}
			for i := range v.Processes {
				one := Query{Process: v.Processes[i].ID, Total: q.Total}
				v := m.View(&one)
				v.Sort(&one)
				if p, f := sums(v); p != f || v.Processes[0].Below != p {
					t.Fatalf("of %s: processes %v, files %v, below %v", v.Processes[0].Label(), p, f, v.Processes[0].Below)
				}
			}
			for i := range v.Files {
				if f := &v.Files[i]; f.Path != "" && !f.Others && !q.Directories {
					v := m.View(&Query{Path: f.Path, Total: q.Total})
					if p, g := sums(v); p != g {
						t.Fatalf("at %s: processes %v, files %v", f.Path, p, g)
					}
				}
			}
		}
	})
}

func sums(v *View) (processes, files Counts) {
	for i := range v.Processes {
		processes.Add(&v.Processes[i].Counts)
	}
	files = v.MoreSum
	for i := range v.Files {
		files.Add(&v.Files[i].Counts)
	}
	return processes, files
}
