package cuse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// answer is what a client gets.
type answer struct {
	unique uint64
	errno  unix.Errno
	handle uint64 // of an open
}

// kernel is the other side of a server, whose handlers are steered.
type kernel struct {
	*server
	t       *testing.T
	answers chan answer
	calls   chan *call // an Open, Ioctl or Release that has begun
	deaf    bool       // nobody takes an answer
}

// call is a handler that waits for its result.
type call struct {
	what   string
	ctx    context.Context
	result chan error
}

func newKernel(t *testing.T) *kernel {
	k := &kernel{t: t, answers: make(chan answer, 10), calls: make(chan *call, 10)}
	k.server = newServer(k, func(p []byte) error {
		if k.deaf {
			return unix.ENOENT
		}
		n := binary.NativeEndian
		a := answer{unique: n.Uint64(p[8:]), errno: unix.Errno(-int32(n.Uint32(p[4:])))}
		if len(p) == outHeaderSize+16 {
			a.handle = n.Uint64(p[outHeaderSize:])
		}
		k.answers <- a
		return nil
	})
	return k
}

func (k *kernel) wait(ctx context.Context, what string) error {
	c := &call{what, ctx, make(chan error, 1)}
	k.calls <- c
	return <-c.result
}

func (k *kernel) Open(ctx context.Context, by Caller) (File, error) {
	return k, k.wait(ctx, fmt.Sprintf("open by %v", by))
}

func (k *kernel) Ioctl(ctx context.Context, by Caller, command uint32, data []byte) error {
	return k.wait(ctx, fmt.Sprintf("ioctl %d %q by %v", command, data, by))
}

func (k *kernel) Release(ctx context.Context, cause error) {
	k.wait(ctx, fmt.Sprintf("release, %v", cause))
}

// expect takes the call that has begun.
func (k *kernel) expect(what string) *call {
	k.t.Helper()
	c := <-k.calls
	if c.what != what {
		k.t.Fatalf("got %q, want %q", c.what, what)
	}
	return c
}

func (k *kernel) answered(want answer) {
	k.t.Helper()
	if got := <-k.answers; got != want {
		k.t.Fatalf("got %+v, want %+v", got, want)
	}
}

// open opens a file, whose handle is known.
func (k *kernel) open(unique, handle uint64) {
	k.t.Helper()
	k.handle(openPacket(unique))
	k.expect("open by {4711 1000 100}").result <- nil
	k.answered(answer{unique: unique, handle: handle})
}

func TestServe(t *testing.T) {
	k := newKernel(t)
	k.open(2, 1)
	k.open(4, 2)

	// One waits, others go on; the buffer of a packet is used again.
	p := ioctlPacket(6, 1, 7, "abcd")
	k.handle(p)
	slow := k.expect(`ioctl 7 "abcd" by {4711 1000 100}`)
	p = ioctlPacket(8, 2, 8, "")
	k.handle(p)
	clear(p)
	k.expect(`ioctl 8 "" by {4711 1000 100}`).result <- fmt.Errorf("somebody else: %w", unix.EBUSY)
	k.answered(answer{unique: 8, errno: unix.EBUSY})
	k.handle(releasePacket(10, 2))
	last := k.expect("release, <nil>")
	if len(k.answers) != 0 {
		t.Error("close(2) does not wait for the release")
	}
	last.result <- nil
	k.answered(answer{unique: 10})

	// An interrupt is for one request, has no answer and does not end the wait.
	k.handle(interruptPacket(4)) // answered long ago
	k.handle(interruptPacket(100))
	if slow.ctx.Err() != nil {
		t.Error("interrupted by an interrupt of another request")
	}
	k.handle(interruptPacket(6))
	<-slow.ctx.Done()
	slow.result <- nil
	k.answered(answer{unique: 6})

	// A handle is of no use after its release.
	k.handle(ioctlPacket(12, 2, 8, ""))
	k.answered(answer{unique: 12, errno: unix.EBADF})
	k.handle(releasePacket(14, 2))
	k.answered(answer{unique: 14})
	k.open(16, 3)

	for op, want := range map[opcode]unix.Errno{
		opRead: unix.ENODEV, opWrite: unix.ENODEV, 40: unix.ENOSYS, 25: unix.ENOSYS, 99: unix.ENOSYS, opInit: unix.EINVAL, opIoctl: unix.EINVAL,
	} {
		k.handle(packet(op, 18))
		k.answered(answer{unique: 18, errno: want})
	}
	k.handle([]byte("short"))
	k.handle(packet(opForget, 20, uint64(1)))
	if len(k.answers) != 0 {
		t.Errorf("answer %v to what has none", <-k.answers)
	}
}

func TestOpenFails(t *testing.T) {
	k := newKernel(t)
	k.handle(openPacket(2))
	k.expect("open by {4711 1000 100}").result <- errors.New("no errno")
	k.answered(answer{unique: 2, errno: unix.EIO})
	if len(k.files) != 0 {
		t.Error("a file is left")
	}
}

// The client was killed while the device was opened.
func TestOpenForNobody(t *testing.T) {
	k := newKernel(t)
	k.deaf = true
	k.handle(openPacket(2))
	k.expect("open by {4711 1000 100}").result <- nil
	k.expect("release, the device is gone").result <- nil
	k.end()
	if len(k.files) != 0 || len(k.running) != 0 {
		t.Errorf("left: %v, %v", k.files, k.running)
	}
}

// The end interrupts who waits, and releases what is open, once.
func TestEnd(t *testing.T) {
	k := newKernel(t)
	k.open(2, 1)
	k.open(4, 2)
	k.handle(ioctlPacket(6, 1, 7, ""))
	slow := k.expect(`ioctl 7 "" by {4711 1000 100}`)
	ended := make(chan struct{})
	go func() {
		k.end()
		close(ended)
	}()
	<-slow.ctx.Done()
	if len(k.calls) != 0 {
		t.Error("a file is released while it is used")
	}
	slow.result <- unix.EINTR
	k.answered(answer{unique: 6, errno: unix.EINTR})
	for range 2 {
		k.expect("release, the device is gone").result <- nil
	}
	<-ended
	if len(k.calls) != 0 || len(k.files) != 0 {
		t.Errorf("left: %d calls, %d files", len(k.calls), len(k.files))
	}
}

// A request that was taken back while it was read is no reason to stop.
func TestRead(t *testing.T) {
	reads := []error{unix.ENOENT, nil, io.EOF}
	s := newServer(nobody{}, func([]byte) error { return nil })
	err := s.serve(func(b []byte) (int, error) {
		err := reads[0]
		reads = reads[1:]
		return copy(b, openPacket(2)), err
	})
	if !errors.Is(err, io.EOF) || len(reads) != 0 {
		t.Errorf("%v, left: %v", err, reads)
	}
	s.answers.Wait()
	if len(s.files) != 1 {
		t.Errorf("%d files are open, want 1", len(s.files))
	}
	s.end()
}

func TestErrno(t *testing.T) {
	got := []unix.Errno{
		errno(nil), errno(fmt.Errorf("no: %w", unix.EPERM)), errno(errors.New("no")), errno(unix.ENOSYS), errno(unix.Errno(512)), errno(unix.Errno(0)),
	}
	want := []unix.Errno{0, unix.EPERM, unix.EIO, unix.EIO, unix.EIO, unix.EIO}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
