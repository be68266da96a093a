package oracle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTold(t *testing.T) {
	trace, err := ReadStrace(strings.NewReader(`7  openat(AT_FDCWD</d>, "a", O_RDONLY) = 3</d/a>
7  symlink("W /d/new", "") = -1 ENOENT (No such file or directory)
7  symlink("M '/d/new' '/d/old'", "") = -1 ENOENT (No such file or directory)
7  symlink("+D /d/old", "") = -1 ENOENT (No such file or directory)
7  symlink("no record", "") = -1 ENOENT (No such file or directory)
7  symlink("W /d/new", "nowhere/link") = -1 ENOENT (No such file or directory)
7  +++ exited with 0 +++
`), "/d", testDisk{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Op{
		{PID: 7, Record: Record{Letter: 'R', Path: "/d/a"}, Line: 1, Begin: firstInstant(1), End: lastInstant(1)},
		{PID: 7, Record: Record{Letter: 'W', Path: "/d/new"}, Line: 2, Begin: lastInstant(1), End: firstInstant(2)},
		{PID: 7, Record: Record{Letter: 'M', Path: "/d/new", Target: "/d/old"}, Line: 3, Begin: lastInstant(2), End: firstInstant(3)},
		{PID: 7, Record: Record{Letter: 'D', Path: "/d/old"}, Line: 4, Begin: lastInstant(2), End: firstInstant(4)},
		{PID: 7, Record: Record{Letter: 'X'}, Line: 7, Begin: lastInstant(6), End: lastInstant(7)},
	}
	if diff := cmp.Diff(want, trace.Ops); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
