package output

import (
	"encoding/base64"
	"io"
	"unicode/utf8"
)

// JSONL writes one JSON object a line: a "header", the records, a "trailer".
// Names are exact: beside a name that is not UTF-8 its bytes stand in base64,
// in a field with "_raw" behind its name; beside a list of which some are not,
// all in a list.
type JSONL struct{ lines }

// NewJSONL returns a writer of JSON lines.
func NewJSONL(w io.Writer) *JSONL { return &JSONL{newLines(w)} }

// Begin implements Writer.
func (j *JSONL) Begin(h *Header) error {
	e := when(j.line().Str("kind", "header").Int("version", 1), "time", h.Start)
	e = e.Uint32("pid", h.Target)
	if len(h.Command) > 0 {
		e = j.list(e, "command", "command_raw", argv(h.Command))
	}
	if h.Key != "" {
		e = e.Str("key", h.Key)
	}
	if h.Host != "" {
		e = e.Str("host", h.Host)
	}
	if h.Boot != "" {
		e = e.Str("boot", h.Boot)
	}
	if h.Version != "" {
		e = e.Str("fanrec", h.Version)
	}
	if len(h.Notes) > 0 {
		e = e.Strs("notes", h.Notes)
	}
	e.Send()
	return j.Flush()
}

// Write implements Writer.
func (j *JSONL) Write(r *Record) error {
	e := when(j.line(), "time", r.Time)
	e = e.Str("kind", r.Kind.String())
	if r.Op != NoOp {
		e = e.Str("op", r.Op.String())
	}
	e = e.Uint32("pid", r.PID)
	if r.NSPID != 0 {
		e = e.Uint32("nspid", r.NSPID)
	}
	e = e.Uint32("ppid", r.PPID).Uint64("start", r.Start).Uint32("uid", r.UID).Str("comm", r.Comm)
	if !utf8.ValidString(r.Comm) {
		e = e.Str("comm_raw", base64.StdEncoding.EncodeToString([]byte(r.Comm)))
	}
	if len(r.Exe) > 0 {
		e = j.name(e, "exe", "exe_raw", r.Exe)
	}
	switch r.Kind {
	case Fork:
		e = e.Uint32("child", r.Child)
		if r.ChildStart != 0 {
			e = e.Uint64("child_start", r.ChildStart)
		}
		if r.ChildNSPID != 0 {
			e = e.Uint32("child_nspid", r.ChildNSPID)
		}
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
		e = j.list(e, "args", "args_raw", r.argv())
	}
	if r.Handle != "" {
		e = e.Str("handle", r.Handle)
	}
	if r.Container != "" {
		e = e.Str("container", r.Container)
	}
	if r.ContainerName != "" {
		e = e.Str("container_name", r.ContainerName)
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

// End implements Writer.
func (j *JSONL) End(t *Trailer) error {
	e := when(j.line().Str("kind", "trailer"), "time", t.Stop).Bool("complete", len(t.Incomplete) == 0 && j.err == nil)
	if len(t.Incomplete) > 0 {
		e = e.Strs("incomplete", t.Incomplete)
	}
	e.Send()
	return j.Flush()
}
