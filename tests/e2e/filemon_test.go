package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// filemon is a log of version 4 or 5, read strictly: whatever is not as
// filemon(4) has it is an error.
type filemon struct {
	version int
	target  int
	records []record
	notes   []string // comments
	poison  bool     // an R without a path
	bye     bool
	there   int // so many of the records, the first, tell what was there already
}

type record struct {
	letter byte
	pid    int
	rest   string // of the line
	paths  []string
	child  int
	number int // of the line
}

func parse(b []byte) (*filemon, error) {
	l := &filemon{}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		return nil, errors.New("the last line has no newline")
	}
	for n, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if err := l.line(n+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n+1, line, err)
		}
	}
	return l, nil
}

func (l *filemon) line(n int, line string) error {
	if l.bye {
		return errors.New("after # Bye bye")
	}
	switch {
	case strings.HasPrefix(line, "# filemon version "):
		v, err := strconv.Atoi(strings.TrimPrefix(line, "# filemon version "))
		l.version = v
		return errors.Join(err, first(n, 1))
	case strings.HasPrefix(line, "# Target pid "):
		pid, err := strconv.Atoi(strings.TrimPrefix(line, "# Target pid "))
		l.target = pid
		return errors.Join(err, first(n, 2))
	case line == "# Bye bye":
		l.bye = true
		return nil
	case strings.HasPrefix(line, "# ") && len(line) > 2:
		l.notes = append(l.notes, line[2:])
		if line == "# attached: what is done from here on" {
			l.there = len(l.records)
		}
		return nil
	case strings.HasPrefix(line, "V "):
		if v, err := strconv.Atoi(line[2:]); err != nil || v != l.version {
			return errors.New("another version")
		}
		return nil
	}
	letter, rest, _ := strings.Cut(line, " ")
	if len(letter) != 1 || !strings.Contains("RWEXFCDMLN", letter) {
		return errors.New("no such record")
	}
	number, rest, ok := strings.Cut(rest, " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return errors.New("no pid")
	}
	if !ok && letter == "R" {
		l.poison = true
		return nil
	}
	if rest == "" {
		return errors.New("nothing behind the pid")
	}
	r := record{letter: letter[0], pid: pid, rest: rest, number: n}
	switch r.letter {
	case 'F':
		if r.child, err = strconv.Atoi(rest); err != nil || r.child <= 0 {
			return errors.New("no child")
		}
	case 'X':
		want := 2
		if l.version < 5 {
			want = 1
		}
		fields := strings.Split(rest, " ")
		for _, f := range fields {
			_, e := strconv.ParseUint(f, 10, 8)
			err = errors.Join(err, e)
		}
		if err != nil || len(fields) != want {
			return errors.New("no exit status")
		}
	case 'M', 'L':
		from, to, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(rest, "'"), "'"), "' '")
		if !ok || rest[0] != '\'' || rest[len(rest)-1] != '\'' {
			return errors.New("no two quoted names")
		}
		r.paths = []string{from, to}
	default:
		if rest[0] != '/' {
			return errors.New("not an absolute path")
		}
		r.paths = []string{rest}
	}
	l.records = append(l.records, r)
	return nil
}

func first(n, want int) error {
	if n != want {
		return fmt.Errorf("not in line %d", want)
	}
	return nil
}

// complete tells whether a log has its frame: header, footer, every process
// known before its first record and gone after its X.
func (l *filemon) complete() error {
	switch {
	case l.version != 4 && l.version != 5:
		return errors.New("no header")
	case !l.bye:
		return errors.New("no # Bye bye")
	case l.poison:
		return errors.New("a poisoned record")
	}
	alive := map[int]bool{l.target: l.there == 0}
	ended := map[int]bool{}
	for i, r := range l.records {
		if there := i < l.there; !alive[r.pid] && (!there || r.letter != 'F') {
			why := "without a fork"
			if ended[r.pid] {
				why = "after its X"
			}
			return fmt.Errorf("line %d: process %d does something %s: %c %s", r.number, r.pid, why, r.letter, r.rest)
		}
		switch r.letter {
		case 'F':
			if alive[r.child] {
				return fmt.Errorf("line %d: process %d is forked but lives", r.number, r.child)
			}
			alive[r.child], ended[r.child] = true, false
		case 'X':
			alive[r.pid], ended[r.pid] = false, true
		}
	}
	if !ended[l.target] && l.there == 0 {
		return errors.New("no X of the command")
	}
	return nil
}

// incomplete tells whether a log says that it is incomplete, to a person, to
// bmake (a record without a path) and to meta2deps.py (no # Bye bye).
func (l *filemon) incomplete() error {
	said := false
	for _, n := range l.notes {
		said = said || strings.HasPrefix(n, "INCOMPLETE: ")
	}
	switch {
	case l.bye:
		return errors.New("has # Bye bye")
	case !l.poison:
		return errors.New("no poisoned record")
	case !said:
		return errors.New("no reason")
	}
	return nil
}

// unnamed is the name of a file of O_TMPFILE: its inode number.
var unnamed = regexp.MustCompile(`#[0-9]+$`)

// below returns the records that tell of files in a directory, or of
// processes, in the form that scripts expect.
func (l *filemon) below(dir string, processes bool) []string {
	names := map[int]string{}
	name := func(pid int) string {
		if names[pid] == "" {
			names[pid] = fmt.Sprintf("p%d", len(names)+1)
		}
		return names[pid]
	}
	var out []string
	for _, r := range l.records {
		inside := false
		var paths []string
		for _, p := range r.paths {
			switch rest, ok := strings.CutPrefix(p, dir); {
			case ok && rest == "":
				inside, p = true, "."
			case ok && rest[0] == '/':
				inside, p = true, rest[1:]
			}
			paths = append(paths, unnamed.ReplaceAllString(printable(p), "#N"))
		}
		switch {
		case inside && len(paths) == 2:
			out = append(out, fmt.Sprintf("%c %s '%s' '%s'", r.letter, name(r.pid), paths[0], paths[1]))
		case inside:
			out = append(out, fmt.Sprintf("%c %s %s", r.letter, name(r.pid), paths[0]))
		case !processes:
		case r.letter == 'F':
			parent := name(r.pid)
			out = append(out, fmt.Sprintf("F %s %s", parent, name(r.child)))
		case r.letter == 'X':
			out = append(out, fmt.Sprintf("X %s %s", name(r.pid), r.rest))
		case r.letter == 'E':
			out = append(out, fmt.Sprintf("E %s %s", name(r.pid), program(r.rest)))
		}
	}
	return out
}

// shell is what /bin/sh is.
var shell, _ = filepath.EvalSymlinks("/bin/sh")

// program returns the name of a program; that of the shell is sh everywhere.
func program(path string) string {
	if path == shell {
		return "sh"
	}
	return filepath.Base(path)
}

// printable escapes what is not printable ASCII.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
