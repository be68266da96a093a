package fanrec

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// resolve agrees with filepath.EvalSymlinks but for what is of a process itself.
func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"a", "a/b"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, text := range map[string]string{
		"rel": "a/b", "abs": at("a/b"), "up": "a/b/../..", "a/down": "../a", "loop": "loop2", "loop2": "loop", "gone": "nowhere", "dot": "./a/./b/",
	} {
		if err := os.Symlink(text, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(at("a/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, name := range []string{
		"", "a", "a/b", "rel", "abs", "up/a", "a/down/b", "rel/../b", "loop", "gone", "gone/x", "dot", "a/f", "a//b/", "up/up/up/rel", "../" + filepath.Base(dir),
	} {
		want, wantErr := filepath.EvalSymlinks(dir + "/" + name)
		got, err := resolve("", dir+"/"+name, 1, 1)
		if (err == nil) != (wantErr == nil) || err == nil && got != want {
			t.Errorf("%s: %s, %v; want %s, %v", name, got, err, want, wantErr)
		}
	}
	pid, tid := uint32(os.Getpid()), uint32(syscall.Gettid())
	fd := strconv.Itoa(int(file.Fd()))
	for path, want := range map[string]string{
		"/proc/self/fd/" + fd:        at("a/f"),
		"/dev/fd/" + fd:              at("a/f"),
		"/proc/thread-self/fd/" + fd: at("a/f"),
		"/proc/self":                 fmt.Sprintf("/proc/%d", pid),
		"/proc/self/task":            fmt.Sprintf("/proc/%d/task", pid),
		"/proc/self/cwd/a/b":         "",
	} {
		got, err := resolve("", path, pid, tid)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
	}
	if got, err := resolve("", "/proc/self/comm", uint32(os.Getppid()), 1); err != nil || got != fmt.Sprintf("/proc/%d/comm", os.Getppid()) {
		t.Errorf("of another process: %s, %v", got, err)
	}
}

// Where a path leads whose end is not there.
func TestReach(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for link, text := range map[string]string{"link": "a/b", "a/top": "/a", "loop": "loop", "gone": "no/x"} {
		if err := os.Symlink(text, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		root, from, path string
		want             string
		whole            bool
	}{
		{"", "", "a/b", "/a/b", true},
		{"", "", "link/", "/a/b", true},
		{"", "/a", "..//./link/../", "/a", true},
		{"", "", "no/x", "/no/x", true},
		{"", "", "link/no/x", "/a/b/no/x", true},
		{"", "", "no/x/../y", "/no/x", false},
		{"", "", "no/..", "/no", false},
		{"", "", "no/..x/y", "/no/..x/y", true},
		{"", "", "f/x", "/f/x", true},
		{"", "", "f/../x", "/f", false},
		{"", "", "gone/y", "/no/x/y", true},
		{"", "", "loop/y", "/loop/y", true},
		{"", "/gone/dir", "x", "/gone/dir/x", true},
		{"", "/gone/dir", "../../link/x", "/a/b/x", true},
		{"/a", "/a", "../../b", "/a/b", true},
		{"/a", "/a/b", "../top/x", "/a/a/x", true}, // the link begins at the root
		{"/a", "", "a/x", "/a/x", true},
	} {
		root := c.root
		if root != "" {
			root = dir + root
		}
		got, whole := realDisk{}.reach([]byte(root), []byte(dir+c.from), []byte(c.path), 1, 1)
		if string(got) != dir+c.want || whole != c.whole {
			t.Errorf("%q from %q with root %q: %s, %v; want %s, %v", c.path, c.from, c.root, got, whole, dir+c.want, c.whole)
		}
	}
	if got, _ := (realDisk{}).reach(nil, []byte("/"), []byte("proc/self/no"), 77777777, 1); string(got) != "/proc/77777777/no" {
		t.Errorf("of a process: %s", got)
	}
}
