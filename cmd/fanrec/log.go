package main

import (
	"errors"
	"fmt"

	"os"
	"runtime"
	"syscall"
	"unsafe"

	"fanrec/output/claim"
	"fanrec/output/logfile"

	"golang.org/x/sys/unix"
)

// openLog opens the log, with the rights of the user that the command runs as:
// it is then that user's file, and a symbolic link in that user's directory
// leads nowhere where the user may not write.
func openLog(name string, as *syscall.Credential) (*logfile.File, error) {
	if name == "-" {
		return logfile.Stream(os.Stdout), nil
	}
	var f *os.File
	var err error
	open := func() { f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666) }
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
	if err := empty(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the log %s: %w; choose another with -o", name, err)
	}
	return logfile.NewFile(f), nil
}

// openInput opens a log to read it.
func openInput(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the log %s: %w", name, errors.Unwrap(err))
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		f.Close()
		return nil, fmt.Errorf("read the log %s: %w", name, unix.EISDIR)
	}
	return f, nil
}

// empty empties a file, unless another recorder writes it.
func empty(f *os.File) error {
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	}
	if err := claim.Take(f); err != nil {
		return err
	}
	return errors.Unwrap(f.Truncate(0))
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
