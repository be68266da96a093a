package fanrec

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRealPath(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	jail := filepath.Join(top, "jail")
	if err := os.MkdirAll(filepath.Join(jail, "dir", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "jail/file", "jail/dir/file"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"abs": "/file", "dir/abs": "/dir/file", "sub": "dir/sub", "up": "../file", "loop": "loop"} {
		if err := os.Symlink(text, filepath.Join(jail, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ dir, path, want string }{
		{jail, "file", "jail/file"},
		{jail, "dir/../file", "jail/file"},
		{jail, "sub/..", "jail/dir"}, // not by the text alone
		{jail, "sub/../file", "jail/dir/file"},
		{jail, "up", "file"},
		{jail, "/up", "jail/file"}, // the root's parent is the root
		{jail, "/abs", "jail/file"},
		{jail, "/../../dir/abs", "jail/dir/file"},
		{jail, "loop", ""},
		{jail, "nowhere", ""},
		{filepath.Join(top, "nowhere"), "file", ""},
		{"/", "/proc/self", ""},
		{"/", "/proc/self/cwd", ""},
		{"/", "/proc/thread-self/root/etc", ""},
		{"/", "/dev/fd/0", ""},
	} {
		if c.want != "" {
			c.want = filepath.Join(top, c.want)
		}
		got, ok := realPath([]byte(c.dir), []byte(c.path))
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s in %s: %q, want %q", c.path, c.dir, got, c.want)
		}
	}
}
