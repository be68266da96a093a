package cuse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNotSupported says that the kernel has no CUSE, or does not load it.
var ErrNotSupported = errors.New("not supported")

// ErrGone is why a file is released that a client has open still: the device
// has ended.
var ErrGone = errors.New("the device is gone")

// A Caller is a thread that is in a system call, and stays there until it has its
// answer: even one that was killed does not end before.
type Caller struct {
	Thread   int    // its number in the pid namespace of who opened the channel; 0 if it has none there
	UID, GID uint32 // those that it opens files with (fsuid)
}

// A Device makes files. Its methods, and those of its files, are called by many
// goroutines at once. An error that wraps a unix.Errno is what the caller
// gets; any other one is EIO to it. The context is done when a signal comes to the
// caller, be it a fatal one or one that it handles; the kernel does not say.
type Device interface {
	Open(ctx context.Context, by Caller) (File, error)
}

// A File is what one open(2) made.
type File interface {
	// Ioctl handles an ioctl whose number says how many data it has (_IOW, _IOWR),
	// and which hands nothing back. data is the callee's.
	Ioctl(ctx context.Context, by Caller, command uint32, data []byte) error
	// Release comes once, after all other calls. If cause is nil nobody has the file
	// any more, and the close(2) that was the last, or the exit of the process,
	// waits until this returns. Otherwise it is ErrGone.
	Release(ctx context.Context, cause error)
}

// A Channel is the way to a device that this process made.
type Channel struct {
	file *os.File
	name string
}

// Create makes the device /dev/name, which is there when this returns. Requests
// wait until Serve. The mode is set besides: the kernel gives a device to root
// alone, and a udev rule may change it again. Errors wrap ErrNotSupported if there is no
// CUSE, and unix.EEXIST if there is a device of that name.
func Create(name string, mode os.FileMode) (*Channel, error) {
	const channel = "/dev/cuse"
	// Pollable, so that Close ends a Read.
	file, err := os.OpenFile(channel, os.O_RDWR|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: %w: is the kernel module cuse loaded?", ErrNotSupported, err)
	case err != nil:
		return nil, err
	}
	c := &Channel{file, name}
	if err := c.init(); err != nil {
		file.Close()
		return nil, fmt.Errorf("make /dev/%s: %w", name, err)
	}
	if err := os.Chmod("/dev/"+name, mode); err != nil {
		file.Close()
		return nil, err
	}
	return c, nil
}

func (c *Channel) init() error {
	buf := make([]byte, bufferSize)
	n, err := c.file.Read(buf)
	if err != nil {
		return err
	}
	r, _, err := decode(buf[:n])
	if err != nil {
		return err
	}
	packet, err := replyInit(r, c.name)
	if err != nil {
		return err
	}
	if _, err := os.Stat("/sys/class/cuse/" + c.name); err == nil {
		return fmt.Errorf("another process serves it: %w", unix.EEXIST)
	}
	// The kernel makes the device within this write (cuse_process_init_reply), and
	// returns no error if it cannot: it ends the channel.
	if _, err := c.file.Write(packet); err != nil {
		return err
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	state := []unix.PollFd{{Events: unix.POLLIN}}
	cerr := raw.Control(func(fd uintptr) {
		state[0].Fd = int32(fd)
		_, err = unix.Poll(state, 0)
	})
	if err = errors.Join(cerr, err); err == nil && state[0].Revents&unix.POLLERR != 0 {
		err = errors.New("the kernel refused it; its log has the reason")
	}
	return err
}

// Close ends the channel, and the device with it. Callers that wait get an error.
func (c *Channel) Close() error { return c.file.Close() }

// Serve answers requests until the context is done, which is no error, or the
// channel ends. The device is gone when it returns, and all files are released.
func (c *Channel) Serve(ctx context.Context, d Device) error {
	s := newServer(d, c.send)
	stop := context.AfterFunc(ctx, func() { c.file.Close() })
	err := s.serve(c.file.Read)
	stop()
	c.file.Close() // nobody gets in any more; who waits gets an error
	s.end()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve /dev/%s: %w", c.name, err)
}

// send returns an error if nobody gets the reply.
func (c *Channel) send(packet []byte) error {
	_, err := c.file.Write(packet)
	return err
}

// server has what is open and what is being answered.
type server struct {
	device Device
	send   func(packet []byte) error

	mu      sync.Mutex
	running map[uint64]context.CancelFunc // by unique, requests that are not yet answered
	files   map[uint64]File               // by handle
	last    uint64                        // handle
	answers sync.WaitGroup
}

func newServer(d Device, send func([]byte) error) *server {
	return &server{device: d, send: send, running: map[uint64]context.CancelFunc{}, files: map[uint64]File{}}
}

// serve handles packets until read fails.
func (s *server) serve(read func([]byte) (int, error)) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := read(buf)
		switch {
		case errors.Is(err, unix.ENOENT): // the request was taken back while it was read
			continue
		case err != nil:
			return err
		}
		s.handle(buf[:n])
	}
}

// handle answers a packet, which may be used again after it returns. It does not wait: the
// kernel hands out requests before their interrupts.
func (s *server) handle(packet []byte) {
	r, ok, err := decode(packet)
	switch {
	case !ok:
		return // nobody can be told
	case r.op == opInterrupt:
		s.mu.Lock()
		if cancel := s.running[r.target]; cancel != nil {
			cancel()
		}
		s.mu.Unlock()
		return
	case r.op.silent():
		return
	case err != nil:
		s.send(reply(r.unique, unix.EINVAL))
		return
	}
	switch r.op {
	case opOpen, opIoctl, opRelease:
	case opRead, opWrite:
		s.send(reply(r.unique, unix.ENODEV))
		return
	default:
		// FUSE_POLL: the kernel does not ask again.
		s.send(reply(r.unique, unix.ENOSYS))
		return
	}
	r.data = append([]byte(nil), r.data...)
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.running[r.unique] = cancel
	s.mu.Unlock()
	s.answers.Go(func() {
		s.answer(ctx, r)
		s.mu.Lock()
		delete(s.running, r.unique)
		s.mu.Unlock()
		cancel()
	})
}

func (s *server) answer(ctx context.Context, r request) {
	switch r.op {
	case opOpen:
		s.open(ctx, r)
	case opIoctl:
		f := s.file(r.handle)
		if f == nil {
			s.send(reply(r.unique, unix.EBADF))
			return
		}
		err := f.Ioctl(ctx, r.by, r.command, r.data)
		s.send(reply(r.unique, errno(err), ioctlOut{}))
	case opRelease:
		if f := s.take(r.handle); f != nil {
			f.Release(ctx, nil)
		}
		s.send(reply(r.unique, 0))
	}
}

func (s *server) open(ctx context.Context, r request) {
	f, err := s.device.Open(ctx, r.by)
	if err != nil {
		s.send(reply(r.unique, errno(err)))
		return
	}
	s.mu.Lock()
	s.last++
	handle := s.last
	s.files[handle] = f
	s.mu.Unlock()
	// A file that the client did not get is not released by it.
	if s.send(reply(r.unique, 0, openOut{Handle: handle})) != nil {
		if f := s.take(handle); f != nil {
			f.Release(ctx, ErrGone)
		}
	}
}

func (s *server) file(handle uint64) File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[handle]
}

// take returns a file once.
func (s *server) take(handle uint64) File {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[handle]
	delete(s.files, handle)
	return f
}

// end interrupts what is being answered, waits for it, and releases what is open.
func (s *server) end() {
	s.mu.Lock()
	for _, cancel := range s.running {
		cancel()
	}
	s.mu.Unlock()
	s.answers.Wait()
	for _, f := range s.files {
		s.answers.Go(func() { f.Release(context.Background(), ErrGone) })
	}
	s.answers.Wait()
	clear(s.files)
}

// errno returns what a caller gets for an error. ENOSYS would make the kernel
// say ENOTTY, and not ask again.
func errno(err error) unix.Errno {
	var n unix.Errno
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &n), n == 0, n >= 512, n == unix.ENOSYS:
		return unix.EIO
	}
	return n
}
