package oracle

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With -update the programs of testdata run under strace again, and what comes of it is what the tests want. Read it before you believe it.
var update = flag.Bool("update", false, "capture the traces in testdata anew")

// captured is the directory that the captured traces seem to have been made in.
const captured = "/tmp/t"

func TestReadStrace(t *testing.T) {
	for _, program := range programs(t) {
		name := strings.TrimSuffix(program, filepath.Ext(program))
		t.Run(filepath.Base(name), func(t *testing.T) {
			if *update {
				capture(t, program, name+".strace")
			}
			f, err := os.Open(name + ".strace")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			trace, err := ReadStrace(f, captured, debian)
			if err != nil {
				t.Fatal(err)
			}
			got := describeTrace(trace)
			if *update {
				if err := os.WriteFile(name+".ops", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name + ".ops")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			agreesWithItself(t, trace)
		})
	}
}

// The root of an openat2 is the directory that it is given.
func TestInRoot(t *testing.T) {
	trace, err := ReadStrace(strings.NewReader(`7  openat2(3</d>, "/../link", {flags=O_RDONLY, resolve=RESOLVE_IN_ROOT}, 24) = 4</d/in/file>
7  +++ exited with 0 +++
`), "/", testDisk{links: map[string]string{"/d/link": "/in/file"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Doubts) > 0 || trace.Proven != 1 {
		t.Errorf("%d paths proven, doubts %q", trace.Proven, trace.Doubts)
	}
}

// TestLive runs the programs here and now, so that other versions of strace and of the kernel are tried, too.
func TestLive(t *testing.T) {
	for _, program := range programs(t) {
		t.Run(filepath.Base(program), func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			line := build(t, program, dir)
			disk, err := NewLive(dir)
			if err != nil {
				t.Fatal(err)
			}
			trace, err := ReadStrace(bytes.NewReader(runTraced(t, dir, line)), dir, disk)
			if err != nil {
				t.Fatal(err)
			}
			if len(trace.Doubts) > 0 {
				t.Errorf("doubts:\n%s", strings.Join(trace.Doubts, "\n"))
			}
			agreesWithItself(t, trace)
		})
	}
}

func programs(t *testing.T) []string {
	t.Helper()
	c, err := filepath.Glob("testdata/*.c")
	if err != nil {
		t.Fatal(err)
	}
	sh, err := filepath.Glob("testdata/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	return append(c, sh...)
}

// build puts a program into a directory and returns the command line that runs it there. Static programs make short traces.
func build(t *testing.T, program, dir string) []string {
	t.Helper()
	name, script := strings.CutSuffix(filepath.Base(program), ".sh")
	if script {
		text, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		return []string{"/bin/sh", name}
	}
	name = strings.TrimSuffix(name, ".c")
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command(cc, "-w", "-static", "-pthread", "-o", filepath.Join(dir, name), program).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	return []string{"./" + name}
}

// runTraced runs a command line in a directory and returns what strace wrote.
func runTraced(t *testing.T, dir string, line []string) []byte {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "trace")
	args := append(append([]string{}, StraceArgs...), "-o", file, "--")
	cmd := exec.Command(strace, append(args, line...)...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "strace:") {
		t.Skipf("strace: %v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func capture(t *testing.T, program, file string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	line := build(t, program, dir)
	text := bytes.ReplaceAll(runTraced(t, dir, line), []byte(dir), []byte(captured))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// describeTrace writes a line for each operation.
func describeTrace(trace *Trace) string {
	var b strings.Builder
	for _, op := range trace.Ops {
		fmt.Fprintf(&b, "%d %s  [%d:%d-%d]", op.PID, op.Record, op.Line, op.Begin, op.End)
		if op.Optional {
			b.WriteString(" optional")
		}
		if op.AnyName {
			b.WriteString(" any name")
		}
		for _, alt := range op.Alts {
			fmt.Fprintf(&b, " or %s", alt)
		}
		if op.Exec != nil {
			fmt.Fprintf(&b, " asked %s opens %q", op.Exec.Asked, op.Exec.Opens)
			if op.Exec.Unsure {
				b.WriteString(" unsure")
			}
		}
		b.WriteByte('\n')
	}
	for _, doubt := range trace.Doubts {
		fmt.Fprintf(&b, "doubt %s\n", doubt)
	}
	return b.String()
}

// agreesWithItself checks that the log of a perfect recorder shows no difference.
func agreesWithItself(t *testing.T, trace *Trace) {
	t.Helper()
	log, err := ReadFilemon(strings.NewReader(fakeLog(trace.Ops)))
	if err != nil {
		t.Fatal(err)
	}
	for how, report := range map[string]*Report{"same run": Compare(trace.Ops, log), "free run": CompareFree(trace.Ops, log[1:])} {
		if !report.OK() {
			var b strings.Builder
			_ = report.Write(&b, 0)
			t.Errorf("%s:\n%s", how, &b)
		}
	}
}

func TestReadStraceErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no pid":        {"openat(AT_FDCWD, \"x\", O_RDONLY) = 3\n", "line 1: no process id"},
		"cut":           {"1 mkdir(\"x\", 0777) = 0", "line 1: cut short"},
		"alive":         {"1 mkdir(\"x\", 0777) = 0\n", "thread 1 never ended"},
		"in a call":     {"1 mkdir(\"x\", 0777 <unfinished ...>\n2 +++ exited with 0 +++\n", "line 1: thread 1 never ended its call"},
		"resumes":       {"1 <... mkdir resumed>) = 0\n", "line 1: thread 1 resumes what it did not begin"},
		"stranger":      {"1 mkdir(\"x\", 0777) = 0\n2 mkdir(\"y\", 0777) = 0\n", "line 2: thread 2: nothing made it"},
		"no result":     {"1 mkdir(\"x\", 0777) 0\n", "line 1: result of mkdir"},
		"detached":      {"1 <detached ...>\n", "line 1: strace let go of a process"},
		"odd end":       {"1 +++ vanished +++\n", "line 1: unknown end of a process"},
		"unknown sig":   {"1 +++ killed by SIGFOO +++\n", `line 1: unknown signal "SIGFOO"`},
		"string":        {"1 mkdir(\"x, 0777) = 0\n", "line 1: arguments of mkdir: string without end"},
		"not a call":    {"1 hello\n", "line 1: neither a call nor anything else known"},
		"negative fork": {"1 fork() = x\n", "line 1: result of fork"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadStrace(strings.NewReader(c.text), "/", debian)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
