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

	"fanrec/output"
)

// busy is a process with a child whose doings are known, in steps that it is told to
// take. While it waits for the next it does nothing.
const busy = `
./helper -c 'read x <go1; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do : >>busy/log; done; : >done; read x <end' &
read x <go2
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do : >made/$i; done
for i in 1 2 3 4 5 6 7 8 9 10; do read x <quiet/file; done
rm made/1 made/2 made/3
: >done
read x <go3
for i in 1 2 3 4 5 6 7; do : >made/again$i; done
: >done
read x <go4
i=0; while [ $i -lt 300 ]; do (:); i=$((i+1)); done
: >done
read x <end
wait`

// worker is busy as it runs.
type worker struct {
	*testing.T
	dir string
	cmd *exec.Cmd
}

func newWorker(t *testing.T) *worker {
	t.Helper()
	w := &worker{T: t, dir: t.TempDir()}
	for _, d := range []string{"busy", "made", "quiet"} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.path("quiet/file"), []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"go1", "go2", "go3", "go4", "end"} {
		if err := syscall.Mkfifo(w.path(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"worker", "helper"} {
		if err := os.Symlink("/bin/sh", w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	w.cmd = exec.Command("./worker", "-c", busy)
	w.cmd.Dir = w.dir
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
		w.cmd.Wait()
	})
	return w
}

func (w *worker) path(name string) string { return filepath.Join(w.dir, name) }

// step has it take a step, and waits until it has.
func (w *worker) step(fifo string) {
	w.Helper()
	f, err := os.OpenFile(w.path(fifo), os.O_WRONLY, 0) // until it reads
	if err != nil {
		w.Fatal(err)
	}
	f.Close()
	w.wait("done")
	if err := os.Remove(w.path("done")); err != nil {
		w.Fatal(err)
	}
}

// wait waits until a file is there.
func (w *worker) wait(file string) {
	w.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(w.path(file)); err == nil {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("%s does not come to be", file)
		}
	}
}

// kill sends a signal to who has left its number.
func (w *worker) kill(sig syscall.Signal) {
	w.Helper()
	b, err := os.ReadFile(w.path("pid"))
	if err != nil {
		w.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		w.Fatal(err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		w.Fatal(err)
	}
}

// attach records the worker besides, and returns what tells the sums of that by now,
// in the columns of top.
func (w *worker) attach() func() string {
	w.Helper()
	cmd := exec.Command(filepath.Join(tools, "fanrec"), "attach", "-q", "-f", "jsonl", "-o", w.path("log"), fmt.Sprint(w.cmd.Process.Pid))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.wait("log")
	w.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return func() string {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			w.Fatalf("attach: %v: %s", err, &said)
		}
		var n [7]int
		read(w.T, w.path("log"), func(r *output.Record) {
			col := 5
			switch {
			case r.Attached:
				return
			case r.Kind == output.Read:
				col = 0
			case r.Kind == output.Write && r.Op == output.Create:
				col = 2
			case r.Kind == output.Write:
				col = 1
			case r.Kind == output.Delete:
				col = 3
			}
			n[col]++
			n[6]++
		})
		return strings.Trim(fmt.Sprint(n), "[]")
	}
}

// spaced returns a pattern of numbers in columns.
func spaced(numbers string) string { return `^ *` + strings.ReplaceAll(numbers, " ", " +") + ` ` }

// TestTop uses fanrec top in a terminal as somebody does.
func TestTop(t *testing.T) {
	needRoot(t)
	w := newWorker(t)
	m := newTmux(t, w.dir, 120, 30)
	sums := w.attach()
	// What is stopped is the whole script.
	m.text(fmt.Sprintf("sh -c 'stty -a >before.new; mv before.new before; fanrec top -d 0.2 %d; echo status $?; stty -a >after.new; mv after.new after'\n", w.cmd.Process.Pid))
	m.until("it begins", `^fanrec top [0-9:]{8}  process [0-9]+ and its descendants +per second$`, `worker\[`, `└─helper\[`, `in all, 2 processes`)

	w.step("go1")
	w.step("go2")
	m.keys("t")
	m.until("what is known of it", `^ +[0-9]+ +19 +33 +3 +0 +[0-9]+ +[0-9]+  in all`, ` in all$`)
	m.text("d")
	m.until("directories", `DIRECTORY`, ` 30 .*/made$`)

	m.text("ss") // total, name, reads
	m.until("by reads", `\*READ`)
	m.text("ss")
	screen := m.until("by creations", `\*CREATE`)
	if first := firstFile(screen); !strings.HasSuffix(first, "/made") {
		t.Errorf("the most is created in %q:\n%s", first, screen)
	}
	m.text("r")
	m.until("the least first", "!"+regexp.QuoteMeta(firstFile(screen))+"$.*DIRECTORY")
	m.text("rd")
	m.until("files again", `FILE`, `!DIRECTORY`)

	m.keys("Tab")
	m.text("/quiet")
	m.until("a filter", `only files /quiet`, `quiet/file$`, `!busy/log`)
	m.keys("Enter")
	m.until("a filter", `FILE /quiet`)
	m.keys("Escape")
	m.until("without it", `!FILE /quiet`, `busy/log`)
	m.text("/bu?y/*\n")
	m.until("a pattern", `FILE /bu\?y/\*`, `busy/log`, `!quiet`)
	m.keys("Escape")

	// Freeze.
	m.text(" ")
	frozen := m.until("frozen", `FROZEN`)
	w.step("go3")
	time.Sleep(time.Second) // five times that it would show more
	if now := m.screen(); now != frozen {
		t.Errorf("it is not frozen:\n%s\n%s", frozen, now)
	}
	m.text(" ")
	want := sums()
	m.until("all that was done meanwhile, and no more", `!FROZEN`, spaced(want)+` in all`)

	// Into a process, a file, and back.
	m.keys("Left")
	m.text("v/helper\n")
	m.until("the helper", `PROCESS /helper`, `!worker\[`)
	m.keys("Enter")
	m.until("into it", `descendants > helper\[[0-9]+\]`, `busy/log`, `!quiet/file`)
	m.text("/busy\n")
	m.until("its file", `FILE /busy`, `!go1`)
	m.keys("Enter")
	m.until("who uses the file", `> .*busy/log`, `  20 helper\[`)
	m.keys("BSpace")
	m.until("back, to the filter that was there", `!> .*busy/log  `, `FILE /busy`)
	m.keys("BSpace", "BSpace")
	m.until("back, to the other one", `!>`, `made/2$`, `PROCESS /helper`, `!FILE /`)
	m.keys("BSpace")
	m.until("without it", `worker\[`)
	m.text("v")
	m.until("the tree", `└─helper`)
	m.text("?")
	m.until("help", `any key goes on`, `freeze what is shown`)
	m.text("x")

	for _, size := range [][3]string{{"60", "12", `!│`}, {"20", "4", `!DELETE`}, {"2", "1", `^f`}, {"200", "50", `│.*RENAME +OTHER`}, {"100", "20", `│`}} {
		m.do("resize-window", "-x", size[0], "-y", size[1])
		m.until(size[0]+" times "+size[1], size[2])
	}

	// As a job of the shell.
	m.keys("C-z")
	m.until("stopped", `Stopped`, `!in all`)
	m.text("stty -a >stopped.new; mv stopped.new stopped\n")
	w.wait("stopped")
	m.text("clear; fg\n")
	m.until("continued", spaced(want)+` in all`)
	m.text("q")
	m.until("it ends", `^status 0$`, `fanrec: 3 processes, .* 0 lost, `, `!in all`)
	w.wait("after")
	before, err := os.ReadFile(w.path("before"))
	if err != nil {
		t.Fatal(err)
	}
	// The size is another one.
	rows := regexp.MustCompile(`rows \d+; columns \d+`)
	for _, name := range []string{"stopped", "after"} {
		if after, err := os.ReadFile(w.path(name)); err != nil || rows.ReplaceAllString(string(after), "") != rows.ReplaceAllString(string(before), "") {
			t.Errorf("%s, the terminal is\n%s\nwant\n%s\n%v", name, after, before, err)
		}
	}
}

// firstFile returns what is in the first row of files.
func firstFile(screen string) string {
	_, rows, _ := strings.Cut(screen, "*")
	for i, line := range strings.Split(rows, "\n") {
		if i == 1 {
			f := strings.Fields(line)
			return f[len(f)-1]
		}
	}
	return ""
}

// TestTopEnds: however it ends, the terminal is as it was, and the status says how.
func TestTopEnds(t *testing.T) {
	needRoot(t)
	w := newWorker(t)
	m := newTmux(t, w.dir, 100, 24)
	m.text("stty -a >before.new; mv before.new before\n")
	w.wait("before")
	before, err := os.ReadFile(w.path("before"))
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []struct {
		name, flags string
		end         func()
		status      string
	}{
		{"q", "", func() { m.text("q") }, "0"},
		{"^C", "", func() { m.keys("C-c") }, "0"},
		{"SIGTERM", "", func() { w.kill(syscall.SIGTERM) }, "0"},
		{"SIGQUIT", "", func() { w.kill(syscall.SIGQUIT) }, "0"},
		{"two ticks", "-n 2", func() {}, "0"},
		{"something is missing", "--process-ring 4096", func() {
			m.keys("C-z")
			m.until("stopped", `Stopped`)
			for _, step := range []string{"go2", "go3", "go4"} { // many forks
				w.step(step)
			}
			m.text("clear; fg\n")
			m.until("what is missing", `^INCOMPLETE: [0-9]+ process records were lost: the ring was full`)
			m.text("q")
		}, "125"},
	} {
		os.Remove(w.path("after"))
		os.Remove(w.path("pid"))
		m.text(fmt.Sprintf(`clear; sh -c 'sh -c "echo \$\$ >pid; exec fanrec top -d 0.2 %s %d"; echo status $?; stty -a >after.new; mv after.new after'`+"\n", how.flags, w.cmd.Process.Pid))
		if how.flags != "-n 2" { // that may be over before it is seen
			m.until(how.name, `in all, 2 processes`)
		}
		how.end()
		m.until(how.name, `^status `+how.status+`$`, `fanrec: [0-9]+ process`, `!PROCESS`)
		w.wait("after")
		if after, err := os.ReadFile(w.path("after")); err != nil || !bytes.Equal(after, before) {
			t.Errorf("after %s the terminal is\n%s\nwant\n%s\n%v", how.name, after, before, err)
		}
	}
}

// TestTopTerminals: there are colours, and none where none are wanted; what no screen can
// be shown on is said.
func TestTopTerminals(t *testing.T) {
	needRoot(t)
	w := newWorker(t)
	m := newTmux(t, w.dir, 100, 24)
	for _, env := range []string{"", "NO_COLOR=1 "} {
		m.text(fmt.Sprintf("clear; %sfanrec top -q %d\n", env, w.cmd.Process.Pid))
		m.until("it begins", `in all, 2 processes`, `q quit`)
		coloured := regexp.MustCompile(`\x1b\[([0-9]+;)*[34][0-8](;[0-9]+)*m`).FindString(m.do("capture-pane", "-p", "-e"))
		if (coloured == "") != (env != "") {
			t.Errorf("with %q: %q", env, coloured)
		}
		m.text("q")
		m.until("it ends", `!in all`)
	}
	for _, env := range []string{"TERM=nonsense", "TERM=dumb", "LC_ALL=xx_YY.KOI8-R"} { // that will not do
		m.text(fmt.Sprintf("clear; %s fanrec top -q %d; echo status $?\n", env, w.cmd.Process.Pid))
		m.until(env, `^fanrec: the (terminal|character set) .*; use --batch, or `, `^status 125$`)
	}
}

// TestTopReadme: the commands of README.md do as they are printed there.
func TestTopReadme(t *testing.T) {
	needRoot(t)
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(t)
	m := newTmux(t, w.dir, 100, 24)
	// As here, where there is neither of them.
	m.text(fmt.Sprintf("sudo() { \"$@\"; }; pidof() { echo %d; }; clear\n", w.cmd.Process.Pid))
	m.until("a prompt", `^\$\s*$`)
	found := regexp.MustCompile(`(?m)^    (sudo fanrec top[^#\n]*)`).FindAllStringSubmatch(string(text), -1)
	if len(found) < 3 {
		t.Fatalf("only %q", found)
	}
	for _, c := range found {
		m.text(c[1] + "; echo it was $?\n")
		m.until(c[1], `^fanrec top [0-9:]{8}  `)
		if !strings.Contains(c[1], "--batch") {
			m.until(c[1], `^q quit`)
			m.text("q")
		}
		// What else is done on the machine may be hard to follow.
		m.until(c[1], `fanrec: [0-9]+ process`, `^it was (0|125)$`)
		m.text("clear\n")
		m.until("a prompt", `!it was`)
	}
}
