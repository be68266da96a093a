package output

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"

	"github.com/rs/zerolog"
)

// schema is what the writers of JSON lines share whose field names are another's.
// What a schema has no field for is in an object of our own, by the names that it
// has in JSONL; so are the exact bytes of a name that is not UTF-8.
type schema struct {
	lines
	boot     string
	sequence int64
	last     int64 // time of the last line
	b        []byte
}

func newSchema(w io.Writer) schema { return schema{lines: newLines(w)} }

// next numbers a line, from 1.
func (s *schema) next(at int64) int64 {
	s.last = at
	s.sequence++
	return s.sequence
}

// identity returns what names a process for good, on all machines: when the
// machine was booted, the number, and when it started after that. It is nil of a
// process of which a part is not known, and valid until the next call.
func (s *schema) identity(pid uint32, start uint64) []byte {
	if start == 0 || s.boot == "" {
		return nil
	}
	s.b = append(append(s.b[:0], s.boot...), '-')
	s.b = append(strconv.AppendUint(s.b, uint64(pid), 10), '-')
	s.b = strconv.AppendUint(s.b, start, 10)
	return s.b
}

// number returns a number as a text, valid until the next call.
func (s *schema) number(n uint32) []byte {
	s.b = strconv.AppendUint(s.b[:0], uint64(n), 10)
	return s.b
}

// own adds what no schema has a field for.
func (s *schema) own(e *zerolog.Event, r *Record) *zerolog.Event {
	e = e.Str("kind", r.Kind.String())
	if r.Op != NoOp {
		e = e.Str("op", r.Op.String())
	}
	e = e.Str("comm", r.Comm)
	s.b = append(s.b[:0], r.Comm...)
	e = s.raw(e, "comm_raw", s.b)
	e = s.raw(e, "exe_raw", r.Exe)
	switch r.Kind {
	case Exit:
		if r.Signal != 0 {
			e = e.Int("signal", r.Signal)
		}
	case Rename, Link: // the new name has its place
		e = s.name(e, "path", "path_raw", r.Path)
		e = s.raw(e, "target_raw", r.Target)
	default:
		e = s.raw(e, "path_raw", r.Path)
	}
	if len(r.Seen) > 0 {
		e = s.name(e, "seen", "seen_raw", r.Seen)
	}
	if len(r.SeenTarget) > 0 {
		e = s.name(e, "seen_target", "seen_target_raw", r.SeenTarget)
	}
	if r.Inferred {
		e = e.Bool("inferred", true)
	}
	if r.Attached {
		e = e.Bool("attached", true)
	}
	return e
}

// ownHeader adds the like of a header, and ownTrailer of a trailer.
func (s *schema) ownHeader(e *zerolog.Event, h *Header) *zerolog.Event {
	e = e.Str("kind", "header")
	if h.Target != 0 {
		e = e.Uint32("pid", h.Target)
	}
	if len(h.Command) > 0 {
		e = s.list(e, "command", "command_raw", argv(h.Command))
	}
	if len(h.Notes) > 0 {
		e = e.Strs("notes", h.Notes)
	}
	return e
}

func (s *schema) ownTrailer(e *zerolog.Event, t *Trailer) *zerolog.Event {
	e = e.Str("kind", "trailer").Bool("complete", s.whole(t))
	if len(t.Incomplete) > 0 {
		e = e.Strs("incomplete", t.Incomplete)
	}
	return e
}

func (s *schema) whole(t *Trailer) bool { return len(t.Incomplete) == 0 && s.err == nil }

// ofProcess tells whether a record is about a process, not about a file.
func (r *Record) ofProcess() bool { return r.Kind <= Chdir }

// image is what the process of a record executes.
func (r *Record) image() []byte {
	if r.Kind == Exec {
		return r.Path
	}
	return r.Exe
}

// argv returns the arguments of an Exec as list takes them.
func (r *Record) argv() []byte { return bytes.TrimSuffix(r.Args, []byte{0}) }

// named is the name of a program: of its file, or else what the process calls itself.
func (s *schema) named(image []byte, comm string) []byte {
	if _, name, _ := split(image); len(name) > 0 {
		return name
	}
	s.b = append(s.b[:0], comm...)
	return s.b
}

// split returns the directory, the name in it, and what is behind the last dot of
// that, if anything is in front of it. The root is its own name.
func split(path []byte) (dir, name, extension []byte) {
	slash := bytes.LastIndexByte(path, '/')
	switch name = path[slash+1:]; {
	case len(path) == 1 && slash == 0:
		return path, path, nil
	case slash == 0:
		dir = path[:1]
	case slash > 0:
		dir = path[:slash]
	}
	if dot := bytes.LastIndexByte(name, '.'); dot > 0 {
		extension = name[dot+1:]
	}
	return dir, name, extension
}

// constant returns the JSON of what is the same in every line.
func constant(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type without JSON
	}
	return b
}
