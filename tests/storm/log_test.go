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
	want := Log{Target: 12, Complete: true, Records: []Record{
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
	log, err := Parse(strings.NewReader(header + "R 12 /a\nR 12\n"))
	if err != nil || log.Complete || !log.Poisoned || len(log.Records) != 1 {
		t.Errorf("got %+v, %v", log, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"another version":     strings.Replace(header, "5", "4", 1),
		"no target":           strings.Replace(header, "12", "", 1),
		"start without micro": strings.Replace(header, ".123456", "", 1),
		"no V":                strings.Replace(header, "V 5", "R 12 /a", 1),
		"unknown kind":        header + "Q 12 /a\n",
		"no pid":              header + "R /a\n",
		"no path":             header + "W 12\n",
		"empty line":          header + "\n",
		"one name":            header + "M 12 '/a'\n",
		"unquoted":            header + "M 12 /a /b\n",
		"X without signal":    header + "X 12 0\n",
		"no newline":          header + "R 12 /a",
		"after the footer":    header + "# Stop 1.000000\n# Bye bye\nR 12 /a\n",
		"in the footer":       header + "# Stop 1.000000\nR 12 /a\n# Bye bye\n",
	} {
		if log, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read as %+v", name, log)
		}
	}
}
