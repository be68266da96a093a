package output

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Text is for people: a line for each record, with time, process, what it did and
// the path, in columns. No name can do anything to a terminal: what is not
// printable, and a backslash, is written as an escape. It is not read back.
type Text struct {
	w     *bufio.Writer
	o     TextOptions
	line  []byte
	there attached

	midnight int64 // after the last record
}

// TextOptions say how text looks.
type TextOptions struct {
	Color bool // with colours of ECMA-48
	// Live is for who looks at it while it is recorded: times have no date, but a line
	// says when another day begins.
	Live bool
}

// NewText returns a writer of text. Times are those of the zone of who writes.
func NewText(w io.Writer, o TextOptions) *Text {
	return &Text{w: bufio.NewWriterSize(w, 16<<10), o: o}
}

// Widths of the columns; what is longer shifts the rest.
const (
	textWho  = 22 // comm[pid]
	textWhat = 8
)

// Colours, by what is done.
const (
	bare   = ""
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	purple = "\x1b[35m"
	cyan   = "\x1b[36m"
	usual  = "\x1b[0m"
)

var textWords = [Kinds]struct{ word, color string }{
	Fork: {"fork", dim}, Exec: {"exec", cyan}, Exit: {"exit", dim}, Chdir: {"chdir", dim}, Read: {"read", bare}, Write: {"write", yellow},
	Delete: {"delete", red}, Rename: {"rename", purple}, Link: {"link", purple}, Absent: {"absent", dim}, Modify: {"modify", yellow}, Attrib: {"attrib", yellow},
}

// word says what a record tells in one word.
func (r *Record) word() (word, color string) {
	w := textWords[r.Kind]
	switch r.Op {
	case Create, Mkdir, Mknod, Bind:
		if r.Kind == Read { // what made it has a line of its own
			break
		}
		return r.Op.String(), green
	case Truncate, Rmdir:
		return r.Op.String(), w.color
	case Symbolic:
		return "symlink", w.color
	case Held, Mapped:
		if r.Kind == Write {
			return "held w", w.color
		}
		return r.Op.String(), dim
	}
	return w.word, w.color
}

// Begin implements Writer.
func (t *Text) Begin(h *Header) error {
	for _, n := range h.Notes {
		t.Comment(n)
	}
	return t.w.Flush()
}

func (t *Text) paint(color string) {
	if t.o.Color && color != bare {
		t.line = append(t.line, color...)
	}
}

// pad fills the line up to a column that began at from.
func (t *Text) pad(from, width int) {
	for n := utf8.RuneCount(t.line[from:]); n < width; n++ {
		t.line = append(t.line, ' ')
	}
	t.line = append(t.line, ' ')
}

// Write implements Writer.
func (t *Text) Write(r *Record) error {
	t.there.turn(r.Attached, t.comment)
	if t.o.Live && r.Time != 0 && r.Time >= t.midnight {
		t.date(time.Unix(0, r.Time))
	}
	t.line = t.line[:0]
	t.paint(dim)
	switch {
	case r.Time == 0:
		t.line = append(t.line, "              - "...) // of a log that has no times
	case t.o.Live:
		t.line = time.Unix(0, r.Time).AppendFormat(t.line, "15:04:05.000000 ")
	default:
		t.line = time.Unix(0, r.Time).AppendFormat(t.line, "2006-01-02 15:04:05.000000 ")
	}
	t.paint(usual)
	from := len(t.line)
	t.line = appendPrintable(t.line, []byte(r.Comm))
	t.line = append(strconv.AppendUint(append(t.line, '['), uint64(r.PID), 10), ']')
	t.pad(from, textWho)
	word, color := r.word()
	t.paint(color)
	from = len(t.line)
	t.line = append(t.line, word...)
	if t.o.Color && color != bare {
		t.line = append(t.line, usual...)
		from += len(usual)
	}
	t.pad(from, textWhat)
	t.line = appendObject(t.line, r)
	t.line = append(t.line, '\n')
	_, err := t.w.Write(t.line)
	return err
}

// date says which day it is from here on, if it is another one.
func (t *Text) date(at time.Time) {
	if t.midnight != 0 {
		t.comment(at.Format(time.DateOnly))
	}
	y, m, d := at.Date()
	t.midnight = time.Date(y, m, d+1, 0, 0, 0, 0, at.Location()).UnixNano()
}

// appendObject appends what a record is about.
func appendObject(dst []byte, r *Record) []byte {
	switch r.Kind {
	case Fork:
		return strconv.AppendUint(dst, uint64(r.Child), 10)
	case Exit:
		if r.Signal != 0 {
			return append(append(dst, "killed by "...), signalName(r.Signal)...)
		}
		return strconv.AppendInt(dst, int64(r.Code), 10)
	case Rename, Link:
		dst = append(appendPrintable(dst, r.Path), " -> "...)
		return appendPrintable(dst, r.Target)
	}
	return appendPrintable(dst, r.Path)
}

// Line returns a record as a line for people, without a time.
func Line(r *Record) string {
	word, _ := r.word()
	line := appendPrintable(make([]byte, 0, 128), []byte(r.Comm))
	line = append(strconv.AppendUint(append(line, '['), uint64(r.PID), 10), "] "...)
	line = append(append(line, word...), ' ')
	return string(appendObject(line, r))
}

func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(n)
}

// appendPrintable appends a name without anything that a terminal would act on.
func appendPrintable(dst, name []byte) []byte {
	for len(name) > 0 {
		r, n := utf8.DecodeRune(name)
		switch {
		case r == '\\':
			dst = append(dst, `\\`...)
		case r == utf8.RuneError && n == 1, r < 0x80 && !unicode.IsPrint(r):
			dst = fmt.Appendf(dst, `\x%02x`, name[0])
		case !unicode.IsPrint(r): // marks of direction, for one
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = append(dst, name[:n]...)
		}
		name = name[n:]
	}
	return dst
}

// Printable returns a text without anything that a terminal would act on.
func Printable(text string) string { return string(appendPrintable(nil, []byte(text))) }

// Comment implements Writer.
func (t *Text) Comment(text string) error {
	t.there.turn(false, t.comment)
	return t.comment(text)
}

func (t *Text) comment(text string) error {
	t.line = append(t.line[:0], "# "...)
	t.line = append(appendPrintable(t.line, []byte(text)), '\n')
	_, err := t.w.Write(t.line)
	return err
}

// Flush implements Writer.
func (t *Text) Flush() error {
	t.there.turn(false, t.comment)
	return t.w.Flush()
}

// End implements Writer.
func (t *Text) End(tr *Trailer) error {
	t.there.turn(false, t.comment)
	for _, why := range tr.Incomplete {
		t.Comment("INCOMPLETE: " + why)
	}
	return t.Flush()
}
