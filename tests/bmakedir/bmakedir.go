// Package bmakedir makes directories for tests in which bmake(1) looks at the
// records of its .meta files.
package bmakedir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ignored are the paths that bmake does not look at: .MAKE.META.IGNORE_PATHS.
var ignored = []string{"/dev/", "/etc/", "/proc/", "/tmp/", "/var/run/", "/var/tmp/"}

// Ignored tells whether bmake does not look at a path.
func Ignored(path string) bool {
	return slices.ContainsFunc(ignored, func(dir string) bool { return strings.HasPrefix(path, dir) })
}

// Make makes a directory that is there until the test ends. It skips the test
// where no such directory can be written to.
func Make(t *testing.T) string {
	t.Helper()
	for _, base := range []string{"/var/lib", "/opt", "/usr/local", os.Getenv("HOME")} {
		base, err := filepath.EvalSymlinks(base)
		if err != nil || Ignored(base+"/") {
			continue
		}
		if dir, err := os.MkdirTemp(base, "fanrec-test-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	t.Skip("no directory to write to that bmake does not ignore")
	return ""
}
