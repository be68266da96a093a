package main

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"fanrec/tests/oracle"
	"fanrec/tests/oracle/programs"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	good, bad, none := outcomes{program: programs.All[0]}, outcomes{program: programs.All[2]}, outcomes{program: programs.All[3]}
	for range 2 {
		good.same.add(&oracle.Report{Processes: 3, Strace: 50, Log: 50})
		good.free.add(&oracle.Report{Processes: 3, Strace: 49, Log: 49})
	}
	bad.same.add(&oracle.Report{Processes: 1, Strace: 100000, Log: 99999, Diffs: []oracle.Diff{{Kind: oracle.Missing}, {Kind: oracle.Loader}}})
	bad.same.failed++
	none.cannotRun = errors.New("no")
	kept := "| `" + programs.All[1].Name + "` | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 |"
	rows := []string{
		"| `" + programs.All[0].Name + "` | 2 | 6 | 100 | 100.00 % | 100.00 % | 0, 0, 0 | 98 | 100.00 % | 100.00 % | 0, 0 |",
		kept,
		"| `" + programs.All[2].Name + "` | 2 | 1 | 100000 | 99.99 % | 100.00 % | 0, 0, 1; 1 not compared | – | – | – | – |", // never rounded to 100
		"| `" + programs.All[3].Name + "` | cannot run here | | | | | | | | | |",
	}
	var b bytes.Buffer
	writeTable(&b, "6.1", "6.2", []outcomes{good, bad, none}, readRows("text\n"+kept+"\n| `what` | it does |\n"))
	if want := strings.Join(rows, "\n") + "\n\n"; !strings.Contains(b.String(), "---:|\n"+want) {
		t.Errorf("want\n%s\nin\n%s", want, &b)
	}
	slices.Sort(rows)
	if diff := cmp.Diff(rows, slices.Sorted(maps.Values(readRows(b.String())))); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	if !good.same.ok() || bad.same.ok() {
		t.Error("agreement")
	}
}

// A program of the table can be named, prepared and told apart.
func TestProgramNames(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range programs.All {
		if p.Name == "" || strings.ContainsAny(p.Name, " /|") || seen[p.Name] || p.About == "" || p.Run == "" {
			t.Errorf("%q: name, description or command", p.Name)
		}
		seen[p.Name] = true
	}
}
