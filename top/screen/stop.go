package screen

import (
	"os"
	"os/signal"
	"time"
	"unsafe"

	"github.com/gdamore/tcell/v2"
	"golang.org/x/sys/unix"
)

// jobs obeys the job control of a shell: whoever is stopped leaves the terminal as it was.
type jobs struct {
	stopped   chan os.Signal
	continued chan os.Signal
}

func newJobs() *jobs {
	j := &jobs{stopped: make(chan os.Signal, 1), continued: make(chan os.Signal, 1)}
	signal.Notify(j.stopped, unix.SIGTSTP)
	signal.Notify(j.continued, unix.SIGCONT)
	return j
}

func (j *jobs) close() {
	signal.Stop(j.stopped)
	signal.Stop(j.continued)
}

// patience is how long a stop may take. A job that no shell controls is not stopped.
const patience = 200 * time.Millisecond

// sigaction is the kernel's struct sigaction, of 64-bit machines.
type sigaction struct{ handler, flags, restorer, mask uint64 }

// stop stops a process, or with 0 the whole job, until it is continued.
func (j *jobs) stop(s tcell.Screen, pid int) {
	s.Suspend()
	// Once Go has handled SIGTSTP it does so for good, and drops what nobody wants. SIGSTOP
	// would do for a shell, but also stop a job that has none, for ever.
	var usual, old sigaction
	_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP), uintptr(unsafe.Pointer(&usual)), uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(usual.mask), 0, 0)
	if err == 0 {
		unix.Kill(pid, unix.SIGTSTP)
		select {
		case <-j.continued:
		case <-time.After(patience):
		}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP), uintptr(unsafe.Pointer(&old)), 0, unsafe.Sizeof(usual.mask), 0, 0)
	}
	s.Resume()
	s.Sync()
}

// again takes the terminal anew.
func (j *jobs) again(s tcell.Screen) {
	s.Suspend()
	s.Resume()
	s.Sync()
}
