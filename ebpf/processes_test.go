package ebpf

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// kinds returns the kinds of the records of a process, in order.
func (w *witness) kinds(pid int) string {
	var kinds []string
	for _, p := range w.processes {
		if p.ID.TGID == uint32(pid) {
			kinds = append(kinds, map[Kind]string{Fork: "fork", Exec: "exec", Exit: "exit", Free: "free", Reuse: "reuse", Follow: "follow"}[p.Kind])
		}
	}
	return strings.Join(kinds, " ")
}

// id returns the identity of this process as the tracker has it.
func (w *witness) id(t *testing.T) ID {
	t.Helper()
	for _, p := range w.of(Fork, 0) {
		if p.Flags&Recorder != 0 {
			return p.Parent
		}
	}
	t.Fatal("no process was forked by the recorder")
	return ID{}
}

// TestProcesses tells of a command, its child and its grandchild. With -update
// the records become seeds of FuzzDecodeProcess.
func TestProcesses(t *testing.T) {
	w := newWitness(t, Options{ArgsMax: 4096})
	before := monotonic(t)
	pid, status := w.run("/", "/bin/sh", "-c", "(/bin/sh -c 'exit 2'; exit 3); exit 4")
	after := monotonic(t)
	w.seeds("shell")
	if status.ExitStatus() != 4 {
		t.Fatalf("status %#x", status)
	}
	forks := w.of(Fork, 0)
	if len(forks) != 3 {
		t.Fatalf("%d forks, want 3: %+v", len(forks), forks)
	}
	child, grandchild := forks[1].ID, forks[2].ID
	for i, f := range forks {
		parent := ID{TGID: uint32(os.Getpid()), Start: forks[0].Parent.Start}
		if i > 0 {
			parent = forks[i-1].ID
		}
		if f.Parent != parent || f.TID != f.ID.TGID || (f.Flags&Recorder != 0) != (i == 0) || f.Flags&Alone == 0 {
			t.Errorf("fork %d: %+v, parent %+v", i, f, parent)
		}
	}
	if forks[0].ID.TGID != uint32(pid) {
		t.Errorf("the command is %d, want %d", forks[0].ID.TGID, pid)
	}
	if string(forks[1].Comm) != "sh" {
		t.Errorf("the child is called %q before it executes anything", forks[1].Comm)
	}
	for _, c := range []struct {
		id     ID
		kinds  string
		status uint32
	}{{forks[0].ID, "fork exec exit", 4 << 8}, {child, "fork exit", 3 << 8}, {grandchild, "fork exec exit", 2 << 8}} {
		if got := w.kinds(int(c.id.TGID)); got != c.kinds {
			t.Errorf("process %d: %s, want %s", c.id.TGID, got, c.kinds)
			continue
		}
		if got := w.one(Exit, int(c.id.TGID)); got.Status != c.status || got.ID != c.id {
			t.Errorf("exit of %+v: %+v, want status %#x", c.id, got, c.status)
		}
	}
	for _, p := range w.processes {
		if p.Time < before || p.Time > after {
			t.Errorf("at %d, not between %d and %d", p.Time, before, after)
		}
		before = p.Time
	}
	start := forks[0].ID.Start
	if grandchild.Start < child.Start || child.Start < start {
		t.Errorf("the command started at %d, its child at %d, its grandchild at %d", start, child.Start, grandchild.Start)
	}
}

// TestExec tells of what is executed: the program, its interpreters, its
// arguments.
func TestExec(t *testing.T) {
	dir, dev := tmpfs(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	static, dynamic := compile(t, "processes.c", "-static", "-pthread"), compile(t, "processes.c", "-pthread")
	write := func(name, from, text string) {
		t.Helper()
		b := []byte(text)
		if from != "" {
			var err error
			if b, err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		do(t, os.WriteFile(in(name), b, 0o700))
	}
	write("static", static, "")
	write("dynamic", dynamic, "")
	write("script", "", "#!"+in("static")+" script\n")
	write("outer", "", "#!"+in("script")+" outer\n")
	do(t, os.Symlink("dynamic", in("link")))
	loader, err := filepath.EvalSymlinks(elfInterpreter(t, dynamic))
	if err != nil {
		t.Fatal(err)
	}

	witnesses := map[bool]*witness{true: newWitness(t, Options{ArgsMax: 8192}), false: newWitness(t, Options{ArgsMax: 8192})}
	witnesses[true].watch(dir, loader)
	for _, c := range []struct {
		name     string
		argv     []string
		image    string // its name
		filename string // "": as argv[0]
		interp   string
		flags    Flags
		args     []string
	}{
		{name: "static", argv: []string{in("static"), "x"}, image: "static", args: []string{in("static"), "x"}},
		{name: "dynamic", argv: []string{in("dynamic"), "x"}, image: "dynamic", interp: filepath.Base(loader), flags: Interp, args: []string{in("dynamic"), "x"}},
		{name: "symbolic link", argv: []string{in("link"), "x"}, image: "dynamic", interp: filepath.Base(loader), flags: Interp, args: []string{in("link"), "x"}},
		{name: "script", argv: []string{in("script"), "y"}, image: "static", flags: Script, args: []string{in("static"), "script", in("script"), "y"}},
		{name: "script, relative path", argv: []string{"./script", "y"}, image: "static", flags: Script, args: []string{in("static"), "script", "./script", "y"}},
		{
			name: "script of a script", argv: []string{in("outer"), "y"}, image: "static", flags: Script,
			args: []string{in("static"), "script", in("script"), "outer", in("outer"), "y"},
		},
		{name: "no arguments", argv: []string{in("static"), ""}, image: "static", args: []string{in("static"), ""}},
		{name: "relative path", argv: []string{"./static", "x"}, image: "static", args: []string{"./static", "x"}},
		{
			name: "long path", argv: []string{strings.Repeat("./", 2000) + "static", "x"}, image: "static",
			args: []string{strings.Repeat("./", 2000) + "static", "x"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for marked, w := range witnesses {
				w.t = t
				pid, status := w.run(dir, c.argv...)
				if status.ExitStatus() != 98 { // it does not know what to do
					t.Fatalf("status %#x", status)
				}
				e := w.one(Exec, pid)
				if e.ID != w.one(Fork, pid).ID || e.TID != uint32(pid) {
					t.Errorf("of %+v, thread %d", e.ID, e.TID)
				}
				if string(e.Filename) != c.argv[0] {
					t.Errorf("executed %q, want %q", e.Filename, c.argv[0])
				}
				if want := strings.Join(c.args, "\x00") + "\x00"; string(e.Args) != want {
					t.Errorf("arguments %q, want %q", e.Args, want)
				}
				if got := e.Flags &^ Alone; got != c.flags {
					t.Errorf("flags %#x, want %#x", got, c.flags)
				}
				switch base, _ := inode(t, dir); {
				case c.flags&Script == 0:
					if e.Base.Ino != 0 {
						t.Errorf("base %+v of what is no script", e.Base)
					}
				case strings.HasPrefix(c.argv[0], "/"):
					var st unix.Stat_t
					do(t, unix.Stat("/", &st))
					base = st.Ino
					fallthrough
				default:
					if e.Base.Ino != base {
						t.Errorf("base %+v, want inode %d", e.Base, base)
					}
				}
				ino, gen := inode(t, in(c.image))
				if e.Image.Ino != ino || e.Image.Gen != gen || e.Image.Dev != dev {
					t.Errorf("image %+v, want inode %d, generation %d on %#x", e.Image, ino, gen, dev)
				}
				image, interp := string(e.Image.Name), string(e.Interp.Name)
				if !marked {
					image, interp = filepath.Base(string(AppendPath(nil, e.Image.Walk))), string(AppendPath(nil, e.Interp.Walk))
					if c.interp == "" && interp == "/" {
						interp = ""
					} else if interp == loader {
						interp = filepath.Base(interp)
					}
				}
				if image != c.image || interp != c.interp {
					t.Errorf("marked %v: image %q, interpreter %q; want %q, %q", marked, image, interp, c.image, c.interp)
				}
				if c.interp == "" {
					if e.Interp.Ino != 0 || e.Interp.Dev != 0 {
						t.Errorf("interpreter %+v of a static program", e.Interp)
					}
					continue
				}
				var st unix.Stat_t
				do(t, unix.Stat(loader, &st))
				if e.Interp.Ino != st.Ino || e.Interp.Dev != deviceOf(t, loader) {
					t.Errorf("interpreter %+v, want inode %d on %#x", e.Interp, st.Ino, deviceOf(t, loader))
				}
			}
		})
	}
}

// elfInterpreter returns the interpreter that an ELF program names.
func elfInterpreter(t *testing.T, path string) string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimRight(string(b), "\x00")
		}
	}
	t.Skip("the C compiler's programs have no ELF interpreter")
	return ""
}

// A 32-bit program has its auxiliary vector in half the words.
func TestExec32(t *testing.T) {
	bin := compile(t, "processes.c", "-m32", "-pthread")
	loader, err := filepath.EvalSymlinks(elfInterpreter(t, bin))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no 32-bit C library: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := newWitness(t, Options{})
	pid, status := w.run("/", bin, "x")
	if status.ExitStatus() != 98 {
		t.Fatalf("status %#x", status)
	}
	e := w.one(Exec, pid)
	var st unix.Stat_t
	do(t, unix.Stat(loader, &st))
	if e.Flags&Interp == 0 || e.Interp.Ino != st.Ino || string(AppendPath(nil, e.Interp.Walk)) != loader {
		t.Errorf("flags %#x, interpreter %+v, want %s, inode %d", e.Flags, e.Interp, loader, st.Ino)
	}
}

func TestArgsMax(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct {
		max  int
		want int // bytes of what is in all "true\0" and so on
	}{{0, 0}, {5, 5}, {256, 256}, {1000, 1000}, {1 << 20, 8192}} {
		w := newWitness(t, Options{ArgsMax: c.max})
		pid := w.succeed("/", "/bin/true", "a", "", "b", long)
		want := "/bin/true\x00a\x00\x00b\x00" + long
		if got := string(w.one(Exec, pid).Args); got != want[:c.want] {
			t.Errorf("at most %d: %d bytes %.20q, want %d", c.max, len(got), got, c.want)
		}
	}
}

// TestThreads: what threads do is done by their process.
func TestThreads(t *testing.T) {
	bin := compile(t, "processes.c", "-static", "-pthread")
	for _, c := range []struct {
		name   string
		args   []string
		status syscall.WaitStatus
		kinds  string
	}{
		{"threads", nil, 0, "fork exec exit"},
		{"exit-in-thread", nil, 7 << 8, "fork exec exit"},
		{"leader-leaves", nil, 5 << 8, "fork exec exit"},
		{"exec-in-thread", []string{bin, "threads"}, 0, "fork exec exec exit"},
		{"segv", nil, syscall.WaitStatus(unix.SIGSEGV), "fork exec exit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := tmpfs(t)
			w := newWitness(t, Options{})
			pid, status := w.run(dir, append([]string{bin, c.name}, c.args...)...)
			if status&^0x80 != c.status { // a core dump is as the system likes
				t.Fatalf("status %#x, want %#x", status, c.status)
			}
			if n := len(w.of(Fork, 0)); n != 1 {
				t.Errorf("%d forks, want 1: threads are none", n)
			}
			// Two threads that leave together may both tell of the end.
			kinds := w.kinds(pid)
			for strings.HasSuffix(kinds, " exit exit") {
				kinds = strings.TrimSuffix(kinds, " exit")
			}
			if kinds != c.kinds {
				t.Errorf("records %s, want %s", kinds, c.kinds)
			}
			first := w.one(Fork, pid)
			for _, p := range w.processes {
				if p.ID != first.ID {
					t.Errorf("record of %+v, want %+v: execve keeps the identity", p.ID, first.ID)
				}
				if p.Kind == Exit && p.Status != uint32(status) {
					t.Errorf("status %#x, wait says %#x", p.Status, status)
				}
				if p.Kind == Exec && p.TID != uint32(pid) {
					t.Errorf("exec of thread %d, want the leader's number", p.TID)
				}
			}
			by := map[string]Header{}
			for _, call := range w.calls {
				if call.ID != first.ID {
					t.Errorf("call of %+v, want %+v", call.ID, first.ID)
				}
				if call.Op == OpMkdir {
					by[string(call.Text[0])] = call.Header
				}
			}
			switch c.name {
			case "threads", "exec-in-thread":
				if h := by["alone"]; h.Flags != Alone || h.TID != uint32(pid) {
					t.Errorf("the first call is of %+v", h)
				}
				a, b := by["a"], by["b"]
				if a.Flags != 0 || b.Flags != 0 || a.TID == b.TID || a.TID == uint32(pid) || b.TID == uint32(pid) {
					t.Errorf("the calls of two threads are of %+v and %+v", a, b)
				}
			case "leader-leaves":
				if h := by["outlived"]; h.TID == uint32(pid) || h.TID == 0 {
					t.Errorf("the call after the leader left is of %+v", h)
				}
			}
		})
	}
}

func TestKilled(t *testing.T) {
	w := newWitness(t, Options{})
	pid, status := w.run("/", "/bin/sh", "-c", "kill -KILL $$")
	if !status.Signaled() {
		t.Fatalf("status %#x", status)
	}
	if got := w.one(Exit, pid).Status; got != uint32(status) {
		t.Errorf("status %#x, want %#x", got, status)
	}
}

// TestChildren makes children in the ways that fork(2) is not one of.
func TestChildren(t *testing.T) {
	bin := compile(t, "processes.c", "-static", "-pthread")
	for _, how := range []string{"vfork", "spawn"} {
		t.Run(how, func(t *testing.T) {
			w := newWitness(t, Options{})
			pid := w.succeed("/", bin, how, "/bin/true")
			forks := w.of(Fork, 0)
			if len(forks) != 2 || forks[1].Parent != forks[0].ID {
				t.Fatalf("forks %+v", forks)
			}
			if got := w.kinds(int(forks[1].ID.TGID)); got != "fork exec exit" {
				t.Errorf("the child: %s", got)
			}
			if got := w.kinds(pid); got != "fork exec exit" {
				t.Errorf("the parent: %s", got)
			}
		})
	}
	// With CLONE_PARENT the child's getppid is this test; still it belongs to
	// the tree of who made it.
	t.Run("sibling", func(t *testing.T) {
		w := newWitness(t, Options{})
		w.succeed("/", bin, "sibling")
		forks := w.of(Fork, 0)
		if len(forks) != 2 {
			t.Fatalf("forks %+v", forks)
		}
		if forks[1].Parent != forks[0].ID || forks[1].Flags&Recorder != 0 {
			t.Errorf("fork %+v, want one by %+v", forks[1], forks[0].ID)
		}
		child := int(forks[1].ID.TGID)
		if status := waitFor(t, child); status.ExitStatus() != 4 {
			t.Errorf("status %#x", status)
		}
		w.drain()
		if got := w.one(Exit, child).Status; got != 4<<8 {
			t.Errorf("exit record with status %#x", got)
		}
	})
}

func TestCredentials(t *testing.T) {
	w := newWitness(t, Options{})
	pid := w.adopt(&command{argv: []string{"/bin/true"}, dir: "/", as: &syscall.Credential{Uid: 1234, Gid: 5678}})
	waitFor(t, pid)
	w.drain()
	fork, exec := w.one(Fork, pid), w.one(Exec, pid)
	if fork.UID != uint32(os.Getuid()) || fork.GID != uint32(os.Getgid()) {
		t.Errorf("forked as %d:%d", fork.UID, fork.GID)
	}
	if exec.UID != 1234 || exec.GID != 5678 {
		t.Errorf("executed as %d:%d, want 1234:5678", exec.UID, exec.GID)
	}
}

// The monitored set is the kernel's: whoever exited is in it until it is retired.
func TestTracked(t *testing.T) {
	w := newWitness(t, Options{})
	tracked := func() []ID {
		t.Helper()
		ids, err := w.Tracked()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(ids, func(a, b ID) int { return int(a.Start) - int(b.Start) })
		return ids
	}
	if ids := tracked(); len(ids) != 0 {
		t.Errorf("at first %+v", ids)
	}
	w.succeed("/", "/bin/sh", "-c", "(exit 1); true")
	forks := w.of(Fork, 0)
	if len(forks) != 2 {
		t.Fatalf("forks %+v", forks)
	}
	if diff := cmp.Diff([]ID{forks[0].ID, forks[1].ID}, tracked()); diff != "" {
		t.Errorf("after the exit (-want +got):\n%s", diff)
	}
	// Another process with the same number is not meant.
	do(t, w.Retire(ID{TGID: forks[0].ID.TGID, Start: forks[0].ID.Start + 1}))
	do(t, w.Retire(forks[1].ID))
	if diff := cmp.Diff([]ID{forks[0].ID}, tracked()); diff != "" {
		t.Errorf("with the child retired (-want +got):\n%s", diff)
	}
	do(t, w.Retire(forks[0].ID), w.Retire(forks[0].ID))
	if ids := tracked(); len(ids) != 0 {
		t.Errorf("with both retired %+v", ids)
	}
}

// A process that is retired while it runs leaves the tree, and its children are
// not in it.
func TestRetireAlive(t *testing.T) {
	dir, _ := tmpfs(t)
	w := newWitness(t, Options{})
	do(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	pid := w.adopt(&command{argv: []string{"/bin/sh", "-c", "mkdir before; read x <fifo; mkdir after; (exit 1)"}, dir: dir})
	fifo, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_WRONLY, 0) // waits for the reader
	if err != nil {
		t.Fatal(err)
	}
	w.drain()
	do(t, w.Retire(w.one(Fork, pid).ID))
	before := len(w.processes) + len(w.calls)
	do(t, fifo.Close())
	waitFor(t, pid)
	w.drain()
	if after := len(w.processes) + len(w.calls); after != before {
		t.Errorf("%d records of a retired process", after-before)
	}
}

// The kernel forgets a process some time after it was reaped, and tells.
func TestFree(t *testing.T) {
	w := newWitness(t, Options{Free: true})
	pid := w.succeed("/", "/bin/true")
	for len(w.of(Free, pid)) == 0 { // else the test never ends
		w.drain()
	}
	if got, want := w.one(Free, pid).ID, w.one(Fork, pid).ID; got != want {
		t.Errorf("forgotten is %+v, want %+v", got, want)
	}
	if got := w.kinds(pid); got != "fork exec exit free" {
		t.Errorf("records %s", got)
	}
}

// A number that is given to another process is told of, unless the process that
// had it was retired.
func TestReuse(t *testing.T) {
	bin := compile(t, "processes.c", "-static", "-pthread")
	for _, retired := range []bool{false, true} {
		t.Run(fmt.Sprintf("retired %v", retired), func(t *testing.T) {
			w := newWitness(t, Options{})
			var pid int
			var old ID
			// Somebody else may get the number first.
			for tries, status := 0, syscall.WaitStatus(1); status != 0; tries++ {
				if tries == 10 {
					t.Fatalf("process %d cannot be made again: status %#x", pid, status)
				}
				pid = w.succeed("/", "/bin/true")
				old = w.one(Fork, pid).ID
				if retired {
					do(t, w.Retire(old))
				}
				status = waitFor(t, (&command{argv: []string{bin, "pid", fmt.Sprint(pid)}, dir: "/"}).start(t))
			}
			w.drain()
			reuses := w.of(Reuse, pid)
			if retired {
				if len(reuses) > 0 {
					t.Errorf("reuse of a retired process's number: %+v", reuses)
				}
				return
			}
			if len(reuses) != 1 || reuses[0].ID.Start <= old.Start {
				t.Errorf("reuses %+v, want one by a younger process than %+v", reuses, old)
			}
			if got := w.kinds(pid); got != "fork exec exit reuse" {
				t.Errorf("records %s: the other process is not in the tree", got)
			}
		})
	}
}

// Only the children of the recorder are adopted, and only while it says so.
func TestAdoptChildren(t *testing.T) {
	w := newWitness(t, Options{})
	first := w.succeed("/", "/bin/true")
	waitFor(t, (&command{argv: []string{"/bin/true"}, dir: "/"}).start(t))
	second := w.succeed("/", "/bin/true")
	forks := w.of(Fork, 0)
	if len(forks) != 2 || forks[0].ID.TGID != uint32(first) || forks[1].ID.TGID != uint32(second) {
		t.Errorf("forks %+v, want those of %d and %d", forks, first, second)
	}
	if id := w.id(t); id.TGID != uint32(os.Getpid()) || forks[1].Parent != id {
		t.Errorf("the recorder is %+v and %+v", id, forks[1].Parent)
	}
}

// Nothing is lost silently: what the ring had no room for is counted.
func TestLost(t *testing.T) {
	page := os.Getpagesize()
	dir, _ := tmpfs(t)
	tr, err := New(Options{CallRing: page, ProcessRing: page, byPerf: byPerf})
	if errors.Is(err, ErrNotSupported) || errors.Is(err, ErrNamespace) || errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	const n = 200
	do(t, tr.AdoptChildren(true))
	pid := (&command{argv: []string{"/bin/sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do : >x; (exit 1); i=$((i+1)); done", n)}, dir: dir}).start(t)
	do(t, tr.AdoptChildren(false))
	waitFor(t, pid)
	if tr.Empty() {
		t.Error("the rings are full and said to be empty")
	}
	var opens, forks, exits uint64
	do(t, tr.DrainProcesses(func(p *Process) {
		switch p.Kind {
		case Fork:
			forks++
		case Exit:
			exits++
		}
	}))
	do(t, tr.DrainCalls(func(c *Call) { opens++ }))
	if !tr.Empty() {
		t.Error("drained rings are not empty")
	}
	lost, err := tr.Lost()
	if err != nil {
		t.Fatal(err)
	}
	// The command's own fork, exec and exit; a fork and an exit of each child.
	if got := forks + exits + 1 + lost.Processes; got != 2*n+3 {
		t.Errorf("%d forks, %d exits and %d lost, want %d with an exec", forks, exits, lost.Processes, 2*n+3)
	}
	if opens == 0 || opens+lost.Calls < n || lost.Calls < n/2 {
		t.Errorf("%d calls and %d lost, want %d at least", opens, lost.Calls, n)
	}
	if lost.Untracked != 0 {
		t.Errorf("%d processes were not followed", lost.Untracked)
	}
	ids, err := tr.Tracked()
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != n+1 {
		t.Errorf("%d processes in the set, want %d: it does not depend on the ring", len(ids), n+1)
	}
}

// With a second ring the calls that the first has no room for are not lost.
func TestGrow(t *testing.T) {
	dir, _ := tmpfs(t)
	w := newWitness(t, Options{CallRing: os.Getpagesize()})
	do(t, w.Grow(1<<20))
	const n = 500
	pid := w.adopt(&command{argv: []string{"/bin/sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do : >x$i; i=$((i+1)); done", n)}, dir: dir})
	waitFor(t, pid)
	if lost, err := w.Lost(); err != nil || lost != (Lost{}) {
		t.Errorf("lost %+v, %v", lost, err)
	}
	do(t, w.DrainProcesses(func(*Process) {}))
	var first, all int
	count := func(c *Call) {
		if path := string(AppendPath(nil, c.File[0].Walk)); path == filepath.Join(dir, fmt.Sprintf("x%d", all)) {
			all++
		}
	}
	// In order, as the second ring was used when the first was full.
	do(t, w.Tracker.calls.drain(func(b []byte) {
		var c Call
		do(t, DecodeCall(b, &c))
		count(&c)
	}))
	if first = all; w.Empty() {
		t.Error("there are calls in the second ring, and the tracker is said to be empty")
	}
	do(t, w.DrainCalls(count))
	if all != n || first == 0 || first == n {
		t.Errorf("%d calls, %d of them in the first ring; want %d in both", all, first, n)
	}
	if !w.Empty() {
		t.Error("not empty after a drain")
	}
}

// A text that is not in memory when the call returns is said to be missing, and
// never another one.
func TestTextNotInMemory(t *testing.T) {
	bin := compile(t, "processes.c", "-static", "-pthread")
	dir, _ := tmpfs(t)
	name := strings.Repeat("directory", 20)
	do(t, os.WriteFile(filepath.Join(dir, "text"), []byte(name), 0o600))
	w := newWitness(t, Options{})
	faults := 0
	for faults == 0 { // else the test never ends
		w.calls = nil
		w.succeed(dir, bin, "page-dropped", "text")
		for _, c := range w.calls {
			if c.Op != OpMkdir && c.Op != OpRmdir {
				continue
			}
			text := string(c.Text[0])
			if c.Header.Flags&Fault != 0 {
				faults++
				if text != "" {
					t.Errorf("text %q though it could not be read", text)
				}
			} else if text != name {
				t.Errorf("text %q, want %q", text, name)
			}
			if base := string(AppendPath(nil, c.File[0].Walk)); base != dir {
				t.Errorf("relative to %q, want %q", base, dir)
			}
		}
	}
	t.Logf("%d texts were not in memory", faults)
}

// What is not a record is said, and the others come all the same.
func TestDrainMalformed(t *testing.T) {
	f := newFakeRing(t, 4096)
	tr := &Tracker{processes: f.ring, calls: f.ring}
	p, c := processes["exit"], calls["open"]
	f.mustReserve(t, encodeProcess(&p, 0), 0)
	f.mustReserve(t, []byte("nonsense"), 0)
	f.mustReserve(t, encodeProcess(&p, 0), 0)
	n := 0
	if err := tr.DrainProcesses(func(got *Process) { n++ }); !errors.Is(err, ErrMalformed) || n != 2 {
		t.Errorf("%d processes, %v", n, err)
	}
	n = 0
	f.mustReserve(t, encodeCall(&c, 0), 0)
	f.mustReserve(t, encodeProcess(&p, 0), 0)
	f.mustReserve(t, encodeCall(&c, 0), 0)
	if err := tr.DrainCalls(func(*Call) { n++ }); !errors.Is(err, ErrMalformed) || n != 2 {
		t.Errorf("%d calls, %v", n, err)
	}
}

// Draining costs nothing, not even where records are of every kind.
func TestDrainAllocs(t *testing.T) {
	f := newFakeRing(t, 1<<16)
	tr := &Tracker{processes: f.ring, calls: f.ring}
	var records [][]byte
	for _, c := range calls {
		records = append(records, encodeCall(&c, 0))
	}
	n := 0
	count := func(*Call) { n++ }
	if got := testing.AllocsPerRun(100, func() {
		for _, b := range records {
			f.reserve(b, 0)
		}
		if err := tr.DrainCalls(count); err != nil {
			t.Fatal(err)
		}
	}); got > 2 { // for the drain, not for the records
		t.Errorf("%v allocations for %d records", got, len(records))
	}
}

// FDs become readable with the first record after a drain: an idle recorder
// sleeps on them.
func TestFDs(t *testing.T) {
	w := newWitness(t, Options{})
	fds := w.FDs()
	poll := func() (ready int) {
		t.Helper()
		p := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}, {Fd: int32(fds[1]), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 {
		if n := poll(); n != 0 {
			t.Errorf("%d descriptors are readable before anything happened", n)
		}
		w.succeedWithoutDrain("/", "/bin/sh", "-c", ": </dev/null")
		if n := poll(); n != 2 {
			t.Errorf("%d descriptors are readable after a process and a call, want 2", n)
		}
		w.drain()
	}
}

func (w *witness) succeedWithoutDrain(dir string, argv ...string) {
	w.t.Helper()
	if status := waitFor(w.t, w.adopt(&command{argv: argv, dir: dir})); status != 0 {
		w.t.Fatalf("%v: status %#x", argv, status)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	newWitness(t, Options{}) // whatever is opened once
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := open()
	for _, opts := range []Options{{}, {NoCalls: true, Free: true}} {
		opts.byPerf = byPerf
		tr, err := New(opts)
		if err != nil {
			t.Fatal(err)
		}
		do(t, tr.Grow(1<<16))
		do(t, tr.Close())
		if after := open(); after != before {
			t.Errorf("%+v: %d descriptors are left", opts, after-before)
		}
	}
	// A ring that cannot be had: what was made before it is closed.
	if tr, err := New(Options{CallRing: 12345}); err == nil {
		t.Error("a ring of an odd size")
		tr.Close()
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors are left by a failure", after-before)
	}
}

func TestProbe(t *testing.T) {
	newWitness(t, Options{}) // skips where there is no tracker
	for _, f := range Probe() {
		if f.Err != nil && f.Without == "" {
			t.Errorf("the tracker works, and %s is said to be missing: %v", f.Name, f.Err)
		}
	}
}
