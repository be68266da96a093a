// Package e2e drives the real fanrec from outside, as its users do.
//
// Most tests are scripts in testdata/script: what is run, and the records that
// must come of it. A bug becomes such a script first. See script_test.go for
// the commands that they have beside those of testscript.
package e2e

import (
	"errors"
	"fanrec/tests/served"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// tools is a directory with fanrec and the helpers, in front of PATH.
var tools string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	var err error
	if tools, err = os.MkdirTemp("", "fanrec-e2e-tools-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tools)
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the binary under test, or takes the one that FANREC names, and
// the helpers.
func build() error {
	if err := os.Chmod(tools, 0o755); err != nil { // for commands of other users
		return err
	}
	fanrec := filepath.Join(tools, "fanrec")
	if given := os.Getenv("FANREC"); given != "" {
		abs, err := filepath.Abs(given)
		if err != nil {
			return err
		}
		if err := os.Symlink(abs, fanrec); err != nil {
			return err
		}
	} else {
		cmd := exec.Command("go", "build", "-o", fanrec, "fanrec/cmd/fanrec")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build fanrec: %w\n%s", err, out)
		}
	}
	act := filepath.Join(tools, "act")
	if given := os.Getenv("ACT"); given != "" { // where there is no compiler: tests/kernels
		return errors.Join(os.Symlink(given+"/act", act), os.Symlink(given+"/act-static", act+"-static"))
	}
	if _, err := exec.LookPath("cc"); err != nil {
		return nil // the scripts that need act say so
	}
	if out, err := exec.Command("cc", "-O1", "-pthread", "-o", act, "testdata/act.c").CombinedOutput(); err != nil {
		return fmt.Errorf("build act: %w\n%s", err, out)
	}
	ring := filepath.Join(tools, "ring")
	if out, err := exec.Command("cc", "-O1", "-o", ring, "../../ebpf/testdata/ring.c").CombinedOutput(); err != nil {
		return fmt.Errorf("build ring: %w\n%s", err, out)
	}
	// Where there is no static C library, a script is skipped.
	_ = exec.Command("cc", "-O1", "-pthread", "-static", "-o", act+"-static", "testdata/act.c").Run()
	_ = exec.Command("cc", "-O1", "-pthread", "-static", "-m32", "-o", act+"-32", "testdata/act.c").Run()
	return nil
}

// needRoot skips a test that cannot record.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("recording needs root")
	}
}

func TestScripts(t *testing.T) {
	needRoot(t)
	runScripts(t, "")
}

// TestScriptsByService runs them with a service, which fanrec then asks to
// record: a log must not depend on who records.
func TestScriptsByService(t *testing.T) {
	needRoot(t)
	socket, _ := serve(t)
	runScripts(t, socket)
}

// serve runs a service until the test ends.
func serve(t *testing.T) (socket string, pid int) {
	t.Helper()
	s, err := served.Start(filepath.Join(tools, "fanrec"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Stop(); err != nil {
			t.Errorf("the service: %v", err)
		}
	})
	return s.Socket, s.PID()
}

func runScripts(t *testing.T, socket string) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("FANREC_SOCKET", filepath.Join(env.WorkDir, "none"))
			if socket != "" {
				env.Setenv("FANREC_SOCKET", socket)
			}
			return setup(env)
		},
		Cmds:               commands,
		Condition:          condition,
		RequireUniqueNames: true,
		ContinueOnError:    true,
	})
}

func setup(env *testscript.Env) error {
	// Commands of other users must get here.
	for _, dir := range []string{filepath.Dir(env.WorkDir), env.WorkDir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	env.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	env.Setenv("TOOLS", tools)
	env.Setenv("LC_ALL", "C.UTF-8")
	j := &jobs{running: map[string]*job{}}
	env.Values[jobsKey{}] = j
	env.Defer(j.end)
	return nil
}

// condition tells what this machine can do. In CI it must be able to do all: what
// a script leaves out there nobody runs.
func condition(cond string) (bool, error) {
	ok, err := can(cond)
	if err == nil && !ok && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("%s: not here, though this is CI: install what it takes (PACKAGES in the Makefile)", cond)
	}
	return ok, err
}

// can finds out what condition tells: static binaries, 32-bit programs and system
// calls, io_uring, core dumps, overlayfs; or that a command works, with _ for blanks.
func can(cond string) (bool, error) {
	switch {
	case cond == "static":
		_, err := os.Stat(filepath.Join(tools, "act-static"))
		return err == nil, nil
	case cond == "m32":
		return exec.Command(filepath.Join(tools, "act-32"), "open", "/dev/null", "r").Run() == nil, nil
	case cond == "int80":
		return exec.Command(filepath.Join(tools, "act"), "open32", "/dev/null", "r").Run() == nil, nil
	case cond == "ring":
		return exec.Command(filepath.Join(tools, "ring"), "open", "/", "rd").Run() == nil, nil
	case cond == "core":
		dir, err := os.MkdirTemp("", "fanrec-e2e-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
		cmd := exec.Command("sh", "-c", "ulimit -c unlimited; kill -11 $$")
		cmd.Dir = dir
		cmd.Run()
		_, err = os.Stat(filepath.Join(dir, "core"))
		return err == nil, nil
	case cond == "overlay":
		try := `d=$(mktemp -d) && cd $d && mkdir l u w m && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m`
		dir, err := os.MkdirTemp("", "fanrec-e2e-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
		cmd := exec.Command("unshare", "-m", "sh", "-c", try)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		return cmd.Run() == nil, nil
	case strings.HasPrefix(cond, "works:"):
		argv := strings.Split(strings.TrimPrefix(cond, "works:"), "_")
		return exec.Command(argv[0], argv[1:]...).Run() == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}
