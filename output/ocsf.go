package output

import (
	"io"
	"strings"

	"github.com/rs/zerolog"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that OCSF writes.
const OCSFVersion = "1.8.0"

// OCSF writes JSON lines that are events of OCSF: File System Activity and Process
// Activity, and Application Lifecycle of fanrec itself: a Start is the first line,
// a Stop the last one. Without that, or with the status Failure in it, the recording
// is not complete. What OCSF has no attribute for is in "unmapped". It is not read back.
type OCSF struct {
	schema
	device, product, tags []byte
}

// NewOCSF returns a writer of JSON lines in OCSF.
func NewOCSF(w io.Writer) *OCSF {
	o := &OCSF{schema: newSchema(w)}
	o.about(&Header{})
	return o
}

// The classes, and in them the activities.
const (
	ocsfFile      = 1001
	ocsfProcess   = 1007
	ocsfLifecycle = 6002

	ocsfCreate        = 1 // of ocsfFile
	ocsfRead          = 2
	ocsfUpdate        = 3
	ocsfDelete        = 4
	ocsfRename        = 5
	ocsfSetAttributes = 6

	ocsfLaunch    = 1 // of ocsfProcess
	ocsfTerminate = 2

	ocsfStart = 3 // of ocsfLifecycle
	ocsfStop  = 4

	ocsfOther = 99 // of any; activity_name says which

	ocsfInformational = 1 // severity
	ocsfMedium        = 3

	ocsfSuccess = 1 // status
	ocsfFailure = 2

	ocsfForked = 2 // launch type
	ocsfExeced = 3

	ocsfUnknown    = 0 // type of a file, a device
	ocsfRegular    = 1
	ocsfFolder     = 2
	ocsfSocket     = 5
	ocsfSymlink    = 7
	ocsfExecutable = 8
)

// The profiles that lines are of: the last one brings what is about containers.
var (
	ocsfProfiles  = []byte(`["host","datetime"]`)
	ocsfContainer = []byte(`["host","datetime","container"]`)
)

// ocsfEvent is how OCSF sorts what happened.
type ocsfEvent struct {
	class, activity  int
	name             string // of the activity, if that is ocsfOther
	severity, status int
	profiles         []byte
}

var ocsfEvents = [Kinds]ocsfEvent{
	Fork: {class: ocsfProcess, activity: ocsfLaunch}, Exec: {class: ocsfProcess, activity: ocsfLaunch},
	Exit: {class: ocsfProcess, activity: ocsfTerminate}, Chdir: {class: ocsfProcess, activity: ocsfOther, name: "Change Directory"},
	Read: {class: ocsfFile, activity: ocsfRead}, Write: {class: ocsfFile, activity: ocsfUpdate}, Delete: {class: ocsfFile, activity: ocsfDelete},
	Rename: {class: ocsfFile, activity: ocsfRename}, Link: {class: ocsfFile, activity: ocsfCreate},
	Absent: {class: ocsfFile, activity: ocsfOther, name: "Look Up"}, Modify: {class: ocsfFile, activity: ocsfUpdate},
	Attrib: {class: ocsfFile, activity: ocsfSetAttributes},
}

func ocsfOf(r *Record) ocsfEvent {
	e := ocsfEvents[r.Kind]
	e.severity, e.status, e.profiles = ocsfInformational, ocsfSuccess, ocsfProfiles
	if r.Container != "" || r.NSPID != 0 || r.ChildNSPID != 0 {
		e.profiles = ocsfContainer
	}
	switch r.Op {
	case Create, Mkdir, Mknod, Bind:
		e.activity = ocsfCreate
	}
	if r.Kind == Absent {
		e.status = ocsfFailure
	}
	if r.Attached { // nobody did it now
		e.activity, e.name = ocsfOther, "Found"
		switch r.Op {
		case Held:
			e.name = "Held"
		case Mapped:
			e.name = "Mapped"
		}
	}
	return e
}

// begin begins a line.
func (w *OCSF) begin(at int64, ev ocsfEvent) *zerolog.Event {
	e := w.line().Int("class_uid", ev.class).Int("category_uid", ev.class/1000).Int("activity_id", ev.activity).Int("type_uid", ev.class*100+ev.activity)
	if ev.name != "" {
		e = e.Str("activity_name", ev.name)
	}
	// Milliseconds are all that its times have.
	e = when(e.Int64("time", at/1e6), "time_dt", at).Int("severity_id", ev.severity).Int("status_id", ev.status)
	m := e.CreateDict().Str("version", OCSFVersion).RawJSON("product", w.product).RawJSON("profiles", ev.profiles).Int64("sequence", w.next(at))
	if w.tags != nil {
		m = m.RawJSON("tags", w.tags)
	}
	return e.Dict("metadata", m)
}

// end ends a line with what is the same in all.
func (w *OCSF) end(e *zerolog.Event) error {
	e.RawJSON("device", w.device).Send()
	return w.err
}

// lifecycle begins a line that is about fanrec itself.
func (w *OCSF) lifecycle(at int64, ev ocsfEvent) *zerolog.Event {
	ev.class, ev.profiles = ocsfLifecycle, ocsfProfiles
	return w.begin(at, ev).RawJSON("app", w.product)
}

// about makes what is the same in all lines.
func (w *OCSF) about(h *Header) {
	w.boot = h.Boot
	device := map[string]any{"type_id": ocsfUnknown, "os": map[string]any{"name": "Linux", "type_id": 200}}
	if h.Host != "" {
		device["hostname"] = h.Host
	} else {
		device["name"] = "unknown" // it must have some name
	}
	if h.Boot != "" {
		device["boot_uid"] = h.Boot
	}
	w.device = constant(device)
	product := map[string]string{"name": "fanrec", "vendor_name": "fanrec"}
	if h.Version != "" {
		product["version"] = h.Version
	}
	w.product = constant(product)
	if h.Key != "" {
		w.tags = constant([]map[string]string{{"name": "recording", "value": h.Key}})
	}
}

// Begin implements Writer.
func (w *OCSF) Begin(h *Header) error {
	w.about(h)
	e := w.lifecycle(h.Start, ocsfEvent{activity: ocsfStart, severity: ocsfInformational, status: ocsfSuccess})
	w.end(e.Dict("unmapped", w.ownHeader(e.CreateDict(), h)))
	return w.Flush()
}

// file adds the attributes of a file. Its name is required.
func (w *OCSF) file(d *zerolog.Event, path []byte, kind int) *zerolog.Event {
	dir, name, extension := split(path)
	d = d.Bytes("name", name).Bytes("path", path).Int("type_id", kind)
	if len(dir) > 0 {
		d = d.Bytes("parent_folder", dir)
	}
	if len(extension) > 0 {
		d = d.Bytes("ext", extension)
	}
	return d
}

// fileType is what a record tells of the type of its file.
func (r *Record) fileType() int {
	switch r.Op {
	case Create, Truncate:
		return ocsfRegular
	case Mkdir, Rmdir:
		return ocsfFolder
	case Bind:
		return ocsfSocket
	case Symbolic:
		return ocsfSymlink
	}
	return ocsfUnknown
}

// process adds what a process is called, and what it executes.
func (w *OCSF) process(d *zerolog.Event, pid uint32, start uint64, own uint32, image []byte, comm string) *zerolog.Event {
	d = d.Uint32("pid", pid)
	if own != 0 {
		d = d.Uint32("namespace_pid", own)
	}
	if id := w.identity(pid, start); id != nil {
		d = d.Bytes("uid", id)
	}
	if name := w.named(image, comm); len(name) > 0 {
		d = d.Bytes("name", name)
	}
	if len(image) > 0 {
		d = d.Dict("file", w.file(d.CreateDict(), image, ocsfExecutable))
	}
	return d
}

// self adds the process of a record, with its parent and its user.
func (w *OCSF) self(d *zerolog.Event, r *Record, image []byte, comm string) *zerolog.Event {
	d = w.process(d, r.PID, r.Start, r.NSPID, image, comm)
	if r.Container != "" {
		c := d.CreateDict().Str("uid", r.Container)
		if r.ContainerName != "" {
			c = c.Str("name", r.ContainerName)
		}
		d = d.Dict("container", c)
	}
	if r.PPID != 0 {
		d = d.Dict("parent_process", d.CreateDict().Uint32("pid", r.PPID))
	}
	return d.Dict("user", d.CreateDict().Bytes("uid", w.number(r.UID)))
}

// Write implements Writer.
func (w *OCSF) Write(r *Record) error {
	ev := ocsfOf(r)
	e := w.begin(r.Time, ev)
	image, comm := r.image(), r.Comm
	if r.Kind == Exec {
		image, comm = nil, "" // what called execve is not known any more
	}
	e = e.Dict("actor", e.CreateDict().Dict("process", w.self(e.CreateDict(), r, image, comm)))
	own := w.own(e.CreateDict(), r)
	if r.Handle != "" && ev.class != ocsfFile {
		own = own.Str("handle", r.Handle)
	}
	switch {
	case ev.class == ocsfFile:
		path := r.Path
		if r.Kind == Link {
			path = r.Target
		}
		d := w.file(e.CreateDict(), path, r.fileType())
		if r.Handle != "" {
			d = d.Str("uid", r.Handle)
		}
		e = e.Dict("file", d)
		if r.Kind == Rename {
			e = e.Dict("file_result", w.file(e.CreateDict(), r.Target, r.fileType()))
		}
	case r.Kind == Fork:
		image, comm := r.Exe, r.Comm
		if r.Attached { // it may have executed something since
			image, comm = nil, ""
		} else {
			e = e.Int("launch_type_id", ocsfForked)
		}
		e = e.Dict("process", w.process(e.CreateDict(), r.Child, r.ChildStart, r.ChildNSPID, image, comm))
	default:
		d := w.self(e.CreateDict(), r, r.image(), r.Comm)
		switch r.Kind {
		case Exec:
			if len(r.Args) > 0 {
				args := r.argv()
				own = w.list(own, "args", "args_raw", args)
				w.b = append(w.b[:0], args...)
				for i, c := range w.b {
					if c == 0 {
						w.b[i] = ' '
					}
				}
				d = d.Bytes("cmd_line", w.b)
			}
			if !r.Attached {
				e = e.Int("launch_type_id", ocsfExeced)
			}
		case Exit:
			if r.Signal == 0 {
				e = e.Int("exit_code", r.Code)
			}
		case Chdir:
			d = d.Bytes("working_directory", r.Path)
		}
		e = e.Dict("process", d)
	}
	return w.end(e.Dict("unmapped", own))
}

// Comment implements Writer.
func (w *OCSF) Comment(text string) error {
	e := w.lifecycle(w.last, ocsfEvent{activity: ocsfOther, name: "Comment", severity: ocsfInformational, status: ocsfSuccess})
	return w.end(e.Str("message", text).Dict("unmapped", e.CreateDict().Str("kind", "comment")))
}

// End implements Writer.
func (w *OCSF) End(t *Trailer) error {
	ev := ocsfEvent{activity: ocsfStop, severity: ocsfInformational, status: ocsfSuccess}
	if !w.whole(t) {
		ev.severity, ev.status = ocsfMedium, ocsfFailure
	}
	e := w.lifecycle(t.Stop, ev)
	if len(t.Incomplete) > 0 {
		e = e.Str("status_detail", "the recording is incomplete: "+strings.Join(t.Incomplete, "; "))
	}
	w.end(e.Dict("unmapped", w.ownTrailer(e.CreateDict(), t)))
	return w.Flush()
}
