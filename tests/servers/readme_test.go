package servers

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/cgroup"
)

// inGroup puts processes into a control group of a name, as systemd and docker do.
func inGroup(t testing.TB, name string, pids ...int) {
	t.Helper()
	tree, err := cgroup.Mounted()
	if err == cgroup.ErrNotMounted {
		t.Skip(err)
	}
	do(t, err)
	slice := tree.Dir("/fanrec-readme.slice")
	dir := filepath.Join(slice, name)
	do(t, os.MkdirAll(dir, 0o755))
	t.Cleanup(func() {
		until(t, "an empty control group", func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, pid := range strings.Fields(string(b)) {
				os.WriteFile(filepath.Join(tree.Dir("/"), "cgroup.procs"), []byte(pid), 0)
			}
			return os.Remove(dir) == nil
		})
		os.Remove(slice)
	})
	for _, pid := range pids {
		for _, p := range append(children(pid), strconv.Itoa(pid)) {
			do(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(p), 0))
		}
	}
}

// TestReadme: the commands that README.md has for what runs already do what it says,
// as they are printed there.
func TestReadme(t *testing.T) {
	need(t, "nginx", "wrk", "pidof", "pgrep")
	text, err := os.ReadFile("../../README.md")
	do(t, err)
	_, section, _ := strings.Cut(string(text), "\n## What runs already\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var lines []string
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "sudo fanrec attach ") || strings.HasPrefix(line, "fanrec search ") {
			lines = append(lines, line)
		}
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	do(t, os.Mkdir(bin, 0o755))
	if out, err := exec.Command("go", "build", "-o", bin, "fanrec/cmd/fanrec-otlp").CombinedOutput(); err != nil {
		t.Fatalf("build fanrec-otlp: %v\n%s", err, out)
	}
	if out, err := exec.Command("go", "build", "-C", "../otlp/collector", "-o", bin+"/collector", ".").CombinedOutput(); err != nil {
		t.Fatalf("build the collector: %v\n%s", err, out)
	}
	fanrecs, err := os.ReadFile(fanrec)
	do(t, err, os.WriteFile(bin+"/fanrec", fanrecs, 0o755)) // a link would not stand beside the other
	for _, port := range []string{"4318", "9435"} {
		if l, err := net.Listen("tcp", "localhost:"+port); err != nil {
			t.Skipf("somebody else listens at the port that README names: %v", err)
		} else {
			l.Close()
		}
	}

	// What is attached to: all of it does something all the time.
	nginx, _, port := startNginx(t)
	pg := startPostgres(t)
	inGroup(t, "nginx.service", nginx.cmd.Process.Pid)
	inGroup(t, "postgresql.service", pg.pid)
	etc := "/etc/fanrec-readme-test"
	defer os.Remove(etc)
	box := start(t, nil, "sh", "-c", "while :; do : >"+etc+"; rm "+etc+"; sleep 0.05; done")
	inGroup(t, "docker-3f2a"+strings.Repeat("0", 60)+".scope", box.cmd.Process.Pid)
	start(t, nil, "wrk", "-t", "1", "-c", "2", "-d", "600", fmt.Sprintf("http://127.0.0.1:%d/", port))
	start(t, pg.as, filepath.Join(pg.bin, "pgbench"), "-h", pg.dir, "-n", "-C", "-c", "2", "-T", "600", "bench")
	collector := start(t, nil, bin+"/collector", "localhost:4318", "localhost:0", "take")
	until(t, "the collector", func() bool {
		c, err := net.Dial("tcp", "localhost:4318")
		return err == nil && c.Close() == nil
	})

	for i, want := range []struct{ begins, prints, file string }{
		{begins: "sudo fanrec attach $(pidof", prints: "held w   /tmp/"},
		{begins: "sudo fanrec attach --unit postgresql ", prints: "# attached to unit postgresql"},
		{begins: "sudo fanrec attach --container 3f2a ", prints: "  sh\n"},
		{begins: "sudo fanrec attach --all ", prints: "create   " + etc},
		{begins: "sudo fanrec attach --unit nginx --key web ", file: "web.jsonl"},
		{begins: "sudo fanrec attach --unit nginx --otlp "},
		{begins: "fanrec search ", prints: ""},
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want.begins) {
			t.Fatalf("README.md has %q, and not %q", lines, want.begins)
		}
		cmd := exec.Command("sh", "-c", "sudo() { exec \"$@\"; }\n"+lines[i])
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		do(t, cmd.Start())
		if strings.Contains(lines[i], "attach") {
			time.Sleep(2500 * time.Millisecond)
			if strings.Contains(lines[i], "localhost:9435") {
				r, err := http.Get("http://localhost:9435/metrics")
				do(t, err)
				var b bytes.Buffer
				b.ReadFrom(r.Body)
				if !strings.Contains(b.String(), "\nfanrec_complete 1\n") {
					t.Errorf("%s: metrics: %s", lines[i], b.String())
				}
			}
			cmd.Process.Signal(syscall.SIGINT)
		}
		err := cmd.Wait()
		if status := cmd.ProcessState.ExitCode(); status != 0 && !(status == 1 && strings.Contains(lines[i], "search")) {
			t.Errorf("%s: %v\n%.2000s", lines[i], err, out.String())
		}
		if !strings.Contains(out.String(), want.prints) {
			t.Errorf("%s does not print %q:\n%.2000s", lines[i], want.prints, out.String())
		}
		if want.file != "" {
			if st, err := os.Stat(filepath.Join(dir, want.file)); err != nil || st.Size() == 0 {
				t.Errorf("%s: %v", lines[i], err)
			}
		}
	}
	collector.stop(syscall.SIGINT)
	if !strings.Contains(collector.out.String(), "index.html") {
		t.Errorf("the collector received %.2000s", collector.out.String())
	}
	if len(lines) != 7 {
		t.Errorf("README.md has %d commands: %q", len(lines), lines)
	}
}
