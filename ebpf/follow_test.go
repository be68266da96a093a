package ebpf

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// waiting starts a shell that waits for a line before it does anything.
func waiting(t *testing.T, script string, attr *syscall.SysProcAttr) (cmd *exec.Cmd, on func() syscall.WaitStatus) {
	t.Helper()
	cmd = exec.Command("/bin/sh", "-c", "echo; read line; "+script)
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	do(t, err)
	out, err := cmd.StdoutPipe()
	do(t, err, cmd.Start())
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd, func() syscall.WaitStatus {
		io.WriteString(in, "go on\n")
		cmd.Wait()
		return cmd.ProcessState.Sys().(syscall.WaitStatus)
	}
}

// TestFollow follows a process that was there already.
func TestFollow(t *testing.T) {
	w := newWitness(t, Options{Follow: true})
	cmd, goOn := waiting(t, "(exit 2); cd /; exec /bin/true", nil)
	pid := cmd.Process.Pid
	do(t, w.Follow(uint32(pid), 7))
	w.drain()
	if got := w.kinds(pid); got != "follow" {
		t.Fatalf("followed: %s", got)
	}
	if status := goOn(); !status.Exited() {
		t.Fatalf("status %#x", status)
	}
	w.drain()
	w.seeds("follow")
	if got := w.kinds(pid); got != "follow exec exit" {
		t.Errorf("%s", got)
	}
	f := w.one(Follow, pid)
	shell, err := filepath.EvalSymlinks("/bin/sh")
	do(t, err)
	var ns syscall.Stat_t
	do(t, syscall.Stat("/proc/self/ns/mnt", &ns))
	if f.Request != 7 || f.Parent.TGID != uint32(os.Getpid()) || string(f.Comm) != "sh" || f.MountNS != uint32(ns.Ino) || f.Flags&Alone == 0 {
		t.Errorf("%+v", f)
	}
	if got := string(AppendPath(nil, f.Image.Walk)); got != shell {
		t.Errorf("its image is %q, want %q", got, shell)
	}
	if got := string(AppendPath(nil, f.Root.Walk)); got != "/" {
		t.Errorf("its root is %q", got)
	}
	forks := w.of(Fork, 0)
	if len(forks) != 1 || forks[0].Parent != f.ID {
		t.Fatalf("forks %+v, want one by %+v", forks, f.ID)
	}
	if child := forks[0].ID.TGID; w.kinds(int(child)) != "fork exit" {
		t.Errorf("its child: %s", w.kinds(int(child)))
	}
	var went []Call
	for _, c := range w.calls {
		if c.ID == f.ID && c.Op == OpChdir {
			went = append(went, c)
		}
	}
	if len(went) != 1 {
		t.Errorf("%d chdir, want 1", len(went))
	}
}

// TestFollowNobody: of a process that has ended there is no record, be it
// reaped or not.
func TestFollowNobody(t *testing.T) {
	w := newWitness(t, Options{Follow: true})
	cmd := exec.Command("/bin/true")
	out, err := cmd.StdoutPipe()
	do(t, err, cmd.Start())
	io.Copy(io.Discard, out) // it is about to end
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	do(t, err)
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Fatalf("it does not end: %d, %v", n, err)
	}
	do(t, w.Follow(uint32(cmd.Process.Pid), 1))
	cmd.Wait()
	do(t, w.Follow(uint32(cmd.Process.Pid), 2))
	w.drain()
	if len(w.processes) != 0 {
		t.Errorf("%+v", w.processes)
	}
	if ids, err := w.Tracked(); err != nil || len(ids) != 0 {
		t.Errorf("the set has %v, %v", ids, err)
	}
	number, start := uint32(cmd.Process.Pid), uint64(0)
	if err := w.maps.Numbers.Lookup(number, &start); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("its number is kept for %d: %v", start, err)
	}
}

// TestSecure: an exec that gives privileges says so, any other does not.
func TestSecure(t *testing.T) {
	dir := t.TempDir()
	setuid, plain := filepath.Join(dir, "setuid"), filepath.Join(dir, "plain")
	for _, name := range []string{setuid, plain} {
		b, err := os.ReadFile("/bin/true")
		do(t, err, os.WriteFile(name, b, 0o755))
	}
	do(t, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(setuid, os.ModeSetuid|0o755))
	w := newWitness(t, Options{Follow: true})
	cmd, goOn := waiting(t, plain+"; "+setuid+"; exit 0", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}})
	do(t, w.Follow(uint32(cmd.Process.Pid), 1))
	if status := goOn(); status != 0 {
		t.Fatalf("status %#x", status)
	}
	w.drain()
	secure := map[string]bool{}
	for _, e := range w.of(Exec, 0) {
		secure[string(e.Filename)] = e.Flags&Secure != 0
	}
	if len(secure) != 2 || secure[plain] || !secure[setuid] {
		t.Errorf("gave privileges: %v", secure)
	}
}
