package storm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What the storms are said to leave is written twice, in C as system calls and in Go as records. strace tells whether
// the two agree, without any recorder.
func TestProgramsLeaveWhatTheyShould(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	program := build(t)
	for _, kind := range storms(program, sizes{
		flipflop: 51, forest: 88, execs: 44, deep: 2, reuse: 300, flipflops: 51, recycle: 300,
	}) {
		if s, ok := kind.in("").(planner); !ok || s.Want().Lane != nil || s.Want().Replay {
			continue // strace has no better order than they
		}
		t.Run(kind.name, func(t *testing.T) {
			if (kind.name == "reuse" || kind.name == "recycle") && os.Getuid() != 0 {
				t.Skip("needs root: chooses its pids")
			}
			s := kind.in(t.TempDir()).(planner)
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := exec.Command("strace", append([]string{
				"-f", "-y", "--seccomp-bpf", "-s", "4096", "-o", trace, "-e", "trace=%file,%process", "--"}, s.Args()...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			text, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			records, err := fromStrace(string(text))
			if err != nil {
				t.Fatal(err)
			}
			report(t, Check(s.Want(), records))
			if left, err := os.ReadDir(s.Want().Dir); err != nil || len(left) != 0 {
				t.Errorf("the storm left %v, %v", left, err)
			}
		})
	}
}

var (
	tracedCall = regexp.MustCompile(`^(\d+) +(\w+)\((.*)(?:\)| => \{.*\}, \d+\)) += (-?\d+|\?)`)
	unfinished = regexp.MustCompile(`^(\d+) +(.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	exited     = regexp.MustCompile(`^(\d+) +\+\+\+ (exited with|killed by) (\S+)`)
	quoted     = regexp.MustCompile(`"([^"]*)"`)
	descriptor = regexp.MustCompile(`^\w+<([^>]*)>, `)
)

// fromStrace makes records of the output of strace -f -y, as far as the storms' system calls go. A call stands where it
// returned, a clone where it began, as its child can be done before the parent is told.
func fromStrace(text string) ([]Record, error) {
	var records []Record
	type start struct {
		text string
		at   int // records before it
	}
	begun := make(map[string]start)
	cwd := make(map[int]string) // of those who have changed it: who names a relative path has
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = start{m[2], len(records)}
			continue
		}
		at := len(records)
		if m := resumed.FindStringSubmatch(line); m != nil {
			line = m[1] + " " + begun[m[1]].text + m[2]
			at = begun[m[1]].at
		}
		if m := exited.FindStringSubmatch(line); m != nil {
			x := Record{Kind: 'X', Pid: atoi(m[1])}
			if m[2] == "exited with" {
				x.Code = atoi(m[3])
			} else {
				x.Signal = signalNumber(m[3])
			}
			records = append(records, x)
			continue
		}
		m := tracedCall.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[4], "-") || m[4] == "?" {
			continue
		}
		pid, call, args, result := atoi(m[1]), m[2], m[3], atoi(m[4])
		if call == "clone" || call == "clone3" {
			records = slices.Insert(records, at, Record{Kind: 'F', Pid: pid, Child: result})
			continue
		}
		var paths []string
		base := cwd[pid]
		if d := descriptor.FindStringSubmatch(args); d != nil {
			base = d[1]
		}
		for _, q := range quoted.FindAllStringSubmatch(args, -1) {
			path := q[1]
			if !filepath.IsAbs(path) {
				path = filepath.Join(base, path)
			}
			paths = append(paths, filepath.Clean(path))
		}
		add := func(kind byte, path ...string) {
			r := Record{Kind: kind, Pid: pid, Path: path[0]}
			if len(path) > 1 {
				r.To = path[1]
			}
			records = append(records, r)
		}
		switch call {
		case "execve":
			add('E', paths[0])
		case "mkdir":
			add('W', paths[0])
		case "openat", "open":
			if !strings.Contains(args, "O_WRONLY") {
				add('R', paths[0])
			}
			if !strings.Contains(args, "O_RDONLY") {
				add('W', paths[0])
			}
		case "chdir":
			add('C', paths[0])
			cwd[pid] = paths[0]
		case "unlink", "rmdir", "unlinkat":
			add('D', paths[0])
		case "link":
			add('L', paths...)
		case "symlink":
			add('L', quoted.FindStringSubmatch(args)[1], paths[1])
		case "rename", "renameat":
			add('M', paths...)
			// Working directories follow, as no line says what they are called by now.
			for p, dir := range cwd {
				if rest, ok := strings.CutPrefix(dir+"/", paths[0]+"/"); ok {
					cwd[p] = filepath.Join(paths[1], rest)
				}
			}
		case "readlink", "wait4", "exit_group", "kill":
		default:
			return nil, fmt.Errorf("no record for %q", line)
		}
	}
	return records, nil
}

func atoi(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

func signalNumber(name string) int {
	return map[string]int{"SIGKILL": 9, "SIGTERM": 15, "SIGUSR1": 10, "SIGRT_8": 40}[name]
}
