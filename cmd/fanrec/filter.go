package main

import (
	"fmt"
	"math"
	"os/user"
	"path"
	"strconv"
	"strings"

	"fanrec/output"

	"github.com/spf13/pflag"
)

// filterFlags say which records are written. What is counted they do not change.
type filterFlags struct {
	only    []string
	path    []string
	exclude []string
	comm    []string
	pid     []uint
	uid     []string
}

func (f *filterFlags) add(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.only, "only", nil, "write records of these `KINDS` only: letters or names, as R,W,delete")
	fl.StringArrayVar(&f.path, "path", nil, "write records of paths that match `GLOB` only (repeatable)")
	fl.StringArrayVar(&f.exclude, "exclude", nil, "leave out paths that match `GLOB` (** crosses directories; repeatable)")
	fl.StringArrayVar(&f.comm, "comm", nil, "write records of processes of this `NAME` only, with *, ? and [] (repeatable)")
	fl.UintSliceVar(&f.pid, "pid", nil, "write records of these `PIDS` only")
	fl.StringSliceVar(&f.uid, "uid", nil, "write records of these `USERS` only: names or numbers")
}

// filter chooses records. The zero value takes all.
type filter struct {
	some    bool
	only    *[output.Kinds]bool // nil: all
	path    globs
	exclude globs
	comm    []string
	pid     map[uint32]bool
	uid     map[uint32]bool
}

func (f *filterFlags) compile() (*filter, error) {
	out := &filter{comm: f.comm}
	var err error
	if out.only, err = kinds(f.only); err != nil {
		return nil, err
	}
	if out.path, err = newGlobs("path", f.path); err != nil {
		return nil, err
	}
	if out.exclude, err = newGlobs("exclude", f.exclude); err != nil {
		return nil, err
	}
	for _, c := range f.comm {
		if _, err := path.Match(c, ""); err != nil {
			return nil, fmt.Errorf("--comm %q: a [ without ], or nothing between them", c)
		}
	}
	if out.pid, err = pids("pid", f.pid); err != nil {
		return nil, err
	}
	for _, name := range f.uid {
		uid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return nil, fmt.Errorf("--uid %s: there is no such user; a number does as well", name)
			}
			uid, _ = strconv.ParseUint(u.Uid, 10, 32)
		}
		if out.uid == nil {
			out.uid = map[uint32]bool{}
		}
		out.uid[uint32(uid)] = true
	}
	out.some = out.only != nil || out.path != nil || out.exclude != nil || out.comm != nil || out.pid != nil || out.uid != nil
	return out, nil
}

// pids returns the numbers that a flag has, nil for none.
func pids(flag string, numbers []uint) (map[uint32]bool, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	set := map[uint32]bool{}
	for _, n := range numbers {
		if n > math.MaxInt32 {
			return nil, fmt.Errorf("--%s %d: no process has such a number", flag, n)
		}
		set[uint32(n)] = true
	}
	return set, nil
}

// kinds understands the names of kinds: a letter may be of several. Without a name
// it returns nil.
func kinds(names []string) (*[output.Kinds]bool, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var only [output.Kinds]bool
	for _, name := range names {
		found := false
		for k := output.Kind(1); int(k) < output.Kinds; k++ {
			if name == string(k.Letter()) || strings.EqualFold(name, k.String()) {
				only[k], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("--only %s: want letters or names of kinds: %s", name, kindNames())
		}
	}
	return &only, nil
}

func kindNames() string {
	var all []string
	for k := output.Kind(1); int(k) < output.Kinds; k++ {
		all = append(all, fmt.Sprintf("%c %s", k.Letter(), k))
	}
	return strings.Join(all, ", ")
}

// drops tells whether a record is left out.
func (f *filter) drops(r *output.Record) bool {
	switch {
	case !f.some:
		return false
	case f.only != nil && !f.only[r.Kind], f.pid != nil && !f.pid[r.PID], f.uid != nil && !f.uid[r.UID]:
		return true
	case f.comm != nil && !f.named(r.Comm):
		return true
	case f.path != nil && !f.path.match(r.Path) && !f.path.match(r.Target):
		return true
	}
	return f.excludes(r)
}

func (f *filter) named(comm string) bool {
	for _, pattern := range f.comm {
		if ok, _ := path.Match(pattern, comm); ok {
			return true
		}
	}
	return false
}

// excludes tells whether a record is left out by its paths: all that it has must
// match. What processes do, and where they are, always stays.
func (f *filter) excludes(r *output.Record) bool {
	if len(f.exclude) == 0 {
		return false
	}
	switch r.Kind {
	case output.Fork, output.Exec, output.Exit, output.Chdir:
		return false
	case output.Rename:
		return f.exclude.match(r.Path) && f.exclude.match(r.Target)
	case output.Link:
		return f.exclude.match(r.Target)
	}
	return f.exclude.match(r.Path)
}
