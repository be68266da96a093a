// Package depfile tells what a command depended on, out of the records of what it
// did: the files that it read and did not make, those that it made, and those that it
// looked for in vain. It writes them for make(1), for ninja, and as JSON.
package depfile

import (
	"path"
	"slices"
	"strings"

	"fanrec/output"
)

// Files gathers the files of a recording. The zero value has none.
type Files struct {
	files  map[string]*file
	absent map[string]bool
	dirs   map[string]bool // what has something below it, or was entered
}

type file struct {
	read bool // before the command made it
	made bool // or written to
	gone bool // removed, or renamed away
}

// Add takes the next record, in the order of the recording.
func (f *Files) Add(r *output.Record) {
	name := string(r.Path)
	switch r.Kind {
	case output.Read, output.Exec:
		f.use(name)
	case output.Chdir:
		f.enter(name)
	case output.Write, output.Modify:
		f.make(name)
		if r.Op == output.Mkdir {
			f.enter(name)
		}
	case output.Absent:
		if f.absent == nil {
			f.absent = map[string]bool{}
		}
		f.absent[name] = true
	case output.Delete:
		f.at(name).gone = true
	case output.Rename:
		f.rename(name, string(r.Target))
	case output.Link:
		if r.Op != output.Symbolic && path.IsAbs(name) {
			f.use(name) // what is read under the new name is this
		}
		f.make(string(r.Target))
	}
}

func (f *Files) at(name string) *file {
	if f.files == nil {
		f.files, f.dirs = map[string]*file{}, map[string]bool{}
	}
	e := f.files[name]
	if e == nil {
		e = &file{}
		f.files[name] = e
		for dir := path.Dir(name); !f.dirs[dir]; dir = path.Dir(dir) {
			f.dirs[dir] = true
		}
	}
	return e
}

func (f *Files) enter(name string) {
	f.at(name)
	f.dirs[name] = true
}

func (f *Files) use(name string) {
	if e := f.at(name); !e.made {
		e.read = true
	}
}

func (f *Files) make(name string) {
	e := f.at(name)
	e.made, e.gone = true, false
}

// rename moves a file, or a directory with all that is known below it.
func (f *Files) rename(from, to string) {
	f.at(from).gone = true
	f.make(to)
	if !f.dirs[from] {
		return
	}
	f.enter(to)
	below := from + "/"
	var moved []string
	for name, e := range f.files {
		if strings.HasPrefix(name, below) && !e.gone {
			moved = append(moved, name)
		}
	}
	for _, name := range moved {
		f.files[name].gone = true
		f.make(to + "/" + name[len(below):])
	}
}

// Inputs returns the files that were read and are not of the command's own
// making, sorted. What is gone at the end is not among them, nor are directories,
// as far as the records tell them from files.
func (f *Files) Inputs() []string {
	return f.list(func(e *file) bool { return e.read && !e.made && !e.gone })
}

// Outputs returns the files that were made or written to and are still there at
// the end, sorted.
func (f *Files) Outputs() []string {
	return f.list(func(e *file) bool { return e.made && !e.gone })
}

// Absent returns the paths that were looked for and not found, sorted: what comes to be
// there may change what the command does. What the command itself made, removed or
// found at another time is not among them, nor what is below a directory that it
// removed: nobody else puts that there.
func (f *Files) Absent() []string {
	var names []string
	for name := range f.absent {
		if f.files[name] == nil && !f.dirs[name] && !f.removed(path.Dir(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Sought tells whether there was any look-up that failed: there is hardly a command
// without one.
func (f *Files) Sought() bool { return f.absent != nil }

// removed tells whether a directory, or one above it, is gone at the end.
func (f *Files) removed(dir string) bool {
	for ; dir != "/"; dir = path.Dir(dir) {
		if e := f.files[dir]; e != nil && e.gone {
			return true
		}
	}
	return false
}

func (f *Files) list(want func(*file) bool) []string {
	var names []string
	for name, e := range f.files {
		if want(e) && !f.dirs[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
