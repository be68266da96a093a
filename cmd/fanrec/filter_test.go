package main

import (
	"testing"

	"fanrec/output"
)

func TestFilter(t *testing.T) {
	some := []output.Record{
		{Kind: output.Write, PID: 1, UID: 0, Comm: "sh", Path: []byte("/a.tmp")},
		{Kind: output.Write, PID: 2, UID: 1000, Comm: "cc1", Path: []byte("/a")},
		{Kind: output.Exec, PID: 2, UID: 1000, Comm: "cc1", Path: []byte("/a.tmp")},
		{Kind: output.Chdir, PID: 1, Comm: "sh", Path: []byte("/a.tmp")},
		{Kind: output.Exit, PID: 1, Comm: "sh"},
		{Kind: output.Rename, PID: 1, Comm: "mv", Path: []byte("/a.tmp"), Target: []byte("/b.tmp")},
		{Kind: output.Rename, PID: 1, Comm: "mv", Path: []byte("/a.tmp"), Target: []byte("/b")},
		{Kind: output.Link, PID: 1, Comm: "ln", Path: []byte("text"), Target: []byte("/b.tmp")},
		{Kind: output.Link, PID: 1, Comm: "ln", Path: []byte("/a.tmp"), Target: []byte("/b")},
		{Kind: output.Modify, PID: 3, UID: 0, Comm: "sh", Path: []byte("/c")},
	}
	for _, c := range []struct {
		name  string
		flags filterFlags
		kept  string // by the digit of the record
	}{
		{"nothing", filterFlags{}, "0123456789"},
		{"exclude", filterFlags{exclude: []string{"*.tmp"}}, "1234689"},
		{"path", filterFlags{path: []string{"*.tmp"}}, "0235678"},
		{"several paths", filterFlags{path: []string{"/a", "/c"}}, "19"},
		{"path but not", filterFlags{path: []string{"*.tmp"}, exclude: []string{"/b.tmp"}}, "023568"},
		{"letter", filterFlags{only: []string{"W"}}, "019"},
		{"name", filterFlags{only: []string{"write", "Exit"}}, "014"},
		{"pid", filterFlags{pid: []uint{2, 3}}, "129"},
		{"uid", filterFlags{uid: []string{"1000"}}, "12"},
		{"user", filterFlags{uid: []string{"root"}}, "03456789"},
		{"comm", filterFlags{comm: []string{"cc?", "l*"}}, "1278"},
		{"all at once", filterFlags{comm: []string{"sh"}, only: []string{"W"}, path: []string{"/a.tmp"}}, "0"},
	} {
		f, err := c.flags.compile()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		kept := ""
		for i := range some {
			if !f.drops(&some[i]) {
				kept += string(rune('0' + i))
			}
		}
		if kept != c.kept {
			t.Errorf("%s keeps %s, want %s", c.name, kept, c.kept)
		}
	}
}

func TestFilterRejects(t *testing.T) {
	for name, f := range map[string]filterFlags{
		"kind": {only: []string{"Q"}}, "no kind": {only: []string{""}}, "user": {uid: []string{"no such user"}}, "comm": {comm: []string{"["}},
		"path": {path: []string{"["}}, "exclude": {exclude: []string{""}},
	} {
		if _, err := f.compile(); err == nil {
			t.Errorf("a wrong %s is taken", name)
		}
	}
}
