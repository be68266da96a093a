package storm

import (
	_ "embed"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What strace saw of a forest of four that execute themselves, read over by hand.
//
//go:embed testdata/forest.filemon
var forestLog string

var fourTrees = Forest{Dir: "/storm", Image: "/bin/storm", N: 4, Exec: true}

func TestRightLogPasses(t *testing.T) {
	log, err := Parse(strings.NewReader(forestLog))
	if err != nil {
		t.Fatal(err)
	}
	if log.Target != 100 || len(log.Incomplete) > 0 {
		t.Errorf("target %d, incomplete: %q", log.Target, log.Incomplete)
	}
	for _, err := range Check(fourTrees.Want(), log.Records) {
		t.Error(err)
	}
	for _, err := range Plausible(fourTrees.Want(), log.Records) {
		t.Error(err)
	}
}

func TestDamageIsFound(t *testing.T) {
	tests := []struct {
		name   string
		damage func(lines []string) []string
		want   string // part of one of the errors
	}{
		{"missing file record", without("W 102 /storm/p1.0/a"), "child 1 (pid 102): missing: W 0 /storm/p1.0/a"},
		{"missing of two equal in kind", without("R 102 /storm/d0.1/f1"), "child 1 (pid 102): missing: R 0 /storm/d0.1/f1"},
		{"missing F", without("F 100 104"), "no F made this process"},
		{"missing F, counted", without("F 100 104"), "3 children, want 4"},
		{"missing X", without("X 102 1 0"), "child 1 (pid 102): missing: X 0 1 0"},
		{"missing E of a child", without("E 103 /bin/storm"), "child 2 (pid 103): missing: E 0 /bin/storm"},
		{"missing X of the first process", without("X 100 0 0"), "first process (pid 100): missing: X 0 0 0"},
		{"missing everything", func([]string) []string { return nil }, "no process executes /bin/storm"},
		{"too many", after("D 101 /storm/p0.1/b", "D 101 /storm/p0.1/b"), "child 0 (pid 101): too many: D 101 /storm/p0.1/b"},
		{"invented file", after("C 102 /storm/d0.0", "R 102 /storm/d0.0/f0"), "child 1 (pid 102): too many: R 102 /storm/d0.0/f0"},
		{"invented exec", after("C 102 /storm/d0.0", "E 102 /bin/sh"), "child 1 (pid 102): too many: E 102 /bin/sh"},
		{"child of a child", after("C 102 /storm/d0.0", "F 102 105", "W 105 /storm/x"), "W 105 /storm/x: no F made this process"},
		{"process from nowhere", after("C 102 /storm/d0.0", "W 999 /storm/x"), "W 999 /storm/x: no F made this process"},
		{"name of a later moment", swapText("R 102 /storm/d0.1/f1", "R 102 /storm/d0.2/f1"), "too many: R 102 /storm/d0.2/f1"},
		{"name of an earlier moment", swapText("R 104 /storm/d0.2/f3", "R 104 /storm/d0.1/f3"), "missing: R 0 /storm/d0.2/f3"},
		{"one name of a rename", swapText("M 103 '/storm/d0.1' '/storm/d0.2'", "M 103 '/storm/d0.0' '/storm/d0.2'"), "missing: M 0 '/storm/d0.1' '/storm/d0.2'"},
		{"resolved link text", swapText("L 104 'g3' '/storm/d0.2/s3'", "L 104 '/storm/d0.2/g3' '/storm/d0.2/s3'"), "missing: L 0 'g3' '/storm/d0.2/s3'"},
		{"R instead of W", swapText("W 104 /storm/d0.3/g3", "R 104 /storm/d0.3/g3"), "too many: R 104 /storm/d0.3/g3"},
		{"wrong pid", swapText("D 103 /storm/d0.3/g2", "D 104 /storm/d0.3/g2"), "child 3 (pid 104): too many: D 104 /storm/d0.3/g2"},
		{"wrong exit code", swapText("X 102 1 0", "X 102 2 0"), "missing: X 0 1 0"},
		{"wrong signal", swapText("X 102 1 0", "X 102 1 9"), "too many: X 102 1 9"},
		{"swapped in a process", swapped("R 101 /storm/p0.1/b", "C 101 /storm/p0.1"), "child 0 (pid 101): out of order: C 101 /storm/p0.1"},
		{"exec too early", before("M 103 '/storm/d0.1/f2' '/storm/d0.1/g2'", "E 103 /bin/storm"), "child 2 (pid 103): out of order: E 103 /bin/storm"},
		{"swapped between processes", swapped("M 103 '/storm/d0.1' '/storm/d0.2'", "R 104 /storm/d0.2/f3"), "child 2 (pid 103): M 103 '/storm/d0.1' '/storm/d0.2' is out of order"},
		{"X not last", before("D 103 /storm/d0.3", "X 103 2 0"), "D 103 /storm/d0.3: comes after the X"},
		{"F too late", before("R 104 /storm/p3.1/b", "F 100 104"), "W 104 /storm/p3.0: no F made this process"},
		{"X of the first process too early", before("X 103 2 0", "X 100 0 0"), "X 103 2 0: comes after the X of the first process"},
		{"pid used again, not ended", after("X 104 3 0", "F 100 103"), "F 100 103: no X ended the process"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			damaged := strings.Join(tt.damage(records(t, forestLog)), "\n") + "\n"
			head, _, _ := strings.Cut(forestLog, "E 100")
			if damaged == "\n" {
				damaged = ""
			}
			log, err := Parse(strings.NewReader(head + damaged))
			if err != nil {
				t.Fatal(err)
			}
			errs := Check(fourTrees.Want(), log.Records)
			found := slices.ContainsFunc(errs, func(err error) bool { return strings.Contains(err.Error(), tt.want) })
			if !found {
				t.Errorf("got %q, want %q", errs, tt.want)
			}
		})
	}
}

func TestRecordsOutsideTheDirectoryArePassedOver(t *testing.T) {
	lines := after("C 102 /storm/d0.0", "R 102 /lib/ld.so", "R 102 /stormy", "C 102 /", "W 102 /dev/null")(records(t, forestLog))
	lines = before(lines[0], "F 7 100")(append(lines, "F 7 100"))
	for _, err := range Check(fourTrees.Want(), parseRecords(t, lines)) {
		t.Error(err)
	}
}

func TestPlausibleFindsInventions(t *testing.T) {
	lines := records(t, forestLog)
	errs := Plausible(fourTrees.Want(), parseRecords(t, slices.Delete(lines, 20, 40)))
	if len(errs) != 0 {
		t.Errorf("a log with a gap: %v", errs)
	}
	errs = Plausible(fourTrees.Want(), parseRecords(t, after("C 102 /storm/d0.0", "R 102 /storm/d0.7/f1")(records(t, forestLog))))
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "d0.7") {
		t.Errorf("got %v", errs)
	}
}

func TestFlipflop(t *testing.T) {
	storm := Flipflop{Dir: "/s", Image: "/i", N: 3}
	right := []string{"E 9 /i", "W 9 /s/a", "M 9 '/s/a' '/s/b'", "M 9 '/s/b' '/s/a'", "M 9 '/s/a' '/s/b'", "D 9 /s/b", "X 9 0 0"}
	for _, err := range Check(storm.Want(), parseRecords(t, right)) {
		t.Error(err)
	}
	for name, damage := range map[string]func([]string) []string{
		"one missing":   func(l []string) []string { return slices.Delete(l, 2, 3) },
		"one too many":  func(l []string) []string { return slices.Insert(l, 4, l[2]) },
		"two swapped":   func(l []string) []string { l[2], l[3] = l[3], l[2]; return l },
		"pair missing":  func(l []string) []string { return slices.Delete(l, 2, 4) },
		"end not there": func(l []string) []string { return l[:6] },
	} {
		if errs := Check(storm.Want(), parseRecords(t, damage(slices.Clone(right)))); len(errs) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// A log made of what Deep and Reuse want, in their order, must pass; that it is what the programs do is strace's to
// say.
func TestTotalOrderOfDeep(t *testing.T) {
	storm := Deep{Dir: "/s", Image: "/i", N: 2}
	want := storm.Want()
	log := sequential(storm)
	for _, err := range Check(want, log) {
		t.Error(err)
	}
	// A walker's open and the rename in front of it are made by two processes.
	i := slices.IndexFunc(log, func(r Record) bool { return r.Kind == 'M' })
	j := i + 2 // X of the renamer lies between
	log[i], log[i+1], log[j] = log[j], log[i], log[i+1]
	errs := Check(want, log)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "out of order with the other processes") {
		t.Errorf("got %v", errs)
	}
}

// sequential returns the log of a deep storm, with pids that are 1000 more than the child's number.
func sequential(d Deep) []Record {
	log := []Record{{Kind: 'E', Pid: 1, Path: d.Image}}
	next := 1000
	for t := range d.N {
		for _, s := range d.tree(t * perTree) {
			r := s.Record
			r.Pid = 1000 + s.Actor
			if s.Actor == Root {
				r.Pid = 1
			}
			if s.Kind == 'F' {
				r.Child = next
				next++
			}
			log = append(log, r)
		}
	}
	return append(log, Record{Kind: 'X', Pid: 1})
}

func TestReuse(t *testing.T) {
	storm := Reuse{Dir: "/s", Image: "/i", N: 2}
	right := []string{"E 1 /i",
		"F 1 2", "W 2 /s/a0", "M 2 '/s/a0' '/s/b0'", "R 2 /s/b0", "D 2 /s/b0", "X 2 0 0",
		"F 1 2", "W 2 /s/a1", "M 2 '/s/a1' '/s/b1'", "R 2 /s/b1", "D 2 /s/b1", "X 2 1 0",
		"X 1 0 0"}
	for _, err := range Check(storm.Want(), parseRecords(t, right)) {
		t.Error(err)
	}
	// D of the first given to the second process with the pid.
	wrong := slices.Insert(slices.Delete(slices.Clone(right), 5, 6), 7, "D 2 /s/b0")
	errs := Check(storm.Want(), parseRecords(t, wrong))
	if len(errs) != 2 {
		t.Errorf("got %v", errs)
	}
}

func TestExpectedOfAKilledChild(t *testing.T) {
	got := Forest{Dir: "/s", Image: "/i", N: 20}.Expected(16)
	want := []Record{
		{Kind: 'W', Path: "/s/p16.0"},
		{Kind: 'W', Path: "/s/p16.0/a"},
		{Kind: 'M', Path: "/s/p16.0/a", To: "/s/p16.0/b"},
		{Kind: 'M', Path: "/s/p16.0", To: "/s/p16.1"},
		{Kind: 'R', Path: "/s/p16.1/b"},
		{Kind: 'C', Path: "/s/p16.1"},
		{Kind: 'R', Path: "/s/p16.1/b"},
		{Kind: 'W', Path: "/s/p16.1/b"},
		{Kind: 'D', Path: "/s/p16.1/b"},
		{Kind: 'D', Path: "/s/p16.1"},
		{Kind: 'W', Path: "/s/d4.0"},
		{Kind: 'W', Path: "/s/d4.0/f0"},
		{Kind: 'M', Path: "/s/d4.0/f0", To: "/s/d4.0/g0"},
		{Kind: 'M', Path: "/s/d4.0", To: "/s/d4.1"},
		{Kind: 'R', Path: "/s/d4.3"},
		{Kind: 'R', Path: "/s/d4.3/g0"},
		{Kind: 'D', Path: "/s/d4.3/g0"},
		{Kind: 'X', Signal: 15},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// records returns the lines of a log between header and footer.
func records(t *testing.T, log string) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[4 : len(lines)-2]
}

func parseRecords(t *testing.T, lines []string) []Record {
	t.Helper()
	log, err := Parse(strings.NewReader("# filemon version 5\n# Target pid 1\n# Start 1.000000\nV 5\n" + strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return log.Records
}

// The damages. Each acts on the first line that is equal to the one it is given.

func index(lines []string, line string) int {
	i := slices.Index(lines, line)
	if i < 0 {
		panic("not in the log: " + line)
	}
	return i
}

func without(line string) func([]string) []string {
	return func(lines []string) []string {
		i := index(lines, line)
		return slices.Delete(lines, i, i+1)
	}
}

func after(line string, more ...string) func([]string) []string {
	return func(lines []string) []string { return slices.Insert(lines, index(lines, line)+1, more...) }
}

// before moves a line in front of another.
func before(line, moved string) func([]string) []string {
	return func(lines []string) []string {
		lines = without(moved)(lines)
		return slices.Insert(lines, index(lines, line), moved)
	}
}

func swapText(line, other string) func([]string) []string {
	return func(lines []string) []string {
		lines[index(lines, line)] = other
		return lines
	}
}

func swapped(a, b string) func([]string) []string {
	return func(lines []string) []string {
		i, j := index(lines, a), index(lines, b)
		lines[i], lines[j] = lines[j], lines[i]
		return lines
	}
}
