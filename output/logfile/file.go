// Package logfile writes recordings into files, and sees to it that one that
// could not be written does not look as if it were complete.
package logfile

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// File is a log while it is written.
type File struct {
	*os.File
	regular bool   // it has a size, and a place where its end is
	begin   int64  // where it begins
	size    int64  // where the next byte goes
	tail    []byte // what was written last
	append  bool   // each write goes to the end, whatever place it names
	spool   *spool // it is written by another goroutine
}

// tailSize is room for the longest records.
const tailSize = 64 << 10

// NewFile returns a log that begins where the file is now.
func NewFile(f *os.File) *File {
	out := &File{File: f}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return out
	}
	flags, ferr := statusFlags(f)
	whence := io.SeekCurrent
	if out.append = flags&unix.O_APPEND != 0; out.append {
		whence = io.SeekEnd
	}
	out.begin, err = f.Seek(0, whence)
	out.size, out.regular = out.begin, err == nil && ferr == nil
	return out
}

// statusFlags returns those of open(2). (Not by File.Fd, which makes the file
// block for everybody who has it.)
func statusFlags(f *os.File) (flags int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	return flags, cmp.Or(cerr, err)
}

// Spool makes writes wait for nobody: another goroutine writes, and when so many
// bytes wait for it the log is given up (ErrSlow).
func (l *File) Spool(limit int) { l.spool = newSpool(l.File, limit) }

// Sync waits until what was written has reached the system.
func (l *File) Sync() error {
	if l.spool != nil {
		return l.spool.sync(0)
	}
	return nil
}

// stall is how long the end of a spooled log waits though nothing is taken.
const stall = 10 * time.Second

// cut puts half a line behind what was written, where the next write goes.
func (l *File) cut() error {
	if !l.regular || l.append || l.spool != nil {
		return nil
	}
	_, err := l.WriteAt([]byte{'R'}, l.size)
	return err
}

// Stream returns a log that is somebody else's, too: standard output.
func Stream(f *os.File) *File { return &File{File: f} }

// Write implements io.Writer.
func (l *File) Write(p []byte) (int, error) {
	if l.spool != nil {
		return l.spool.Write(p)
	}
	n, err := l.File.Write(p)
	if l.regular {
		l.size += int64(n)
		if n >= tailSize {
			l.tail = append(l.tail[:0], p[n-tailSize:n]...)
		} else {
			drop := max(len(l.tail)+n-tailSize, 0)
			l.tail = append(l.tail[:copy(l.tail, l.tail[drop:])], p[:n]...)
		}
	}
	return n, err
}

// salvage puts the end of an incomplete log over its last records, where a
// write has failed: on a full disk that is where there is room. Without it the
// log might end with a whole record and look like one that is complete.
func (l *File) salvage(end []byte) error {
	at := l.begin
	if room := len(l.tail) - len(end); room > 0 {
		if i := bytes.LastIndexByte(l.tail[:room], '\n'); i >= 0 {
			at = l.size - int64(len(l.tail)-i-1)
		}
	}
	if l.append {
		err := l.Truncate(at)
		if err == nil {
			_, err = l.File.Write(end)
		}
		return err
	}
	if _, err := l.WriteAt(end, at); err != nil {
		return errors.Join(err, l.Truncate(l.begin))
	}
	return l.Truncate(at + int64(len(end)))
}
