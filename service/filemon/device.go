package filemon

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"

	"fanrec/service/cuse"

	"golang.org/x/sys/unix"
)

// The ioctls, as contrib/include/filemon.h has them.
const (
	SetFD  = 0xc0045301 // FILEMON_SET_FD
	SetPID = 0xc0045302 // FILEMON_SET_PID
	Flush  = 0x5303     // FILEMON_FLUSH_IOCTL
)

// A Client is a process that asks, and as whom.
type Client struct {
	PID      int // of the thread group, in the initial pid namespace
	UID, GID uint32
}

// A Recorder begins recordings. Errors are the client's: what wraps a unix.Errno
// it gets as that, any other one as EIO.
type Recorder interface {
	// Open begins a recording into the log, which is then the recording's to close.
	// The log is the client's open file description, so its offset and its flags are the client's, too; it is a
	// regular file, a pipe or a socket, and open for writing. Its header is written before Open
	// returns. The errors are those of docs/service.md: EINVAL, EMFILE.
	//
	// Until Close, a log that is a regular file must end with an unfinished line. A close(2) that is not the
	// last is not told to anybody, so the client may read the log before its end; bmake
	// takes such a line for a reason to build again.
	Open(log *os.File, by Client) (Recording, error)
}

// A Recording is what one open file of the device has. Its methods are called
// one after the other.
type Recording interface {
	// Unfollow ends the following of every process that this recording follows.
	Unfollow() error
	// Follow follows the process: what it does from the return on, and what it forks
	// then. The pidfd is the caller's. ESRCH if the process has ended, EPERM if the client may not
	// see what it does, and, if exclusive, EBUSY if another recording follows it.
	Follow(pidfd int, by Client, exclusive bool) error
	// Close writes what was done until now and the end of the log, and gives the
	// log up. It comes last, and must come to an end even if nobody reads the log. If why is
	// not empty, the log is incomplete for this reason. It returns an error if the log is not
	// complete, but for why.
	Close(why string) error
}

const (
	// patience is how long a call still waits after a signal came to its caller. A
	// process that was killed does not end before it has its answer, so it must not be for ever;
	// but the signal may be one that the caller handles, and then its log should be
	// complete.
	patience = 5 * time.Second
	// maxOpen is how many files a user may have open. Root has no limit.
	maxOpen = 1024
)

// Device implements cuse.Device.
type Device struct {
	recorder Recorder
	patience time.Duration

	mu   sync.Mutex
	open map[uint32]int // files, by user
}

// New returns the device of a recorder.
func New(r Recorder) *Device {
	return &Device{recorder: r, patience: patience, open: map[uint32]int{}}
}

// Open implements cuse.Device.
func (d *Device) Open(_ context.Context, by cuse.Caller) (cuse.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if by.UID != 0 && d.open[by.UID] >= maxOpen {
		return nil, fmt.Errorf("user %d has %d files of the device open: %w", by.UID, maxOpen, unix.EMFILE)
	}
	d.open[by.UID]++
	return &file{device: d, uid: by.UID}, nil
}

// await runs fn, which may take long. Where it gives up on fn, that goes on.
func (d *Device) await(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(d.patience):
		return fmt.Errorf("a signal came and the answer did not: %w", unix.EINTR)
	}
}

// file is one open of the device.
type file struct {
	device *Device
	uid    uint32 // of who opened it

	mu        sync.Mutex
	recording Recording
	ended     bool
	early     *target // set while there is no log
}

// target is a process to follow.
type target struct {
	pidfd     int
	by        Client
	exclusive bool
}

// Ioctl implements cuse.File.
func (f *file) Ioctl(ctx context.Context, by cuse.Caller, command uint32, data []byte) error {
	var do func(c *caller) error
	switch command {
	case SetFD:
		do = func(c *caller) error { return f.setFD(c, argument(data)) }
	case SetPID:
		do = func(c *caller) error { return f.setPID(c, argument(data)) }
	case Flush:
		return f.device.await(ctx, func() error { return f.end("") })
	default:
		return unix.EINVAL
	}
	if len(data) != 4 { // the kernel hands over what the number says
		return unix.EINVAL
	}
	// At once: while it waits, its number cannot be another's.
	c, err := findCaller(by)
	if err != nil {
		return err
	}
	return f.device.await(ctx, func() error {
		defer c.close()
		f.mu.Lock()
		defer f.mu.Unlock()
		return do(c)
	})
}

func argument(data []byte) int { return int(int32(binary.NativeEndian.Uint32(data))) }

func (f *file) setFD(c *caller, fd int) error {
	if f.recording != nil || f.ended {
		return fmt.Errorf("the log is set already: %w", unix.EEXIST)
	}
	log, err := c.log(fd)
	if err != nil {
		return err
	}
	r, err := f.device.recorder.Open(log, c.Client)
	if err != nil {
		log.Close()
		return err
	}
	f.recording = r
	if t := f.forget(); t != nil {
		// As for a process that ended meanwhile, nothing comes of one that cannot be
		// followed: whoever set it had its answer.
		r.Follow(t.pidfd, t.by, t.exclusive)
		unix.Close(t.pidfd)
	}
	return nil
}

func (f *file) setPID(c *caller, pid int) error {
	if f.ended {
		return fmt.Errorf("the log has its end: %w", unix.EINVAL)
	}
	// Whatever comes of it, what was followed is so no more.
	if t := f.forget(); t != nil {
		unix.Close(t.pidfd)
	}
	if f.recording != nil {
		if err := f.recording.Unfollow(); err != nil {
			return err
		}
	}
	t := target{by: c.Client}
	var err error
	if t.pidfd, t.exclusive, err = c.target(pid); err != nil {
		return err
	}
	if f.recording == nil {
		f.early = &t
		return nil
	}
	defer unix.Close(t.pidfd)
	return f.recording.Follow(t.pidfd, t.by, t.exclusive)
}

// forget takes the process that was set before there was a log.
func (f *file) forget() *target {
	t := f.early
	f.early = nil
	return t
}

// end ends the recording, if there is one.
func (f *file) end(why string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.forget(); t != nil {
		unix.Close(t.pidfd)
	}
	r := f.recording
	f.recording = nil
	if r == nil {
		return nil
	}
	f.ended = true
	return r.Close(why)
}

// Release implements cuse.File.
func (f *file) Release(ctx context.Context, cause error) {
	why := ""
	if cause != nil {
		why = cause.Error()
	}
	// The kernel has no use for an error.
	f.device.await(ctx, func() error {
		err := f.end(why)
		f.device.mu.Lock()
		defer f.device.mu.Unlock()
		if f.device.open[f.uid]--; f.device.open[f.uid] == 0 {
			delete(f.device.open, f.uid)
		}
		return err
	})
}
