package workload

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestCopyKeepsModesTimesAndLinks(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	old := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	must(t, os.MkdirAll(filepath.Join(src, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(src, "sub", "script"), []byte("#!/bin/sh\n"), 0o750))
	must(t, os.Symlink("sub/nowhere", filepath.Join(src, "link")))
	must(t, setTime(filepath.Join(src, "link"), old))
	must(t, setTime(filepath.Join(src, "sub", "script"), old))
	must(t, setTime(filepath.Join(src, "sub"), old))

	dst := filepath.Join(t.TempDir(), "dst")
	must(t, Copy(src, dst))

	for _, name := range []string{"sub", "sub/script", "link"} {
		want, err := os.Lstat(filepath.Join(src, name))
		must(t, err)
		got, err := os.Lstat(filepath.Join(dst, name))
		must(t, err)
		if got.Mode() != want.Mode() || !got.ModTime().Equal(old) {
			t.Errorf("%s: mode %v time %v, want %v %v", name, got.Mode(), got.ModTime(), want.Mode(), old)
		}
	}
	if text, err := os.Readlink(filepath.Join(dst, "link")); err != nil || text != "sub/nowhere" {
		t.Errorf("link: %q, %v", text, err)
	}
}

func TestCopyRefusesAnExistingPlace(t *testing.T) {
	if err := Copy(t.TempDir(), t.TempDir()); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v, want %v", err, os.ErrExist)
	}
}

func TestFindSaysHowToGetWhatIsNotThere(t *testing.T) {
	if _, err := Find("no-such-package"); !errors.Is(err, ErrNotFetched) {
		t.Errorf("got %v, want %v", err, ErrNotFetched)
	}
}

// A tree that was touched or half copied makes make run autoconf: "make -n Makefile" after configure would say so.
func TestTreeConfiguresAndBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a package")
	}
	dir := Tree(t, Gdbm)
	for _, command := range [][]string{{"./configure", "-q"}, {"make", "-s"}} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
