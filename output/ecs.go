package output

import (
	"bytes"
	"io"
	"strings"

	"github.com/rs/zerolog"
)

// ECSVersion is the version of the Elastic Common Schema that ECS writes.
const ECSVersion = "9.4.0"

// ECS writes JSON lines with the fields of the Elastic Common Schema. What that has
// no field for is in "fanrec". The first line is an event with the action
// "recording-started", the last one "recording-ended": without it, or with the kind
// "pipeline_error", the recording is not complete. It is not read back.
type ECS struct {
	schema
	host, labels []byte
}

// NewECS returns a writer of JSON lines in ECS.
func NewECS(w io.Writer) *ECS {
	e := &ECS{schema: newSchema(w)}
	e.about(&Header{})
	return e
}

var (
	ecsVersion = constant(map[string]string{"version": ECSVersion})

	ecsFile    = []byte(`["file"]`)
	ecsProcess = []byte(`["process"]`)

	ecsAccess   = []byte(`["access"]`)
	ecsChange   = []byte(`["change"]`)
	ecsCreation = []byte(`["creation"]`)
	ecsDeletion = []byte(`["deletion"]`)
	ecsStart    = []byte(`["start"]`)
	ecsEnd      = []byte(`["end"]`)
	ecsInfo     = []byte(`["info"]`)
	ecsFailed   = []byte(`["end","error"]`)
)

// ecsEvent is how ECS sorts what happened.
type ecsEvent struct {
	kind, outcome string
	category      []byte // nil of what is about the recording
	types         []byte
	action        string
	dataset       string
}

var ecsTypes = [Kinds][]byte{
	Fork: ecsStart, Exec: ecsStart, Exit: ecsEnd, Chdir: ecsChange, Read: ecsAccess, Write: ecsChange, Delete: ecsDeletion,
	Rename: ecsChange, Link: ecsCreation, Absent: ecsAccess, Modify: ecsChange, Attrib: ecsChange,
}

func ecsOf(r *Record) ecsEvent {
	e := ecsEvent{kind: "event", outcome: "success", category: ecsFile, types: ecsTypes[r.Kind], action: r.Kind.String(), dataset: "fanrec.file"}
	switch {
	case r.ofProcess():
		e.category, e.dataset = ecsProcess, "fanrec.process"
	case r.Kind == Absent:
		e.outcome = "failure"
	}
	switch r.Op { // of a file
	case Create, Mkdir, Mknod, Bind:
		e.types, e.action = ecsCreation, r.Op.String()
	case Truncate, Rmdir, Exchange:
		e.action = r.Op.String()
	case Symbolic:
		e.action = "symlink"
	}
	if r.Attached { // nobody did it now
		e.kind, e.types, e.action = "state", ecsInfo, "found"
		if r.Op == Held || r.Op == Mapped {
			e.action = r.Op.String()
		}
	}
	return e
}

// begin begins a line.
func (w *ECS) begin(at int64, ev ecsEvent) *zerolog.Event {
	e := when(w.line(), "@timestamp", at).RawJSON("ecs", ecsVersion)
	d := e.CreateDict().Str("kind", ev.kind)
	if ev.category != nil {
		d = d.RawJSON("category", ev.category)
	}
	d = d.RawJSON("type", ev.types).Str("action", ev.action).Str("outcome", ev.outcome)
	return e.Dict("event", d.Str("module", "fanrec").Str("dataset", ev.dataset).Int64("sequence", w.next(at)))
}

// end ends a line with what is the same in all.
func (w *ECS) end(e *zerolog.Event) error {
	e = e.RawJSON("host", w.host)
	if w.labels != nil {
		e = e.RawJSON("labels", w.labels)
	}
	e.Send()
	return w.err
}

// about makes what is the same in all lines.
func (w *ECS) about(h *Header) {
	w.boot = h.Boot
	host := map[string]any{"os": map[string]string{"type": "linux"}}
	if h.Host != "" {
		host["name"], host["hostname"] = h.Host, h.Host
	}
	if h.Boot != "" {
		host["boot"] = map[string]string{"id": h.Boot}
	}
	w.host = constant(host)
	if h.Key != "" {
		w.labels = constant(map[string]string{"recording": h.Key})
	}
}

// Begin implements Writer.
func (w *ECS) Begin(h *Header) error {
	w.about(h)
	e := w.begin(h.Start, ecsEvent{kind: "event", outcome: "success", types: ecsStart, action: "recording-started", dataset: "fanrec.recording"})
	if h.Version != "" {
		e = e.Dict("agent", e.CreateDict().Str("type", "fanrec").Str("version", h.Version))
	}
	w.end(e.Dict("fanrec", w.ownHeader(e.CreateDict(), h)))
	return w.Flush()
}

// program adds what a process executes.
func (w *ECS) program(d *zerolog.Event, image []byte, comm string) *zerolog.Event {
	if name := w.named(image, comm); len(name) > 0 {
		d = d.Bytes("name", name)
	}
	if len(image) > 0 {
		d = d.Bytes("executable", image)
	}
	return d
}

// numbers adds what a process is called.
func (w *ECS) numbers(d *zerolog.Event, pid uint32, start uint64, own uint32) *zerolog.Event {
	d = d.Uint32("pid", pid)
	if own != 0 {
		d = d.Uint32("vpid", own)
	}
	if id := w.identity(pid, start); id != nil {
		d = d.Bytes("entity_id", id)
	}
	return d
}

// process adds the process that a record is about: of a fork it is the child.
func (w *ECS) process(d *zerolog.Event, r *Record) *zerolog.Event {
	if r.Kind == Fork {
		parent := w.program(w.numbers(d.CreateDict(), r.PID, r.Start, r.NSPID), r.Exe, r.Comm)
		d = w.numbers(d, r.Child, r.ChildStart, r.ChildNSPID)
		if !r.Attached { // it may have executed something since
			d = w.program(d, r.Exe, r.Comm)
		}
		return d.Dict("parent", parent)
	}
	d = w.program(w.numbers(d, r.PID, r.Start, r.NSPID), r.image(), r.Comm)
	switch {
	case r.Kind == Exec && len(r.Args) > 0:
		args := r.argv()
		d = texts(d, "args", args).Int("args_count", 1+bytes.Count(args, []byte{0}))
	case r.Kind == Exit && r.Signal == 0:
		d = d.Int("exit_code", r.Code)
	case r.Kind == Chdir:
		d = d.Bytes("working_directory", r.Path)
	}
	if r.PPID != 0 {
		d = d.Dict("parent", d.CreateDict().Uint32("pid", r.PPID))
	}
	return d
}

// file adds the file that a record is about.
func (w *ECS) file(d *zerolog.Event, r *Record) *zerolog.Event {
	path := r.Path
	if r.Kind == Rename || r.Kind == Link {
		path = r.Target
	}
	dir, name, extension := split(path)
	d = d.Bytes("path", path).Bytes("name", name)
	if len(dir) > 0 {
		d = d.Bytes("directory", dir)
	}
	if len(extension) > 0 {
		d = d.Bytes("extension", extension)
	}
	switch r.Op {
	case Create, Truncate:
		d = d.Str("type", "file")
	case Mkdir, Rmdir:
		d = d.Str("type", "dir")
	case Symbolic:
		d = d.Str("type", "symlink").Bytes("target_path", r.Path)
	}
	return d
}

// Write implements Writer.
func (w *ECS) Write(r *Record) error {
	ev := ecsOf(r)
	e := w.begin(r.Time, ev)
	e = e.Dict("process", w.process(e.CreateDict(), r))
	e = e.Dict("user", e.CreateDict().Bytes("id", w.number(r.UID)))
	if !r.ofProcess() {
		e = e.Dict("file", w.file(e.CreateDict(), r))
	}
	if r.Container != "" {
		c := e.CreateDict().Str("id", r.Container)
		if r.ContainerName != "" {
			c = c.Str("name", r.ContainerName)
		}
		e = e.Dict("container", c)
	}
	own := w.own(e.CreateDict(), r)
	if r.Handle != "" {
		own = own.Str("handle", r.Handle)
	}
	if r.Kind == Exec && len(r.Args) > 0 {
		own = w.rawList(own, "args_raw", r.argv())
	}
	return w.end(e.Dict("fanrec", own))
}

// Comment implements Writer.
func (w *ECS) Comment(text string) error {
	e := w.begin(w.last, ecsEvent{kind: "event", outcome: "unknown", types: ecsInfo, action: "comment", dataset: "fanrec.recording"})
	return w.end(e.Str("message", text).Dict("fanrec", e.CreateDict().Str("kind", "comment")))
}

// End implements Writer.
func (w *ECS) End(t *Trailer) error {
	ev := ecsEvent{kind: "event", outcome: "success", types: ecsEnd, action: "recording-ended", dataset: "fanrec.recording"}
	if !w.whole(t) {
		ev.kind, ev.outcome, ev.types = "pipeline_error", "failure", ecsFailed
	}
	e := w.begin(t.Stop, ev)
	if len(t.Incomplete) > 0 {
		e = e.Dict("error", e.CreateDict().Str("message", "the recording is incomplete: "+strings.Join(t.Incomplete, "; ")))
	}
	w.end(e.Dict("fanrec", w.ownTrailer(e.CreateDict(), t)))
	return w.Flush()
}
