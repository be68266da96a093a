package oracle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fakeLog is the log that a perfect recorder would have written of what strace saw.
func fakeLog(ops []Op) string {
	var b strings.Builder
	b.WriteString("# filemon version 5\n# Target pid 1\n# Start 1.000000\nV 5\n")
	if len(ops) > 0 {
		fmt.Fprintf(&b, "F 1 %d\n", ops[0].PID)
	}
	for _, op := range forksFirst(ops) {
		if op.AnyName {
			op.Path, op.Target = "/anything", "/anything"
		}
		b.WriteString(logLines(op))
	}
	b.WriteString("# Stop 2.000000\n# Bye bye\n")
	return b.String()
}

// forksFirst moves each F in front of the records of its child: strace sees a call return when the child runs already.
func forksFirst(ops []Op) []Op {
	var sorted []Op
	children := instances(ops)
	written := make([]bool, len(ops))
	var write func(i int)
	write = func(i int) {
		if written[i] {
			return
		}
		if first := slices.Index(children, children[i]); first == i {
			for j, op := range ops {
				if op.Letter == 'F' && op.Child == children[i].pid && !written[j] {
					written[j] = true
					if at := slices.Index(children, children[j]); !written[at] {
						written[j] = false
						write(at)
						written[j] = true
					}
					sorted = append(sorted, op)
					break
				}
			}
		}
		written[i] = true
		sorted = append(sorted, ops[i])
	}
	for i := range ops {
		write(i)
	}
	return sorted
}

func logLines(op Op) string {
	hard := strings.ContainsAny(op.Path+op.Target, "' ")
	pair := fmt.Sprintf("%c %d '%s' '%s'\n", op.Letter, op.PID, op.Path, op.Target)
	switch {
	case op.Letter == 'M' && hard:
		return pair + fmt.Sprintf("D %d %s\nW %d %s\n", op.PID, op.Path, op.PID, op.Target)
	case op.Letter == 'L' && hard:
		return "# " + pair + fmt.Sprintf("W %d %s\n", op.PID, op.Target)
	case op.Letter == 'M' || op.Letter == 'L':
		return pair
	}
	lines := fmt.Sprintf("%c %d %s\n", op.Letter, op.PID, op.String()[2:])
	if op.Exec != nil {
		for _, path := range op.Exec.Opens {
			lines += fmt.Sprintf("R %d %s\n", op.PID, path)
		}
	}
	return lines
}

// parseLog reads records given without header and footer.
func parseLog(t *testing.T, records string) []Op {
	t.Helper()
	log, err := ReadFilemon(strings.NewReader("# filemon version 5\n# Target pid 1\nV 5\n" + records + "# Bye bye\n"))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// testDisk is a disk that never changes.
type testDisk struct {
	links    map[string]string
	programs map[string]Program
}

func (d testDisk) Readlink(path string) (string, bool) {
	text, ok := d.links[path]
	return text, ok
}

func (d testDisk) Program(path string) (Program, bool) {
	p, ok := d.programs[path]
	return p, ok
}

// debian is as much of a system as the captured runs have seen. They were made in /tmp/t.
var debian = testDisk{
	links: map[string]string{
		"/bin": "usr/bin", "/lib": "usr/lib", "/lib64": "usr/lib64", "/usr/bin/sh": "dash", "/dev/fd": "/proc/self/fd",
		"/usr/lib64/ld-linux-x86-64.so.2":           "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
		"/usr/lib/x86_64-linux-gnu/libacl.so.1":     "libacl.so.1.1.2301",
		"/usr/lib/x86_64-linux-gnu/libattr.so.1":    "libattr.so.1.1.2501",
		"/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0": "libpcre2-8.so.0.11.2",
	},
	programs: func() map[string]Program {
		programs := map[string]Program{
			"/tmp/t/inner": {Script: true, Interp: "/bin/sh"}, "/tmp/t/outer": {Script: true, Interp: "./inner"},
			"/tmp/t/changed": {Script: true, Interp: "/bin/false"},
		}
		for _, name := range []string{"dash", "true", "false", "cat", "cp", "chmod", "rm", "unshare"} {
			programs["/usr/bin/"+name] = Program{Interp: "/lib64/ld-linux-x86-64.so.2"}
		}
		for _, name := range []string{"dirs", "names", "signals", "special", "threadexec", "threads", "vfork"} {
			programs["/tmp/t/"+name] = Program{}
		}
		return programs
	}(),
}
