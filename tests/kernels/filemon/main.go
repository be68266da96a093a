// Filemon serves /dev/filemon in the machines of tests/kernels, while it runs the
// command that its arguments are, and has the command's exit status. Its
// recordings are fakes: a header, a line "# Follow PID" or "# Unfollow" for each
// call, and the end, or a line "# Incomplete".
//
// A test can hold it in a call: where a pipe stands beside the log, with
// ".follow" or ".close" added to the log's name, the call goes on when somebody has
// opened the pipe for writing and closed it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"fanrec/service/cuse"
	"fanrec/service/filemon"

	"golang.org/x/sys/unix"
)

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "filemon:", err)
		os.Exit(125)
	}
	os.Exit(status)
}

func run(argv []string) (status int, err error) {
	// Any user: whom a client may follow is decided for each call.
	channel, err := cuse.Create("filemon", 0o666)
	if err != nil {
		return 0, err
	}
	// A second device of the name must not be had.
	if _, err := cuse.Create("filemon", 0o666); !errors.Is(err, unix.EEXIST) {
		return 0, fmt.Errorf("a second device: %v, want %v", err, unix.EEXIST)
	}
	// The command ends the service with this, to see what becomes of clients.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- channel.Serve(ctx, filemon.New(&recorder{followed: map[int]*recording{}}))
	}()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	stop()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), errors.Join(err, <-served)
}

// recorder knows who follows whom.
type recorder struct {
	mu       sync.Mutex
	followed map[int]*recording // by pid
}

type recording struct {
	recorder *recorder
	log      *os.File
	name     string
}

func (r *recorder) Open(log *os.File, by filemon.Client) (filemon.Recording, error) {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(log.Fd())))
	if err != nil {
		return nil, err
	}
	rec := &recording{r, log, name}
	return rec, rec.write("# filemon version 5\n# Target pid %d\nV 5\n", by.PID)
}

// write adds to the log, and begins a line that the next text overwrites.
func (r *recording) write(format string, a ...any) error {
	if _, err := fmt.Fprintf(r.log, format, a...); err != nil {
		return err
	}
	if _, err := r.log.Seek(0, io.SeekCurrent); err != nil {
		return nil // a pipe
	}
	if _, err := r.log.WriteString("R"); err != nil {
		return err
	}
	_, err := r.log.Seek(-1, io.SeekCurrent)
	return err
}

func (r *recording) Unfollow() error {
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	for pid, by := range r.recorder.followed {
		if by == r {
			delete(r.recorder.followed, pid)
			if err := r.write("# Unfollow\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *recording) Follow(pidfd int, by filemon.Client, exclusive bool) error {
	r.hold("follow")
	pid, err := number(pidfd)
	if err != nil {
		return err
	}
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	if st, err := os.Stat("/proc/" + strconv.Itoa(pid)); err != nil {
		return unix.ESRCH
	} else if owner := st.Sys().(*syscall.Stat_t).Uid; by.UID != 0 && by.UID != owner {
		return fmt.Errorf("process %d is of user %d: %w", pid, owner, unix.EPERM)
	}
	if other := r.recorder.followed[pid]; exclusive && other != nil && other != r {
		return fmt.Errorf("process %d: %w", pid, unix.EBUSY)
	}
	r.recorder.followed[pid] = r
	return r.write("# Follow %d\n", pid)
}

func (r *recording) Close(why string) error {
	r.hold("close")
	if err := r.Unfollow(); err != nil {
		return errors.Join(err, r.log.Close())
	}
	if why != "" {
		fmt.Fprintf(r.log, "# Incomplete: %s\n", why)
		return r.log.Close()
	}
	_, err := fmt.Fprint(r.log, "# Stop\n# Bye bye\n")
	return errors.Join(err, r.log.Close())
}

// hold waits if there is a pipe to wait at.
func (r *recording) hold(call string) {
	pipe, err := os.Open(r.name + "." + call)
	if err != nil {
		return
	}
	defer pipe.Close()
	io.Copy(io.Discard, pipe)
}

// number returns the number of a pidfd's process.
func number(pidfd int) (int, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil || pid <= 0 {
				return 0, unix.ESRCH
			}
			return pid, nil
		}
	}
	return 0, unix.EBADF
}
