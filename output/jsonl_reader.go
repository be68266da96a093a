package output

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// JSONLReader reads a recording as JSONL writes it. A line that is no JSON object,
// or not one that it knows, is an error with its number; fields that it does not
// know are passed over. Every name comes back byte for byte.
type JSONLReader struct {
	in      *bufio.Reader
	line    int
	err     error
	header  Header
	trailer Trailer
	ended   bool
	stream  bool // Next may be called
	pass    func(line []byte) bool
	idle    func() error
	long    []byte // a line that is larger than the buffer
	object  jsonObject
}

// jsonObject is a line of any kind.
type jsonObject struct {
	Kind    string
	Version int
	Time    string
	Op      string

	PID, PPID, UID, Child uint32
	Start                 uint64
	ChildStart            uint64 `json:"child_start"`
	ChildNSPID            uint32 `json:"child_nspid"`
	NSPID                 uint32
	Container             string
	ContainerName         string `json:"container_name"`
	Code, Signal          int
	Comm, Exe, Path       string
	Target, Seen          string
	SeenTarget            string `json:"seen_target"`
	CommRaw               []byte `json:"comm_raw"`
	ExeRaw                []byte `json:"exe_raw"`
	PathRaw               []byte `json:"path_raw"`
	TargetRaw             []byte `json:"target_raw"`
	SeenRaw               []byte `json:"seen_raw"`
	SeenTargetRaw         []byte `json:"seen_target_raw"`
	Args                  []string
	ArgsRaw               []string `json:"args_raw"`
	Handle                string
	Inferred, Attached    bool

	Command    []string
	CommandRaw []string `json:"command_raw"`
	Notes      []string
	Key        string
	Host, Boot string
	Fanrec     string
	Complete   bool
	Incomplete []string
}

// NewJSONLReader reads the header.
func NewJSONLReader(r io.Reader) (*JSONLReader, error) {
	j := &JSONLReader{in: bufio.NewReaderSize(r, 64<<10)}
	if err := j.begin(); err != nil {
		return nil, err
	}
	return j, nil
}

// NewJSONLStream reads the first header of what may be several recordings, one behind
// the other. Read returns io.EOF at the end of each, without waiting for what follows;
// then Next reads the next header.
func NewJSONLStream(r io.Reader) (*JSONLReader, error) {
	j, err := NewJSONLReader(r)
	if err == nil {
		j.stream = true
	}
	return j, err
}

// Next reads the header of the next recording. It returns io.EOF if there is none.
func (j *JSONLReader) Next() error {
	if j.err != io.EOF {
		return j.err
	}
	if _, err := j.in.Peek(1); err != nil {
		return err
	}
	j.trailer, j.ended = Trailer{}, false
	j.err = j.begin()
	return j.err
}

func (j *JSONLReader) begin() error {
	found, err := j.next()
	switch {
	case err != nil:
		return err
	case !found || j.object.Kind != "header" || j.object.Version != 1:
		return j.malformed(errors.New(`not a line {"kind":"header","version":1`))
	}
	o := &j.object
	command, err := list(o.Command, o.CommandRaw)
	if err != nil {
		return j.malformed(err)
	}
	at, err := timeOf(o.Time)
	if err != nil {
		return j.malformed(err)
	}
	j.header = Header{Target: o.PID, Start: at, Command: command, Key: o.Key, Notes: o.Notes, Origin: Origin{o.Host, o.Boot, o.Fanrec}}
	return nil
}

// Header returns how the recording begins.
func (j *JSONLReader) Header() *Header { return &j.header }

// Trailer returns how the recording ended, once Read has returned io.EOF.
// Incomplete is not empty if it says that something is missing, or has no trailer.
func (j *JSONLReader) Trailer() *Trailer { return &j.trailer }

// Line returns the number of the line of the last record, from 1.
func (j *JSONLReader) Line() int { return j.line }

// Read fills in the next record. After the last one it returns io.EOF. An error is
// final.
func (j *JSONLReader) Read(r *Record) error {
	if j.err == nil {
		j.err = j.read(r)
	}
	return j.err
}

func (j *JSONLReader) read(r *Record) error {
	found, err := j.next()
	for found && err == nil && j.object.Kind == "comment" && !j.ended {
		found, err = j.next()
	}
	switch {
	case err != nil:
		return err
	case !found && !j.ended:
		j.trailer.Incomplete = append(j.trailer.Incomplete, "no trailer")
		return io.EOF
	case !found:
		return io.EOF
	case j.ended:
		return j.malformed(errors.New("a line behind the trailer"))
	case j.object.Kind == "trailer":
		j.ended = true
		if err := j.end(); err != nil {
			return j.malformed(err)
		}
		if j.stream {
			return io.EOF
		}
		return j.read(r)
	}
	if err := j.object.record(r); err != nil {
		return j.malformed(err)
	}
	return nil
}

// Pass lets Read pass over records by their lines, which takes a fraction of the time
// that it takes to read them. What is passed over may be malformed: that is not noticed.
func (j *JSONLReader) Pass(over func(line []byte) bool) { j.pass = over }

// Idle has a function called before Read waits for more than has come already. Its
// error ends the reading.
func (j *JSONLReader) Idle(fn func() error) { j.idle = fn }

// recordLine begins the line of a record.
var recordLine = []byte(`{"time":"`)

// next reads a line into object; false at the end.
func (j *JSONLReader) next() (bool, error) {
	var line []byte
	for {
		var err error
		line, err = j.readLine()
		if len(line) == 0 && err == io.EOF {
			return false, nil
		}
		if err != nil && err != io.EOF {
			return false, err
		}
		j.line++
		if j.pass == nil || err == io.EOF || !bytes.HasPrefix(line, recordLine) || !j.pass(line) {
			break // a last line that is cut is malformed
		}
	}
	j.object = jsonObject{}
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&j.object); err != nil {
		return false, j.malformed(fmt.Errorf("no JSON object: %w", err))
	}
	if _, err := d.Token(); err != io.EOF {
		return false, j.malformed(errors.New("more than a JSON object"))
	}
	return true, nil
}

// readLine returns a line, valid until the next one.
func (j *JSONLReader) readLine() ([]byte, error) {
	if j.idle != nil && j.in.Buffered() == 0 {
		if err := j.idle(); err != nil {
			return nil, err
		}
	}
	line, err := j.in.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	for j.long = j.long[:0]; err == bufio.ErrBufferFull; line, err = j.in.ReadSlice('\n') {
		j.long = append(j.long, line...)
	}
	j.long = append(j.long, line...)
	return j.long, err
}

func (j *JSONLReader) malformed(err error) error {
	return fmt.Errorf("line %d: %w: %w", max(j.line, 1), ErrMalformed, err)
}

func (j *JSONLReader) end() error {
	o := &j.object
	at, err := timeOf(o.Time)
	if err != nil {
		return err
	}
	j.trailer = Trailer{Stop: at, Incomplete: o.Incomplete}
	if !o.Complete && len(o.Incomplete) == 0 {
		j.trailer.Incomplete = []string{"the log says so, and not why"}
	}
	return nil
}

// record fills in the record that an object is.
func (o *jsonObject) record(r *Record) error {
	kind := slices.IndexFunc(kinds[:], func(k struct {
		letter byte
		name   string
	}) bool {
		return k.name != "" && k.name == o.Kind
	})
	if kind < 0 {
		return fmt.Errorf("unknown kind %q", o.Kind)
	}
	op := slices.Index(ops[:], o.Op)
	if op < 0 {
		return fmt.Errorf("unknown operation %q", o.Op)
	}
	at, err := timeOf(o.Time)
	if err != nil {
		return err
	}
	args, err := list(o.Args, o.ArgsRaw)
	if err != nil {
		return err
	}
	*r = Record{
		Time: at, PID: o.PID, PPID: o.PPID, Start: o.Start, UID: o.UID, Kind: Kind(kind), Op: Op(op), Comm: string(exact(o.Comm, o.CommRaw)),
		Exe: exact(o.Exe, o.ExeRaw), Path: exact(o.Path, o.PathRaw), Target: exact(o.Target, o.TargetRaw),
		Seen: exact(o.Seen, o.SeenRaw), SeenTarget: exact(o.SeenTarget, o.SeenTargetRaw),
		NSPID: o.NSPID, Container: o.Container, ContainerName: o.ContainerName,
		Child: o.Child, ChildStart: o.ChildStart, ChildNSPID: o.ChildNSPID, Code: o.Code, Signal: o.Signal, Handle: o.Handle, Inferred: o.Inferred, Attached: o.Attached,
	}
	if len(args) > 0 {
		r.Args = []byte(strings.Join(args, "\x00") + "\x00")
	}
	return nil
}

// exact returns the bytes of a name, nil of none.
func exact(text string, raw []byte) []byte {
	switch {
	case raw != nil:
		return raw
	case text == "":
		return nil
	}
	return []byte(text)
}

// list returns the strings of a list.
func list(texts, raw []string) ([]string, error) {
	if raw == nil {
		return texts, nil
	}
	out := make([]string, len(raw))
	for i, text := range raw {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		out[i] = string(b)
	}
	return out, nil
}

func timeOf(text string) (ns int64, err error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("no time: %q", text)
	}
	return t.UnixNano(), nil
}
