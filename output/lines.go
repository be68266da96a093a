package output

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// lines writes objects of JSON, one a line, without allocations.
type lines struct {
	w   *bufio.Writer
	log zerolog.Logger
	b64 []byte
	err error
}

// errSilenced: zerolog drops, in every logger, what is below its global level.
var errSilenced = errors.New("write JSON lines: zerolog's global level is Disabled")

func newLines(w io.Writer) lines {
	buf := bufio.NewWriterSize(w, 16<<10)
	return lines{w: buf, log: zerolog.New(quiet{buf})}
}

// quiet reports no errors, which zerolog would print: the buffer keeps the
// first one and returns it at Flush.
type quiet struct{ w *bufio.Writer }

func (q quiet) Write(p []byte) (int, error) {
	q.w.Write(p)
	return len(p), nil
}

// line begins an object.
func (l *lines) line() *zerolog.Event {
	e := l.log.Log()
	if e == nil {
		l.err = errSilenced
	}
	return e
}

// TimeLayout is that of times in JSON lines: RFC 3339 with nine digits, in UTC. As texts
// they sort as they do as times.
const TimeLayout = "2006-01-02T15:04:05.000000000Z"

// when formats a time as RFC 3339 with nine digits, in UTC.
func when(e *zerolog.Event, key string, ns int64) *zerolog.Event {
	var b [40]byte
	return e.Bytes(key, time.Unix(0, ns).UTC().AppendFormat(b[:0], TimeLayout))
}

// name adds a name and, if that is not UTF-8, its bytes.
func (l *lines) name(e *zerolog.Event, key, raw string, name []byte) *zerolog.Event {
	return l.raw(e.Bytes(key, name), raw, name)
}

// raw adds the bytes of a name, in base64, if it is not UTF-8.
func (l *lines) raw(e *zerolog.Event, key string, name []byte) *zerolog.Event {
	if utf8.Valid(name) {
		return e
	}
	l.b64 = base64.StdEncoding.AppendEncode(l.b64[:0], name)
	return e.Bytes(key, l.b64)
}

// list adds what NULs separate, and the bytes of all if one is not UTF-8.
func (l *lines) list(e *zerolog.Event, key, raw string, names []byte) *zerolog.Event {
	return l.rawList(texts(e, key, names), raw, names)
}

func texts(e *zerolog.Event, key string, names []byte) *zerolog.Event {
	a := zerolog.Arr()
	for rest, more := names, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte{0})
		a = a.Bytes(name)
	}
	return e.Array(key, a)
}

func (l *lines) rawList(e *zerolog.Event, key string, names []byte) *zerolog.Event {
	if utf8.Valid(names) {
		return e
	}
	a := zerolog.Arr()
	for rest, more := names, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte{0})
		l.b64 = base64.StdEncoding.AppendEncode(l.b64[:0], name)
		a = a.Bytes(l.b64)
	}
	return e.Array(key, a)
}

// argv is a command as list takes it.
func argv(command []string) []byte { return []byte(strings.Join(command, "\x00")) }

// Flush implements Writer.
func (l *lines) Flush() error { return cmp.Or(l.err, l.w.Flush()) }
