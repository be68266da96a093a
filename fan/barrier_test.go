package fan

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A barrier on a filesystem that others use: its marks come out, and it leaves
// nothing behind.
func TestBarrierInDirectory(t *testing.T) {
	dir := tmpfs(t)
	fd, path, handle, err := newDir([]string{filepath.Join(dir, "nosuch"), "/proc", dir})
	if err != nil || filepath.Dir(path) != dir {
		t.Fatalf("made %q, %v; want a directory in %s", path, err, dir)
	}
	b, err := barrierIn(fd, path, handle)
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, Names, dir)
	touch(t, filepath.Join(dir, "0"))
	for want := uint64(1); want < 4; want++ {
		n, err := b.Raise()
		do(t, err, os.Rename(filepath.Join(dir, "0"), filepath.Join(dir, "m1")), os.Rename(filepath.Join(dir, "m1"), filepath.Join(dir, "0")))
		if n != want {
			t.Errorf("mark %d, want %d", n, want)
		}
	}
	var got []uint64
	buf := make([]byte, 1<<16)
	n, err := w.Read(buf)
	do(t, err)
	for rest := buf[:n]; len(rest) > 0; {
		var ev Event
		size, err := Decode(rest, &ev)
		do(t, err)
		if n := b.Mark(&ev); n != 0 {
			got = append(got, n)
		}
		rest = rest[size:]
	}
	if len(got) != 3 || got[0] != 1 || got[2] != 3 {
		t.Errorf("marks %d came out, want 1, 2 and 3", got)
	}
	do(t, b.Close())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v; want it to be gone", path, err)
	}
}

func TestBarrierNowhere(t *testing.T) {
	if _, _, _, err := newDir([]string{"/nosuch", "/proc"}); !errors.Is(err, ErrNotSupported) || errors.Is(err, unix.EPERM) {
		t.Errorf("got %v", err)
	}
}
