package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const digits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestContainerID(t *testing.T) {
	for base, want := range map[string]string{
		"docker-" + digits + ".scope":         digits,
		"libpod-" + digits + ".scope":         digits,
		"cri-containerd-" + digits + ".scope": digits,
		"crio-" + digits + ".scope":           digits,
		digits:                                digits,
		"libpod-conmon-" + digits + ".scope":  "", // who looks after it
		"crio-conmon-" + digits + ".scope":    "",
		digits[1:]:                            "",
		"x" + digits:                          "",
		strings.ToUpper(digits):               "",
		"nginx.service":                       "",
		"":                                    "",
	} {
		if got := ContainerID(base); got != want {
			t.Errorf("%q is of %q, want %q", base, got, want)
		}
	}
}

// real returns a hierarchy that is mounted, and a group of its own in it.
func real(t *testing.T, names ...string) (tree *Tree, own string) {
	t.Helper()
	tree, err := Mounted()
	if errors.Is(err, ErrNotMounted) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("to make cgroups needs root")
	}
	own = "/fanrec-cgroup-test-" + strconv.Itoa(os.Getpid())
	var made []string
	t.Cleanup(func() {
		for i := len(made) - 1; i >= 0; i-- {
			os.Remove(made[i])
		}
	})
	for _, name := range append([]string{""}, names...) {
		dir := filepath.Join(tree.mount, own, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		made = append(made, dir)
	}
	return tree, own
}

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestFind(t *testing.T) {
	a, b := "a"+digits[1:], "b"+digits[1:]
	tree, own := real(t, "web.service", "web.service/below", "docker-"+a+".scope", "libpod-"+b+".scope", "libpod-conmon-"+b+".scope")
	is := func(what string, g Group, err error, path string) {
		t.Helper()
		if err != nil || g.Path != path || g.ID != inode(t, tree.Dir(path)) {
			t.Errorf("%s: %+v, %v, want %s", what, g, err, path)
		}
	}
	g, err := tree.Unit("web")
	is("unit", g, err, own+"/web.service")
	g, err = tree.Unit("web.service")
	is("unit with its suffix", g, err, own+"/web.service")
	g, err = tree.Container(a[:12])
	is("container", g, err, own+"/docker-"+a+".scope")
	g, err = tree.Container(b)
	is("container with a monitor", g, err, own+"/libpod-"+b+".scope")
	g, err = tree.Path(own + "/web.service/")
	is("path", g, err, own+"/web.service")
	g, err = tree.Path(filepath.Join(tree.mount, own, "web.service", "below"))
	is("path of the file system", g, err, own+"/web.service/below")
	g, err = tree.Path(tree.mount)
	is("the root's path", g, err, "/")
	g, err = tree.All()
	is("all", g, err, "/")

	g, err = tree.Unit("nosuch")
	if !errors.Is(err, ErrNone) || g != (Group{Path: "/system.slice/nosuch.service"}) {
		t.Errorf("a unit that does not run: %+v, %v", g, err)
	}
	g, err = tree.Path(own + "/nosuch")
	if !errors.Is(err, ErrNone) || g != (Group{Path: own + "/nosuch"}) {
		t.Errorf("a path that is not there: %+v, %v", g, err)
	}
	for _, id := range []string{"abcd", "", "a"} {
		if g, err := tree.Container(id); err == nil {
			t.Errorf("container %q: %+v", id, g)
		}
	}
	// Two that begin alike.
	c, d := "cc"+digits[2:], "cc"+"f"+digits[3:]
	for _, id := range []string{c, d} {
		dir := filepath.Join(tree.mount, own, "crio-"+id+".scope")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(dir)
	}
	if g, err := tree.Container("cc23"); err != nil || !strings.Contains(g.Path, c) {
		t.Errorf("the one of two: %+v, %v", g, err)
	}
}
