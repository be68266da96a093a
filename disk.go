package fanrec

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// disk is what can be asked about paths that are known only as a text. It
// answers for now, which is some milliseconds after the call.
type disk interface {
	// real resolves all symbolic links of a path, those of /proc/self as a
	// thread has them.
	real(path []byte, pid, tid uint32) ([]byte, bool)
	// same tells whether two names are hard links of one file.
	same(a, b []byte) bool
}

// noDisk knows nothing.
type noDisk struct{}

func (noDisk) real([]byte, uint32, uint32) ([]byte, bool) { return nil, false }
func (noDisk) same(_, _ []byte) bool                      { return false }

type realDisk struct{}

func (realDisk) real(path []byte, pid, tid uint32) ([]byte, bool) {
	real, err := resolve(string(path), pid, tid)
	return []byte(real), err == nil
}

func (realDisk) same(a, b []byte) bool {
	first, err1 := os.Lstat(string(a))
	second, err2 := os.Lstat(string(b))
	return err1 == nil && err2 == nil && os.SameFile(first, second) && string(a) != string(b)
}

// maxLinks is the kernel's limit, MAXSYMLINKS.
const maxLinks = 40

// resolve is filepath.EvalSymlinks for an absolute path of another process: it
// and its thread have a /proc/self and a /proc/thread-self of their own.
func resolve(path string, pid, tid uint32) (string, error) {
	at, rest := "/", path
	for links := 0; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
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
			at = "/"
		}
		rest = target + "/" + rest
	}
	return at, nil
}
