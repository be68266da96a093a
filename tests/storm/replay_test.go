package storm

import (
	"slices"
	"strings"
	"testing"
)

func TestReplay(t *testing.T) {
	for name, c := range map[string]struct {
		log  string // separated by commas
		left []string
		want string // the error, "" if it is possible
	}{
		"renames and over":     {"W 1 /s/a,W 1 /s/b,M 1 '/s/a' '/s/b',R 1 /s/b", []string{"b"}, ""},
		"made twice":           {"W 1 /s/a,W 2 /s/a", nil, "W 2 /s/a: made, and was there"},
		"made again":           {"W 1 /s/a,D 2 /s/a,W 1 /s/a", []string{"a"}, ""},
		"removed, not there":   {"W 1 /s/a,M 1 '/s/a' '/s/b',D 1 /s/a", nil, "D 1 /s/a: no such name"},
		"renamed, not there":   {"M 1 '/s/a' '/s/b'", nil, "no such name"},
		"opened, not there":    {"R 1 /s/a", nil, "no such name"},
		"opened too early":     {"R 1 /s/a,W 1 /s/a", nil, "no such name"},
		"a directory's name":   {"W 1 /s/d,W 1 /s/d/f,M 2 '/s/d' '/s/e',R 1 /s/e/f", []string{"e"}, ""},
		"that of before":       {"W 1 /s/d,W 1 /s/d/f,M 2 '/s/d' '/s/e',R 1 /s/d/f", nil, "R 1 /s/d/f: no such name"},
		"that of later":        {"W 1 /s/d,W 1 /s/d/f,R 1 /s/e/f,M 2 '/s/d' '/s/e'", nil, "R 1 /s/e/f: no such name"},
		"made in no directory": {"W 1 /s/d/f", nil, "no such directory: /s/d"},
		"not empty":            {"W 1 /s/d,W 1 /s/d/f,D 1 /s/d", nil, "removed, and is not empty"},
		"over what is not":     {"W 1 /s/d,W 1 /s/d/f,W 1 /s/e,M 1 '/s/e' '/s/d'", nil, "over what is not empty"},
		"opened when gone":     {"W 1 /s/d,D 2 /s/d,R 1 /s/d", nil, ""},
		"gone, another name":   {"W 1 /s/c,W 1 /s/d,M 2 '/s/c' '/s/e',D 2 /s/e,R 1 /s/c", nil, "R 1 /s/c: no such name"},
		"elsewhere":            {"W 1 /t/a,W 1 /t/a,F 1 2,X 2 0 0", nil, ""},
		"a link":               {"W 1 /s/a,L 1 '/s/a' '/s/b'", nil, "not replayed"},
	} {
		t.Run(name, func(t *testing.T) {
			left, errs := Replay("/s", parseRecords(t, strings.Split(c.log, ",")))
			switch {
			case c.want == "" && len(errs) > 0:
				t.Error(errs)
			case c.want == "" && !slices.Equal(left, c.left):
				t.Errorf("left %q, want %q", left, c.left)
			case c.want != "" && (len(errs) == 0 || !strings.Contains(errs[0].Error(), c.want)):
				t.Errorf("got %v, want %s", errs, c.want)
			}
		})
	}
}

// The records of several threads are in any order, those of one in theirs.
func TestLanes(t *testing.T) {
	storm := Threads{Dir: "/s", Image: "/i", N: 2}
	right := storm.Want().Root
	check := func(records []Record) []error { return Check(storm.Want(), records) }
	if errs := check(right); len(errs) > 0 {
		t.Error(errs)
	}
	mixed := slices.Clone(right[1 : len(right)-1])
	slices.SortStableFunc(mixed, func(a, b Record) int { return strings.Compare(a.String()[:1], b.String()[:1]) })
	if errs := check(slices.Concat(right[:1], mixed, right[len(right)-1:])); len(errs) == 0 {
		t.Error("a thread's records in another order: not found")
	}
	lane := storm.Want().Lane
	byThread := slices.Clone(right[1 : len(right)-1])
	slices.SortStableFunc(byThread, func(a, b Record) int { return -strings.Compare(lane(a), lane(b)) })
	if errs := check(slices.Concat(right[:1], byThread, right[len(right)-1:])); len(errs) > 0 {
		t.Error("threads one after the other:", errs)
	}
	if errs := check(slices.Delete(slices.Clone(right), 5, 6)); len(errs) == 0 {
		t.Error("one missing: not found")
	}
	if errs := check(slices.Insert(slices.Clone(right), 5, right[5])); len(errs) == 0 {
		t.Error("one too many: not found")
	}
}

// What the players of a scramble told is what the log must have, in their order.
func TestScrambleTold(t *testing.T) {
	storm := Scramble{Dir: "/s", Image: "/i"}
	want, err := storm.Told("0 W 1 0\n0 M 1 2\n1 R 2 0\n")
	if err != nil {
		t.Fatal(err)
	}
	var log []Record
	log = append(log, Record{Kind: 'E', Pid: 1, Path: "/i"})
	for i := range waves * players {
		log = append(log, Record{Kind: 'F', Pid: 1, Child: 100 + i})
	}
	deeds := []Record{
		{Kind: 'W', Pid: 100, Path: "/s/s1"}, {Kind: 'M', Pid: 100, Path: "/s/s1", To: "/s/s2"},
		{Kind: 'R', Pid: 101, Path: "/s/s2"},
	}
	tail := []Record{}
	for i := range waves * players {
		tail = append(tail, Record{Kind: 'X', Pid: 100 + i, Code: i % players})
	}
	tail = append(tail, Record{Kind: 'X', Pid: 1})
	if errs := Check(want, slices.Concat(log, deeds, tail)); len(errs) > 0 {
		t.Error(errs)
	}
	for name, deeds := range map[string][]Record{
		"order of one":  {deeds[1], deeds[0], deeds[2]},
		"opened before": {deeds[0], deeds[2], deeds[1]},
		"missing":       {deeds[0], deeds[1]},
		"of another":    {deeds[0], deeds[1], {Kind: 'R', Pid: 102, Path: "/s/s2"}},
	} {
		if errs := Check(want, slices.Concat(log, deeds, tail)); len(errs) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	if _, err := storm.Told("hello\n"); err == nil {
		t.Error("it may tell anything")
	}
}

func TestFolded(t *testing.T) {
	names := Names{Dir: "/s", Image: "/i", Names: []string{`a\012b`}, Folded: true}
	if path := names.Want().Children[0][2].Path; path != "/s/0/a\nb" {
		t.Errorf("%q", path)
	}
	if names := OddNames(); len(names) < 2*254 || slices.ContainsFunc(names, func(n string) bool {
		return n == "" || len(n) > 255 || n == "." || n == ".." || strings.ContainsAny(n, "/\x00")
	}) {
		t.Error("a name that no file can have")
	}
}
