package main

import (
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// beLast takes the ordinary priority: what records comes before all others, and has
// started this process.
func beLast() {
	psx.Syscall3(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 0)
}

// dropRights gives up every capability, for good: what reads answers of the network
// needs none.
func dropRights() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return cap.NewSet().SetProc()
}
