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
	// absent appends the path that a thread looked for from a directory, and that was
	// not there: symbolic links are resolved as far as it exists, and but for the last
	// component. Behind what does not exist a ".." leads nowhere: the path ends there.
	absent(dst, root, at, text []byte, pid, tid uint32) []byte
	// same tells whether two names are hard links of one file.
	same(a, b []byte) bool
}

// noDisk knows nothing.
type noDisk struct{}

func (noDisk) real(_, _ []byte, _, _ uint32) ([]byte, bool) { return nil, false }
func (noDisk) absent(dst, _, at, text []byte, _, _ uint32) []byte {
	return appendClean(append(dst, at...), len(dst), text)
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

func (realDisk) absent(dst, root, at, text []byte, pid, tid uint32) []byte {
	w := walk{top: "/", at: string(at), rest: strings.Trim(string(text), "/"), pid: pid, tid: tid}
	if r := string(root); len(r) > 1 && (w.at == r || strings.HasPrefix(w.at, r+"/")) {
		w.top = r
	}
	for strings.Contains(w.rest, "/") && w.step() == nil {
	}
	n := len(dst)
	dst = append(dst, w.at...)
	rest, _, _ := strings.Cut("/"+w.rest+"/", "/../")
	return appendClean(dst, n, []byte(rest))
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
