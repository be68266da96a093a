package logfile

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"fanrec/output"
)

// Log writes a recording. The first error is kept: what comes after it is
// dropped, and End says so in the log as well as it can be done.
type Log struct {
	file   *File
	format string
	head   *output.Header
	w      output.Writer
	err    error

	unfinished bool
}

// New returns a log in a format of output.NewWriter.
func New(file *File, format string) (*Log, error) {
	w, err := output.NewWriter(format, file)
	if err != nil {
		return nil, err
	}
	return &Log{file: file, format: format, w: w}, nil
}

// To returns a log for a writer of something else than lines of a file.
func To(file *File, w output.Writer) *Log { return &Log{file: file, w: w} }

func (l *Log) keep(err error) {
	if l.err == nil {
		l.err = err
	}
}

// Begin writes the header.
func (l *Log) Begin(h *output.Header) {
	l.head = h
	l.keep(l.w.Begin(h))
}

// Write appends a record.
func (l *Log) Write(r *output.Record) {
	if l.err == nil {
		l.keep(l.w.Write(r))
	}
}

// Comment appends a line of text that is no record.
func (l *Log) Comment(text string) {
	if l.err == nil {
		l.keep(l.w.Comment(text))
	}
}

// Flush hands what was appended to the system.
func (l *Log) Flush() {
	if l.err == nil {
		l.keep(l.w.Flush())
	}
	if l.err == nil && l.unfinished {
		l.keep(l.file.cut())
	}
}

// Abandon ends a log that somebody else has written, unless that one has: it is
// made to say that it is incomplete. file is where that was written to.
func Abandon(file *os.File, format string, h *output.Header, t *output.Trailer) error {
	var b bytes.Buffer
	w, err := output.NewWriter(format, &b)
	if err != nil {
		return err
	}
	w.Begin(h)
	w.Flush()
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	switch last, err := lastLine(file); {
	case err != nil:
		return err
	case output.IsEnd(last):
		return nil
	case len(last) > 0:
		if b.Reset(); last[len(last)-1] != '\n' {
			b.WriteByte('\n') // it is cut: this ends it
		}
	}
	if err := w.End(t); err != nil {
		return err
	}
	_, err = file.Write(b.Bytes())
	return err
}

// lastLine returns the end of a file, from behind the last newline but the very
// last byte; of a longer line only the end.
func lastLine(file *os.File) ([]byte, error) {
	// It is open for writing only.
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, 8192))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return nil, err
	}
	return b[bytes.LastIndexByte(b[:max(len(b)-1, 0)], '\n')+1:], nil
}

// Unfinished makes the log end with an unfinished line until End, if it is a
// regular file: whoever reads it before, or after its writer was killed, is not
// to take it for a whole one. bmake(1) does not look for the end of a log.
func (l *Log) Unfinished() { l.unfinished = true }

// Err returns why the log could not be written, nil if it could.
func (l *Log) Err() error { return l.err }

// Sync waits until what was flushed has reached the system.
func (l *Log) Sync() error { return l.file.Sync() }

// Release calls over when nobody writes to the file any more. Of a log that was
// given up a write may return much later, or never, and has a thread until then.
func (l *Log) Release(over func()) {
	if l.file.spool == nil {
		over()
		return
	}
	l.file.spool.close(over)
}

// GiveUp has End wait no longer, in another goroutine, for who does not take what was
// written.
func (l *Log) GiveUp() {
	if l.file.spool != nil {
		l.file.spool.giveUp()
	}
}

// End writes the trailer and closes the file, unless it is a stream. If it
// could not be written, the trailer is made to say so; that this could not be
// written either is returned.
func (l *Log) End(t *output.Trailer) error {
	if l.err == nil {
		l.keep(l.w.End(t))
	}
	if l.file.spool != nil {
		l.keep(l.file.spool.sync(stall))
	}
	if l.file.regular && l.err == nil {
		l.keep(l.file.Close()) // some filesystems tell only now
	}
	if l.err == nil {
		return nil
	}
	t.Incomplete = append(t.Incomplete, fmt.Sprintf("the log could not be written: %v", l.err))
	if !l.file.regular || l.file.spool != nil {
		return nil
	}
	var b bytes.Buffer
	w, err := output.NewWriter(l.format, &b)
	if err != nil {
		return err
	}
	w.Begin(l.head) // the end names the last process
	w.Flush()
	b.Reset()
	if err := w.End(t); err != nil {
		return err
	}
	return l.file.salvage(b.Bytes())
}
