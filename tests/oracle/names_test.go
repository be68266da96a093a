package oracle

import "testing"

func TestWalk(t *testing.T) {
	disk := testDisk{links: map[string]string{
		"/lib": "usr/lib", "/a/abs": "/usr", "/a/loop": "loop", "/a/up": "../b/c", "/a/dot": ".", "/a/rel": "abs/lib/", "/proc/mounts": "self/mounts",
	}}
	tr := newTree(disk)
	v := view{cwd: tr.at("/a/b"), root: tr.root, magic: func(path string) (string, bool, bool) {
		switch path {
		case "/proc/self":
			return "7", true, true
		case "/proc/7/fd/3":
			return "/x/y z", true, true
		case "/proc/7/fd/4":
			return "", true, false
		}
		return "", false, true
	}}
	jail := view{cwd: tr.at("/jail/in"), root: tr.at("/jail")}
	for _, c := range []struct {
		v      view
		path   string
		follow bool
		want   string // empty if it cannot be told
	}{
		{v, "x", false, "/a/b/x"},
		{v, ".", false, "/a/b"},
		{v, "./x/", false, "/a/b/x"},
		{v, "../../../..", false, "/"},
		{v, "/", false, "/"},
		{v, "/lib/x", false, "/usr/lib/x"},
		{v, "/lib", false, "/lib"},
		{v, "/lib", true, "/usr/lib"},
		{v, "/lib/", false, "/usr/lib"},
		{v, "/lib/..", false, "/usr"},
		{v, "../abs/x", false, "/usr/x"},
		{v, "../rel", true, "/usr/lib"},
		{v, "../rel/../x", false, "/usr/x"},
		{v, "../up/x", false, "/b/c/x"},
		{v, "../dot/dot/dot/x", false, "/a/x"},
		{v, "../loop/x", false, ""},
		{v, "../loop", false, "/a/loop"},
		{v, "/proc/self/fd/3", true, "/x/y z"},
		{v, "/proc/self/fd/3", false, "/proc/7/fd/3"},
		{v, "/proc/self/fd/3/../w", true, "/x/w"},
		{v, "/proc/self/fd/4", true, ""},
		{v, "/proc/mounts", true, "/proc/7/mounts"},
		{v, "/processes/x", true, "/processes/x"},
		{jail, "/x", false, "/jail/x"},
		{jail, "../../x", false, "/jail/x"},
		{view{cwd: tr.at("/out/side"), root: tr.at("/jail")}, "../x", false, "/out/x"},
	} {
		at, ok := tr.walk(c.v, c.v.cwd, c.path, c.follow)
		got := ""
		if ok {
			got = at.path()
		}
		if got != c.want {
			t.Errorf("%s (follow %v): got %q, want %q", c.path, c.follow, got, c.want)
		}
	}
}

func TestTreeChanges(t *testing.T) {
	disk := testDisk{links: map[string]string{"/d/link": "/usr", "/e/link": "/opt"}}
	tr := newTree(disk)
	v := view{cwd: tr.root, root: tr.root}
	at := func(path string) place {
		p, ok := tr.walk(v, v.cwd, path, false)
		if !ok {
			t.Fatalf("%s leads nowhere", path)
		}
		return p
	}
	check := func(path, want string) {
		t.Helper()
		if got := at(path).path(); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	check("/d/link/x", "/usr/x")
	tr.rename(at("/d"), at("/f")) // the links of a directory go with it
	check("/f/link/x", "/usr/x")
	tr.create(at("/d"))
	check("/d/link/x", "/d/link/x")
	tr.exchange(at("/f"), at("/d"))
	check("/d/link/x", "/usr/x")
	check("/f/link/x", "/f/link/x")
	tr.symlink(at("/s"), "e/link")
	check("/s/x", "/opt/x")
	tr.hardlink(at("/s"), at("/h"))
	if !tr.same(at("/s"), at("/h")) || tr.same(at("/s"), at("/e/link")) || !tr.same(at("/e"), at("/e")) {
		t.Error("hard links are not told from other names")
	}
	tr.remove(at("/s"))
	check("/h/x", "/opt/x")
	tr.create(at("/s"))
	check("/s/x", "/s/x")
	if tr.same(at("/s"), at("/h")) {
		t.Error("a new file is taken for the old one")
	}
}
