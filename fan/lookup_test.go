package fan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func nobody(Inode) bool { return false }

// inodeOf returns the Inode that a group knows a directory as.
func (w *witness) inodeOf(path string) Inode {
	w.t.Helper()
	h := handleOf(w.t, path)
	i := w.Filesystems.Inode(&h)
	if i == (Inode{}) {
		w.t.Fatalf("%s is on no watched filesystem", path)
	}
	return i
}

// names returns the names of a chain of links, and fails unless each begins
// where the one before ends.
func names(t *testing.T, links []Link, from, to Inode) string {
	t.Helper()
	var names []string
	for _, l := range links {
		if l.Dir != from {
			t.Errorf("%q is of %+v, want %+v", l.Name, l.Dir, from)
		}
		from = l.Parent
		names = append(names, l.Name)
	}
	if from != to {
		t.Errorf("the links end at %+v, want %+v", from, to)
	}
	return strings.Join(names, " < ")
}

func TestLookup(t *testing.T) {
	onEach(t, func(t *testing.T, dir string, _ bool) {
		in := func(name string) string { return filepath.Join(dir, name) }
		do(t, os.MkdirAll(in("a/b/c"), 0o700))
		do(t, os.MkdirAll(in("a/x (deleted)/y (deleted)"), 0o700))
		do(t, os.MkdirAll(in("a/new\nline \xff"), 0o700))
		w := watch(t, Names|Opens, dir)
		root := w.Filesystems.Get(1).Root
		a, b, c := w.inodeOf(in("a")), w.inodeOf(in("a/b")), w.inodeOf(in("a/b/c"))
		w.events()

		for name, l := range map[string]struct {
			dir   Inode
			known func(Inode) bool
			to    Inode
			want  string
		}{
			"up to the root":          {c, nobody, root, "c < b < a"},
			"of what is in the root":  {a, nobody, root, "a"},
			"up to a known directory": {c, func(i Inode) bool { return i == a }, a, "c < b"},
			"of a child of a known":   {c, func(i Inode) bool { return i == b }, b, "c"},
			// It was asked for, so the caller wants to know where it is now.
			"of a known directory":   {c, func(i Inode) bool { return i == c }, root, "c < b < a"},
			"of the root":            {root, nobody, root, ""},
			"of a deceptive name":    {w.inodeOf(in("a/x (deleted)")), nobody, root, "x (deleted) < a"},
			"below a deceptive name": {w.inodeOf(in("a/x (deleted)/y (deleted)")), nobody, root, "y (deleted) < x (deleted) < a"},
			"of a name of any bytes": {w.inodeOf(in("a/new\nline \xff")), nobody, root, "new\nline \xff < a"},
		} {
			links, err := w.Filesystems.Lookup(l.dir, l.known)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := names(t, links, l.dir, l.to); got != l.want {
				t.Errorf("%s: %q, want %q", name, got, l.want)
			}
		}
		if got := formatted(w.events()); len(got) > 0 {
			t.Errorf("looking up has made events: %v", got)
		}

		do(t, os.Rename(in("a/b"), in("moved")))
		links, err := w.Filesystems.Lookup(c, nobody)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, links, c, root); got != "c < moved" {
			t.Errorf("after a rename: %q", got)
		}

		// Removed, with and without somebody who has it open still, and what
		// was in it. Its old name, and the kernel's word for it, are taken.
		held, err := os.Open(in("moved/c"))
		if err != nil {
			t.Fatal(err)
		}
		do(t, os.Remove(in("moved/c")), os.Mkdir(in("moved/c"), 0o700), os.Mkdir(in("moved/c (deleted)"), 0o700))
		if links, err := w.Filesystems.Lookup(c, nobody); !errors.Is(err, ErrGone) {
			t.Errorf("removed but open: %v, %v", links, err)
		}
		do(t, held.Close())
		if links, err := w.Filesystems.Lookup(c, nobody); !errors.Is(err, ErrGone) {
			t.Errorf("removed: %v, %v", links, err)
		}
		y := w.inodeOf(in("a/x (deleted)/y (deleted)"))
		do(t, os.RemoveAll(in("a/x (deleted)")))
		if links, err := w.Filesystems.Lookup(y, nobody); !errors.Is(err, ErrGone) {
			t.Errorf("removed with its parent: %v, %v", links, err)
		}
		for name, i := range map[string]Inode{"zero": {}, "of a filesystem too many": {Ino: 2, FS: 2}} {
			if links, err := w.Filesystems.Lookup(i, nobody); !errors.Is(err, ErrGone) {
				t.Errorf("%s: %v, %v", name, links, err)
			}
		}
	})
}

// A mount of a part of a filesystem ends at its root; events come of all of it.
func TestLookupBelowBindMount(t *testing.T) {
	top := tmpfs(t)
	do(t, os.MkdirAll(filepath.Join(top, "sub/dir"), 0o700), os.Mkdir(filepath.Join(top, "other"), 0o700))
	part := t.TempDir()
	mount(t, filepath.Join(top, "sub"), part, "", unix.MS_BIND, "")
	w := watch(t, Names, part)
	root := w.Filesystems.Get(1).Root
	if sub := w.inodeOf(filepath.Join(top, "sub")); root != sub {
		t.Errorf("the root is %+v, want %+v", root, sub)
	}
	if m := mountOn(t, part); m.Root != "/sub" {
		t.Errorf("mounted is %q, want /sub", m.Root)
	}
	dir := w.inodeOf(filepath.Join(part, "dir"))
	links, err := w.Filesystems.Lookup(dir, nobody)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, links, dir, root); got != "dir" {
		t.Errorf("below the mount: %q", got)
	}
	touch(t, filepath.Join(top, "other/f"))
	evs := w.events()
	if len(evs) != 1 {
		t.Fatalf("%d events of what is not below the mount, want 1", len(evs))
	}
	other := w.Filesystems.Inode(&evs[0].Dir)
	if links, err := w.Filesystems.Lookup(other, nobody); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("a directory that the mount does not show was found: %+v, %v", links, err)
	} else if !strings.Contains(err.Error(), part) {
		t.Errorf("the error does not tell of which mount: %v", err)
	}
}

// What is mounted on a directory, or on one above, does not hide it from its
// handle.
func TestLookupBelowOtherMount(t *testing.T) {
	// A shared mount hands on what is mounted on it to its clones.
	for name, propagation := range map[string]uintptr{"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED} {
		t.Run(name, func(t *testing.T) {
			dir := tmpfs(t)
			do(t, unix.Mount("", dir, "", propagation, ""))
			sub := filepath.Join(dir, "a/b")
			do(t, os.MkdirAll(sub, 0o700))
			w := watch(t, Names, dir)
			b := w.inodeOf(sub)
			mount(t, "none", filepath.Join(dir, "a"), "tmpfs", 0, "")
			mount(t, "none", dir, "tmpfs", 0, "")
			links, err := w.Filesystems.Lookup(b, nobody)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, links, b, w.Filesystems.Get(1).Root); got != "b < a" {
				t.Errorf("found %q", got)
			}
		})
	}
}

// A directory that is renamed all the time is found where it was at some moment,
// and not half here and half there.
func TestLookupDuringRenames(t *testing.T) {
	dir := tmpfs(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	// Each directory has a namesake where the other one is.
	for _, d := range []string{"a/p/x/y", "b/q", "a/q", "b/p"} {
		do(t, os.MkdirAll(in(d), 0o700))
	}
	w := watch(t, Names, dir)
	y, root := w.inodeOf(in("a/p/x/y")), w.Filesystems.Get(1).Root
	called := map[Inode]string{
		y: "y", w.inodeOf(in("a/p/x")): "x", w.inodeOf(in("a/p")): "p", w.inodeOf(in("b/q")): "q", w.inodeOf(in("a")): "a", w.inodeOf(in("b")): "b",
	}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		here, there := in("a/p/x"), in("b/q/x")
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := os.Rename(here, there); err != nil {
				stopped <- err
				return
			}
			here, there = there, here
		}
	}()
	defer func() {
		close(stop)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	found := map[string]int{}
	for range 2000 {
		links, err := w.Filesystems.Lookup(y, nobody)
		if err != nil {
			if !errors.Is(err, errRenamed) {
				t.Fatal(err)
			}
			continue
		}
		got := names(t, links, y, root)
		found[got]++
		for _, l := range links {
			if called[l.Dir] != l.Name {
				t.Fatalf("%q is called %q", called[l.Dir], l.Name)
			}
		}
		if got != "y < x < p < a" && got != "y < x < q < b" {
			t.Fatalf("found %q", got)
		}
	}
	if len(found) == 0 {
		t.Error("never found: nothing was tested")
	}
}

// deep makes directories of one letter below each other and returns the last.
// The path of the last is longer than any that the kernel takes.
func deep(t *testing.T, dir string, depth int) Handle {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range depth {
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkdirat(fd, "d", 0o700); err != nil {
			t.Fatal(err)
		}
		var next int
		next, err = unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		fd = next
	}
	defer unix.Close(fd)
	return handleOf(t, fmt.Sprintf("/proc/self/fd/%d/.", fd))
}

func TestLookupDeep(t *testing.T) {
	dir := tmpfs(t)
	w := watch(t, Names, dir)
	for _, depth := range []int{100, 1000, 2000} {
		top := filepath.Join(dir, fmt.Sprint(depth))
		do(t, os.Mkdir(top, 0o700))
		h := deep(t, top, depth)
		i := w.Filesystems.Inode(&h)
		links, err := w.Filesystems.Lookup(i, nobody)
		if err != nil {
			t.Errorf("%d directories deep: %v", depth, err)
			continue
		}
		want := strings.Repeat("d < ", depth) + fmt.Sprint(depth)
		if diff := cmp.Diff(want, names(t, links, i, w.Filesystems.Get(1).Root)); diff != "" {
			t.Errorf("%d directories deep (-want +got):\n%s", depth, diff)
		}
	}
	// Beyond what the kernel can name it is not found, which is not the same as gone.
	h := deep(t, dir, 3000)
	i := w.Filesystems.Inode(&h)
	if links, err := w.Filesystems.Lookup(i, nobody); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("%d directories deep: %d links, %v", 3000, len(links), err)
	}
}
