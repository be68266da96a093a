package kernels

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modules is a directory of kernel modules. Packages hold no modules.dep: that
// is made when they are installed, so it is read from the modules what they need.
type modules struct {
	paths map[string]string // of .ko or .ko.xz files, by name of the module
}

func findModules(dir string) (*modules, error) {
	m := &modules{paths: map[string]string{}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(d.Name(), ".ko"); ok {
			m.paths[moduleName(name)] = path
		}
		return err
	})
	return m, err
}

// moduleName: the kernel has the same name for xor-neon and xor_neon.
func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

// load returns the images of the named modules and of all that they need, in
// the order in which they can be inserted. One that is not there is left out:
// it is built in, or the kernel has no such thing.
func (m *modules) load(names ...string) ([][]byte, error) {
	var images [][]byte
	done := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		path, ok := m.paths[name]
		if !ok || done[name] {
			return nil
		}
		done[name] = true
		image, err := readModule(path)
		if err != nil {
			return err
		}
		needs, err := needs(image)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		images = append(images, image)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	image, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		return nil, fmt.Errorf("xz -dc %s: %w", path, err)
	}
	return image, nil
}

// needs returns which modules a module says that it depends on.
func needs(image []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			for name := range strings.SplitSeq(list, ",") {
				names = append(names, moduleName(name))
			}
		}
	}
	return names, nil
}
