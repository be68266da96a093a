package claim

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTake(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first, second := write(), write()
	read, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if Taken(read) {
		t.Error("taken by nobody")
	}
	if err := Take(first); err != nil {
		t.Fatal(err)
	}
	if err := Take(first); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := Take(second); !errors.Is(err, ErrTaken) {
		t.Errorf("the second: %v", err)
	}
	if !Taken(read) {
		t.Error("not taken")
	}
	// Who only reads it, with a lock or without, keeps nobody from writing it.
	other := filepath.Join(filepath.Dir(name), "other")
	to, err := os.Create(other)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	reader, err := os.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := control(reader, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}); err != nil {
		t.Fatal(err)
	}
	if err := Take(to); err != nil || Taken(to) {
		t.Errorf("with a reader: %v, taken %v", err, Taken(to))
	}
	first.Close()
	if Taken(read) {
		t.Error("taken after it was closed")
	}
	if err := Take(second); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestNoFile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := Take(w); err != nil {
		t.Error(err)
	}
	if Taken(r) {
		t.Error("a pipe is taken")
	}
}
