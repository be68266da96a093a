// Package workload hands out source trees of real packages, for tests and benchmarks that need an honest configure
// script or build. fetch.sh puts them into .cache, once a machine.
package workload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The packages that fetch.sh gets.
const (
	Hello = "hello" // GNU hello: a long configure script, a short build
	Gdbm  = "gdbm"  // libtool: a short configure script, some forty C files compiled twice, archives, links, renames
)

// ErrNotFetched says that a tree is not in the cache. Its text says how to get it.
var ErrNotFetched = errors.New("source tree not fetched: run make workloads")

// Tree returns a fresh copy of the source tree name, below t.TempDir, ready for ./configure. The test is skipped if the
// tree has not been fetched.
func Tree(t testing.TB, name string) string {
	t.Helper()
	src, err := Find(name)
	if errors.Is(err, ErrNotFetched) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), name)
	if err := Copy(src, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// Find returns the path of the cached source tree name, or ErrNotFetched. It works from any directory inside the
// module.
func Find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	root, err := moduleRoot(dir)
	if err != nil {
		return "", err
	}
	tree := filepath.Join(root, "tests", "workload", ".cache", name)
	if _, err := os.Stat(tree); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", name, ErrNotFetched)
	} else if err != nil {
		return "", err
	}
	return tree, nil
}

// moduleRoot returns the nearest directory at or above dir that has a go.mod.
func moduleRoot(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod at or above %s", dir)
		}
	}
}

// Copy copies the tree src to dst, which must not exist: directories, regular files and symbolic links, with modes and
// modification times. The times matter: make rebuilds a configure script that looks older than its sources.
func Copy(src, dst string) error {
	type stamp struct {
		path string
		when time.Time
	}
	var dirs []stamp
	err := filepath.WalkDir(src, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch info.Mode().Type() {
		case fs.ModeDir:
			dirs = append(dirs, stamp{to, info.ModTime()})
			return os.Mkdir(to, info.Mode().Perm()|0o700)
		case fs.ModeSymlink:
			text, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if err := os.Symlink(text, to); err != nil {
				return err
			}
			return setTime(to, info.ModTime())
		case 0:
			if err := copyFile(path, to, info.Mode().Perm()); err != nil {
				return err
			}
			return setTime(to, info.ModTime())
		default:
			return fmt.Errorf("copy %s: %v is not copied", path, info.Mode().Type())
		}
	})
	if err != nil {
		return fmt.Errorf("copy tree %s: %w", src, err)
	}
	// Last, as every file made in a directory moves its time.
	for _, dir := range dirs {
		if err := setTime(dir.path, dir.when); err != nil {
			return fmt.Errorf("copy tree %s: %w", src, err)
		}
	}
	return nil
}

func copyFile(src, dst string, perm fs.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", src, err)
	}
	return out.Close()
}

// setTime sets both times of path itself, not of what a symbolic link points to.
func setTime(path string, when time.Time) error {
	ts, err := unix.TimeToTimespec(when)
	if err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
