package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// nicest is the nice value of who goes first.
const nicest = -20

// goFirst gives this process the processor before those that it records. What they
// do while it waits for its turn is kept in memory: with hundreds that want to run it
// would wait for seconds.
func goFirst() error {
	// A new thread has the nice value of the one that made it, so those that are
	// made meanwhile are among the ones of the next round.
	for left := true; left; {
		left = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			// The system call returns 20 minus the nice value.
			if now, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || 20-now == nicest {
				continue
			}
			err = unix.Setpriority(unix.PRIO_PROCESS, tid, nicest)
			if err != nil && err != unix.ESRCH {
				return fmt.Errorf("set the nice value %d: %w", nicest, err)
			}
			left = true
		}
	}
	// Where sessions are scheduled as groups (sched(7), autogroup), nice values
	// count within one only. Of a session that is not its own it says nothing.
	sid, err := unix.Getsid(0)
	if err != nil || sid != os.Getpid() {
		return err
	}
	err = os.WriteFile("/proc/self/autogroup", strconv.AppendInt(nil, nicest, 10), 0)
	if os.IsNotExist(err) { // the kernel has no such groups
		return nil
	}
	return err
}
