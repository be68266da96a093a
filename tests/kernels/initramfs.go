package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// initramfs is a tree of files that the kernel unpacks at its start.
type initramfs struct {
	files map[string]file // by path, without a leading slash
}

type file struct {
	mode uint32
	data []byte
}

// Kinds of files: S_IFDIR and so on.
const (
	kindDir  = 0o040000
	kindFile = 0o100000
	kindLink = 0o120000
)

func (r *initramfs) add(name string, f file) {
	if r.files == nil {
		r.files = map[string]file{}
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := r.files[dir]; !ok {
			r.files[dir] = file{mode: kindDir | 0o755}
		}
	}
	r.files[name] = f
}

// put adds a program.
func (r *initramfs) put(name string, b []byte) { r.add(name, file{kindFile | 0o755, b}) }

// link adds a symbolic link.
func (r *initramfs) link(name, to string) { r.add(name, file{kindLink | 0o777, []byte(to)}) }

// copy takes a file, or all below a directory.
func (r *initramfs) copy(name, from string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		r.put(path.Join(name, rel), b)
		return err
	})
}

// library is a line of ldd(1).
var library = regexp.MustCompile(`(/\S+) \(0x`)

// program takes a program of this machine, by name or path, into bin, and the libraries that it
// needs to where they are here.
func (r *initramfs) program(name string) error {
	found, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := r.copy("bin/"+filepath.Base(name), found); err != nil {
		return err
	}
	out, err := exec.Command("ldd", found).Output()
	if err != nil {
		return nil // static
	}
	for _, m := range library.FindAllSubmatch(out, -1) {
		lib := string(m[1])
		if err := r.copy(lib[1:], lib); err != nil {
			return err
		}
	}
	return nil
}

// build runs a command whose OUT is where the file comes from, in a directory.
func (r *initramfs) build(dir, name, command string) error {
	out := filepath.Join(dir, filepath.Base(name))
	argv := strings.Fields(command)
	argv[slices.Index(argv, "OUT")] = out
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, b)
	}
	return r.copy(name, out)
}

// writeTo writes it into a directory.
func (r *initramfs) writeTo(dir string) error {
	for name, f := range r.files {
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch mode := fs.FileMode(f.mode & 0o7777); f.mode &^ 0o7777 {
		case kindFile:
			err = errors.Join(err, os.WriteFile(at, f.data, mode))
		case kindLink:
			err = errors.Join(err, os.Symlink(string(f.data), at))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write writes it as a cpio archive of the kind "newc". It is not compressed:
// an emulated machine is slow at taking that back.
func (r *initramfs) write(to io.Writer) error {
	w := bufio.NewWriterSize(to, 1<<20)
	names := make([]string, 0, len(r.files))
	for name := range r.files {
		names = append(names, name)
	}
	sort.Strings(names) // a directory before what is in it
	at := 0
	entry := func(name string, ino int, f file) {
		n, _ := fmt.Fprintf(w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			ino, f.mode, 0, 0, 1, 0, len(f.data), 0, 0, 0, 0, len(name)+1, 0, name)
		at += n
		for ; at%4 != 0; at++ {
			w.WriteByte(0)
		}
		w.Write(f.data)
		for at += len(f.data); at%4 != 0; at++ {
			w.WriteByte(0)
		}
	}
	for i, name := range names {
		entry(name, i+1, r.files[name])
	}
	entry("TRAILER!!!", 0, file{})
	return w.Flush()
}
