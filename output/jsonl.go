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

// JSONL writes one JSON object a line: a "header", the records, a "trailer".
// Names are exact: beside a name that is not UTF-8 its bytes stand in base64,
// in a field with "_raw" behind its name; beside a list of which some are not,
// all in a list.
type JSONL struct {
	w   *bufio.Writer
	log zerolog.Logger
	b64 []byte
	err error
}

// errSilenced: zerolog drops, in every logger, what is below its global level.
var errSilenced = errors.New("write JSON lines: zerolog's global level is Disabled")

// NewJSONL returns a writer of JSON lines.
func NewJSONL(w io.Writer) *JSONL {
	buf := bufio.NewWriterSize(w, 16<<10)
	return &JSONL{w: buf, log: zerolog.New(quiet{buf})}
}

// quiet reports no errors, which zerolog would print: the buffer keeps the
// first one and returns it at Flush.
type quiet struct{ w *bufio.Writer }

func (q quiet) Write(p []byte) (int, error) {
	q.w.Write(p)
	return len(p), nil
}

// line begins an object.
func (j *JSONL) line() *zerolog.Event {
	e := j.log.Log()
	if e == nil {
		j.err = errSilenced
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

// Begin implements Writer.
func (j *JSONL) Begin(h *Header) error {
	e := when(j.line().Str("kind", "header").Int("version", 1), "time", h.Start)
	e = e.Uint32("pid", h.Target)
	if len(h.Command) > 0 {
		e = j.list(e, "command", "command_raw", []byte(strings.Join(h.Command, "\x00")))
	}
	if h.Key != "" {
		e = e.Str("key", h.Key)
	}
	if len(h.Notes) > 0 {
		e = e.Strs("notes", h.Notes)
	}
	e.Send()
	return j.Flush()
}

func (j *JSONL) name(e *zerolog.Event, key, raw string, name []byte) *zerolog.Event {
	e = e.Bytes(key, name)
	if utf8.Valid(name) {
		return e
	}
	j.b64 = base64.StdEncoding.AppendEncode(j.b64[:0], name)
	return e.Bytes(raw, j.b64)
}

// list adds what NULs separate.
func (j *JSONL) list(e *zerolog.Event, key, raw string, names []byte) *zerolog.Event {
	a := zerolog.Arr()
	for rest, more := names, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte{0})
		a = a.Bytes(name)
	}
	if e = e.Array(key, a); utf8.Valid(names) {
		return e
	}
	a = zerolog.Arr()
	for rest, more := names, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte{0})
		j.b64 = base64.StdEncoding.AppendEncode(j.b64[:0], name)
		a = a.Bytes(j.b64)
	}
	return e.Array(raw, a)
}

// Write implements Writer.
func (j *JSONL) Write(r *Record) error {
	e := when(j.line(), "time", r.Time)
	e = e.Str("kind", r.Kind.String())
	if r.Op != NoOp {
		e = e.Str("op", r.Op.String())
	}
	e = e.Uint32("pid", r.PID).Uint32("ppid", r.PPID).Uint64("start", r.Start).Uint32("uid", r.UID).Str("comm", r.Comm)
	if !utf8.ValidString(r.Comm) {
		e = e.Str("comm_raw", base64.StdEncoding.EncodeToString([]byte(r.Comm)))
	}
	if len(r.Exe) > 0 {
		e = j.name(e, "exe", "exe_raw", r.Exe)
	}
	switch r.Kind {
	case Fork:
		e = e.Uint32("child", r.Child)
	case Exit:
		e = e.Int("code", r.Code).Int("signal", r.Signal)
	case Rename, Link:
		e = j.name(e, "path", "path_raw", r.Path)
		e = j.name(e, "target", "target_raw", r.Target)
	default:
		e = j.name(e, "path", "path_raw", r.Path)
	}
	if len(r.Seen) > 0 {
		e = j.name(e, "seen", "seen_raw", r.Seen)
	}
	if len(r.SeenTarget) > 0 {
		e = j.name(e, "seen_target", "seen_target_raw", r.SeenTarget)
	}
	if len(r.Args) > 0 {
		e = j.list(e, "args", "args_raw", bytes.TrimSuffix(r.Args, []byte{0}))
	}
	if r.Handle != "" {
		e = e.Str("handle", r.Handle)
	}
	if r.Inferred {
		e = e.Bool("inferred", true)
	}
	if r.Attached {
		e = e.Bool("attached", true)
	}
	e.Send()
	return j.err
}

// Comment implements Writer.
func (j *JSONL) Comment(text string) error {
	j.line().Str("kind", "comment").Str("text", text).Send()
	return j.err
}

// Flush implements Writer.
func (j *JSONL) Flush() error { return cmp.Or(j.err, j.w.Flush()) }

// End implements Writer.
func (j *JSONL) End(t *Trailer) error {
	e := when(j.line().Str("kind", "trailer"), "time", t.Stop).Bool("complete", len(t.Incomplete) == 0 && j.err == nil)
	if len(t.Incomplete) > 0 {
		e = e.Strs("incomplete", t.Incomplete)
	}
	e.Send()
	return j.Flush()
}
