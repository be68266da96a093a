package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// openLog opens the log, with the rights of the user that the command runs as:
// it is then that user's file, and a symbolic link in that user's directory
// leads nowhere where the user may not write.
func openLog(name string, as *syscall.Credential) (*os.File, error) {
	if name == "-" {
		return os.Stdout, nil
	}
	if as != nil {
		runtime.LockOSThread() // file system ids belong to the thread
		defer runtime.UnlockOSThread()
		syscall.Setfsgid(int(as.Gid))
		syscall.Setfsuid(int(as.Uid))
		defer syscall.Setfsgid(os.Getegid())
		defer syscall.Setfsuid(os.Geteuid())
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("write the log %s: its directory does not exist; choose another with -o", name)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return nil, fmt.Errorf("write the log %s: %w; choose another place with -o", name, errors.Unwrap(err))
	case err != nil:
		return nil, fmt.Errorf("write the log: %w", err)
	}
	return f, nil
}
