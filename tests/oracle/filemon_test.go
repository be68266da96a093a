package oracle

import (
	"errors"
	"strings"
	"testing"

	"fanrec/output"

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
		{PID: 1, Line: 5, Record: Record{Letter: 'F', Child: 2}},
		{PID: 2, Line: 6, Record: Record{Letter: 'E', Path: "/bin/x y"}},
		{PID: 2, Line: 7, Record: Record{Letter: 'R', Path: " /leading blank"}},
		{PID: 2, Line: 8, Record: Record{Letter: 'W', Path: "/a"}},
		{PID: 2, Line: 9, Record: Record{Letter: 'D', Path: `/a\012b`}},
		{PID: 2, Line: 10, Record: Record{Letter: 'M', Path: "/a", Target: "/b"}},
		{PID: 2, Line: 11, Record: Record{Letter: 'D', Path: "/a"}}, // plain names have no companions
		{PID: 2, Line: 12, Record: Record{Letter: 'W', Path: "/b"}},
		{PID: 2, Line: 13, Record: Record{Letter: 'M', Path: "/a' 'b", Target: "/c"}},
		{PID: 2, Line: 16, Record: Record{Letter: 'M', Path: "/a", Target: "/b c"}},
		{PID: 2, Line: 19, Record: Record{Letter: 'M', Path: "/tab\ta", Target: "/b"}},
		{PID: 2, Line: 20, Record: Record{Letter: 'L', Path: "/a", Target: "/b"}},
		{PID: 2, Line: 21, Record: Record{Letter: 'L', Path: "te' 'xt", Target: "/b c"}},
		{PID: 2, Line: 24, Record: Record{Letter: 'C', Path: "/"}},
		{PID: 2, Line: 25, Record: Record{Letter: 'X', Code: 1, Signal: 9}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadFilemonErrors(t *testing.T) {
	const head = "# filemon version 5\n# Target pid 1\nV 5\n"
	for name, c := range map[string]struct {
		text, want string
		is         error
	}{
		"version 4": {"# filemon version 4\n# Target pid 1\nV 4\n# Bye bye\n", "log of version 4", nil},
		"no end":    {head + "# Stop 2.000000\n", "log is incomplete: no # Bye bye", ErrIncomplete},
		"said so":   {head + "# INCOMPLETE: queue overflow\nR 2\n# Stop 2.000000\n", "log is incomplete: queue overflow", ErrIncomplete},
		"malformed": {head + "R /a b\n# Bye bye\n", "log: line 4: ", output.ErrMalformed},
		"no header": {"R 2 /a\n", "log: line 1: ", output.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadFilemon(strings.NewReader(c.text))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
