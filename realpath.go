package fanrec

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// realPath resolves a path as the kernel would now: relative to a directory, or
// absolute with that directory for the root. Where a link of proc(5) led for
// another process it cannot tell.
func realPath(dir, path []byte) ([]byte, bool) {
	at, err := unix.Open(string(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(at)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if bytes.HasPrefix(path, []byte("/")) {
		how.Resolve |= unix.RESOLVE_IN_ROOT
	}
	fd, err := unix.Openat2(at, string(path), &how)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil || strings.HasSuffix(real, " (deleted)") || strings.HasPrefix(real+"/", ownProc) {
		return nil, false
	}
	return []byte(real), true
}

// ownProc is where /proc/self leads for the recorder only.
var ownProc = fmt.Sprintf("/proc/%d/", os.Getpid())
