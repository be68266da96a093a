package ebpf

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// urgently calls fn, which is in bpf(2) with an element of a map while somebody is
// recorded, be it by another recorder. Where that matters (change.go) it does so on a
// thread that is not preempted, if the caller may have one (CAP_SYS_NICE, or
// RLIMIT_RTPRIO). For what is rare, or what no program can do.
func (t *Tracker) urgently(fn func() error) error {
	if !t.byPerf {
		return fn()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if before, err := unix.SchedGetAttr(0, 0); err == nil {
		urgent := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 99}
		// Without SCHED_FLAG_RESET_ON_FORK, which cannot be taken back by who has only the
		// limit: Go makes no thread out of one that is locked.
		if unix.SchedSetAttr(0, urgent, 0) == nil {
			defer unix.SchedSetAttr(0, before, 0)
		}
	}
	return fn()
}
