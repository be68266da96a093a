package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

type capability struct {
	bit  int
	name string
	why  string
}

// capabilities are what a recording needs.
var capabilities = []capability{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "fanotify on whole filesystems, mounts"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "open_by_handle_at"},
	{unix.CAP_BPF, "CAP_BPF", "load the tracker"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "attach the tracker"},
}

// userCapabilities are what --user needs besides.
var userCapabilities = []capability{
	{unix.CAP_SETUID, "CAP_SETUID", "run the command as another user"},
	{unix.CAP_SETGID, "CAP_SETGID", "with the groups of that user"},
}

// deviceCapabilities are what --cuse needs besides.
var deviceCapabilities = []capability{{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "get the log of a client of /dev/filemon"}}

// missingCapabilities returns the names of those that this process lacks.
func missingCapabilities(wanted []capability) []string {
	have, err := effective()
	if err != nil {
		return nil
	}
	if have&(1<<unix.CAP_SYS_ADMIN) != 0 {
		// The two were split from it in 5.8, and it still implies them.
		have |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	}
	var missing []string
	for _, c := range wanted {
		if have&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing
}

// effective returns the effective capabilities of this process.
func effective() (uint64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("read own capabilities: no CapEff in /proc/self/status")
}

// initialUserNamespace is the inode number of the initial user namespace on
// every kernel: PROC_USER_INIT_INO of include/linux/proc_ns.h.
const initialUserNamespace = 0xeffffffd

// inUserNamespace tells whether this process is in another user namespace than
// the initial one, the only one whose capabilities count for all filesystems.
func inUserNamespace() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino != initialUserNamespace
}
