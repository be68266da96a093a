package output

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
		return NewText(w, false), nil
	}
	return nil, fmt.Errorf("--format %s: want filemon, filemon4, jsonl or text", format)
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
		return NewJSONLReader(in)
	}
	return NewFilemonReader(in)
}
