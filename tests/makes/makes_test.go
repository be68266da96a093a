// Package makes has real makes build a project again and again, with what fanrec
// tells them, and looks at what they make.
package makes

import (
	"errors"
	"fanrec/tests/served"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fanrec is the binary under test: what FANREC names, or one that is built here.
var fanrec string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fanrec-makes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	fanrec = os.Getenv("FANREC")
	if fanrec == "" {
		fanrec = filepath.Join(dir, "fanrec")
		cmd := exec.Command("go", "build", "-o", fanrec, "fanrec/cmd/fanrec")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build fanrec: %v\n%s", err, out)
			return 1
		}
	}
	if fanrec, err = filepath.Abs(fanrec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Not one that happens to run.
	os.Setenv("FANREC_SOCKET", filepath.Join(dir, "none"))
	return m.Run()
}

// serve runs a service until the test ends, and returns its socket.
func serve(t *testing.T) string {
	t.Helper()
	s, err := served.Start(fanrec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Stop(); err != nil {
			t.Errorf("the service: %v", err)
		}
	})
	return s.Socket
}

// long: every file, not some of each kind.
var long = os.Getenv("SOAK") != ""

// need skips a test that lacks a program, or root.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("recording needs root")
	}
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s", name)
		}
	}
}

// loop is a project and who makes it.
type loop struct {
	*project
	maker
	socket string // of the service, if one runs
}

// run has the make make all targets, and returns which it made.
func (l *loop) run(status int) []string {
	l.t.Helper()
	argv := l.build(l.project)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = l.path("obj")
	if l.socket != "" {
		cmd.Env = append(os.Environ(), "FANREC_SOCKET="+l.socket)
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status && (status == 0 || got == 0) {
		l.t.Fatalf("%s: exit status %d, want %d\n%s", l.name, got, status, out)
	}
	return l.made()
}

// makes fails the test unless the make makes just these targets, and all is well
// afterwards.
func (l *loop) makes(why string, want []string) {
	l.t.Helper()
	got := l.run(0)
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		l.t.Errorf("%s: what is made again (-want +got):\n%s", why, diff)
	}
	l.age()
}

func TestMakes(t *testing.T) {
	for _, m := range makers() {
		t.Run(m.name, func(t *testing.T) {
			need(t, append(m.needs, "gcc", "ar")...)
			p := newProject(t)
			l := loop{project: p, maker: m}
			if m.served {
				l.socket = serve(t)
			}
			l.describe(p)
			if got := l.run(0); len(got) != len(p.targets) {
				t.Fatalf("only %d of %d targets were made: %v", len(got), len(p.targets), got)
			}
			if got := l.madeAgain(); len(got) > 0 {
				t.Errorf("at once: made again: %v", got)
			}
			l.age()
			p.askCompiler()
			if m.check != nil {
				m.check(p)
			}
			for range 3 {
				l.makes("nothing", nil)
			}
			for _, target := range p.targets {
				want := slices.Clone(target.reads)
				slices.Sort(want)
				if diff := cmp.Diff(want, l.readsOf(p, target)); diff != "" {
					t.Errorf("what %s reads (-want +got):\n%s", target.name, diff)
				}
			}
			for _, file := range l.files() {
				p.touch(file)
				l.makes(file+" is younger", p.dependents(file))
			}
			l.makes("nothing", nil)

			for _, name := range []string{"app04.o", "report", "config.h"} {
				if err := os.Remove(p.path("obj/" + name)); err != nil {
					t.Fatal(err)
				}
				l.makes(name+" is gone", p.andDependents(name))
			}

			changed := p.target("lib03.o")
			changed.command += " -DOTHER"
			l.describe(p)
			var want []string
			if m.commands {
				want = p.andDependents("lib03.o")
			}
			l.makes("a command has changed", want)

			p.write("src/check.sh", "exit 1\n")
			p.touch("src/check.sh")
			if got := l.run(1); len(got) > 0 {
				t.Errorf("a command fails: made: %v", got)
			}
			p.write("src/check.sh", "test -s \"$1\"\n")
			p.touch("src/check.sh")
			l.makes("a command is repaired", []string{"report"})
			l.makes("nothing", nil)
		})
	}
}

// madeAgain returns what is made after a build, with the times that this gave.
func (l *loop) madeAgain() []string {
	l.t.Helper()
	before := map[string]os.FileInfo{}
	for _, t := range l.targets {
		before[t.name], _ = os.Stat(l.path("obj/" + t.name))
	}
	l.run(0)
	var out []string
	for _, t := range l.targets {
		if st, err := os.Stat(l.path("obj/" + t.name)); err != nil || !st.ModTime().Equal(before[t.name].ModTime()) {
			out = append(out, t.name)
		}
	}
	return out
}

// files returns what is touched: all that is read, or some of each kind.
func (l *loop) files() []string {
	all := l.read()
	if long {
		return all
	}
	some := []string{"src/gen/gen.c", "src/lib/deep/deeper.h", "src/lib/lib02.h", "src/app/app05.c", "src/data/text", "src/check.sh", "obj/lib07.o", "obj/prog2"}
	for _, file := range some {
		if !slices.Contains(all, file) {
			l.t.Errorf("nothing reads %s: it is among %s", file, strings.Join(all, " "))
		}
	}
	return some
}
