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
	// same tells whether two names are hard links of one file.
	same(a, b []byte) bool
}

// noDisk knows nothing.
type noDisk struct{}

func (noDisk) real(_, _ []byte, _, _ uint32) ([]byte, bool) { return nil, false }
func (noDisk) same(_, _ []byte) bool                        { return false }

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

func (realDisk) same(a, b []byte) bool {
	first, err1 := os.Lstat(string(a))
	second, err2 := os.Lstat(string(b))
	return err1 == nil && err2 == nil && os.SameFile(first, second) && string(a) != string(b)
}

// maxLinks is the kernel's limit, MAXSYMLINKS.
const maxLinks = 40

// resolve is filepath.EvalSymlinks for a path of another process: it and its
// thread have a /proc/self and a /proc/thread-self of their own, and it may have
// a root directory of its own. A path that is not below that leads as usual.
func resolve(root, path string, pid, tid uint32) (string, error) {
	top, rest := "/", path
	if inside, ok := strings.CutPrefix(path, root+"/"); ok && len(root) > 1 {
		top, rest = root, inside
	}
	at := top
	for links := 0; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			if at != top {
				at = filepath.Dir(at)
			}
			continue
		}
		next := filepath.Join(at, name)
		var target string
		switch next {
		case "/proc/self":
			target = strconv.Itoa(int(pid))
		case "/proc/thread-self":
			target = strconv.Itoa(int(pid)) + "/task/" + strconv.Itoa(int(tid))
		default:
			st, err := os.Lstat(next)
			if err != nil {
				return "", err
			}
			if st.Mode()&os.ModeSymlink == 0 {
				if rest != "" && !st.IsDir() {
					return "", fmt.Errorf("%s: not a directory", next)
				}
				at = next
				continue
			}
			if target, err = os.Readlink(next); err != nil {
				return "", err
			}
		}
		if links++; links > maxLinks {
			return "", errors.New("too many symbolic links")
		}
		if filepath.IsAbs(target) {
			at = top
		}
		rest = target + "/" + rest
	}
	return at, nil
}
