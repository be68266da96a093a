package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// exporterVariable names the exporter for a fanrec that has left the mount namespace
// in which it has a path.
const exporterVariable = "FANREC_OTLP"

// enterMounts makes this process one of the mount namespace of another, by executing
// itself there: a thread can only go there by itself. In a container, with 1, paths are
// then the host's.
func enterMounts(pid int) error {
	var own, wanted unix.Stat_t
	there := "/proc/" + strconv.Itoa(pid) + "/ns/mnt"
	if err := unix.Stat("/proc/self/ns/mnt", &own); err != nil {
		return err
	}
	fd, err := unix.Open(there, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Fstat(fd, &wanted)
	}
	switch {
	case err == unix.ENOENT:
		return fmt.Errorf("--mounts-of %d: there is no such process; a container needs the pid namespace of the host", pid)
	case err != nil:
		return fmt.Errorf("--mounts-of %d: open %s: %w; CAP_SYS_PTRACE is needed for that", pid, there, err)
	case own.Ino == wanted.Ino:
		return nil
	}
	if path, err := findExporter(); err == nil {
		if fd, err := unix.Open(path, unix.O_PATH, 0); err == nil { // it stays open
			os.Setenv(exporterVariable, fmt.Sprintf("/proc/self/fd/%d", fd))
		}
	}
	self, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err = unix.Unshare(unix.CLONE_FS); err == nil {
		err = unix.Setns(fd, unix.CLONE_NEWNS)
	}
	if err != nil {
		return fmt.Errorf("--mounts-of %d: enter its mount namespace: %w; CAP_SYS_ADMIN and CAP_SYS_CHROOT are needed for that", pid, err)
	}
	return fmt.Errorf("--mounts-of %d: execute fanrec there: %w", pid, unix.Exec(fmt.Sprintf("/proc/self/fd/%d", self), os.Args, os.Environ()))
}
