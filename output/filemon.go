package output

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Filemon writes the log of filemon(4), as FreeBSD does: version 5, or
// version 4, where X has no signal and there is no time.
//
// The format has no escapes. A newline in a name becomes \012, so that no name
// can forge a record. The quoted names of M and L cannot hold a blank or a
// quote: bmake would take them apart wrongly and believe its target out of
// date for ever. So such an M is followed by a D and a W, and such an L becomes
// a comment and a W. The N of what was not found is fanrec's own: bmake passes
// over letters that it does not know, and meta2deps.py over what it has no use for.
type Filemon struct {
	w       *bufio.Writer
	version int
	line    []byte
	last    uint32 // pid of the last record
	there   attached
}

// NewFilemon returns a writer of version 4 or 5.
func NewFilemon(w io.Writer, version int) *Filemon {
	return &Filemon{w: bufio.NewWriterSize(w, 16<<10), version: version, line: make([]byte, 0, 1024)}
}

// Begin implements Writer.
func (f *Filemon) Begin(h *Header) error {
	fmt.Fprintf(f.w, "# filemon version %d\n# Target pid %d\n", f.version, h.Target)
	if f.version >= 5 {
		fmt.Fprintf(f.w, "# Start %s\n", stamp(h.Start))
	}
	_, err := fmt.Fprintf(f.w, "V %d\n", f.version)
	if h.Key != "" {
		_, err = fmt.Fprintf(f.w, "# Key %s\n", clean(h.Key))
	}
	for _, n := range h.Notes {
		_, err = fmt.Fprintf(f.w, "# %s\n", clean(n))
	}
	f.last = h.Target
	return err
}

// stamp formats a time as FreeBSD does: seconds and microseconds.
func stamp(ns int64) string {
	t := time.Unix(0, ns)
	return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

func clean(s string) string {
	return string(appendName(nil, []byte(s)))
}

// appendName appends a name in one line.
func appendName(dst, name []byte) []byte {
	for {
		i := bytes.IndexByte(name, '\n')
		if i < 0 {
			return append(dst, name...)
		}
		dst = append(append(dst, name[:i]...), `\012`...)
		name = name[i+1:]
	}
}

// quotable tells whether a name survives between the quotes of M and L.
func quotable(name []byte) bool {
	return bytes.IndexByte(name, ' ') < 0 && bytes.IndexByte(name, '\'') < 0
}

func appendHead(dst []byte, letter byte, pid uint32) []byte {
	dst = append(dst, letter, ' ')
	dst = strconv.AppendUint(dst, uint64(pid), 10)
	return append(dst, ' ')
}

func appendOne(dst []byte, letter byte, pid uint32, path []byte) []byte {
	return append(appendName(appendHead(dst, letter, pid), path), '\n')
}

func appendPair(dst []byte, letter byte, pid uint32, a, b []byte) []byte {
	dst = append(appendHead(dst, letter, pid), '\'')
	dst = append(appendName(dst, a), "' '"...)
	return append(appendName(dst, b), "'\n"...)
}

// Append appends the lines of a record.
func (f *Filemon) Append(dst []byte, r *Record) []byte {
	switch r.Kind {
	case Fork:
		dst = appendHead(dst, 'F', r.PID)
		return append(strconv.AppendUint(dst, uint64(r.Child), 10), '\n')
	case Exit:
		dst = appendHead(dst, 'X', r.PID)
		dst = strconv.AppendInt(dst, int64(r.Code), 10)
		if f.version >= 5 {
			dst = append(dst, ' ')
			dst = strconv.AppendInt(dst, int64(r.Signal), 10)
		}
		return append(dst, '\n')
	case Rename:
		dst = appendPair(dst, 'M', r.PID, r.Path, r.Target)
		if !quotable(r.Path) || !quotable(r.Target) {
			dst = appendOne(dst, 'D', r.PID, r.Path)
			dst = appendOne(dst, 'W', r.PID, r.Target)
		}
		return dst
	case Link:
		if !quotable(r.Path) || !quotable(r.Target) {
			dst = append(dst, "# "...)
			dst = appendPair(dst, 'L', r.PID, r.Path, r.Target)
			return appendOne(dst, 'W', r.PID, r.Target)
		}
		return appendPair(dst, 'L', r.PID, r.Path, r.Target)
	case Modify:
		if !r.First {
			return dst
		}
	case Attrib:
		dst = append(dst, "# "...) // A is something else: filemon's *at calls
	}
	return appendOne(dst, r.Kind.Letter(), r.PID, r.Path)
}

// Write implements Writer.
func (f *Filemon) Write(r *Record) error {
	f.there.turn(r.Attached, f.comment)
	f.line = f.Append(f.line[:0], r)
	f.last = r.PID
	_, err := f.w.Write(f.line)
	return err
}

// Comment implements Writer.
func (f *Filemon) Comment(text string) error {
	f.there.turn(false, f.comment)
	return f.comment(text)
}

func (f *Filemon) comment(text string) error {
	_, err := fmt.Fprintf(f.w, "# %s\n", clean(text))
	return err
}

// Flush implements Writer.
func (f *Filemon) Flush() error {
	f.there.turn(false, f.comment)
	return f.w.Flush()
}

// End implements Writer. Without "# Bye bye" meta2deps.py takes the log for
// cut short; an R without a path makes bmake(1) rebuild.
func (f *Filemon) End(t *Trailer) error {
	f.there.turn(false, f.comment)
	for _, why := range t.Incomplete {
		fmt.Fprintf(f.w, "# INCOMPLETE: %s\n", clean(why))
	}
	if len(t.Incomplete) > 0 {
		fmt.Fprintf(f.w, "R %d\n", f.last)
	}
	if f.version >= 5 {
		fmt.Fprintf(f.w, "# Stop %s\n", stamp(t.Stop))
	}
	if len(t.Incomplete) == 0 {
		fmt.Fprintf(f.w, "# Bye bye\n")
	}
	return f.w.Flush()
}
