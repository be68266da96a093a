package oracle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReadCalls(t *testing.T) {
	const trace = `12 1700000000.000001 <... openat resumed>) = 3</cut/before>
12 1700000000.000002 openat(AT_FDCWD</w>, "a\"b\n", O_RDONLY) = 3</w/a"b\n>
13    1700000000.000003 unlinkat(4</d>, "x", AT_REMOVEDIR <unfinished ...>
12 1700000000.000004 openat(AT_FDCWD</w>, "nosuch", O_RDONLY) = -1 ENOENT (No such file or directory)
13    1700000000.000005 <... unlinkat resumed>) = 0
12 1700000000.000006 --- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=1, si_uid=0} ---
12 1700000000.000007 rename("from", "/to") = 0
12 1700000000.000008 openat(AT_FDCWD</w>, "gone", O_RDONLY) = 5</w/gone>(deleted)
13 1700000000.000009 +++ exited with 0 +++
12 1700000000.000010 openat(AT_FDCWD</w>, "never", O_RDONLY <unfinished ...>
`
	got, err := ReadCalls(strings.NewReader(trace), "/dir")
	if err != nil {
		t.Fatal(err)
	}
	want := []Call{
		{Thread: 12, Name: "openat", Opened: "/w/a\"b\n", Paths: []string{"/w/a\"b\n"}, Flags: "O_RDONLY"},
		{Thread: 13, Name: "unlinkat", Paths: []string{"/d/x"}, Flags: "AT_REMOVEDIR"},
		{Thread: 12, Name: "rename", Paths: []string{"/dir/from", "/to"}, Flags: `"/to"`},
		{Thread: 12, Name: "openat", Opened: "/w/gone", Paths: []string{"/w/gone"}, Flags: "O_RDONLY"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Call{}, "At")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, micros := range []int64{2, 5, 7, 8} {
		if n := got[i].At.UnixMicro(); n != 1700000000_000000+micros {
			t.Errorf("call %d is of %d", i, n)
		}
	}
	for _, bad := range []string{"12 x openat() = 0\n", "x 1.0 openat() = 0\n"} {
		if _, err := ReadCalls(strings.NewReader(bad), "/"); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
