package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tmux is a terminal, with a shell, in which somebody types and reads.
type tmux struct {
	*testing.T
	socket string
}

func newTmux(t *testing.T, dir string, width, height int) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux")
	}
	m := &tmux{t, fmt.Sprintf("fanrec-%d-%s", os.Getpid(), t.Name())}
	cmd := exec.Command("tmux", "-u", "-L", m.socket, "-f", os.DevNull, "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "exec sh -i")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ENV=", "PATH="+tools+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() { m.do("kill-server") })
	m.text("PS1='$ '; clear\n") // that of root is another one
	m.until("the shell", `^\$\s*$`)
	return m
}

// do gives tmux a command.
func (m *tmux) do(args ...string) string {
	out, err := exec.Command("tmux", append([]string{"-u", "-L", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.Errorf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// text types a text.
func (m *tmux) text(s string) { m.do("send-keys", "-l", s) }

// keys presses keys by the names that they have in tmux(1).
func (m *tmux) keys(names ...string) { m.do(append([]string{"send-keys"}, names...)...) }

// screen returns what is to be seen.
func (m *tmux) screen() string { return m.do("capture-pane", "-p") }

// until waits until each pattern matches the screen, or with a ! in front of it does
// not, and returns the screen.
func (m *tmux) until(what string, patterns ...string) string {
	m.Helper()
	var screen string
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		screen = m.screen()
		missing := ""
		for _, p := range patterns {
			pattern, not := strings.CutPrefix(p, "!")
			if regexp.MustCompile("(?m)"+pattern).MatchString(screen) == not {
				missing = p
			}
		}
		if missing == "" {
			return screen
		}
		if time.Now().After(end) {
			m.Fatalf("%s: no %s on the screen:\n%s", what, missing, screen)
		}
	}
}
