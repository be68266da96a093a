package main

import (
	"os"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// beLast takes the ordinary priority: what records comes before all others, and has
// started this process.
func beLast() {
	psx.Syscall3(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 0)
}

// nobody owns no file.
const nobody = 65534

// dropRights gives up what root can do, for good: what reads answers of the network
// needs none of it. Who has no right to become another user, as in fanrec@.service, stays
// the one that it is, without capabilities.
func dropRights() error {
	if os.Geteuid() == 0 {
		have := cap.GetProc()
		uid, _ := have.GetFlag(cap.Effective, cap.SETUID)
		gid, _ := have.GetFlag(cap.Effective, cap.SETGID)
		if uid && gid {
			if err := cap.SetGroups(nobody); err != nil {
				return err
			}
			if err := cap.SetUID(nobody); err != nil {
				return err
			}
		}
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return cap.NewSet().SetProc()
}
