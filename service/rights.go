package service

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Client is who asks for a recording, in the initial namespaces.
type Client struct {
	PID      int
	UID, GID uint32
}

// privileged tells whether the client may record everybody.
func (c Client) privileged() bool { return c.UID == 0 }

// pidOf returns the number of the process that a pidfd is of. Errors wrap
// unix.EINVAL if it is none and unix.ESRCH if the process has ended.
func pidOf(pidfd *os.File) (int, error) {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return 0, err
	}
	var text []byte
	cerr := raw.Control(func(fd uintptr) { text, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) })
	if cerr != nil || err != nil {
		return 0, fmt.Errorf("look at the pidfd: %w", unix.EINVAL)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		number, ok := strings.CutPrefix(line, "Pid:")
		if !ok {
			continue
		}
		switch pid, err := strconv.Atoi(strings.TrimSpace(number)); {
		case err != nil:
			return 0, fmt.Errorf("look at the pidfd: %w", unix.EINVAL)
		case pid > 0:
			return pid, nil
		}
		return 0, fmt.Errorf("the process has ended: %w", unix.ESRCH)
	}
	return 0, fmt.Errorf("the descriptor is no pidfd: %w", unix.EINVAL)
}

// may tells whether the client may record a process: one that it could trace.
// Errors wrap unix.EPERM or unix.ESRCH.
func (c Client) may(pid int) error {
	if c.privileged() {
		return nil
	}
	dir := fmt.Sprintf("/proc/%d", pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
	}
	// Of a process whose memory may not be read, because it has or had rights
	// that its user has not, these files belong to root. (But not the directory itself.)
	var st unix.Stat_t
	if err := unix.Stat(dir+"/fd", &st); err != nil {
		return fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
	}
	if !ids(string(status), "Uid:", c.UID) || !ids(string(status), "Gid:", c.GID) || st.Uid != c.UID {
		return fmt.Errorf("process %d is not only the client's: %w", pid, unix.EPERM)
	}
	// Those of another user namespace are good for nothing outside of it.
	if privileges(string(status)) && sameFile(dir+"/ns/user", "/proc/self/ns/user") {
		return fmt.Errorf("process %d has capabilities: %w", pid, unix.EPERM)
	}
	return nil
}

// privileges tells whether a process has any capabilities, by /proc/PID/status.
func privileges(status string) bool {
	_, set, ok := strings.Cut(status, "\nCapPrm:")
	set, _, _ = strings.Cut(set, "\n")
	return !ok || strings.Trim(set, "\t 0") != ""
}

// sameFile tells whether two paths lead to one file; that it is not known counts
// as if they did.
func sameFile(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) != nil || unix.Stat(b, &y) != nil || x.Dev == y.Dev && x.Ino == y.Ino
}

// ids tells whether all ids in a line of /proc/PID/status are one.
func ids(status, key string, id uint32) bool {
	_, line, ok := strings.Cut(status, "\n"+key)
	line, _, _ = strings.Cut(line, "\n")
	fields := strings.Fields(line)
	for _, f := range fields {
		ok = ok && f == strconv.FormatUint(uint64(id), 10)
	}
	return ok && len(fields) == 4
}
