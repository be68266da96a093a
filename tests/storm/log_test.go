package storm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const header = "# filemon version 5\n# Target pid 12\n# Start 1700000000.123456\nV 5\n"

func TestParseRecords(t *testing.T) {
	log, err := Parse(strings.NewReader(header +
		"E 12 /bin/a b\nF 12 13\nR 13 /a b\nM 13 '/a b' '/c'\nL 13 'text' '/d'\n# a remark\nX 13 0 9\nX 12 255 0\n" +
		"# Stop 1700000001.000000\n# Bye bye\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Log{Target: 12, Records: []Record{
		{Kind: 'E', Pid: 12, Path: "/bin/a b"},
		{Kind: 'F', Pid: 12, Child: 13},
		{Kind: 'R', Pid: 13, Path: "/a b"},
		{Kind: 'M', Pid: 13, Path: "/a b", To: "/c"},
		{Kind: 'L', Pid: 13, Path: "text", To: "/d"},
		{Kind: 'X', Pid: 13, Signal: 9},
		{Kind: 'X', Pid: 12, Code: 255},
	}}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Error(diff)
	}
}

func TestParseIncomplete(t *testing.T) {
	log, err := Parse(strings.NewReader(header + "R 12 /a\n# INCOMPLETE: events were lost\nR 12\n"))
	want := Log{Target: 12, Records: []Record{{Kind: 'R', Pid: 12, Path: "/a"}}, Incomplete: []string{"events were lost"}}
	if diff := cmp.Diff(want, log); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", header + "R 12 /a", header + "Q 12 /a\n"} {
		if log, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q: read as %+v", text, log)
		}
	}
}
