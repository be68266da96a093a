package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fanrec/cgroup"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
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

// TestFollowTree follows a process and what it has forked before, and nobody else.
func TestFollowTree(t *testing.T) {
	w := newWitness(t, Options{Attach: true})
	// A process with children at several depths, all of which wait.
	dir := t.TempDir()
	do(t, unix.Mkfifo(filepath.Join(dir, "go"), 0o600))
	tree := `if [ $1 -gt 0 ]; then "$0" $(($1-1)) & fi; read x <go`
	do(t, os.WriteFile(filepath.Join(dir, "nest"), []byte("#!/bin/sh\n"+tree), 0o755))
	cmd := exec.Command("./nest", "20")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	do(t, cmd.Start())
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	other, goOn := waiting(t, ":", nil)
	want := map[uint32]bool{}
	for len(want) < 21 {
		want = descendants(t, uint32(cmd.Process.Pid))
	}
	do(t, w.FollowTree(uint32(cmd.Process.Pid), 3))
	w.drain()
	got := map[uint32]bool{}
	for _, f := range w.of(Follow, 0) {
		if got[f.ID.TGID] || f.Request != 3 {
			t.Errorf("%d is followed twice, or for another request: %d", f.ID.TGID, f.Request)
		}
		got[f.ID.TGID] = true
		if p := string(AppendPath(nil, f.Cwd.Walk)); p != dir {
			t.Errorf("the working directory of %d is %q, want %q", f.ID.TGID, p, dir)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("followed (-want +got):\n%s", diff)
	}
	if got[uint32(other.Process.Pid)] {
		t.Error("so is a process that is not of the tree")
	}
	goOn()
	// Again: nobody is left.
	do(t, w.FollowTree(uint32(cmd.Process.Pid), 4))
	w.drain()
	if n := len(w.of(Follow, 0)); n != len(want) {
		t.Errorf("once more: %d records, want %d", n, len(want))
	}
	for _, nobody := range []uint32{1 << 22, uint32(os.Getpid())} {
		if err := w.FollowTree(nobody, 5); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("process %d: %v", nobody, err)
		}
	}
}

// descendants returns a process and its descendants, by /proc.
func descendants(t *testing.T, root uint32) map[uint32]bool {
	t.Helper()
	found := map[uint32]bool{root: true}
	for again := true; again; {
		again = false
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		do(t, err)
		for _, name := range stats {
			b, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			var pid, parent uint32
			var state string
			_, rest, _ := strings.Cut(string(b), ") ")
			fmt.Sscan(string(b), &pid)
			fmt.Sscan(rest, &state, &parent)
			if found[parent] && !found[pid] {
				found[pid], again = true, true
			}
		}
	}
	return found
}

// TestHeld compares what is told of a process with what it opened.
func TestHeld(t *testing.T) {
	w := newWitness(t, Options{Attach: true})
	dir := t.TempDir()
	read, write, gone := filepath.Join(dir, "read"), filepath.Join(dir, "write"), filepath.Join(dir, "gone")
	for _, name := range []string{read, gone} {
		do(t, os.WriteFile(name, nil, 0o600))
	}
	cmd := exec.Command("/bin/sh", "-c", `exec 3<"$1" 4>"$2" 5<"$3" 6<>"$2"; rm "$3"; echo; read x`, "sh", read, write, gone)
	in, err := cmd.StdinPipe()
	do(t, err)
	out, err := cmd.StdoutPipe()
	do(t, err, cmd.Start())
	out.Read(make([]byte, 1))
	defer func() {
		in.Close()
		cmd.Wait()
	}()
	do(t, w.FollowTree(uint32(cmd.Process.Pid), 1))
	got := map[string]uint32{}
	mapped := map[string]bool{}
	do(t, w.Held(func(h *HeldFile) {
		if h.ID.TGID != uint32(cmd.Process.Pid) {
			t.Errorf("a file of process %d", h.ID.TGID)
		}
		path := string(AppendPath(nil, h.File.Walk))
		if h.FD < 0 {
			mapped[path] = true
			return
		}
		got[fmt.Sprint(h.FD, " ", path)] = h.FMode & (FModeRead | FModeWrite)
	}))
	want := map[string]uint32{"3 " + read: FModeRead, "4 " + write: FModeWrite, "5 " + gone: FModeRead, "6 " + write: FModeRead | FModeWrite}
	for held := range got {
		if strings.HasSuffix(held, "/dev/null") {
			delete(got, held) // its standard error, and copies of it
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if !w.Mapped() {
		t.Skip("this kernel has no program that is run over mappings: Linux 5.12")
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", cmd.Process.Pid))
	do(t, err)
	wanted := map[string]bool{}
	for line := range strings.Lines(string(maps)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), "/"); ok {
			wanted["/"+path] = true
		}
	}
	if diff := cmp.Diff(wanted, mapped); diff != "" {
		t.Errorf("mapped (-want +got):\n%s", diff)
	}
}

// TestFollowCgroup follows who is in a cgroup, who is made in it and who is moved
// there, also when it was removed and made again.
func TestFollowCgroup(t *testing.T) {
	tree, err := cgroup.Mounted()
	if errors.Is(err, cgroup.ErrNotMounted) {
		t.Skip(err)
	}
	do(t, err)
	name := fmt.Sprintf("/fanrec-test-%d", os.Getpid())
	dir := tree.Dir(name)
	do(t, os.Mkdir(dir, 0o755), os.Mkdir(dir+"/below", 0o755))
	t.Cleanup(func() { os.Remove(dir + "/below"); os.Remove(dir) })
	move := func(pid int, to string) {
		t.Helper()
		do(t, os.WriteFile(to+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0))
	}
	w := newWitness(t, Options{Attach: true})
	in, goIn := waiting(t, "/bin/true", nil)
	move(in.Process.Pid, dir+"/below")
	out, goOut := waiting(t, "/bin/true", nil)
	do(t, w.FollowCgroup(name, func() (uint64, error) {
		var st unix.Stat_t
		return st.Ino, unix.Stat(dir, &st)
	}, 5))
	move(out.Process.Pid, dir)
	// What is made in it by somebody who is not: clone3 with CLONE_INTO_CGROUP.
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	do(t, err)
	defer unix.Close(fd)
	made, goMade := waiting(t, "/bin/true", &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd})
	goIn()
	goOut()
	goMade()
	w.drain()
	for who, cmd := range map[string]*exec.Cmd{"inside": in, "moved": out} {
		if got := w.kinds(cmd.Process.Pid); got != "follow exit" {
			t.Errorf("%s: %s", who, got)
		}
	}
	if got := w.kinds(made.Process.Pid); got != "follow exec exit" {
		t.Errorf("made: %s", got)
	}
	if n := len(w.of(Fork, 0)); n != 3 {
		t.Errorf("%d forks, want 3", n)
	}
	for _, f := range w.of(Follow, 0) {
		if f.Request != 5 {
			t.Errorf("request %d", f.Request)
		}
	}
	do(t, os.Remove(dir+"/below"), os.Remove(dir), os.Mkdir(dir, 0o755))
	again, goAgain := waiting(t, "/bin/true", nil)
	move(again.Process.Pid, dir)
	goAgain()
	w.drain()
	if got := w.kinds(again.Process.Pid); got != "follow exit" {
		t.Errorf("in the new one of that name: %q", got)
	}
}

// TestInside: a process in a pid namespace has another number there, and a record of
// it says in which cgroup it is: of one that was there already, and of one that is made.
func TestInside(t *testing.T) {
	tree, err := cgroup.Mounted()
	if errors.Is(err, cgroup.ErrNotMounted) {
		t.Skip(err)
	}
	do(t, err)
	dir := tree.Dir(fmt.Sprintf("/fanrec-inside-%d", os.Getpid()))
	do(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { os.Remove(dir) })
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	do(t, err)
	defer unix.Close(fd)
	var st unix.Stat_t
	do(t, unix.Stat(dir, &st))
	w := newWitness(t, Options{Follow: true})
	inside := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, UseCgroupFD: true, CgroupFD: fd}
	there, goThere := waiting(t, "(exit 2); exec /bin/true", inside)
	do(t, w.Follow(uint32(there.Process.Pid), 7), w.AdoptChildren(true))
	made, goMade := waiting(t, "", inside)
	do(t, w.AdoptChildren(false))
	goThere()
	goMade()
	out := w.succeed("/", "/bin/sh", "-c", ":")
	w.drain()
	f := w.one(Follow, there.Process.Pid)
	child := w.of(Fork, 0)
	child = slices.DeleteFunc(child, func(p Process) bool { return p.Parent != f.ID })
	if len(child) != 1 {
		t.Fatalf("%d forks by the one that is followed", len(child))
	}
	for who, p := range map[string]Process{"followed": f, "made": w.one(Fork, made.Process.Pid)} {
		if p.OwnPID != 1 || p.Cgroup != st.Ino {
			t.Errorf("%s: number %d inside, cgroup %d, want 1 and %d", who, p.OwnPID, p.Cgroup, st.Ino)
		}
	}
	if p := child[0]; p.OwnPID == 1 || p.OwnPID == p.ID.TGID || p.OwnPID == 0 || p.Cgroup != st.Ino {
		t.Errorf("its child: %+v", p)
	}
	if p := w.one(Exec, there.Process.Pid); p.Cgroup != st.Ino {
		t.Errorf("executed in cgroup %d, want %d", p.Cgroup, st.Ino)
	}
	if p := w.one(Fork, out); p.OwnPID != uint32(out) || p.Cgroup == st.Ino {
		t.Errorf("outside: %+v", p)
	}
}
