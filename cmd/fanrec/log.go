package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// logFile is the log while it is written.
type logFile struct {
	*os.File
	regular bool   // a file of its own, not a pipe, a terminal or standard output
	size    int64  // so much was written
	tail    []byte // the end of it
}

// tailSize is room for the longest records.
const tailSize = 64 << 10

// openLog opens the log, with the rights of the user that the command runs as:
// it is then that user's file, and a symbolic link in that user's directory
// leads nowhere where the user may not write.
func openLog(name string, as *syscall.Credential) (*logFile, error) {
	if name == "-" {
		return &logFile{File: os.Stdout}, nil
	}
	var f *os.File
	var err error
	open := func() { f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666) }
	if as == nil {
		open()
	} else if uerr := asUser(as, open); uerr != nil {
		return nil, fmt.Errorf("write the log %s: %w", name, uerr)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("write the log %s: its directory does not exist; choose another with -o", name)
	case err != nil:
		return nil, fmt.Errorf("write the log %s: %w; choose another place with -o", name, errors.Unwrap(err))
	}
	st, err := f.Stat()
	return &logFile{File: f, regular: err == nil && st.Mode().IsRegular()}, nil
}

// asUser calls fn on a thread that has the rights of a user on files. The
// thread ends with it.
func asUser(as *syscall.Credential, fn func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		// These are the thread's own; os and syscall would set them for all.
		_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(as.Groups)), uintptr(unsafe.Pointer(unsafe.SliceData(as.Groups))), 0)
		if errno != 0 {
			done <- fmt.Errorf("take the groups of the user: %w", errno)
			return
		}
		// These two tell of no failure, only what was before.
		unix.Setfsgid(int(as.Gid))
		unix.Setfsuid(int(as.Uid))
		gid, _ := unix.SetfsgidRetGid(-1)
		uid, _ := unix.SetfsuidRetUid(-1)
		if uid != int(as.Uid) || gid != int(as.Gid) {
			done <- errors.New("take the rights of the user: not permitted")
			return
		}
		fn()
		done <- nil
	}()
	return <-done
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
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
func (l *logFile) salvage(end []byte) error {
	if !l.regular {
		return nil
	}
	at := int64(0)
	if room := len(l.tail) - len(end); room > 0 {
		if i := bytes.LastIndexByte(l.tail[:room], '\n'); i >= 0 {
			at = l.size - int64(len(l.tail)-i-1)
		}
	}
	if _, err := l.WriteAt(end, at); err != nil {
		return errors.Join(err, l.Truncate(0))
	}
	return l.Truncate(at + int64(len(end)))
}

var _ io.Writer = (*logFile)(nil)
