package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanrec/tests/oracle/programs"
	"fanrec/tests/workload"

	"golang.org/x/sys/unix"
)

// recorder is the recorder to judge.
func recorder(t *testing.T) string {
	t.Helper()
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
	return fanrec
}

// One run of each program that takes about a second. make oracle-all has the others, ten times each.
func TestPrograms(t *testing.T) {
	fanrec := recorder(t)
	for _, p := range programs.All {
		if !p.Fast {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			for again := p.Races; ; again = false {
				var out strings.Builder
				all, agreed, err := runPrograms(&config{
					fanrec: fanrec, runs: 1, workers: 1, oneRun: true, most: 20, timeout: 2 * time.Minute,
				}, []programs.Program{p}, &out)
				t.Log(out.String())
				switch {
				case err != nil:
					t.Fatal(err)
				case all[0].cannotRun != nil:
					t.Skip(all[0].cannotRun)
				case all[0].same.failed == 0 && agreed:
					return
				case !again:
					t.Error("fanrec and strace differ")
					return
				}
			}
		})
	}
}

// The oracle on real packages: what strace saw of their configure scripts and builds is what the recorder says, in the same run and in runs of their
// own.
func TestPackages(t *testing.T) {
	fanrec := recorder(t)
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
