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
