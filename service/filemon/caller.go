package filemon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"fanrec/service/cuse"

	"golang.org/x/sys/unix"
)

// caller is who made an ioctl.
type caller struct {
	Client
	thread int
	pidfd  int
	pids   []string // its number in each pid namespace that it is in, the initial one first
}

// findCaller looks a caller up, who is in an ioctl and cannot end.
func findCaller(by cuse.Caller) (*caller, error) {
	c := &caller{Client: Client{UID: by.UID, GID: by.GID}, thread: by.Thread}
	status, err := readStatus(strconv.Itoa(by.Thread))
	if err != nil {
		return nil, fmt.Errorf("look up the caller: %w", err)
	}
	c.PID, c.pids = status.tgid, status.pids
	// Its descriptors need not be those of the process, and the first thread may have
	// ended. Before 6.9 only a process can be had.
	c.pidfd, err = unix.PidfdOpen(by.Thread, unix.PIDFD_THREAD)
	if errors.Is(err, unix.EINVAL) {
		c.pidfd, err = unix.PidfdOpen(c.PID, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open of the caller: %w", err)
	}
	return c, nil
}

func (c *caller) close() { unix.Close(c.pidfd) }

// log returns the caller's open file behind a descriptor, if it can be a log.
func (c *caller) log(fd int) (*os.File, error) {
	// Looked at before it is had: were it this very device, nobody but this process might
	// have it a moment later, and could not end while it waits for its own answer to a close.
	here := fmt.Sprintf("/proc/%d/fd/%d", c.thread, fd)
	flags, err := openFlags(c.thread, fd)
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	if mode := flags & unix.O_ACCMODE; mode != unix.O_WRONLY && mode != unix.O_RDWR || flags&unix.O_PATH != 0 {
		return nil, fmt.Errorf("%s is not open for writing: %w", here, unix.EBADF)
	}
	before, err := kind(unix.AT_FDCWD, here, 0)
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	switch before.mode {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return nil, fmt.Errorf("%s is neither a regular file, a pipe nor a socket: %w", here, unix.EINVAL)
	}
	log, err := unix.PidfdGetfd(c.pidfd, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("get the log of the caller: %w", err)
	}
	unix.CloseOnExec(log)
	after, err := kind(log, "", unix.AT_EMPTY_PATH)
	now, ferr := unix.FcntlInt(uintptr(log), unix.F_GETFL, 0)
	if err == nil {
		err = ferr
	}
	// Another thread of the caller may have changed what the descriptor means.
	if err == nil && (after != before || now&unix.O_ACCMODE != flags&unix.O_ACCMODE) {
		err = fmt.Errorf("%s is another file than it was: %w", here, unix.EBADF)
	}
	if err != nil {
		unix.Close(log)
		return nil, err
	}
	return os.NewFile(uintptr(log), here), nil
}

// openFlags returns with which flags a descriptor was opened.
func openFlags(thread, fd int) (int, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", thread, fd))
	if errors.Is(err, os.ErrNotExist) {
		return 0, unix.EBADF
	}
	if err != nil {
		return 0, err
	}
	flags, err := strconv.ParseInt(field(string(info), "flags:"), 8, 0)
	return int(flags), err
}

// identity is which file it is, and of what kind.
type identity struct {
	major, minor uint32
	inode        uint64
	mode         uint16
}

// kind looks at a file without asking the server of its filesystem, which may be the
// caller's.
func kind(dir int, path string, flags int) (identity, error) {
	var s unix.Statx_t
	err := unix.Statx(dir, path, flags|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &s)
	if errors.Is(err, unix.ENOENT) {
		err = unix.EBADF
	}
	return identity{s.Dev_major, s.Dev_minor, s.Ino, s.Mode & unix.S_IFMT}, err
}

// target returns a process by its number in the caller's pid namespace, and whether it is
// another one than the caller itself.
func (c *caller) target(pid int) (pidfd int, other bool, err error) {
	here, err := c.translate(pid)
	if err != nil {
		return -1, false, err
	}
	pidfd, err = unix.PidfdOpen(here, 0)
	// It is the number of a thread that is not a process.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		err = unix.ESRCH
	}
	if err == nil {
		// One that has ended and is waited for is none.
		state := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		var n int
		if n, err = unix.Poll(state, 0); err == nil && n > 0 {
			err = unix.ESRCH
		}
		if err != nil {
			unix.Close(pidfd)
		}
	}
	if err != nil {
		return -1, false, fmt.Errorf("process %d: %w", pid, err)
	}
	return pidfd, here != c.PID, nil
}

// translate returns the number that a process has in the initial pid namespace.
func (c *caller) translate(pid int) (int, error) {
	if pid <= 0 {
		return 0, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	if len(c.pids) == 1 {
		return pid, nil
	}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.thread))
	if err != nil {
		return 0, err
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range all {
		status, err := readStatus(entry.Name())
		if err != nil || len(status.pids) != len(c.pids) || status.pids[len(status.pids)-1] != strconv.Itoa(pid) {
			continue
		}
		if its, err := os.Readlink("/proc/" + entry.Name() + "/ns/pid"); err == nil && its == namespace {
			return status.tgid, nil
		}
	}
	return 0, fmt.Errorf("process %d of %s: %w", pid, namespace, unix.ESRCH)
}

// status is what is wanted of /proc/PID/status.
type status struct {
	tgid int
	pids []string
}

func readStatus(pid string) (status, error) {
	if pid == "" || pid[0] < '1' || pid[0] > '9' {
		return status{}, unix.ESRCH
	}
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if errors.Is(err, os.ErrNotExist) {
		return status{}, unix.ESRCH
	}
	if err != nil {
		return status{}, err
	}
	s := status{pids: strings.Fields(field(string(b), "NSpid:"))}
	if s.tgid, err = strconv.Atoi(field(string(b), "Tgid:")); err != nil || len(s.pids) == 0 {
		return status{}, fmt.Errorf("/proc/%s/status cannot be understood", pid)
	}
	return s, nil
}

// field returns what stands behind a name at the beginning of a line.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
