// Package claim lets who writes a log be known to who would write it, too, or reads it:
// by a lock on the file that goes when whoever writes has closed it or is gone.
package claim

import (
	"cmp"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrTaken is what Take returns if somebody else writes the file.
var ErrTaken = errors.New("another recorder writes it")

// Take claims a file that was opened for writing, until it is closed by everybody who
// has this open file. What is no regular file, or on a filesystem without locks, cannot
// be claimed, and that is no error.
func Take(f *os.File) error {
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := control(f, unix.F_OFD_SETLK, &lock); (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES)) && Taken(f) {
		return ErrTaken // else somebody has a lock to read, which is no writer's
	}
	return nil
}

// Taken tells whether somebody else writes a file: has it locked to write it.
func Taken(f *os.File) bool {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	return control(f, unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}

// control calls fcntl. (Not by File.Fd, which makes the file block for everybody who
// has it.)
func control(f *os.File, cmd int, lock *unix.Flock_t) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.FcntlFlock(fd, cmd, lock) })
	return cmp.Or(cerr, err)
}
