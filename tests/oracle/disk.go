package oracle

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Live is the real disk. Symbolic links below its directory are those of the time when it was made, so make it before the run. Those elsewhere
// are read when they are asked for: they should be such as no run changes.
type Live struct {
	dir   string
	links map[string]string
	known map[string]known
}

type known struct {
	Program
	ok bool
}

// NewLive notes the symbolic links below a directory, which must be named by its absolute path without links.
func NewLive(dir string) (*Live, error) {
	d := &Live{dir: dir, links: map[string]string{}, known: map[string]known{}}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		text, err := os.Readlink(path)
		d.links[path] = text
		return err
	})
	return d, err
}

// Readlink implements [Disk].
func (d *Live) Readlink(path string) (string, bool) {
	if strings.HasPrefix(path, strings.TrimSuffix(d.dir, "/")+"/") {
		text, ok := d.links[path]
		return text, ok
	}
	text, err := os.Readlink(path)
	return text, err == nil
}

// Program implements [Disk].
func (d *Live) Program(path string) (Program, bool) {
	if k, seen := d.known[path]; seen {
		return k.Program, k.ok
	}
	p, err := readFile(path)
	d.known[path] = known{p, err == nil}
	return p, err == nil
}

func readFile(path string) (Program, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // the name may be a fifo's by now
	if err != nil {
		return Program{}, err
	}
	defer f.Close()
	return ReadProgram(f)
}
