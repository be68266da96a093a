package service

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// works tells that a user can record as if nothing else were.
func works(t *testing.T, socket, what string, uid int) {
	t.Helper()
	dir := tree(t)
	checkScript(t, what, record(t, socket, uid, uint32(uid), FollowOptions{}, dir, script), dir)
}

// program copies a program, for everybody.
func program(t *testing.T, from string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(tree(t), filepath.Base(from))
	b, err := os.ReadFile(from)
	do(t, err, os.WriteFile(name, b, 0o755), os.Chmod(name, mode))
	return name
}

// TestWho: a user may record own processes, and no others.
func TestWho(t *testing.T) {
	socket := serve(t)
	setuid := program(t, "/bin/sleep", os.ModeSetuid|0o755)
	setgid := program(t, "/bin/sleep", os.ModeSetgid|0o755)
	// process starts one, and waits until it executes the program, or has made the file.
	process := func(attr *syscall.Credential, until string, argv ...string) int {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: attr}
		do(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			_, err := os.Stat(until)
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
			if err == nil || filepath.Base(exe) == until {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v: is not at %s", argv, until)
			}
		}
		fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
		do(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	closed := filepath.Join(tree(t), "closed")
	user := func(uid uint32, groups ...uint32) *syscall.Credential {
		return &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}
	}
	ended := exec.Command("/bin/true")
	do(t, ended.Start())
	gone, err := unix.PidfdOpen(ended.Process.Pid, 0)
	do(t, err, ended.Wait())
	null, err := os.Open("/dev/null")
	do(t, err)
	defer null.Close()
	for _, c := range []struct {
		what   string
		client int
		pidfd  int
		want   error
	}{
		{"own", 12345, process(user(12345), "sleep", "/bin/sleep", "100"), nil},
		{"root's", 12345, process(nil, "sleep", "/bin/sleep", "100"), unix.EPERM},
		{"another user's", 12345, process(user(54321), "sleep", "/bin/sleep", "100"), unix.EPERM},
		{"own, set-user-ID", 12345, process(user(12345), "sleep", setuid, "100"), unix.EPERM},
		{"own, set-group-ID", 12345, process(user(12345), "sleep", setgid, "100"), unix.EPERM},
		{"own, with another group", 12345, process(&syscall.Credential{Uid: 12345, Gid: 54321}, "sleep", "/bin/sleep", "100"), unix.EPERM},
		{"own, not to be read", 12345, process(user(12345), closed, "/usr/bin/python3", "-c", "import ctypes, time; ctypes.CDLL(None).prctl(4, 0); open('"+closed+"', 'w'); time.sleep(100)"), unix.EPERM},
		{"own, with capabilities", 12345, process(nil, "sleep", "/usr/bin/setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "/bin/sleep", "100"), unix.EPERM},
		{"init", 12345, -1, unix.EPERM},
		{"ended", 12345, gone, unix.ESRCH},
		{"no pidfd", 12345, int(null.Fd()), unix.EINVAL},
		{"a user's, by root", 0, process(user(12345), "sleep", "/bin/sleep", "100"), nil},
		{"set-user-ID, by root", 0, process(user(12345), "sleep", setuid, "100"), nil},
	} {
		if c.pidfd < 0 {
			c.pidfd, err = unix.PidfdOpen(1, 0)
			do(t, err)
		}
		conn := dial(t, socket, c.client)
		do(t, begin(conn, logIn(t, t.TempDir()), Options{}))
		err := conn.Follow(c.pidfd, FollowOptions{})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if _, err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPrivileges: what a process does that has gained privileges, and what it
// forks, is not for the user who asked; for root it is.
func TestPrivileges(t *testing.T) {
	socket := serve(t)
	env := program(t, "/usr/bin/env", os.ModeSetuid|0o755)
	for _, client := range []int{12345, 0} {
		dir := tree(t)
		do(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600), os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644))
		// dash would give back what it has gained.
		got := record(t, socket, client, 12345, FollowOptions{}, dir, env+" /usr/bin/python3 -c 'import os; open(\"secret\"); os.fork() or open(\"secret\")'; cat mine")
		_, complete := shape(t, got)
		if all := client == 0; strings.Contains(got, "secret") != all || strings.Contains(got, "gained privileges") == all || strings.Contains(got, "python3") != all {
			t.Errorf("client %d:\n%s", client, got)
		}
		if !complete || !strings.Contains(got, "/mine\n") || !strings.Contains(got, " "+env+"\n") {
			t.Errorf("client %d: what the user did is not there:\n%s", client, got)
		}
	}
}

// TestPrivilegedParent: what a process forks that has gained privileges is not
// for the user who asked for its children only.
func TestPrivilegedParent(t *testing.T) {
	socket := serve(t)
	env := program(t, "/usr/bin/env", os.ModeSetuid|0o755)
	for _, client := range []int{12345, 0} {
		dir := tree(t)
		do(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600), os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644))
		got := record(t, socket, client, 12345, FollowOptions{Children: true}, dir, "/bin/cat mine; exec "+env+" /usr/bin/python3 -c 'import os; os.fork() and os.wait() or open(\"secret\")'")
		_, complete := shape(t, got)
		if all := client == 0; strings.Contains(got, "secret") != all || strings.Contains(got, "gained privileges") == all {
			t.Errorf("client %d:\n%s", client, got)
		}
		if !complete || !strings.Contains(got, "/mine\n") {
			t.Errorf("client %d: what the user did is not there:\n%s", client, got)
		}
	}
}

// TestLogs: what is no log is refused.
func TestLogs(t *testing.T) {
	socket := serve(t)
	open := func(name string, flags int) func() (*os.File, error) {
		return func() (*os.File, error) { return os.OpenFile(name, flags, 0o666) }
	}
	file := logIn(t, t.TempDir()).Name()
	// connected returns what a user gets who connects to a socket of root's.
	connected := func(kind int) (f *os.File, err error) {
		dir := tree(t)
		listener, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		do(t, err)
		t.Cleanup(func() { unix.Close(listener) })
		to := &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")}
		do(t, unix.Bind(listener, to), os.Chmod(to.Name, 0o777))
		if kind == unix.SOCK_STREAM {
			do(t, unix.Listen(listener, 1))
		}
		as(t, 12345, func() {
			var fd int
			if fd, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0); err == nil {
				f, err = os.NewFile(uintptr(fd), "socket"), unix.Connect(fd, to)
			}
		})
		return f, err
	}
	for _, c := range []struct {
		what string
		open func() (*os.File, error)
		want error
	}{
		{"to be read", open(file, os.O_RDONLY), unix.EBADF},
		{"a path", open(file, unix.O_PATH), unix.EBADF},
		{"a directory", open(filepath.Dir(file), os.O_RDONLY), unix.EBADF},
		{"a device", open("/dev/null", os.O_WRONLY), unix.EINVAL},
		{"a terminal", open("/dev/ptmx", os.O_RDWR), unix.EINVAL},
		{"an order to the kernel", open("/proc/self/comm", os.O_RDWR), unix.EINVAL},
		{"a cgroup", func() (*os.File, error) {
			f, err := os.OpenFile("/sys/kernel/mm/transparent_hugepage/enabled", os.O_RDWR, 0)
			if errors.Is(err, os.ErrNotExist) {
				f, err = os.OpenFile("/proc/self/comm", os.O_RDWR, 0)
			}
			return f, err
		}, unix.EINVAL},
		{"a socket to root", func() (*os.File, error) { return connected(unix.SOCK_STREAM) }, unix.EINVAL},
		{"a datagram socket to root", func() (*os.File, error) { return connected(unix.SOCK_DGRAM) }, unix.EINVAL},
		{"a socket to the kernel", func() (*os.File, error) {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
			return os.NewFile(uintptr(fd), "netlink"), err
		}, unix.EINVAL},
		{"a pair of sockets", func() (f *os.File, err error) {
			as(t, 12345, func() {
				var fds [2]int
				fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				f = os.NewFile(uintptr(fds[0]), "pair")
				t.Cleanup(func() { unix.Close(fds[1]) })
			})
			return f, err
		}, nil},
		{"a file", open(file, os.O_WRONLY), nil},
		{"a file to append to", open(file, os.O_WRONLY|os.O_APPEND), nil},
		{"a memfd", func() (*os.File, error) {
			fd, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
			return os.NewFile(uintptr(fd), "log"), err
		}, nil},
	} {
		f, err := c.open()
		do(t, err)
		conn := dial(t, socket, 12345)
		err = begin(conn, f, Options{})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if c.want == nil {
			if err := begin(conn, f, Options{}); !errors.Is(err, unix.EEXIST) {
				t.Errorf("%s, twice: %v", c.what, err)
			}
		}
		f.Close()
		if _, err := conn.Close(); (err == nil) != (c.want == nil) {
			t.Errorf("%s: close: %v", c.what, err)
		}
	}
}

// TestFullDisk: a log that does not fit says so, to bmake and to people.
func TestFullDisk(t *testing.T) {
	socket := serve(t)
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=64k"); errors.Is(err, unix.EPERM) {
		t.Skip(err)
	} else {
		do(t, err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	log := logIn(t, dir)
	c := dial(t, socket, 0)
	do(t, begin(c, log, Options{}))
	w := start(t, 0, dir, "i=0; while [ $i -lt 10000 ]; do read x </etc/passwd; i=$((i+1)); done")
	do(t, c.Follow(w.pidfd, FollowOptions{}))
	w.goOn()
	if err := c.Drain(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("drain: %v", err)
	}
	res, err := c.Close()
	do(t, err)
	if len(res.Incomplete) != 1 || !strings.Contains(res.Incomplete[0], "no space left") {
		t.Errorf("%v", res.Incomplete)
	}
	got := text(t, log)
	if _, end, ok := strings.Cut(got, "# INCOMPLETE: the log could not be written"); !ok || !strings.Contains(end, fmt.Sprintf("\nR %d\n", os.Getpid())) {
		t.Errorf("the log ends with %q", got[max(0, len(got)-200):])
	}
	works(t, socket, "after a full disk", 12345)
}

// TestPipe: a log whose reader is gone, or does not read, keeps nobody.
func TestPipe(t *testing.T) {
	socket := serve(t)
	for _, gone := range []bool{true, false} {
		r, w, err := os.Pipe()
		do(t, err)
		defer r.Close()
		c := dial(t, socket, 12345)
		do(t, begin(c, w, Options{}))
		w.Close()
		if gone {
			r.Close()
		}
		dir := tree(t)
		p := start(t, 12345, dir, "i=0; while [ $i -lt 20000 ]; do read x </etc/passwd; i=$((i+1)); done")
		do(t, c.Follow(p.pidfd, FollowOptions{}))
		p.goOn()
		drained := make(chan error, 1)
		go func() { drained <- c.Drain() }()
		if gone {
			if err := <-drained; !errors.Is(err, unix.EPIPE) {
				t.Errorf("nobody reads: %v", err)
			}
			if res, err := c.Close(); err != nil || len(res.Incomplete) != 1 {
				t.Errorf("%+v, %v", res, err)
			}
		}
		works(t, socket, fmt.Sprintf("beside a pipe that nobody reads (%v)", gone), 54321)
		if !gone {
			buf := make([]byte, 1<<20)
			for total := 0; total < 100_000; { // and now it is read
				n, err := r.Read(buf)
				do(t, err)
				total += n
			}
			go func() {
				for {
					if _, err := r.Read(buf); err != nil {
						return
					}
				}
			}()
			do(t, <-drained)
			if res, err := c.Close(); err != nil || len(res.Incomplete) != 0 {
				t.Errorf("%+v, %v", res, err)
			}
		}
	}
}

// TestGarbage: whatever a client sends, it hurts nobody.
func TestGarbage(t *testing.T) {
	socket := serve(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		return []string{"open", "follow", "drain", "wait", "close", "version=1", "format=jsonl", "format=", "arg=x", "children=1", "only=1", "why=x", "", "=", "\x00", strings.Repeat("x", rnd.IntN(70000))}[rnd.IntN(16)]
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	do(t, err)
	defer null.Close()
	file := logIn(t, t.TempDir())
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	do(t, err)
	defer unix.Close(self)
	works(t, socket, "before", 12345)
	for range 500 {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
		do(t, err)
		for range rnd.IntN(10) {
			var b []byte
			for range rnd.IntN(5) {
				b = append(append(b, word()...), 0)
			}
			if len(b) > 1<<17 {
				b = b[:1<<17]
			}
			var oob []byte
			if n := rnd.IntN(4); n > 1 {
				fds := make([]int, []int{1, 1, 3, 200}[rnd.IntN(4)])
				for i := range fds {
					fds[i] = []int{int(null.Fd()), int(file.Fd()), self, 0}[rnd.IntN(4)]
				}
				oob = unix.UnixRights(fds...)
			}
			if _, _, err := c.WriteMsgUnix(b, oob, nil); err != nil {
				break // it was thrown out
			}
		}
		c.Close()
	}
	works(t, socket, "after", 12345)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		open := 0
		fds, err := os.ReadDir("/proc/self/fd")
		do(t, err)
		for _, fd := range fds {
			if name, _ := os.Readlink("/proc/self/fd/" + fd.Name()); name == file.Name() || name == "/dev/null" {
				open++
			}
		}
		if open < 10 { // ours, and standard input
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors stay", open)
		}
	}
}

// TestUnread: a client that reads no answers keeps nobody.
func TestUnread(t *testing.T) {
	socket := serve(t)
	c := dial(t, socket, 12345)
	do(t, begin(c, logIn(t, t.TempDir()), Options{}))
	sent := 0
	c.c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for c.request(&packet{word: "drain"}, -1) == nil {
		sent++
	}
	works(t, socket, fmt.Sprintf("beside %d unread answers", sent), 54321)
}

// TestStorm: what takes longer to join than to do is given up for others, and its
// log says so.
func TestStorm(t *testing.T) {
	socket := serve(t)
	dir := tree(t)
	const storm = `import os, time
for i in range(4): os.fork()
end = time.time() + 3
n = str(os.getpid() % 4)
while time.time() < end:
    for i in range(100):
        try:
            os.mkdir("a" + n); os.rename("a" + n, "b" + n); os.rmdir("b" + n)
        except OSError: pass
`
	do(t, os.WriteFile(filepath.Join(dir, "storm.py"), []byte(storm), 0o644))
	log := logIn(t, t.TempDir())
	c := dial(t, socket, 54321)
	do(t, begin(c, log, Options{}))
	w := start(t, 54321, dir, "python3 storm.py")
	do(t, c.Follow(w.pidfd, FollowOptions{}))
	done := make(chan bool)
	go func() { w.goOn(); close(done) }()
	for range 5 {
		works(t, socket, "beside a storm", 12345)
	}
	<-done
	res, err := c.Close()
	do(t, err)
	_, complete := shape(t, text(t, log))
	t.Logf("%d records, %v", res.Stats.Events, res.Incomplete)
	if complete != (len(res.Incomplete) == 0) {
		t.Errorf("complete: %v, %v", complete, res.Incomplete)
	}
	works(t, socket, "after a storm", 12345)
}

// TestLinks: where a link leads that a user cannot see is not told: it may be
// there only since the call.
func TestLinks(t *testing.T) {
	socket := serve(t)
	dir := tree(t)
	private := filepath.Join(dir, "private")
	do(t, os.Mkdir(private, 0o700), os.Symlink("target-of-root", filepath.Join(private, "link")), os.WriteFile(filepath.Join(private, "target-of-root"), nil, 0o600))
	const change = `import os
open("g", "w").close()
os.symlink("private/link", "l")
os.truncate("g", 0)
os.rename("l", "g")
`
	do(t, os.WriteFile(filepath.Join(dir, "change.py"), []byte(change), 0o644))
	for _, uid := range []int{12345, 0} {
		got := record(t, socket, uid, 12345, FollowOptions{}, dir, "python3 change.py")
		do(t, os.Remove(filepath.Join(dir, "g")))
		if uid != 0 && strings.Contains(got, "target-of-root") || !strings.Contains(got, "/g\n") {
			t.Errorf("%s", got)
		}
	}
}

// TestHeld: what nobody explains yet of one recording, a failed exec of a process
// with several threads, does not keep the records of another one.
func TestHeld(t *testing.T) {
	socket := serve(t)
	dir := tree(t)
	do(t, os.WriteFile(filepath.Join(dir, "text"), []byte("no program\x00\n"), 0o755))
	other := dial(t, socket, 54321)
	do(t, begin(other, logIn(t, t.TempDir()), Options{}))
	const fail = `import os, threading, time
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
open("begun", "w")
while True:
    try: os.execv("text", ["x"])
    except OSError: time.sleep(0.01)
`
	do(t, os.WriteFile(filepath.Join(dir, "fail.py"), []byte(fail), 0o644))
	w := start(t, 54321, dir, "exec python3 fail.py")
	do(t, other.Follow(w.pidfd, FollowOptions{}))
	io.WriteString(w.in, "go on\n")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not begin")
		}
	}
	begun := time.Now()
	for range 5 {
		works(t, socket, "beside what is held", 12345)
	}
	if took := time.Since(begun); took > 4*time.Second { // each was held for 5 s
		t.Errorf("it took %v", took)
	}
}

// TestConnections: a thousand connections of one user, with a recording each,
// leave room for others.
func TestConnections(t *testing.T) {
	var limit unix.Rlimit
	do(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	old := limit
	limit.Cur = limit.Max
	do(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	socket := serve(t)
	file := logIn(t, t.TempDir())
	for i := range 1000 {
		c := dial(t, socket, 12345)
		if i%2 == 0 {
			do(t, begin(c, file, Options{}))
		}
	}
	works(t, socket, "beside 1,000 connections", 54321)
	works(t, socket, "beside 1,000 connections of its own", 12345)
	refused := 0
	for range 1500 {
		if c := dial(t, socket, 12345); errors.Is(begin(c, file, Options{}), unix.EMFILE) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("there is no end to what one user may have")
	}
	works(t, socket, "beside 2,500 connections of another", 54321)
}
