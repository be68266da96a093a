package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities are what a recording needs.
var capabilities = []struct {
	bit  int
	name string
	why  string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "fanotify on whole filesystems, mounts"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "open_by_handle_at"},
	{unix.CAP_BPF, "CAP_BPF", "load the tracker"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "attach the tracker"},
}

// missingCapabilities returns the names of those that this process lacks.
func missingCapabilities() []string {
	have, err := effective()
	if err != nil {
		return nil
	}
	var missing []string
	for _, c := range capabilities {
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
