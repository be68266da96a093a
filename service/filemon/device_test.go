package filemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"fanrec/service/cuse"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// recorder notes what is asked of it.
type recorder struct {
	said  []string
	err   map[string]error // of a method, by its name
	hold  chan struct{}    // if not nil, Follow and Close wait until it is closed
	begun chan struct{}    // they are waiting
}

type recording struct {
	*recorder
	log *os.File
}

func (r *recorder) say(format string, a ...any) { r.said = append(r.said, fmt.Sprintf(format, a...)) }

func (r *recorder) wait() {
	if r.hold != nil {
		r.begun <- struct{}{}
		<-r.hold
	}
}

func (r *recorder) Open(log *os.File, by Client) (Recording, error) {
	r.say("open by %d of %d", by.PID, by.UID)
	if err := r.err["Open"]; err != nil {
		return nil, err
	}
	_, err := log.WriteString("header\n")
	return &recording{r, log}, err
}

func (r *recording) Unfollow() error {
	r.say("unfollow")
	return r.err["Unfollow"]
}

func (r *recording) Follow(pidfd int, by Client, exclusive bool) error {
	r.wait()
	info, _ := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	r.say("follow %s for %d of %d, exclusive %v", field(string(info), "Pid:"), by.PID, by.UID, exclusive)
	return r.err["Follow"]
}

func (r *recording) Close(why string) error {
	r.wait()
	r.say("close %q", why)
	return errors.Join(r.log.Close(), r.err["Close"])
}

// self is this process, as the kernel tells of it.
var self = cuse.Caller{Thread: os.Getpid(), UID: 1000, GID: 100}

// client is a file of the device, and this process using it.
type client struct {
	t *testing.T
	*recorder
	file cuse.File
}

func newClient(t *testing.T) *client {
	t.Helper()
	before := descriptors(t)
	r := &recorder{err: map[string]error{}}
	f, err := New(r).Open(t.Context(), self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The end is a no-op if there was one.
		f.Release(context.Background(), nil)
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors are open, and there were %d", after, before)
		}
	})
	return &client{t, r, f}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func (c *client) ioctl(command uint32, argument int) error {
	data := binary.NativeEndian.AppendUint32(nil, uint32(int32(argument)))
	return c.file.Ioctl(c.t.Context(), self, command, data)
}

// want makes an ioctl and checks what comes of it.
func (c *client) want(command uint32, argument int, want error) {
	c.t.Helper()
	if err := c.ioctl(command, argument); !errors.Is(err, want) {
		c.t.Errorf("%#x of %d: %v, want %v", command, argument, err, want)
	}
}

// heard checks what the recorder was asked since the last time.
func (c *client) heard(want ...string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.said); diff != "" {
		c.t.Errorf("-want +got:\n%s", diff)
	}
	c.said = nil
}

// log makes a file, and returns a descriptor for writing.
func (c *client) log() (path string, fd int) {
	c.t.Helper()
	path = filepath.Join(c.t.TempDir(), "log")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o666)
	if err != nil {
		c.t.Fatal(err)
	}
	return path, fd
}

// setFD sets a log.
func (c *client) setFD() (path string) {
	c.t.Helper()
	path, fd := c.log()
	c.want(SetFD, fd, nil)
	// As bmake does: the recording has its own.
	unix.Close(fd)
	return path
}

// sleeper starts a process that does nothing.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func TestRecording(t *testing.T) {
	child := sleeper(t).Process.Pid
	c := newClient(t)
	me := os.Getpid()
	path := c.setFD()
	c.want(SetPID, child, nil)
	c.want(SetPID, me, nil)
	if b, err := os.ReadFile(path); string(b) != "header\n" {
		t.Errorf("log has %q, %v", b, err)
	}
	c.file.Release(t.Context(), nil)
	c.heard(
		fmt.Sprintf("open by %d of 1000", me),
		"unfollow", fmt.Sprintf("follow %d for %d of 1000, exclusive true", child, me),
		"unfollow", fmt.Sprintf("follow %d for %d of 1000, exclusive false", me, me),
		`close ""`,
	)
}

func TestGone(t *testing.T) {
	c := newClient(t)
	c.setFD()
	c.said = nil
	c.file.Release(t.Context(), cuse.ErrGone)
	c.heard(`close "the device is gone"`)
}

func TestFlush(t *testing.T) {
	c := newClient(t)
	c.want(Flush, 0, nil)
	path, fd := c.log()
	defer unix.Close(fd)
	c.want(SetFD, fd, nil)
	c.said = nil
	c.want(Flush, 0, nil)
	c.heard(`close ""`)
	c.want(Flush, 0, nil)
	c.want(SetFD, fd, unix.EEXIST)
	c.want(SetPID, os.Getpid(), unix.EINVAL)
	c.heard()
	if b, _ := os.ReadFile(path); string(b) != "header\n" {
		t.Errorf("log has %q", b)
	}
}

// A log that is not complete is an error of FLUSH.
func TestFlushFails(t *testing.T) {
	c := newClient(t)
	c.setFD()
	lost := errors.New("events were lost")
	c.err["Close"] = lost
	c.want(Flush, 0, lost)
}

func TestSetFD(t *testing.T) {
	c := newClient(t)
	path, fd := c.log()
	open := func(path string, flags int) int {
		t.Helper()
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what string
		fd   int
		want unix.Errno
	}{
		{"none", -1, unix.EBADF},
		{"closed", 1 << 20, unix.EBADF},
		{"read-only", open(path, unix.O_RDONLY), unix.EBADF},
		{"path", open(path, unix.O_PATH), unix.EBADF},
		{"directory", open("/", unix.O_RDONLY|unix.O_DIRECTORY), unix.EBADF},
		{"null", open("/dev/null", unix.O_WRONLY), unix.EINVAL},
		{"null, read-only", open("/dev/null", unix.O_RDONLY), unix.EBADF},
		{"eventfd", event, unix.EINVAL},
	} {
		t.Run(x.what, func(t *testing.T) {
			if err := c.ioctl(SetFD, x.fd); !errors.Is(err, x.want) {
				t.Errorf("%v, want %v", err, x.want)
			}
		})
		unix.Close(x.fd)
	}
	c.heard()
	c.err["Open"] = unix.EMFILE
	c.want(SetFD, fd, unix.EMFILE)
	c.err["Open"] = nil
	c.want(SetFD, fd, nil)
	c.want(SetFD, fd, unix.EEXIST)
	c.want(SetFD, -1, unix.EEXIST)
	unix.Close(fd)
}

// The offset is the client's, as the open file is.
func TestLogIsShared(t *testing.T) {
	c := newClient(t)
	path, fd := c.log()
	defer unix.Close(fd)
	unix.Write(fd, []byte("before\n"))
	c.want(SetFD, fd, nil)
	unix.Write(fd, []byte("after\n"))
	if b, _ := os.ReadFile(path); string(b) != "before\nheader\nafter\n" {
		t.Errorf("log has %q", b)
	}
}

func TestSetPID(t *testing.T) {
	alive, dead := sleeper(t), sleeper(t)
	dead.Process.Kill()
	// Not waited for.
	if err := unix.Waitid(unix.P_PID, dead.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	c.setFD()
	c.said = nil
	for _, pid := range []int{0, -1, -1 << 31, 1<<31 - 1, dead.Process.Pid, thread(t)} {
		c.want(SetPID, pid, unix.ESRCH)
		// What was followed is so no more.
		c.heard("unfollow")
	}
	c.err["Follow"] = unix.EBUSY
	c.want(SetPID, alive.Process.Pid, unix.EBUSY)
	c.err["Unfollow"] = unix.EIO
	c.said = nil
	c.want(SetPID, alive.Process.Pid, unix.EIO)
	c.heard("unfollow")
}

// thread returns a thread of this process that is not the first.
func thread(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Name() != strconv.Itoa(os.Getpid()) {
			id, err := strconv.Atoi(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	t.Fatal("this process has one thread")
	return 0
}

// The last process that was set before there was a log is followed from then on.
func TestEarly(t *testing.T) {
	c := newClient(t)
	first, second := sleeper(t).Process.Pid, sleeper(t).Process.Pid
	c.want(SetPID, first, nil)
	c.want(SetPID, second, nil)
	c.heard()
	// Nobody is told that it cannot be.
	c.err["Follow"] = unix.EPERM
	c.setFD()
	c.heard(fmt.Sprintf("open by %d of 1000", os.Getpid()), fmt.Sprintf("follow %d for %d of 1000, exclusive true", second, os.Getpid()))

	c = newClient(t)
	c.want(SetPID, first, nil)
	c.want(SetPID, -1, unix.ESRCH)
	c.setFD()
	c.heard(fmt.Sprintf("open by %d of 1000", os.Getpid()))
	// What is not followed in the end is closed.
	c = newClient(t)
	c.want(SetPID, first, nil)
}

func TestUnknown(t *testing.T) {
	c := newClient(t)
	c.want(0x5401, 0, unix.EINVAL)
	c.want(SetFD&^0xff|9, 0, unix.EINVAL)
	if err := c.file.Ioctl(t.Context(), self, SetFD, nil); !errors.Is(err, unix.EINVAL) {
		t.Error(err)
	}
	// A caller of another machine's numbers.
	if err := c.file.Ioctl(t.Context(), cuse.Caller{}, SetPID, make([]byte, 4)); !errors.Is(err, unix.ESRCH) {
		t.Error(err)
	}
}

// A thread counts as its process.
func TestThread(t *testing.T) {
	c := newClient(t)
	c.setFD()
	c.said = nil
	by := self
	by.Thread = thread(t)
	data := binary.NativeEndian.AppendUint32(nil, uint32(os.Getpid()))
	if err := c.file.Ioctl(t.Context(), by, SetPID, data); err != nil {
		t.Fatal(err)
	}
	c.heard("unfollow", fmt.Sprintf("follow %d for %[1]d of 1000, exclusive false", os.Getpid()))
}

// A signal alone ends no wait; if nothing comes after it, the client goes, and the
// rest is done without it.
func TestInterrupt(t *testing.T) {
	r := &recorder{hold: make(chan struct{}), begun: make(chan struct{}, 2)}
	d := New(r)
	d.patience = 0
	f, err := d.Open(t.Context(), self)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, r, f}
	c.setFD()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-r.begun
		cancel()
	}()
	data := binary.NativeEndian.AppendUint32(nil, uint32(os.Getpid()))
	if err := f.Ioctl(ctx, self, SetPID, data); !errors.Is(err, unix.EINTR) {
		t.Errorf("%v, want %v", err, unix.EINTR)
	}
	f.Release(ctx, nil) // does not wait for the one before
	close(r.hold)
	<-r.begun
	// Who asks later, waits.
	c.want(Flush, 0, nil)
	c.heard(fmt.Sprintf("open by %d of 1000", os.Getpid()), "unfollow",
		fmt.Sprintf("follow %d for %[1]d of 1000, exclusive false", os.Getpid()), `close ""`)

	d.patience = 1 << 40
	done := make(chan struct{})
	go close(done)
	if err := d.await(ctx, func() error { <-done; return unix.EBUSY }); err != unix.EBUSY {
		t.Errorf("%v, want what came after the signal", err)
	}
}

func TestMaxOpen(t *testing.T) {
	d := New(&recorder{})
	var files []cuse.File
	for range maxOpen {
		f, err := d.Open(t.Context(), self)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if _, err := d.Open(t.Context(), self); !errors.Is(err, unix.EMFILE) {
		t.Errorf("one too many: %v", err)
	}
	for _, uid := range []uint32{0, 1001} {
		if _, err := d.Open(t.Context(), cuse.Caller{UID: uid}); err != nil {
			t.Errorf("user %d: %v", uid, err)
		}
	}
	for _, f := range files {
		f.Release(t.Context(), nil)
	}
	if _, err := d.Open(t.Context(), self); err != nil {
		t.Errorf("after all are closed: %v", err)
	}
}

// The numbers are those that the header makes.
func TestHeader(t *testing.T) {
	const source = `#include <dev/filemon/filemon.h>
#include <stdio.h>
int main(void) { printf("%x %x %x", (unsigned)FILEMON_SET_FD, (unsigned)FILEMON_SET_PID, (unsigned)FILEMON_FLUSH_IOCTL); }
`
	program := filepath.Join(t.TempDir(), "numbers")
	cmd := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", "../../contrib/include", "-o", program, "-x", "c", "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).Output()
	if want := fmt.Sprintf("%x %x %x", SetFD, SetPID, Flush); err != nil || string(out) != want {
		t.Errorf("%s, %v; want %s", out, err, want)
	}
}
