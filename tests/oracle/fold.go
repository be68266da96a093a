package oracle

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// onlyOne returns the components of names that only the first run has, and those that only the second one has. What comes of chance counts as such.
func onlyOne(first, second []Op) (map[string]bool, map[string]bool) {
	a, b := allComponents(first), allComponents(second)
	return without(a, b), without(b, a)
}

func allComponents(ops []Op) map[string]bool {
	all := map[string]bool{}
	for _, op := range ops {
		paths := []string{op.Path, op.Target}
		if op.Exec != nil {
			paths = append(paths, op.Exec.Opens...)
		}
		for _, path := range paths {
			for _, name := range components(path) {
				all[name] = true
			}
		}
	}
	return all
}

func without(a, b map[string]bool) map[string]bool {
	only := map[string]bool{}
	for name := range a {
		if !b[name] || unnamed.MatchString(name) {
			only[name] = true
		}
	}
	return only
}

// random matches what mktemp(3) and its like make up, six letters or digits at least, with the fixed letters beside it.
var random = regexp.MustCompile(`[A-Za-z0-9_]{6,}`)

// unnamed matches what a file of O_TMPFILE is called: by its inode, which another run may have for another file.
var unnamed = regexp.MustCompile(`^#[0-9]+$`)

var (
	digits = regexp.MustCompile(`[0-9]+`)
	whole  = regexp.MustCompile(`\b[0-9]+\b`)
)

// mask replaces what may be made up in a name. A name that has nothing of the kind stays as it is, and so a difference.
func mask(name string) string {
	if unnamed.MatchString(name) {
		return "#<random>"
	}
	return random.ReplaceAllString(name, "<random>")
}

// maskPath masks the components that only one run has.
func maskPath(path string, only map[string]bool) string {
	names := strings.Split(path, "/")
	for i, name := range names {
		if only[name] {
			names[i] = mask(name)
		}
	}
	return strings.Join(names, "/")
}

// fold returns the operations of a forest with what differs from run to run replaced: process ids by the numbers of their processes, also in names; a
// name that only this run has by what it looks like, the process that was the first to use it, and how many of that look that process used
// before.
func fold(f *forest, only map[string]bool) []Op {
	fo := folder{only: only, names: map[string]string{}, used: map[string]int{}, pids: map[string]int{}}
	folded := make([]Op, len(f.ops))
	for i, op := range f.ops {
		fo.owner = f.of[i].number
		fo.pids[strconv.Itoa(op.PID)] = fo.owner // as of now: process ids are used again
		op.PID = fo.owner
		op.Record = fo.record(op.Record)
		if child := f.child[i]; child != nil {
			fo.pids[strconv.Itoa(op.Child)] = child.number
			op.Child = child.number
		}
		for n, alt := range op.Alts {
			if n == 0 {
				op.Alts = append([]Record(nil), op.Alts...)
			}
			op.Alts[n] = fo.record(alt)
		}
		if op.Exec != nil {
			exec := Exec{Asked: fo.path(op.Exec.Asked), Unsure: op.Exec.Unsure}
			for _, path := range op.Exec.Opens {
				exec.Opens = append(exec.Opens, fo.path(path))
			}
			op.Exec = &exec
		}
		folded[i] = op
	}
	return folded
}

type folder struct {
	only  map[string]bool
	pids  map[string]int
	owner int // process at hand
	names map[string]string
	used  map[string]int
}

func (fo *folder) record(r Record) Record {
	r.Path, r.Target = fo.path(r.Path), fo.path(r.Target)
	return r
}

func (fo *folder) path(path string) string {
	names := strings.Split(path, "/")
	for i, name := range names {
		switch {
		case i == 2 && names[1] == "proc" && names[0] == "":
			names[i] = fo.number(name, digits)
		case unnamed.MatchString(name): // the next file may have the same inode
			names[i] = mask(name)
		case i == 3 && names[2] == "pts" && names[1] == "dev": // whichever terminal was free
			names[i] = digits.ReplaceAllString(name, "<terminal>")
		case fo.only[name]:
			names[i] = fo.name(name)
		}
	}
	return strings.Join(names, "/")
}

// number replaces process ids in a name.
func (fo *folder) number(name string, where *regexp.Regexp) string {
	return where.ReplaceAllStringFunc(name, func(number string) string {
		if n, ok := fo.pids[number]; ok {
			return fmt.Sprintf("<pid %d>", n)
		}
		return number
	})
}

// name replaces a name that only this run has.
func (fo *folder) name(name string) string {
	if done, ok := fo.names[name]; ok {
		return done
	}
	numbered := fo.number(name, whole) // those between other letters may be random
	folded := mask(numbered)
	if folded == numbered {
		folded = fo.number(name, digits)
	} else {
		look := fmt.Sprintf("%s of %d", folded, fo.owner)
		fo.used[look]++
		folded = fmt.Sprintf("%s.%d", look, fo.used[look])
	}
	fo.names[name] = folded
	return folded
}
