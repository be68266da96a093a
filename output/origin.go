package output

import (
	"bytes"
	"os"
)

// Here returns the origin of a recording that a fanrec of a version makes on this machine, now.
func Here(version string) Origin {
	o := Origin{Version: version}
	o.Host, _ = os.Hostname()
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		o.Boot = string(bytes.TrimSpace(b))
	}
	return o
}
