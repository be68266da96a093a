package output

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Reader reads a recording. Its methods are for one goroutine.
type Reader interface {
	// Header returns how the recording begins.
	Header() *Header
	// Read fills in the next record, whose slices are valid until the next Read.
	// After the last one it returns io.EOF. An error is final, and wraps
	// ErrMalformed if it is about what the log says.
	Read(r *Record) error
	// Trailer returns how the recording ended, once Read has returned io.EOF.
	Trailer() *Trailer
	// Line returns the number of the line on which the last record begins, from 1.
	Line() int
}

// Formats are the names of the formats. All but text are read back.
var Formats = []string{"filemon", "filemon4", "jsonl", "text"}

// Schemas are formats, too: JSON lines with the names of others. They are not read back.
var Schemas = []string{"ecs", "ocsf"}

// Full tells whether a format has all that there is to a record.
func Full(format string) bool {
	switch format {
	case "jsonl", "json", "ecs", "ocsf":
		return true
	}
	return false
}

// NewWriter returns the writer of a format.
func NewWriter(format string, w io.Writer) (Writer, error) {
	switch format {
	case "filemon", "filemon5":
		return NewFilemon(w, 5), nil
	case "filemon4":
		return NewFilemon(w, 4), nil
	case "jsonl", "json":
		return NewJSONL(w), nil
	case "text":
		return NewText(w, TextOptions{}), nil
	case "ecs":
		return NewECS(w), nil
	case "ocsf":
		return NewOCSF(w), nil
	}
	return nil, fmt.Errorf("--format %s: want filemon, filemon4, jsonl or text; --schema takes ecs or ocsf", format)
}

// IsEnd tells whether a line is the last one of a log, in whatever format but text. What stands
// in it between quotes is not taken for it: JSON has a backslash before each quote of a name.
func IsEnd(line []byte) bool {
	for begin, has := range map[string]string{
		"# Stop ": "", "# Bye ": "", `{"kind":"trailer"`: "", ecsBegin: `"action":"recording-ended"`, ocsfBegin: `"type_uid":600204,`,
	} {
		if bytes.HasPrefix(line, []byte(begin)) && bytes.Contains(line, []byte(has)) {
			return true
		}
	}
	return false
}

// How the lines of a schema begin.
const (
	ecsBegin  = `{"@timestamp":`
	ocsfBegin = `{"class_uid":`
)

// isText tells whether a log is one of Text, which has no header: whether one of its first
// lines is that of a record.
func isText(in *bufio.Reader) bool {
	if begin, _ := in.Peek(len(versionPrefix)); string(begin) == versionPrefix {
		return false
	}
	begin, _ := in.Peek(in.Size())
	found, _ := regexp.Match(`(?m)^(\x1b\[2m)?(\d{4}-\d\d-\d\d )?(\d\d:\d\d:\d\d\.\d{6}| {14}-) (\x1b\[0m)?.*\[\d+\] `, begin)
	return found
}

// NewReader reads the header of a recording in any of the formats.
func NewReader(r io.Reader) (Reader, error) {
	in := bufio.NewReader(r)
	first, err := in.Peek(1)
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: it is empty", ErrMalformed)
	case err != nil:
		return nil, err
	case first[0] == '{':
		if begin, _ := in.Peek(len(ecsBegin)); string(begin) == ecsBegin || strings.HasPrefix(string(begin), ocsfBegin) {
			return nil, fmt.Errorf("%w: it was written with --schema, and is not read back; record with -f jsonl, and convert that", ErrMalformed)
		}
		return NewJSONLReader(in)
	}
	if isText(in) {
		return nil, fmt.Errorf("%w: it is text for people, and is not read back; record with -f jsonl, and convert that", ErrMalformed)
	}
	return NewFilemonReader(in)
}
