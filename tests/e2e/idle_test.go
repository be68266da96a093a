package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quiet runs fanrec where nobody else makes events: in a root directory that
// holds nothing but static programs. The recorder watches what it can see.
const quiet = `
set -e
mount -t tmpfs none "$1"
mkdir "$1/proc" "$1/sys"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
cp "$2/fanrec" "$2/act-static" "$1"
exec chroot "$1" /fanrec -q -o /log -- /act-static creat /begun , usleep 4000000 , creat /done
`

// TestIdle: while the tree does nothing, the recorder sleeps.
func TestIdle(t *testing.T) {
	needRoot(t)
	if ok, _ := condition("static"); !ok {
		t.Skip("no static C library")
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("no mount namespaces: %v %s", err, out)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("unshare", "-m", "sh", "-c", quiet, "sh", t.TempDir(), tools)
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid // of fanrec in the end: each of them executes the next
	root := fmt.Sprintf("/proc/%d/root", pid)
	defer syscall.Kill(-pid, syscall.SIGKILL)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(root, "begun")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the command did not begin: %s", stderr.String())
		}
	}
	time.Sleep(1500 * time.Millisecond) // it tidies up once, after a second
	before := switches(t, pid)
	time.Sleep(2 * time.Second)
	if n := switches(t, pid) - before; n > 5 {
		t.Errorf("an idle recorder woke up %d times in 2 s", n)
	}
	if rss := status(t, pid, "VmRSS"); rss > 64<<10 {
		t.Errorf("an idle recorder keeps %d KiB", rss)
	}
	log, err := os.Open(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(log); err != nil {
		t.Fatal(err)
	}
	l, err := parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.complete(); err != nil {
		t.Error(err)
	}
	got := strings.Join(l.below("", true), "\n")
	if want := "E p1 act-static\nW p1 begun\nW p1 done\nX p1 0 0"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestIdleService: while nothing is recorded, whatever the machine does, the
// service sleeps, watches nothing and has nothing attached; then it records again.
func TestIdleService(t *testing.T) {
	needRoot(t)
	socket, pid := serve(t)
	record := func() {
		t.Helper()
		log := filepath.Join(t.TempDir(), "log")
		cmd := exec.Command(filepath.Join(tools, "fanrec"), "--socket", socket, "-o", log, "--", filepath.Join(tools, "act"), "creat", log+".made")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b, err := os.ReadFile(log)
		if err != nil || !strings.Contains(string(b), log+".made\n") || !strings.HasSuffix(string(b), "# Bye bye\n") {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	attached := func() (n int) {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
		if err != nil || len(fds) == 0 {
			t.Fatalf("no descriptors: %v", err)
		}
		for _, fd := range fds {
			b, _ := os.ReadFile(fd) // some are gone meanwhile
			if bytes.Contains(b, []byte("fanotify ")) || bytes.Contains(b, []byte("tp_name:")) || bytes.Contains(b, []byte("link_type:\traw_tracepoint")) {
				n++
			}
		}
		return n
	}
	for range 2 {
		record()
		if attached() == 0 {
			t.Error("nothing is attached right after a recording")
		}
		for end := time.Now().Add(patience); attached() > 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d are attached though nothing is recorded", attached())
			}
		}
		// The runtime of Go has some work left for a moment.
		for end := time.Now().Add(patience); ; {
			before := switches(t, pid)
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				os.ReadFile("/etc/passwd")
				exec.Command("true").Run()
			}
			n := switches(t, pid) - before
			if n <= 5 {
				break
			}
			if time.Now().After(end) {
				t.Errorf("an idle service woke up %d times in 1 s", n)
				break
			}
		}
	}
}

// switches returns how often the threads of a process went to sleep or were
// put aside.
func switches(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	n := 0
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:non)?voluntary_ctxt_switches:\s*(\d+)$`).FindAllSubmatch(b, -1) {
			k, _ := strconv.Atoi(string(m[1]))
			n += k
		}
	}
	return n
}

// status returns a number of /proc/PID/status.
func status(t *testing.T, pid int, field string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + field + `:\s*(\d+)`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no %s", field)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
