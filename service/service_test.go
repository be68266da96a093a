package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec"
	"fanrec/output"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

func do(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// run runs a recorder until it is quit.
func run(t testing.TB) *fanrec.Recorder {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("recording needs root")
	}
	rec, err := fanrec.New(fanrec.Options{Serve: true, Handles: true, Seen: true, Containers: true, ArgsMax: 4096, Log: zerolog.Nop()})
	do(t, err)
	served := make(chan error, 1)
	go func() { served <- rec.Serve() }()
	t.Cleanup(func() {
		rec.Quit()
		if err := <-served; err != nil {
			t.Error(err)
		}
		rec.Close()
	})
	return rec
}

// serve runs a service, and returns its socket.
func serve(t testing.TB) string {
	t.Helper()
	rec := run(t)
	dir, err := os.MkdirTemp("", "service-")
	do(t, err, os.Chmod(dir, 0o755))
	l, err := Listen(filepath.Join(dir, "socket"), 0o666)
	do(t, err)
	accepted := make(chan error, 1)
	go func() { accepted <- New(rec, zerolog.Nop()).Serve(l) }()
	t.Cleanup(func() { // before the recorder is closed
		rec.Quit()
		for rec.Do(func() {}) {
		}
		l.Close()
		if err := <-accepted; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return l.Addr().String()
}

// as runs a function on a thread with the ids of a user.
func as(t testing.TB, uid int, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			done <- errno
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- errno
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- errno
			return
		}
		fn()
		done <- nil
	}()
	do(t, <-done)
}

// dial connects as a user.
func dial(t testing.TB, socket string, uid int) *Conn {
	t.Helper()
	var c *Conn
	var err error
	as(t, uid, func() { c, err = Dial(socket) })
	do(t, err)
	t.Cleanup(func() { c.c.Close() })
	return c
}

// begin opens a recording.
func begin(c *Conn, log *os.File, o Options) error {
	here, err := c.Hello()
	if err == nil && !here {
		return errors.New("the service is in another mount namespace")
	}
	if err != nil {
		return err
	}
	return c.Open(log, o)
}

// waiting starts a shell that waits for a line before it does anything.
type waiting struct {
	*exec.Cmd
	in    io.WriteCloser
	pidfd int
}

func start(t testing.TB, uid uint32, dir, script string) *waiting {
	t.Helper()
	w := &waiting{Cmd: exec.Command("/bin/sh", "-c", "echo; read line; "+script)}
	w.Dir, w.Stderr = dir, os.Stderr
	w.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	if uid != 0 {
		w.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	var err error
	w.in, err = w.StdinPipe()
	do(t, err)
	out, err := w.StdoutPipe()
	do(t, err, w.Start())
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.pidfd, err = unix.PidfdOpen(w.Process.Pid, 0)
	do(t, err)
	t.Cleanup(func() {
		w.Process.Kill()
		w.Wait()
		unix.Close(w.pidfd)
	})
	return w
}

// goOn lets it run, to its end.
func (w *waiting) goOn() {
	io.WriteString(w.in, "go on\n")
	w.Wait()
}

// record records a script, which runs as one user, for another, and returns the log.
func record(t *testing.T, socket string, client int, uid uint32, o FollowOptions, dir, script string) string {
	t.Helper()
	log := logIn(t, t.TempDir())
	c := dial(t, socket, client)
	do(t, begin(c, log, Options{}))
	w := start(t, uid, dir, script)
	do(t, c.Follow(w.pidfd, o))
	w.goOn()
	if _, err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return text(t, log)
}

func logIn(t testing.TB, dir string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	do(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func text(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	do(t, err)
	return string(b)
}

// shape returns the records of a log, with each process by the order in which
// it came.
func shape(t *testing.T, text string) (lines []string, complete bool) {
	t.Helper()
	r, err := output.NewReader(strings.NewReader(text))
	do(t, err)
	numbers := map[uint32]uint32{}
	number := func(pid uint32) uint32 {
		if numbers[pid] == 0 {
			numbers[pid] = uint32(len(numbers) + 1)
		}
		return numbers[pid]
	}
	w := output.NewFilemon(nil, 5)
	var rec output.Record
	for {
		err := r.Read(&rec)
		if err == io.EOF {
			break
		}
		do(t, err)
		rec.PID = number(rec.PID)
		if rec.Kind == output.Fork {
			rec.Child = number(rec.Child)
		}
		lines = append(lines, string(bytes.TrimSuffix(w.Append(nil, &rec), []byte("\n"))))
	}
	return lines, len(r.Trailer().Incomplete) == 0
}

const script = "cd sub; (echo > made; cat made; :); mv made moved; ln moved linked; rm moved linked; mkdir d; rmdir d"

// tree makes a directory for the script, that everybody may use.
func tree(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tree-")
	do(t, err, os.Mkdir(filepath.Join(dir, "sub"), 0o777), os.Chmod(dir, 0o777), os.Chmod(filepath.Join(dir, "sub"), 0o777))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// wanted is what the script is recorded as, from where it goes on.
func wanted(dir string) []string {
	var out []string
	pids := 1
	in := func(pid int, letter, path string) {
		out = append(out, fmt.Sprintf("%s %d %s/sub%s", letter, pid, dir, path))
	}
	run := func(name string, records func(pid int)) {
		pids++
		out = append(out, fmt.Sprintf("F 1 %d", pids), fmt.Sprintf("E %d /usr/bin/%s", pids, name))
		records(pids)
		out = append(out, fmt.Sprintf("X %d 0 0", pids))
	}
	in(1, "C", "")
	out = append(out, "F 1 2")
	in(2, "W", "/made")
	out = append(out, "F 2 3", "E 3 /usr/bin/cat")
	in(3, "R", "/made")
	out = append(out, "X 3 0 0", "X 2 0 0")
	pids = 3
	two := func(pid int, letter, a, b string) {
		out = append(out, fmt.Sprintf("%s %d '%s/sub%s' '%s/sub%s'", letter, pid, dir, a, dir, b))
	}
	run("mv", func(pid int) { two(pid, "M", "/made", "/moved") })
	run("ln", func(pid int) { two(pid, "L", "/moved", "/linked") })
	run("rm", func(pid int) { in(pid, "D", "/moved"); in(pid, "D", "/linked") })
	run("mkdir", func(pid int) { in(pid, "W", "/d") })
	run("rmdir", func(pid int) { in(pid, "D", "/d") })
	return append(out, "X 1 0 0")
}

// own leaves out what programs load.
func own(lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool {
		return strings.Contains(l, " /etc/") || strings.Contains(l, " /usr/lib/") || strings.Contains(l, " /proc/")
	})
}

func checkScript(t *testing.T, what, log, dir string) {
	t.Helper()
	got, complete := shape(t, log)
	if diff := cmp.Diff(wanted(dir), own(got)); diff != "" || !complete {
		t.Errorf("%s: complete: %v, -want +got:\n%s", what, complete, diff)
	}
}

// TestFollow records a process that asked for it, as every user and in every format.
func TestFollow(t *testing.T) {
	socket := serve(t)
	for _, uid := range []int{0, 12345} {
		for _, format := range output.Formats {
			dir := tree(t)
			log := logIn(t, t.TempDir())
			c := dial(t, socket, uid)
			do(t, begin(c, log, Options{Format: format, Command: []string{"sh"}}))
			w := start(t, uint32(uid), dir, script)
			do(t, c.Follow(w.pidfd, FollowOptions{}))
			w.goOn()
			do(t, c.Drain())
			lines := strings.Count(text(t, log), "\n")
			res, err := c.Close()
			do(t, err)
			if format != "text" { // which is for people
				checkScript(t, fmt.Sprintf("user %d, %s", uid, format), text(t, log), dir)
			}
			if len(res.Incomplete) != 0 || res.Stats.Processes != 8 || res.Stats.Records[output.Fork] != 7 || res.Stats.Events == 0 {
				t.Errorf("%+v", res)
			}
			if n := strings.Count(text(t, log), "\n"); n-lines > 2 {
				t.Errorf("%d lines came after the drain", n-lines)
			}
		}
	}
}

// TestChildren records what a process forks, and not what it does itself.
func TestChildren(t *testing.T) {
	socket := serve(t)
	dir := tree(t)
	c := dial(t, socket, 0)
	log := logIn(t, t.TempDir())
	do(t, begin(c, log, Options{}))
	w := start(t, 0, dir, "echo > sub/mine; sh -c '"+script+"'; echo > sub/mine")
	do(t, c.Follow(w.pidfd, FollowOptions{Children: true}))
	w.goOn()
	do(t, c.Wait())
	res, err := c.Close()
	do(t, err)
	got, complete := shape(t, text(t, log))
	want := append([]string{"E 1 /usr/bin/dash"}, wanted(dir)...)
	if diff := cmp.Diff(want, own(got)); diff != "" || !complete || res.Stats.Processes != 8 {
		t.Errorf("complete: %v, %+v, -want +got:\n%s", complete, res, diff)
	}
	if !strings.HasPrefix(text(t, log), fmt.Sprintf("# filemon version 5\n# Target pid %d\n", w.Process.Pid)) {
		return
	}
	t.Errorf("the target is who forked: %.60q", text(t, log))
}

// TestNested: a process reports to the innermost recording, from the moment that
// it is followed, and again to the outer one when that is closed.
func TestNested(t *testing.T) {
	socket := serve(t)
	dir := tree(t)
	outer, inner := dial(t, socket, 0), dial(t, socket, 0)
	logs := [2]*os.File{logIn(t, t.TempDir()), logIn(t, t.TempDir())}
	do(t, begin(outer, logs[0], Options{}), begin(inner, logs[1], Options{}))
	w := start(t, 0, dir, `echo > sub/a
mkfifo ready go back
(sleep 0.01; echo > sub/b; echo $$ >ready; read x <go; echo > sub/c; echo > ready; read x <back; echo > sub/d)
echo > sub/e`)
	do(t, outer.Follow(w.pidfd, FollowOptions{}))
	io.WriteString(w.in, "go on\n")
	fifo := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), flags, 0)
		for errors.Is(err, os.ErrNotExist) {
			f, err = os.OpenFile(filepath.Join(dir, name), flags, 0)
		}
		do(t, err)
		return f
	}
	ready := fifo("ready", os.O_RDONLY)
	io.ReadAll(ready)
	// The subshell is the only child of the shell.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", w.Process.Pid))
	do(t, err)
	var sub int
	fmt.Sscan(string(children), &sub)
	pidfd, err := unix.PidfdOpen(sub, 0)
	do(t, err, inner.Follow(pidfd, FollowOptions{}))
	fifo("go", os.O_WRONLY).WriteString("\n")
	io.ReadAll(fifo("ready", os.O_RDONLY))
	do(t, inner.Drain())
	if _, err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	fifo("back", os.O_WRONLY).WriteString("\n")
	w.Wait()
	if _, err := outer.Close(); err != nil {
		t.Fatal(err)
	}
	var got [2][]string
	for i, log := range logs {
		lines, complete := shape(t, text(t, log))
		if !complete {
			t.Errorf("log %d is not complete", i)
		}
		for _, l := range lines {
			if _, name, ok := strings.Cut(l, dir+"/sub/"); ok {
				got[i] = append(got[i], name)
			}
		}
	}
	if want := [2][]string{{"a", "b", "d", "e"}, {"c"}}; !cmp.Equal(got, want) {
		t.Errorf("outer and inner: %v, want %v", got, want)
	}
}

// TestLeft: a client that dies leaves a log with an end.
func TestLeft(t *testing.T) {
	socket := serve(t)
	dir := tree(t)
	c := dial(t, socket, 0)
	log := logIn(t, t.TempDir())
	do(t, begin(c, log, Options{}))
	w := start(t, 0, dir, script)
	do(t, c.Follow(w.pidfd, FollowOptions{}))
	w.goOn()
	c.c.Close()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(text(t, log), "# Bye bye\n"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("its log has no end: %s", text(t, log))
		}
	}
	checkScript(t, "the client died", text(t, log), dir)
}

// TestLeftEarly: if its processes still run, what they do is missing.
func TestLeftEarly(t *testing.T) {
	socket := serve(t)
	c := dial(t, socket, 0)
	log := logIn(t, t.TempDir())
	do(t, begin(c, log, Options{}))
	w := start(t, 0, tree(t), script)
	do(t, c.Follow(w.pidfd, FollowOptions{}))
	c.c.Close()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(text(t, log), "# Stop "); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("its log has no end: %s", text(t, log))
		}
	}
	if _, complete := shape(t, text(t, log)); complete || !strings.Contains(text(t, log), "left while 1 of its processes were running") {
		t.Errorf("%s", text(t, log))
	}
}

// TestLeftPipe: who leaves a log that nobody reads is not waited for.
func TestLeftPipe(t *testing.T) {
	s := New(run(t), zerolog.Nop())
	unread, log, err := os.Pipe()
	do(t, err)
	r, err := s.Open(log, Client{PID: os.Getpid()}, Options{})
	do(t, err)
	w := start(t, 0, t.TempDir(), "i=0; while [ $i -lt 5000 ]; do read x </etc/passwd; i=$((i+1)); done")
	fd, err := unix.Dup(w.pidfd)
	do(t, err)
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	do(t, r.Follow(pidfd, FollowOptions{}))
	w.goOn()
	live := make(chan int, 1)
	go func() { live <- r.Live() }()
	select {
	case n := <-live:
		if n != 0 {
			t.Errorf("%d processes run", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for who does not read")
	}
	unread.Close()
	r.Close()
}

// TestWaitStopped: a wait has one answer, also when the service has stopped.
func TestWaitStopped(t *testing.T) {
	rec := run(t)
	s := New(rec, zerolog.Nop())
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	do(t, err)
	r, err := s.Open(log, Client{}, Options{})
	do(t, err)
	defer r.Close()
	rec.Quit()
	for rec.Do(func() {}) {
	}
	c := &connection{rec: r}
	if err := c.wait(); !errors.Is(err, errOver) || c.stop != nil {
		t.Errorf("%v, and another answer to come: %v", err, c.stop != nil)
	}
}

// TestStopped: behind the end of the recorder nothing is opened, followed or
// handed out.
func TestStopped(t *testing.T) {
	rec := run(t)
	w := start(t, 0, t.TempDir(), ":")
	type outcome struct {
		before, opened, followed error
		flushed                  int
	}
	ended := make(chan outcome, 1)
	rec.Do(func() {
		var o outcome
		var r *fanrec.Recording
		r, o.before = rec.Open(fanrec.Sink{Flush: func() { o.flushed++ }}, true)
		rec.Quit()
		rec.Do(func() {
			_, o.opened = rec.Open(fanrec.Sink{}, true)
			o.followed = r.Follow(w.Process.Pid, fanrec.FollowOptions{})
			ended <- o
		})
	})
	o := <-ended
	if o.before != nil || !errors.Is(o.opened, fanrec.ErrStopped) || !errors.Is(o.followed, fanrec.ErrStopped) || o.flushed != 0 {
		t.Errorf("%+v", o)
	}
}

// TestMany: 200 recordings at once are what each is alone.
func TestMany(t *testing.T) {
	socket := serve(t)
	n := 200
	if testing.Short() {
		n = 20
	}
	type one struct {
		dir string
		log *os.File
		c   *Conn
		w   *waiting
	}
	all := make([]one, n)
	for i := range all {
		all[i] = one{dir: tree(t), log: logIn(t, t.TempDir()), c: dial(t, socket, 12345)}
		all[i].w = start(t, 12345, all[i].dir, script)
	}
	done := make(chan error, n)
	for i := range all {
		o := &all[i]
		go func() {
			err := begin(o.c, o.log, Options{})
			if err == nil {
				err = o.c.Follow(o.w.pidfd, FollowOptions{})
			}
			o.w.goOn()
			if err == nil {
				_, err = o.c.Close()
			}
			done <- err
		}()
	}
	for range all {
		do(t, <-done)
	}
	for i := range all {
		checkScript(t, fmt.Sprintf("recording %d", i), text(t, all[i].log), all[i].dir)
	}
}

// TestStop: what is open when the service stops is not complete.
func TestStop(t *testing.T) {
	var log *os.File
	t.Run("service", func(t *testing.T) {
		c, err := Dial(serve(t)) // and stays
		do(t, err)
		log = logIn(t, t.TempDir())
		do(t, begin(c, log, Options{}))
		log, _ = os.Open(log.Name())
	})
	b, err := io.ReadAll(log)
	do(t, err)
	if strings.Contains(string(b), "Bye") || !strings.Contains(string(b), "# INCOMPLETE: ") {
		t.Errorf("%s", b)
	}
}

// BenchmarkJob is what a job of make costs besides its commands: a recording that
// is opened, of a process that is followed, drained and closed.
func BenchmarkJob(b *testing.B) {
	socket := serve(b)
	w := start(b, 0, b.TempDir(), ":")
	log := logIn(b, b.TempDir())
	for b.Loop() {
		c, err := Dial(socket)
		do(b, err, c.Open(log, Options{}), c.Follow(w.pidfd, FollowOptions{}), c.Drain())
		if _, err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
