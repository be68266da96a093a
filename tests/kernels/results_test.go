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
	if diff := cmp.Diff([]string{"b", "c"}, got["ext4"].missing([]string{"a", "b", "c"})); diff != "" {
		t.Errorf("scripts that did not pass (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	const want = "| kernel | ext4 | xfs |\n|---|---|---|\n| 5.10 | ok | failed |\n"
	if got := table([]string{"ext4", "xfs"}, []row{{"5.10", []string{"ok", "failed"}}}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReplace(t *testing.T) {
	const want = "a\n" + tableBegin + "new\n" + tableEnd + "b\n"
	if got, ok := replace("a\n"+tableBegin+"old\nold\n"+tableEnd+"b\n", "new\n"); !ok || got != want {
		t.Errorf("got %q, %v", got, ok)
	}
	if _, ok := replace("a\n"+tableBegin, "new\n"); ok {
		t.Error("replaced without an end")
	}
}

func TestDebianVersion(t *testing.T) {
	const version = "Linux version 5.10.0-46-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-10 (Debian 10.2.1-6) 10.2.1 20210110, " +
		"GNU ld (GNU Binutils for Debian) 2.35.2) #1 SMP Debian 5.10.262-1 (2026-11-11)"
	if got := debianVersion(version); got != "5.10.262" {
		t.Errorf("got %q", got)
	}
}
