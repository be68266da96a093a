// Package served runs fanrec serve for tests and benchmarks.
package served

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"fanrec/service"
)

// A Service is one that runs, for every user.
type Service struct {
	Socket string // where it listens, in a directory of its own
	cmd    *exec.Cmd
}

// patience is how long one may take to start.
const patience = 20 * time.Second

// Start starts the service of a fanrec, and returns when it answers. It says
// what it has to say on standard error.
func Start(fanrec string) (*Service, error) {
	dir, err := os.MkdirTemp("", "fanrec-served-")
	if err != nil {
		return nil, err
	}
	s := &Service{Socket: filepath.Join(dir, "socket")}
	s.cmd = exec.Command(fanrec, "serve", "--socket", s.Socket)
	s.cmd.Stderr = os.Stderr
	if err := errors.Join(os.Chmod(dir, 0o755), s.cmd.Start()); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if answers(s.Socket) {
			return s, nil
		}
		if time.Now().After(deadline) {
			s.cmd.Process.Kill()
			_, err := s.Stop()
			return nil, fmt.Errorf("the service does not answer: %w", err)
		}
	}
}

func answers(socket string) bool {
	c, err := service.Dial(socket)
	if err != nil {
		return false
	}
	defer c.Leave()
	_, err = c.Hello()
	return err == nil
}

// PID returns its number.
func (s *Service) PID() int { return s.cmd.Process.Pid }

// Stop ends it, and returns the peak of its resident memory, in bytes. The error
// is not nil if it did not end well.
func (s *Service) Stop() (peak int64, err error) {
	s.cmd.Process.Signal(syscall.SIGTERM)
	err = s.cmd.Wait()
	os.RemoveAll(filepath.Dir(s.Socket))
	return s.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10, err
}
