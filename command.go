package fanrec

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is what is recorded. It gets the standard streams, the environment,
// the working directory, the process group and every inherited descriptor of
// the caller.
type Command struct {
	Argv []string
	Env  []string            // nil: that of the caller
	As   *syscall.Credential // nil: as the caller
}

// ErrNotFound and ErrNotExecutable are wrapped by the errors of Start, for the
// exit statuses 127 and 126 that shells give.
var (
	ErrNotFound      = errors.New("command not found")
	ErrNotExecutable = errors.New("command cannot be executed")
)

// find returns the path of the command's file, as execvp(3) would.
func (c *Command) find() (string, error) {
	name := c.Argv[0]
	path, err := exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		// A program in the working directory because PATH says so: what
		// execvp would run.
		return path, nil
	case errors.Is(err, os.ErrPermission):
		return "", fmt.Errorf("%s: %w: no permission", name, ErrNotExecutable)
	case strings.Contains(name, "/"):
		if st, serr := os.Stat(name); serr == nil {
			if st.IsDir() {
				return "", fmt.Errorf("%s: %w: it is a directory", name, ErrNotExecutable)
			}
			return "", fmt.Errorf("%s: %w: no permission", name, ErrNotExecutable)
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
}

// Check tells whether the command can be found. Errors wrap ErrNotFound or
// ErrNotExecutable.
func (c *Command) Check() error {
	_, err := c.find()
	return err
}

// A Child is a command that was started. Signal may be called from any
// goroutine, the rest is for one.
type Child struct {
	pid     int
	pidfd   int // readable when it has ended
	mu      sync.Mutex
	ended   bool
	endedAt time.Time
	status  syscall.WaitStatus
}

// Start starts the command. Errors wrap ErrNotFound or ErrNotExecutable. (Not
// os/exec, which forks a process of its own to try out pidfds, and which would
// be recorded.)
func (c *Command) Start() (*Child, error) {
	path, err := c.find()
	if err != nil {
		return nil, err
	}
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	pid, err := syscall.ForkExec(path, c.Argv, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Credential: c.As},
	})
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("%s: %w (or the interpreter that it names)", filepath.Clean(path), ErrNotFound)
	case errors.Is(err, unix.ENOEXEC):
		return nil, fmt.Errorf("%s: %w: neither a program nor a script with a #! line", path, ErrNotExecutable)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%s: %w: no permission", path, ErrNotExecutable)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", path, ErrNotExecutable, err)
	}
	child := &Child{pid: pid}
	if child.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		child.Kill()
		return nil, fmt.Errorf("open a pidfd of the command: %w", err)
	}
	return child, nil
}

// PID returns its number.
func (c *Child) PID() int { return c.pid }

// FD returns a descriptor that is readable when it has ended.
func (c *Child) FD() int { return c.pidfd }

// Signal sends it a signal. It reports false if it has ended.
func (c *Child) Signal(sig syscall.Signal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		syscall.Kill(c.pid, sig)
	}
	return !c.ended
}

// Kill ends a command that cannot be recorded.
func (c *Child) Kill() {
	c.Signal(syscall.SIGKILL)
	c.Reap(true)
}

// Reap takes its status if it has ended, which it reports; with wait, it does
// not return before.
func (c *Child) Reap(wait bool) (ended bool, err error) {
	if wait && c.pidfd > 0 {
		// Not in wait4, with the lock: it is to be signalled meanwhile.
		for !readable(c.pidfd) {
			if err := poll([]unix.PollFd{{Fd: int32(c.pidfd), Events: unix.POLLIN}}, -1); err != nil {
				return false, err
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return true, nil
	}
	flags := unix.WNOHANG
	if wait {
		flags = 0
	}
	for {
		pid, err := syscall.Wait4(c.pid, &c.status, flags, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for the command: %w", err)
		}
		c.ended, c.endedAt = pid == c.pid, time.Now()
		return c.ended, nil
	}
}

// Status is how it ended, after Reap has reported that.
func (c *Child) Status() syscall.WaitStatus { return c.status }

// Ended tells whether it has been so for some time: a signal that comes right
// after the end may be the very one that ended it.
func (c *Child) Ended(ago time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && time.Since(c.endedAt) > ago
}

// Close frees what belongs to it.
func (c *Child) Close() error { return unix.Close(c.pidfd) }
