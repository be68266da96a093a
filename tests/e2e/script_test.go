package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fanrec/tests/schema"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// commands are what scripts have beside the commands of testscript.
//
//	status N PROGRAM ARG...        run it; its exit status must be N
//	records [-p] LOG EXPECTED      the records of LOG that tell of files in $WORK
//	                               must be those in EXPECTED; with -p those of
//	                               processes, too. LOG must be a complete log.
//	has LOG EXPECTED               each line of EXPECTED must be among them, in order
//	seen LOG EXPECTED              the records of LOG, JSON lines, that have other
//	                               names for the process must be those in EXPECTED
//	schema NAME LOG                each line of LOG must be of the schema, ecs or ocsf
//	incomplete LOG                 the log must say that it is not complete
//	start NAME PROGRAM ARG...      start it, in a process group of its own
//	signal NAME SIGNAL             send it a signal; "-NAME" means its group
//	finish NAME N                  wait for it; its exit status must be N, its
//	                               output is then in NAME.out and NAME.err
//	until FILE                     wait until a file is there
//	escaped NAME=VALUE...          like env, for values with escapes as in Go
//
// In the records, paths are relative to $WORK, what is not printable is
// escaped as in Go, a file without a name is #N, and processes are p1, p2, ... in the order in which they appear.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"status":     cmdStatus,
	"records":    cmdRecords,
	"has":        cmdHas,
	"seen":       cmdSeen,
	"schema":     cmdSchema,
	"incomplete": cmdIncomplete,
	"start":      cmdStart,
	"signal":     cmdSignal,
	"finish":     cmdFinish,
	"until":      cmdUntil,
	"escaped":    cmdEscaped,
}

// patience bounds everything that is waited for.
const patience = 20 * time.Second

func usage(ts *testscript.TestScript, neg bool, ok bool, text string) {
	if neg {
		ts.Fatalf("unsupported: ! %s", text)
	}
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// exitStatus returns the status as a shell gives it.
func exitStatus(err error) (int, bool) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case !errors.As(err, &exit):
		return 0, false
	}
	ws := exit.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal()), true
	}
	return ws.ExitStatus(), true
}

func wantStatus(ts *testscript.TestScript, arg string, err error) {
	want, aerr := strconv.Atoi(arg)
	ts.Check(aerr)
	got, ok := exitStatus(err)
	if !ok {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "status N PROGRAM ARG...")
	wantStatus(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func cmdRecords(ts *testscript.TestScript, neg bool, args []string) {
	processes := len(args) == 3 && args[0] == "-p"
	if processes {
		args = args[1:]
	}
	usage(ts, neg, len(args) == 2, "records [-p] LOG EXPECTED")
	l := readLog(ts, args[0])
	if err := l.complete(); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	got := l.below(ts.Getenv("WORK"), processes)
	want := lines(ts.ReadFile(args[1]))
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Logf("%s", strings.Join(got, "\n"))
		ts.Fatalf("records of %s (-want +got):\n%s", args[0], diff)
	}
}

func cmdHas(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, false, len(args) == 2, "has LOG EXPECTED")
	got := readLog(ts, args[0]).below(ts.Getenv("WORK"), true)
	want := lines(ts.ReadFile(args[1]))
	found := 0
	for _, line := range got {
		if found < len(want) && line == want[found] {
			found++
		}
	}
	if missing := found < len(want); missing && !neg {
		ts.Fatalf("%s: not found: %s\nin:\n%s", args[0], want[found], strings.Join(got, "\n"))
	} else if !missing && neg {
		ts.Fatalf("%s: found all of %s", args[0], args[1])
	}
}

func cmdSchema(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "schema NAME LOG")
	schemas, err := schema.Load("../../output/testdata/schema")
	ts.Check(err)
	n := 0
	for text := range strings.Lines(ts.ReadFile(args[1])) {
		n++
		line, err := schema.Line([]byte(text))
		if err != nil {
			ts.Fatalf("%s, line %d: %v", args[1], n, err)
		}
		if wrong := schemas[args[0]].Check(line); len(wrong) > 0 {
			ts.Fatalf("%s, line %d: %q in %s", args[1], n, wrong, text)
		}
	}
	if n < 3 {
		ts.Fatalf("%s: %d lines", args[1], n)
	}
}

func cmdSeen(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "seen LOG EXPECTED")
	work := ts.Getenv("WORK")
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n") {
		var r struct{ Kind, Path, Target, Seen, Seen_target string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			ts.Fatalf("%s: %v", args[0], err)
		}
		if r.Seen+r.Seen_target == "" {
			continue
		}
		path, _ := strings.CutPrefix(r.Path, work+"/")
		target, _ := strings.CutPrefix(r.Target, work+"/")
		got = append(got, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s = %s %s", r.Kind, path, target, r.Seen, r.Seen_target)), " "))
	}
	want := lines(ts.ReadFile(args[1]))
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Logf("%s", strings.Join(got, "\n"))
		ts.Fatalf("other names in %s (-want +got):\n%s", args[0], diff)
	}
}

func cmdIncomplete(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "incomplete LOG")
	if err := readLog(ts, args[0]).incomplete(); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
}

func readLog(ts *testscript.TestScript, name string) *filemon {
	l, err := parse([]byte(ts.ReadFile(name)))
	if err != nil {
		ts.Fatalf("%s: %v", name, err)
	}
	return l
}

// lines returns what an expectation says: comments and blank lines do not count.
func lines(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

type jobsKey struct{}

type jobs struct{ running map[string]*job }

type job struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

func (j *jobs) end() {
	for _, r := range j.running {
		unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
		r.cmd.Wait()
	}
}

func jobOf(ts *testscript.TestScript, name string) *job {
	r := ts.Value(jobsKey{}).(*jobs).running[name]
	if r == nil {
		ts.Fatalf("no job %s", name)
	}
	return r
}

func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		env = append(env, name+"="+ts.Getenv(name))
	}
	for _, name := range []string{"WORK", "TOOLS", "TMPDIR", "HOME", "FANREC_SOCKET"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 2, "start NAME PROGRAM ARG...")
	path := args[1]
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(dir, path); !strings.Contains(path, "/") {
			if st, err := os.Stat(p); err == nil && !st.IsDir() {
				path = p
			}
		}
	}
	r := &job{cmd: exec.Command(path, args[2:]...)}
	r.cmd.Dir, r.cmd.Env = ts.MkAbs("."), environ(ts)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.WaitDelay = time.Second // a daemon may keep the pipes open
	ts.Check(r.cmd.Start())
	ts.Value(jobsKey{}).(*jobs).running[args[0]] = r
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "signal NAME SIGNAL")
	name, group := strings.CutPrefix(args[0], "-")
	sig := unix.SignalNum("SIG" + args[1])
	if sig == 0 {
		ts.Fatalf("no signal %s", args[1])
	}
	pid := jobOf(ts, name).cmd.Process.Pid
	if group {
		pid = -pid
	}
	ts.Check(unix.Kill(pid, sig))
}

func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "finish NAME N")
	r := jobOf(ts, args[0])
	late := time.AfterFunc(patience, func() { unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL) })
	err := r.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if !late.Stop() {
		ts.Fatalf("%s did not end\n%s", args[0], r.err.String())
	}
	delete(ts.Value(jobsKey{}).(*jobs).running, args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), r.out.Bytes(), 0o666))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), r.err.Bytes(), 0o666))
	ts.Logf("[stdout]\n%s[stderr]\n%s", r.out.String(), r.err.String())
	wantStatus(ts, args[1], err)
}

func await(ts *testscript.TestScript, what string, done func() bool) {
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("waited too long for %s", what)
		}
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1 || len(args) == 2, "until FILE [TEXT]")
	await(ts, strings.Join(args, ": "), func() bool {
		if len(args) == 1 {
			_, err := os.Lstat(ts.MkAbs(args[0]))
			return err == nil
		}
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && bytes.Contains(b, []byte(args[1]))
	})
}

// cmdEscaped sets environment variables to what has escapes, as in Go.
func cmdEscaped(ts *testscript.TestScript, neg bool, args []string) {
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		usage(ts, neg, ok, "escaped NAME=VALUE...")
		text, err := strconv.Unquote(`"` + value + `"`)
		ts.Check(err)
		ts.Setenv(name, text)
	}
}
