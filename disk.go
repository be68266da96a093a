package fanrec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// disk is what can be asked about paths that are known only as a text. It
// answers for now, which is some milliseconds after the call.
type disk interface {
	// real resolves all symbolic links of an absolute path, those of /proc/self
	// as a thread has them, as far as it still exists. To a process with another
	// root directory, if that is not empty, they begin there.
	real(root, path []byte, pid, tid uint32) ([]byte, bool)
	// reach returns the directory that a path leads to from another one, and if it is
	// not there, what it would be called. Behind what is not there a ".." leads nowhere:
	// then the path ends in front of that, and is not whole.
	reach(root, from, path []byte, pid, tid uint32) (dir []byte, whole bool)
	// same tells whether two names are hard links of one file.
	same(a, b []byte) bool
}

// noDisk knows nothing.
type noDisk struct{}

func (noDisk) real(_, _ []byte, _, _ uint32) ([]byte, bool) { return nil, false }
func (noDisk) reach(_, from, path []byte, _, _ uint32) ([]byte, bool) {
	return appendClean(bytes.Clone(from), 0, path), true
}
func (noDisk) same(_, _ []byte) bool { return false }

type realDisk struct{}

func (realDisk) real(root, path []byte, pid, tid uint32) ([]byte, bool) {
	for n := len(path); n > max(len(root), 1); n = bytes.LastIndexByte(path[:n], '/') {
		real, err := resolve(string(root), string(path[:n]), pid, tid)
		if err != nil {
			continue
		}
		if n == len(path) {
			return []byte(real), true
		}
		return appendClean(append([]byte(real), '/'), 0, path[n:]), true
	}
	return nil, false
}

func (realDisk) reach(root, from, path []byte, pid, tid uint32) ([]byte, bool) {
	w := walk{top: "/", at: string(from), rest: string(path), pid: pid, tid: tid}
	if r := string(root); len(r) > 1 && (w.at == r || strings.HasPrefix(w.at, r+"/")) {
		w.top = r
	}
	for w.rest != "" && w.step() == nil {
	}
	rest, _, returns := strings.Cut("/"+w.rest+"/", "/../")
	return appendClean([]byte(w.at), 0, []byte(rest)), !returns
}

func (realDisk) same(a, b []byte) bool {
	first, err1 := os.Lstat(string(a))
	second, err2 := os.Lstat(string(b))
	return err1 == nil && err2 == nil && os.SameFile(first, second) && string(a) != string(b)
}

// maxLinks is the kernel's limit, MAXSYMLINKS.
const maxLinks = 40

// resolve is filepath.EvalSymlinks for a path of another process. A path that is
// not below its root directory leads as usual.
func resolve(root, path string, pid, tid uint32) (string, error) {
	w := walk{top: "/", at: "/", rest: path, pid: pid, tid: tid}
	if inside, ok := strings.CutPrefix(path, root+"/"); ok && len(root) > 1 {
		w.top, w.at, w.rest = root, root, inside
	}
	for w.rest != "" {
		if err := w.step(); err != nil {
			return "", err
		}
	}
	return w.at, nil
}

// walk is a walk along a path as a thread of a process meets it: that has a
// /proc/self and a /proc/thread-self of its own, and it may have a root directory
// of its own.
type walk struct {
	top      string // the root directory
	at       string // where it got to
	rest     string // what is left
	links    int    // so many symbolic links were met
	pid, tid uint32
}

// step goes on by a component, or into a symbolic link. It stays where it is if
// that does not lead on.
func (w *walk) step() error {
	name, rest, _ := strings.Cut(w.rest, "/")
	switch name {
	case "", ".":
		w.rest = rest
		return nil
	case "..":
		if w.rest = rest; w.at != w.top {
			w.at = filepath.Dir(w.at)
		}
		return nil
	}
	next := filepath.Join(w.at, name)
	var target string
	switch next {
	case "/proc/self":
		target = strconv.Itoa(int(w.pid))
	case "/proc/thread-self":
		target = strconv.Itoa(int(w.pid)) + "/task/" + strconv.Itoa(int(w.tid))
	default:
		st, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if st.Mode()&os.ModeSymlink == 0 {
			if rest != "" && !st.IsDir() {
				return fmt.Errorf("%s: not a directory", next)
			}
			w.at, w.rest = next, rest
			return nil
		}
		if target, err = os.Readlink(next); err != nil {
			return err
		}
	}
	if w.links++; w.links > maxLinks {
		return errors.New("too many symbolic links")
	}
	if filepath.IsAbs(target) {
		w.at = w.top
	}
	w.rest = target + "/" + rest
	return nil
}
