// Package bmake drives a bmake that was built with contrib/bmake against a
// service that only pretends to record: what bmake asks is known to the byte,
// and the service can fail at every place. It needs neither root nor fanotify.
package bmake

import (
	"bytes"
	"errors"
	"fanrec/tests/bmakedir"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// modes are the three ways in which bmake runs commands: two of its job
// module, one shell a target; and compat.c, one process a command.
var modes = map[string][]string{"jobs": {"-j4"}, "one job": {"-j1"}, "compat": {"-B"}}

// inModes runs a test in each of them.
func inModes(t *testing.T, test func(t *testing.T, mode []string)) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) { test(t, mode) })
	}
}

// project is a directory with a Makefile, a header that every target depends
// on only because the records say so, and a place for the socket.
type project struct {
	t      *testing.T
	dir    string
	header string
	socket string
}

const makefile = `.MAKE.MODE= meta curdirok=yes %s
all: %s
a b c d: .META
	@echo $$$$ >>${.TARGET}.pids
	@echo made >${.TARGET}; echo $$$$ >>${.TARGET}.pids
`

// newProject makes one, with words for .MAKE.MODE and the targets to be made.
func newProject(t *testing.T, mode, targets string) *project {
	t.Helper()
	if _, err := os.Stat(program(t)); err != nil {
		t.Skip("no bmake with our filemon: make bmake")
	}
	dir := bmakedir.Make(t)
	p := &project{t: t, dir: dir, header: dir + "/header.h", socket: dir + "/s"}
	p.write("Makefile", fmt.Sprintf(makefile, mode, targets))
	p.write("header.h", "")
	p.age(p.header, -2*time.Hour)
	return p
}

// program is the bmake under test.
func program(t *testing.T) string {
	path, err := filepath.Abs("../../bin/bmake-fantrace")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *project) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// age sets the time of a file, so that nobody has to wait for the next second.
func (p *project) age(path string, by time.Duration) {
	p.t.Helper()
	then := time.Now().Add(by)
	if err := os.Chtimes(path, then, then); err != nil {
		p.t.Fatal(err)
	}
}

// outcome is what a bmake did and said.
type outcome struct {
	status     int    // -1 if a signal killed it
	said       string // stdout and stderr
	recordings []*recording
}

// bmake runs bmake while a service with some behaviour is there.
func (p *project) bmake(b behaviour, args ...string) outcome {
	p.t.Helper()
	s := serve(p.t, p.socket, p.header, b)
	o := p.alone(args...)
	o.recordings = s.stop()
	return o
}

// alone runs bmake with what is at the socket.
func (p *project) alone(args ...string) outcome {
	p.t.Helper()
	for _, target := range []string{"a", "b", "c", "d"} {
		os.Remove(filepath.Join(p.dir, target+".pids"))
	}
	cmd := exec.Command(program(p.t), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "FANREC_SOCKET="+p.socket, "TMPDIR=/tmp", "MAKEFLAGS=", "MAKEOBJDIRPREFIX=", "MAKEOBJDIR=")
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return outcome{status: cmd.ProcessState.ExitCode(), said: string(said)}
}

// made returns the processes that made a target, in order; none if it was not made.
func (p *project) made(target string) []int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, target+".pids"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	var pids []int
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			p.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return slices.Compact(pids)
}

// section returns the log in a .meta file, and whether there is one.
func (p *project) section(target string) (log string, found bool) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, target+".meta"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, log, found = strings.Cut(string(text), "\n-- filemon acquired metadata --\n")
	return log, found
}

// TestRecords: every target has a recording of its own, of the processes that
// made it, and its log is in the .meta file to the byte.
func TestRecords(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		p := newProject(t, "", "a b c d")
		o := p.bmake(obliging, mode...)
		if o.status != 0 || strings.Contains(o.said, "fanrec") {
			t.Fatalf("exit status %d\n%s", o.status, o.said)
		}
		if len(o.recordings) != 4 {
			t.Fatalf("%d recordings, want 4", len(o.recordings))
		}
		for _, target := range []string{"a", "b", "c", "d"} {
			pids := p.made(target)
			i := slices.IndexFunc(o.recordings, func(r *recording) bool { return slices.Equal(r.pids, pids) })
			if i == -1 {
				t.Errorf("%s was made by %v, and nobody recorded these", target, pids)
				continue
			}
			r := o.recordings[i]
			want := []string{open}
			for range pids {
				want = append(want, follow)
			}
			if want = append(want, drain, shut); !slices.Equal(r.requests, want) {
				t.Errorf("%s: requests %q, want %q", target, r.requests, want)
			}
			if log, _ := p.section(target); log != string(r.log) {
				t.Errorf("%s.meta has\n%swant\n%s", target, log, r.log)
			}
		}
	})
}

// TestRebuild: what the records name is a dependency.
func TestRebuild(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		p := newProject(t, "", "a")
		if o := p.bmake(obliging, mode...); o.status != 0 || p.made("a") == nil {
			t.Fatalf("exit status %d\n%s", o.status, o.said)
		}
		if o := p.bmake(obliging, mode...); o.status != 0 || p.made("a") != nil || len(o.recordings) != 0 {
			t.Errorf("nothing changed, and a is made again\n%s", o.said)
		}
		p.age(p.header, time.Hour)
		if o := p.bmake(obliging, mode...); o.status != 0 || p.made("a") == nil {
			t.Errorf("the header is newer, and a is not made again\n%s", o.said)
		}
	})
}

// TestAnswerFirst: a command does not begin before the service has answered.
func TestAnswerFirst(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		p := newProject(t, "", "a b")
		late := func(r *recording, request string) string {
			if request == follow {
				pid := r.pids[len(r.pids)-1]
				if err := waits(pid, program(t)); err != nil {
					t.Errorf("process %d: %v", pid, err)
				}
			}
			return obliging(r, request)
		}
		if o := p.bmake(late, mode...); o.status != 0 || p.made("a") == nil || p.made("b") == nil {
			t.Errorf("exit status %d\n%s", o.status, o.said)
		}
	})
}

// waits returns when a process that executes a file receives from a socket, and
// an error when it executes another one.
func waits(pid int, exe string) error {
	receiving := []string{strconv.Itoa(unix.SYS_RECVFROM), strconv.Itoa(unix.SYS_RECVMSG)}
	for {
		now, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			return err
		}
		if now != exe {
			return fmt.Errorf("it executes %s before it has its answer", now)
		}
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if err != nil {
			return err
		}
		number, _, _ := strings.Cut(string(call), " ")
		if slices.Contains(receiving, number) {
			return nil
		}
	}
}

// TestNothingInherited: a command has no descriptor of the recording.
func TestNothingInherited(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		p := newProject(t, "", "a")
		p.write("Makefile", ".MAKE.MODE= meta curdirok=yes\na: .META\n\t@ls -l /proc/self/fd >a\n")
		if o := p.bmake(obliging, mode...); o.status != 0 || len(o.recordings) != 1 {
			t.Fatalf("exit status %d\n%s", o.status, o.said)
		}
		list, err := os.ReadFile(p.dir + "/a")
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"socket:", "pidfd", "filemon"} {
			if bytes.Contains(list, []byte(kind)) {
				t.Errorf("the command has a descriptor of kind %s:\n%s", kind, list)
			}
		}
	})
}

// failures are all ways in which a service can fail a bmake, and what bmake has to say.
var failures = []struct {
	name string
	behaviour
	says string
}{
	{"open refused", but(open, "error\x0024\x00too many recordings of this user"), "no recording: too many recordings of this user\n"},
	{"follow refused", but(follow, "error\x001\x00may not be recorded"), "command not followed: may not be recorded\n"},
	{"drain refused", but(drain, "error\x005\x00the tracker is gone\nfor good"), "records not complete: the tracker is gone for good\n"},
	{"close refused", but(shut, "error\x005\x00the disk is full"), "records not complete: the disk is full\n"},
	{"incomplete", but(shut, "ok\x00incomplete=events were lost\x00incomplete=more\x00processes=1"), "the target is made again next time: events were lost\n"},
	{"not complete", but(shut, "ok"), "records not complete; the target is made again next time\n"},
	{"not quite complete", but(shut, "ok\x00complete=10"), "records not complete; the target is made again next time\n"},
	{"no number", but(follow, "error\x00many\x00sorry"), "does not speak the protocol"},
	{"no error", but(follow, "error\x000\x00sorry"), "does not speak the protocol"},
	{"only error", but(follow, "error"), "does not speak the protocol"},
	{"great number", but(follow, "error\x0018446744073709551616\x00sorry"), "does not speak the protocol"},
	{"no sentence", but(follow, "error\x001"), "command not followed\n"},
	{"no answer of ours", but(drain, "okay"), "does not speak the protocol"},
	{"great answer", but(drain, strings.Repeat("x", 60000)), "does not speak the protocol"},
	{"dies at open", but(open, dies), "no recording: the service has ended"},
	{"dies at follow", but(follow, dies), "command not followed: the service has ended"},
	{"dies at drain", but(drain, dies), "records not complete: the service has ended"},
	{"dies at close", but(shut, dies), "records not complete: the service has ended"},
}

// TestFailures: bmake fails, says why in one line, and makes the target again
// when the service is well, though target and .meta file are new.
func TestFailures(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		for _, f := range failures {
			t.Run(f.name, func(t *testing.T) {
				p := newProject(t, "", "a")
				if o := p.bmake(obliging, mode...); o.status != 0 {
					t.Fatalf("exit status %d\n%s", o.status, o.said)
				}
				p.age(p.header, time.Hour)
				o := p.bmake(f.behaviour, mode...)
				if o.status <= 0 {
					t.Errorf("exit status %d\n%s", o.status, o.said)
				}
				if want := "fanrec: " + p.socket + ": "; !strings.Contains(o.said, want) || !strings.Contains(o.said, f.says) {
					t.Errorf("bmake says\n%swant %s… %s", o.said, want, f.says)
				}
				p.age(p.header, -2*time.Hour)
				if o := p.bmake(obliging, mode...); o.status != 0 || p.made("a") == nil {
					meta, _ := os.ReadFile(p.dir + "/a.meta")
					t.Errorf("exit status %d, and a is not made again\n%s%s", o.status, o.said, meta)
				}
				if o := p.bmake(obliging, mode...); o.status != 0 || p.made("a") != nil {
					t.Errorf("exit status %d, and a is made again though all is well\n%s", o.status, o.said)
				}
			})
		}
	})
}

// TestIgnoredFailures: with -i bmake takes the target for made; but not the next time.
func TestIgnoredFailures(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		for _, f := range failures {
			t.Run(f.name, func(t *testing.T) {
				p := newProject(t, "", "a")
				p.write("Makefile", `.MAKE.MODE= meta curdirok=yes
a: .META
	@touch a; echo $$$$ >>a.pids; exit 1
`)
				p.bmake(obliging, mode...) // leaves a .meta file and a target
				p.age(p.header, time.Hour)
				o := p.bmake(f.behaviour, append([]string{"-i"}, mode...)...)
				if len(o.recordings) == 0 || !strings.Contains(o.said, f.says) {
					t.Errorf("bmake says\n%swant %s", o.said, f.says)
				}
				p.age(p.header, -2*time.Hour)
				p.bmake(obliging, mode...)
				if p.made("a") == nil {
					meta, _ := os.ReadFile(p.dir + "/a.meta")
					t.Errorf("a is not made again\n%s", meta)
				}
			})
		}
	})
}

// TestServiceGoes: a service that was there and is gone is a failure, whatever
// it has left at its path. Nothing is made without records.
func TestServiceGoes(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprintf("leaves socket %t", leaves), func(t *testing.T) {
			inModes(t, func(t *testing.T, mode []string) {
				if mode[0] == "-j4" {
					mode = []string{"-j1"} // one after the other
				}
				p := newProject(t, "", "a b")
				s := serve(t, p.socket, p.header, func(r *recording, request string) string {
					if request == shut {
						r.service.listener.SetUnlinkOnClose(!leaves)
						r.service.listener.Close()
					}
					return obliging(r, request)
				})
				o := p.alone(mode...)
				s.stop()
				if o.status <= 0 || p.made("a") == nil || p.made("b") != nil {
					t.Errorf("exit status %d, made by %v and %v\n%s", o.status, p.made("a"), p.made("b"), o.said)
				}
				if !strings.Contains(o.said, "no service; start `fanrec serve`") {
					t.Errorf("bmake says\n%s", o.said)
				}
			})
		})
	}
}

// TestDeadSocket: nor is a socket that nobody listens to a reason to go on without records.
func TestDeadSocket(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		p := newProject(t, "", "a")
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: p.socket, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
		if o := p.alone(mode...); o.status <= 0 || p.made("a") != nil || !strings.Contains(o.said, "no service; start `fanrec serve`") {
			t.Errorf("exit status %d\n%s", o.status, o.said)
		}
	})
}

// TestNoService: without a service bmake warns once and goes on, and with
// missing-filemon=yes makes it all again when there is one.
func TestNoService(t *testing.T) {
	inModes(t, func(t *testing.T, mode []string) {
		p := newProject(t, "missing-filemon=yes", "a b")
		o := p.alone(mode...)
		if o.status != 0 || p.made("a") == nil || p.made("b") == nil || strings.Count(o.said, "Could not open filemon "+p.socket) != 1 {
			t.Errorf("exit status %d\n%s", o.status, o.said)
		}
		if log, found := p.section("a"); found {
			t.Errorf("a.meta has a section:\n%s", log)
		}
		for _, want := range []bool{true, false} {
			if o := p.bmake(obliging, mode...); o.status != 0 || (p.made("a") != nil) != want {
				t.Errorf("exit status %d, made again by %v\n%s", o.status, p.made("a"), o.said)
			}
		}
	})
}

// TestInterrupt: SIGINT ends a bmake that waits for an answer which never
// comes. It leaves a target and a .meta file without records, which only
// missing-filemon=yes takes for what it is.
func TestInterrupt(t *testing.T) {
	for _, at := range []string{open, drain, shut} {
		t.Run(strings.TrimRight(at, "\x00"), func(t *testing.T) {
			inModes(t, func(t *testing.T, mode []string) {
				p := newProject(t, "missing-filemon=yes", "a")
				gone := make(chan struct{})
				s := serve(t, p.socket, p.header, func(r *recording, request string) string {
					if request != at {
						return obliging(r, request)
					}
					if err := waits(r.client, program(t)); err != nil {
						t.Error(err)
					}
					if err := unix.Kill(r.client, unix.SIGINT); err != nil {
						t.Error(err)
					}
					<-gone
					return dies
				})
				o := p.alone(mode...)
				close(gone)
				s.stop()
				if o.status == 0 {
					t.Errorf("bmake goes on\n%s", o.said)
				}
				if o := p.bmake(obliging, mode...); o.status != 0 || p.made("a") == nil {
					t.Errorf("exit status %d, and a is not made again\n%s", o.status, o.said)
				}
			})
		})
	}
}

// TestPath: makefiles can ask where filemon is.
func TestPath(t *testing.T) {
	p := newProject(t, "", "a")
	if o := p.alone("-V", ".MAKE.PATH_FILEMON"); o.said != p.socket+"\n" {
		t.Errorf("with FANREC_SOCKET=%s: %s", p.socket, o.said)
	}
	p.socket = ""
	if o := p.alone("-V", ".MAKE.PATH_FILEMON"); o.said != "/run/fanrec/fanrec.sock\n" {
		t.Errorf("without FANREC_SOCKET: %s", o.said)
	}
	p.socket = p.dir + "/" + strings.Repeat("s", 108)
	if o := p.alone("-j1"); o.status <= 0 || !strings.Contains(o.said, "File name too long") {
		t.Errorf("with a path of %d bytes: exit status %d\n%s", len(p.socket), o.status, o.said)
	}
}

// TestWarnings: no compiler has anything to say about the backend.
func TestWarnings(t *testing.T) {
	source, err := filepath.Abs("../../contrib/bmake/filemon_fantrace.c")
	if err != nil {
		t.Fatal(err)
	}
	headers, err := filepath.Abs("../workload/.cache/bmake/filemon")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(headers); err != nil {
		t.Skip("no source of bmake: make bmake")
	}
	for _, compiler := range []string{"gcc", "clang"} {
		t.Run(compiler, func(t *testing.T) {
			if _, err := exec.LookPath(compiler); err != nil {
				t.Skip(err)
			}
			for _, standard := range []string{"-std=c99", "-std=gnu17"} {
				cmd := exec.Command(compiler, standard, "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", headers, "-c", "-o", os.DevNull, source)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %v\n%s", cmd.Args, err, out)
				}
			}
		})
	}
}

// TestReadme: the example of contrib/bmake/README.md does what its comments say.
func TestReadme(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no cc")
	}
	text, err := os.ReadFile("../../contrib/bmake/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(text), "```sh\n")
	script, _, found := strings.Cut(script, "```\n")
	if !found {
		t.Fatal("README.md has no example")
	}
	p := newProject(t, "", "")
	if err := os.Symlink(program(t), p.dir+"/bmake"); err != nil {
		t.Fatal(err)
	}
	s := serve(t, p.socket, p.dir+"/greeting.h", obliging)
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "FANREC_SOCKET="+p.socket, "PATH="+p.dir+":"+os.Getenv("PATH"), "TMPDIR=/tmp", "MAKEFLAGS=")
	said, err := cmd.CombinedOutput()
	recordings := s.stop()
	if err != nil || len(recordings) != 2 {
		t.Fatalf("%d recordings, want 2: %v\n%s", len(recordings), err, said)
	}
	read := fmt.Sprintf("R %d %s/greeting.h\n", recordings[0].pids[0], p.dir)
	if want := "cc -o greet greet.c\n`greet' is up to date.\n" + read + "cc -o greet greet.c\ngood day\n"; string(said) != want {
		t.Errorf("the example prints\n%swant\n%s", said, want)
	}
}
