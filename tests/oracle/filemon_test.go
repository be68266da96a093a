package oracle

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadFilemon(t *testing.T) {
	got := parseLog(t, `# Start 1.000000
F 1 2
E 2 /bin/x y
R 2  /leading blank
W 2 /a
D 2 /a\012b
M 2 '/a' '/b'
D 2 /a
W 2 /b
M 2 '/a' 'b' '/c'
D 2 /a' 'b
W 2 /c
M 2 '/a' '/b c'
D 2 /a
W 2 /b c
M 2 '/tab	a' '/b'
L 2 '/a' '/b'
# L 2 'te' 'xt' '/b c'
W 2 /b c
# L is no record here
C 2 /
X 2 1 9
# Stop 2.000000
`)
	want := []Op{
		{PID: 1, Line: 4, Record: Record{Letter: 'F', Child: 2}},
		{PID: 2, Line: 5, Record: Record{Letter: 'E', Path: "/bin/x y"}},
		{PID: 2, Line: 6, Record: Record{Letter: 'R', Path: " /leading blank"}},
		{PID: 2, Line: 7, Record: Record{Letter: 'W', Path: "/a"}},
		{PID: 2, Line: 8, Record: Record{Letter: 'D', Path: `/a\012b`}},
		{PID: 2, Line: 9, Record: Record{Letter: 'M', Path: "/a", Target: "/b"}},
		{PID: 2, Line: 10, Record: Record{Letter: 'D', Path: "/a"}}, // plain names have no companions
		{PID: 2, Line: 11, Record: Record{Letter: 'W', Path: "/b"}},
		{PID: 2, Line: 12, Record: Record{Letter: 'M', Path: "/a' 'b", Target: "/c"}},
		{PID: 2, Line: 15, Record: Record{Letter: 'M', Path: "/a", Target: "/b c"}},
		{PID: 2, Line: 18, Record: Record{Letter: 'M', Path: "/tab\ta", Target: "/b"}},
		{PID: 2, Line: 19, Record: Record{Letter: 'L', Path: "/a", Target: "/b"}},
		{PID: 2, Line: 20, Record: Record{Letter: 'L', Path: "te' 'xt", Target: "/b c"}},
		{PID: 2, Line: 23, Record: Record{Letter: 'C', Path: "/"}},
		{PID: 2, Line: 24, Record: Record{Letter: 'X', Code: 1, Signal: 9}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadFilemonErrors(t *testing.T) {
	const head, foot = "# filemon version 5\nV 5\n", "# Stop 2.000000\n# Bye bye\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "log does not begin"},
		"version 4":         {"# filemon version 4\nV 4\n" + foot, "log does not begin"},
		"no end":            {head + "# Stop 2.000000\n", "log is incomplete: no # Bye bye"},
		"said so":           {head + "# INCOMPLETE: queue overflow\nR 2\n# Stop 2.000000\n", "log is incomplete: no # Bye bye; queue overflow"},
		"cut":               {head + "R 2 /a", "read log: last line without newline"},
		"more after":        {head + foot + "R 2 /a\n", "log is incomplete"},
		"blank line":        {head + "\n" + foot, "log line 3: not a record"},
		"bare comment":      {head + "#\n" + foot, "log line 3: not a record"},
		"no path":           {head + "R 2\n" + foot, "log line 3: nothing after the process id"},
		"no pid":            {head + "R /a b\n" + foot, "log line 3: no process id"},
		"letter":            {head + "A 2 /a\n" + foot, "log line 3: unknown letter"},
		"rename, blank":     {head + "M 2 '/a b' '/c'\n" + foot, "log line 3: "},
		"rename, wrong D":   {head + "M 2 '/a b' '/c'\nD 2 /a\nW 2 /c\n" + foot, "log line 3: "},
		"rename, other pid": {head + "M 2 '/a b' '/c'\nD 2 /a b\nW 3 /c\n" + foot, "log line 3: "},
		"rename, bare":      {head + "M 2 /a /b\n" + foot, "log line 3: not two plain names"},
		"link, blank":       {head + "L 2 '/a b' '/c'\n" + foot, "log line 3: "},
		"link, no W":        {head + "# L 2 '/a b' '/c'\n" + foot, "log line 3: link in a comment"},
		"link, wrong W":     {head + "# L 2 '/a b' '/c'\nW 2 /d\n" + foot, "log line 3: link in a comment"},
		"exit of version 4": {head + "X 2 0\n" + foot, "log line 3: signal"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadFilemon(strings.NewReader(c.text))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if incomplete := strings.Contains(c.want, "incomplete"); incomplete != errors.Is(err, ErrIncomplete) {
				t.Errorf("is ErrIncomplete: %v", !incomplete)
			}
		})
	}
}
