package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"fanrec/tests/oracle"
	"fanrec/tests/oracle/programs"
)

func TestTable(t *testing.T) {
	good, bad := outcomes{program: programs.Program{Name: "good"}}, outcomes{program: programs.Program{Name: "bad"}}
	for range 2 {
		good.same.add(&oracle.Report{Processes: 3, Strace: 50, Log: 50})
		good.free.add(&oracle.Report{Processes: 3, Strace: 49, Log: 49})
	}
	bad.same.add(&oracle.Report{Processes: 1, Strace: 100000, Log: 99999, Diffs: []oracle.Diff{{Kind: oracle.Missing}, {Kind: oracle.Loader}}})
	bad.same.failed++
	var b bytes.Buffer
	writeTable(&b, 2, "6.1", "6.2", []outcomes{good, bad, {program: programs.Program{Name: "none"}, cannotRun: errors.New("no")}})
	for _, row := range []string{
		"| `good` | 6 | 100 | 100.00 % | 100.00 % | 0, 0, 0 | 98 | 100.00 % | 100.00 % | 0, 0 |",
		"| `bad` | 1 | 100000 | 99.99 % | 100.00 % | 0, 0, 1; 1 not compared | – | – | – | – |", // never rounded to 100
		"| `none` | cannot run here | | | | | | | | |",
	} {
		if !strings.Contains(b.String(), row+"\n") {
			t.Errorf("no %s in\n%s", row, &b)
		}
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
