package fanrec

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

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

// start starts the command and returns its pid. Not os/exec, which forks a
// process of its own to try out pidfds, and which would be recorded.
func (c *Command) start() (int, error) {
	path, err := c.find()
	if err != nil {
		return 0, err
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
		return 0, fmt.Errorf("%s: %w (or the interpreter that it names)", filepath.Clean(path), ErrNotFound)
	case errors.Is(err, unix.ENOEXEC):
		return 0, fmt.Errorf("%s: %w: neither a program nor a script with a #! line", path, ErrNotExecutable)
	case errors.Is(err, unix.EACCES):
		return 0, fmt.Errorf("%s: %w: no permission", path, ErrNotExecutable)
	case err != nil:
		return 0, fmt.Errorf("%s: %w: %w", path, ErrNotExecutable, err)
	}
	return pid, nil
}
