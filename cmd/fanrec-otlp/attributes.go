package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"fanrec/output"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// A record becomes a log record: its event is "fanrec.read" and the like, its body a
// line for people, and its attributes have the names of OpenTelemetry's semantic
// conventions, or begin with "fanrec." where those have none. Strings of OTLP are
// UTF-8: beside a name that is not, its bytes are in an attribute that ends with _raw.

// attributes are gathered for one log record.
type attributes []attribute.KeyValue

// name adds a name; key may be none of the conventions, raw is for its bytes.
func (a *attributes) name(key attribute.Key, name []byte) {
	if len(name) == 0 {
		return
	}
	if utf8.Valid(name) {
		*a = append(*a, key.String(string(name)))
		return
	}
	raw := "fanrec." + strings.TrimPrefix(string(key), "fanrec.") + "_raw"
	*a = append(*a, key.String(valid(name)), attribute.ByteSlice(raw, bytes.Clone(name)))
}

func valid(name []byte) string { return strings.ToValidUTF8(string(name), "\uFFFD") }

// file adds the file that something is about.
func (a *attributes) file(path []byte) {
	if len(path) == 0 {
		return
	}
	a.name(semconv.FilePathKey, path)
	text := valid(path)
	name := filepath.Base(text)
	*a = append(*a, semconv.FileName(name), semconv.FileDirectory(filepath.Dir(text)))
	if ext := strings.TrimPrefix(filepath.Ext(name), "."); ext != "" && ext != name[1:] { // ".bashrc" has none
		*a = append(*a, semconv.FileExtension(ext))
	}
}

// args adds arguments, with a NUL between them.
func (a *attributes) args(args []byte) {
	if len(args) == 0 {
		return
	}
	*a = append(*a, semconv.ProcessCommandArgs(strings.Split(valid(args), "\x00")...))
	if !utf8.Valid(args) {
		*a = append(*a, attribute.ByteSlice("fanrec.args_raw", bytes.Clone(args)))
	}
}

// logRecord returns what is emitted for a record. at is when it was seen here.
func logRecord(r *output.Record, at time.Time) log.Record {
	var a attributes
	a = append(a, attribute.String("fanrec.kind", r.Kind.String()))
	if r.Op != output.NoOp {
		a = append(a, attribute.String("fanrec.op", r.Op.String()))
	}
	a = append(a, semconv.ProcessPID(int(r.PID)), semconv.ProcessParentPID(int(r.PPID)), semconv.ProcessRealUserID(int(r.UID)))
	if r.Start != 0 {
		a = append(a, attribute.Int64("fanrec.start", int64(r.Start)))
	}
	if r.NSPID != 0 {
		a = append(a, semconv.ProcessVpid(int(r.NSPID)))
	}
	a.name("fanrec.comm", []byte(r.Comm))
	if len(r.Exe) > 0 {
		a.name(semconv.ProcessExecutablePathKey, r.Exe)
		a = append(a, semconv.ProcessExecutableName(filepath.Base(valid(r.Exe))))
	}
	switch r.Kind {
	case output.Fork:
		a = append(a, attribute.Int64("fanrec.child", int64(r.Child)), attribute.Int64("fanrec.child_start", int64(r.ChildStart)))
		if r.ChildNSPID != 0 {
			a = append(a, attribute.Int64("fanrec.child_vpid", int64(r.ChildNSPID)))
		}
	case output.Exit:
		a = append(a, semconv.ProcessExitCode(r.Code), attribute.Int("fanrec.signal", r.Signal))
	case output.Chdir:
		a.name(semconv.ProcessWorkingDirectoryKey, r.Path)
	case output.Link:
		a.file(r.Target) // that is what is new
		if r.Op == output.Symbolic {
			a.name(semconv.FileSymbolicLinkTargetPathKey, r.Path)
		} else {
			a.name("fanrec.linked", r.Path)
		}
	default:
		a.file(r.Path)
		a.name("fanrec.target", r.Target)
	}
	a.name("fanrec.seen", r.Seen)
	a.name("fanrec.seen_target", r.SeenTarget)
	a.args(bytes.TrimSuffix(r.Args, []byte{0}))
	if r.Container != "" {
		a = append(a, semconv.ContainerID(r.Container))
		a.name(semconv.ContainerNameKey, []byte(r.ContainerName))
	}
	if r.Handle != "" {
		a = append(a, attribute.String("fanrec.handle", r.Handle))
	}
	if r.Inferred {
		a = append(a, attribute.Bool("fanrec.inferred", true))
	}
	if r.Attached {
		a = append(a, attribute.Bool("fanrec.attached", true))
	}
	return event("fanrec."+r.Kind.String(), log.SeverityInfo, r.Time, at, output.Line(r), a)
}

// event returns a log record. A time of 0 is not known.
func event(name string, severity log.Severity, ns int64, at time.Time, body string, a attributes) log.Record {
	var l log.Record
	l.SetEventName(name)
	l.SetSeverity(severity)
	l.SetSeverityText(severity.String())
	if ns != 0 {
		l.SetTimestamp(time.Unix(0, ns))
	}
	l.SetObservedTimestamp(at)
	l.SetBody(attribute.StringValue(strings.ToValidUTF8(body, "\uFFFD")))
	l.AddAttributes(a...)
	return l
}

// begin says that a recording begins.
func begin(h *output.Header, at time.Time) log.Record {
	var a attributes
	if h.Key != "" {
		a = append(a, attribute.String("fanrec.key", h.Key))
	}
	if len(h.Notes) > 0 {
		a = append(a, attribute.StringSlice("fanrec.notes", h.Notes))
	}
	a.args([]byte(strings.Join(h.Command, "\x00")))
	if h.Target != 0 {
		a = append(a, semconv.ProcessPID(int(h.Target)))
	}
	return event("fanrec.begin", log.SeverityInfo, h.Start, at, "the recording begins", a)
}

// end says how a recording ended.
func end(t *output.Trailer, at time.Time) log.Record {
	if len(t.Incomplete) == 0 {
		return event("fanrec.end", log.SeverityInfo, t.Stop, at, "the recording is complete", nil)
	}
	return event("fanrec.end", log.SeverityError, t.Stop, at, "INCOMPLETE: "+strings.Join(t.Incomplete, "; "),
		attributes{attribute.StringSlice("fanrec.incomplete", t.Incomplete)})
}
