package fanrec

import (
	"testing"

	"fanrec/fan"
	"fanrec/proctree"
)

// A process's own name of a file is told where it has no name that the recorder
// has, and the shortest if it has several.
func TestSeen(t *testing.T) {
	mount := func(id, parent int, dev uint32, root, at string) fan.Mount {
		return fan.Mount{ID: id, Parent: parent, Dev: dev, Root: root, Mountpoint: at}
	}
	here := []fan.Mount{mount(1, 1, 8, "/", "/"), mount(2, 1, 9, "/", "/srv")}
	const copied, container, gone = 2, 3, 4
	j := &joiner{mounts: mountTables{now: fan.NewMountTable(here), others: map[uint32]*fan.MountTable{
		// As unshare leaves it, with a directory mounted once more.
		copied: fan.NewMountTable(append([]fan.Mount{mount(3, 1, 8, "/box", "/b")}, here...)),
		// A directory is the root, and the old root is under it.
		container: fan.NewMountTable([]fan.Mount{mount(4, 4, 8, "/box", "/"), mount(5, 4, 8, "/", "/old"), mount(6, 4, 10, "/", "/tmp")}),
	}}}
	for _, c := range []struct {
		path, root string
		ns         uint32
		want       string
	}{
		{"/box/a", "", 0, ""},
		{"/box/a", "/box", 0, "/a"},
		{"/box", "/box", 0, "/"},
		{"/boxes", "/box", 0, ""}, // it came in by a descriptor
		{"/box/a", "", copied, ""},
		{"/srv/a", "", copied, ""},
		{"/box/c/a", "/box/c", copied, "/a"},
		{"/box/a", "", container, "/a"},
		{"/box", "", container, "/"},
		{"/etc/a", "", container, "/old/etc/a"},
		{"/srv/a", "", container, ""}, // is not mounted there
		{"/box/c/a", "/box/c", container, "/a"},
		{"/box/a", "", gone, ""},
		{"text", "/box", 0, ""},
		{"", "/box", 0, ""},
	} {
		p := &proctree.Process{MountNS: c.ns}
		if c.root != "" {
			p.Root = []byte(c.root)
		}
		got, ok := j.appendSeen(nil, p, []byte(c.path))
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s with root %q in namespace %d: %q, %v, want %q", c.path, c.root, c.ns, got, ok, c.want)
		}
	}
}
