package main

import (
	"errors"
	"strings"
	"testing"

	"fanrec/ebpf"

	"golang.org/x/sys/unix"
)

func TestReport(t *testing.T) {
	found := []finding{
		{ok, "barrier", "works"},
		{degraded, "/mnt/a\nb", "less"},
		{missing, "/a/mount/point/of/an/uncommon/length", "none"},
	}
	const want = "" +
		"ok        barrier   works\n" +
		"degraded  /mnt/a?b  less\n" +
		"missing   /a/mount/point/of/an/uncommon/length  none\n"
	var b strings.Builder
	if err := report(&b, found, false); err != nil || b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := report(&b, found[:1], true); err != nil || b.String() != "\x1b[32mok      \x1b[0m  barrier  works\n" {
		t.Errorf("got %q", b.String())
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		f    ebpf.Feature
		want state
	}{
		{ebpf.Feature{Name: "x", Use: "it"}, ok},
		{ebpf.Feature{Name: "x", Err: ebpf.ErrNotSupported, Without: "slower"}, degraded},
		{ebpf.Feature{Name: "x", Err: ebpf.ErrNotSupported}, missing},
		// Nobody knows what would be without it.
		{ebpf.Feature{Name: "x", Err: unix.EPERM, Without: "slower"}, missing},
		{ebpf.Feature{Name: "x", Err: errors.New("odd")}, missing},
	} {
		if got := judge(c.f); got.state != c.want {
			t.Errorf("%+v is %v, want %v", c.f, got, c.want)
		}
	}
}
