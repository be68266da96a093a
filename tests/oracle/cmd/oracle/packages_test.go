package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanrec/tests/workload"

	"golang.org/x/sys/unix"
)

// The oracle on real packages: what strace saw of their configure scripts and builds is what the recorder says, in the same run and in runs of their
// own.
func TestPackages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: fanotify marks and BPF")
	}
	if testing.Short() {
		t.Skip("takes minutes")
	}
	fanrec := os.Getenv("FANREC")
	if fanrec == "" {
		fanrec = filepath.Join("..", "..", "..", "..", "bin", "fanrec")
	}
	fanrec, err := filepath.Abs(fanrec)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Access(fanrec, unix.X_OK); err != nil {
		t.Fatalf("no recorder %s: %v; run make", fanrec, err)
	}
	const build = "./configure && make -j2"
	// Jobs of one make race for who makes a directory first: two runs of it are not the same.
	const serial = "./configure && make"
	for _, tt := range []struct {
		name, pkg, command string
		free               bool
		runs, parallel     int
	}{
		{"configure in one run", "hello", "./configure", false, 1, 1},
		{"build in one run", "gdbm", build, false, 1, 1},
		{"configure in runs of their own, three at a time", "hello", "./configure", true, 3, 3},
		{"build in runs of their own, three at a time", "gdbm", serial, true, 3, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			agreed, err := run(&config{
				fanrec: fanrec, free: tt.free, runs: tt.runs, workers: tt.parallel, source: workload.Tree(t, tt.pkg),
				most: 20, timeout: 10 * time.Minute, command: []string{"sh", "-c", tt.command},
			}, &out)
			t.Log(out.String())
			if err != nil {
				t.Fatal(err)
			}
			if !agreed {
				t.Error("fanrec and strace differ")
			}
		})
	}
}
