package kernels

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What init writes, with the carriage returns of a serial port; the last
// section did not end.
const written = "=== begin kernel\r\n5.10\r\n\r\n=== end kernel 0.0 ok\r\n" +
	"=== begin ext4\r\n--- PASS: TestScripts\r\n    --- PASS: TestScripts/a (1.0s)\r\n    --- FAIL: TestScripts/b (1.0s)\r\n" +
	"=== end other 1.0 ok\r\n\r\n=== end ext4 12.5 exit status 1\r\n=== begin xfs\r\n    --- PASS: TestScripts/a (1.0s)\r\n"

func TestParse(t *testing.T) {
	got := parse(written)
	want := map[string]section{
		"kernel": {"5.10", 0, "ok"},
		"ext4":   {"--- PASS: TestScripts\n    --- PASS: TestScripts/a (1.0s)\n    --- FAIL: TestScripts/b (1.0s)\n=== end other 1.0 ok", 12.5, "exit status 1"},
		"xfs":    {"    --- PASS: TestScripts/a (1.0s)", 0, ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(section{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := got["ext4"].passed(); n != 1 {
		t.Errorf("%d scripts passed, want 1", n)
	}
}

func TestTable(t *testing.T) {
	const want = "| kernel | ext4 | xfs |\n|---|---|---|\n| 5.10 | ok | failed |\n"
	if got := table([]string{"ext4", "xfs"}, []row{{"5.10", []string{"ok", "failed"}}}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
