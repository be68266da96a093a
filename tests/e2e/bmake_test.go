package e2e

import (
	"bytes"
	"fanrec/tests/bmakedir"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// compile is a small build, whose headers are outside its working directory.
var compile = map[string]string{
	"src/prog.c": `#include <stdio.h>
#include "config.h"
#include "part.inc"
int main(void) { puts(NAME); return part(); }
`,
	"src/part.inc":          "static int part(void) { return 0; }\n",
	"include/config.h":      "#include \"nested/deep.h\"\n",
	"include/nested/deep.h": "#define NAME \"deep\"\n",
	"make/Makefile": `.MAKE.MODE= meta
.MAKE.META.BAILIWICK= ${.CURDIR:H}
.OBJDIR: ${.CURDIR:H}/obj
all: prog
prog: .META
	COMMAND
`,
	"obj/empty": "", "tmp/empty": "", "ext/empty": "", "copies/empty": "",
}

const compiler = "cc -I%s/include -o prog %s/src/prog.c"

// meta is a directory with a target, and its .meta file without a log.
type meta struct {
	t       *testing.T
	dir     string
	command string
	head    []byte // of the .meta file
}

// newMeta makes one; what a command has %s for is the directory.
func newMeta(t *testing.T, command string) *meta {
	t.Helper()
	needRoot(t)
	for _, tool := range []string{"bmake", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s", tool)
		}
	}
	m := &meta{t: t, dir: bmakedir.Make(t)}
	m.command = strings.ReplaceAll(command, "%s", m.dir)
	for name, text := range compile {
		path := filepath.Join(m.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "COMMAND", m.command)), 0o644); err != nil {
			t.Fatal(err)
		}
		m.age(path, -time.Hour)
	}
	m.bmake()
	head, err := os.ReadFile(m.dir + "/obj/prog.meta")
	if err != nil {
		t.Fatalf("bmake left no .meta file: %v", err)
	}
	m.head, _, _ = bytes.Cut(head, []byte("\n-- filemon"))
	return m
}

// age sets the time of a file, so that nobody has to wait for the next second.
func (m *meta) age(path string, by time.Duration) {
	m.t.Helper()
	then := time.Now().Add(by)
	if err := os.Chtimes(path, then, then); err != nil {
		m.t.Fatal(err)
	}
}

// record runs the command under fanrec, with temporary files where bmake looks,
// and puts the log into the .meta file.
func (m *meta) record(status int, flags ...string) *filemon {
	m.t.Helper()
	args := append(append([]string{"-q", "-o", m.dir + "/log"}, flags...), "--", "sh", "-c", m.command)
	cmd := exec.Command(filepath.Join(tools, "fanrec"), args...)
	cmd.Dir, cmd.Env = m.dir+"/obj", append(os.Environ(), "TMPDIR="+m.dir+"/tmp")
	out, err := cmd.CombinedOutput()
	if got, ok := exitStatus(err); !ok || got != status {
		m.t.Fatalf("fanrec: %v, want status %d\n%s", err, status, out)
	}
	log, err := os.ReadFile(m.dir + "/log")
	if err != nil {
		m.t.Fatal(err)
	}
	l, err := parse(log)
	if err != nil {
		m.t.Fatal(err)
	}
	text := append(slices.Clip(m.head), "\n-- filemon acquired metadata --\n"...)
	if err := os.WriteFile(m.dir+"/obj/prog.meta", append(text, log...), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return l
}

// bmake runs bmake with flags and returns what it says.
func (m *meta) bmake(flags ...string) string {
	m.t.Helper()
	return m.run(exec.Command("bmake", flags...))
}

func (m *meta) run(cmd *exec.Cmd) string {
	m.t.Helper()
	cmd.Dir, cmd.Env = m.dir+"/make", append(os.Environ(), "TMPDIR=/tmp")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// rebuilds tells whether bmake would make the target again.
func (m *meta) rebuilds(said string) bool { return strings.Contains(said, m.command) }

// inputs returns the files that the log says were read, and that are there.
func (m *meta) inputs(l *filemon) []string {
	var out []string
	for _, r := range l.records {
		if r.letter != 'R' && r.letter != 'E' {
			continue
		}
		path := r.paths[0]
		if path == m.dir+"/obj/prog" || bmakedir.Ignored(path) {
			continue
		}
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// TestBmake: with the log of a real compile bmake finds the target up to date,
// until any of the files changes that the compile has read.
func TestBmake(t *testing.T) {
	m := newMeta(t, compiler)
	l := m.record(0)
	if err := l.complete(); err != nil {
		t.Fatal(err)
	}
	if said := m.bmake("-n"); m.rebuilds(said) {
		t.Fatalf("nothing changed, and bmake rebuilds:\n%s", m.bmake("-n", "-dM"))
	}
	inputs := m.inputs(l)
	for name := range compile {
		path := filepath.Join(m.dir, name)
		isInput := strings.HasPrefix(name, "src/") || strings.HasPrefix(name, "include/")
		if slices.Contains(inputs, path) != isInput {
			t.Errorf("%s is among what was read: %v", name, !isInput)
		}
	}
	if len(inputs) < 10 {
		t.Errorf("only %d files were read: %v", len(inputs), inputs)
	}
	// What is outside the directory belongs to the system: there a newer copy
	// is mounted over it, where only that bmake sees it.
	namespaces := exec.Command("unshare", "-m", "true").Run() == nil
	tried := 0
	for i, path := range inputs {
		var said string
		if strings.HasPrefix(path, m.dir) {
			m.age(path, time.Hour)
			said = m.bmake("-n", "-dM")
			m.age(path, -time.Hour)
		} else if namespaces {
			newer := fmt.Sprintf("%s/copies/%d", m.dir, i)
			if out, err := exec.Command("cp", "-p", path, newer).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			m.age(newer, time.Hour)
			said = m.run(exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" "$2" && exec bmake -n -dM`, "sh", newer, path))
			os.Remove(newer)
		} else {
			continue
		}
		if !m.rebuilds(said) || !strings.Contains(said, path) {
			t.Errorf("%s is newer, and bmake does not rebuild for it:\n%s", path, said)
		}
		tried++
	}
	t.Logf("%d of %d files tried", tried, len(inputs))
	if said := m.bmake("-n"); m.rebuilds(said) {
		t.Errorf("all is as it was, and bmake rebuilds:\n%s", said)
	}
	// And really.
	m.age(m.dir+"/include/nested/deep.h", time.Hour)
	if said := m.bmake(); !m.rebuilds(said) {
		t.Errorf("a header is newer, and bmake does not rebuild:\n%s", said)
	}
}

// TestBmakeIncomplete: a log with a loss makes bmake rebuild, always.
func TestBmakeIncomplete(t *testing.T) {
	m := newMeta(t, compiler)
	if err := m.record(125, "--call-ring", "4096").incomplete(); err != nil {
		t.Fatal(err)
	}
	if said := m.bmake("-n"); !m.rebuilds(said) {
		t.Errorf("the log is not complete, and bmake does not rebuild:\n%s", said)
	}
}

// TestBmakeNames: files with odd names that come and go do not make bmake
// rebuild for ever.
func TestBmakeNames(t *testing.T) {
	for name, command := range map[string]string{
		"plain":     "echo x >%s/ext/t1; cat %s/ext/t1 >prog; mv %s/ext/t1 %s/ext/t2; rm %s/ext/t2",
		"blank":     "echo x >'%s/ext/t 1'; cat '%s/ext/t 1' >prog; mv '%s/ext/t 1' '%s/ext/t 2'; cat '%s/ext/t 2'",
		"quote":     "echo x >\"%s/ext/it's\"; cat \"%s/ext/it's\" >prog; mv \"%s/ext/it's\" %s/ext/t2; cat %s/ext/t2",
		"links":     "echo x >'%s/ext/a b'; ln '%s/ext/a b' '%s/ext/c d'; ln -s '%s/ext/a b' %s/ext/l; cat %s/ext/l >prog",
		"temporary": "mkdir %s/ext/d; echo x >%s/ext/d/f; cat %s/ext/d/f >prog; rm -r %s/ext/d",
		"directory": "mkdir %s/ext/d; echo x >%s/ext/d/f; cat %s/ext/d/f >prog; mv %s/ext/d %s/ext/e; rm -r %s/ext/e",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeta(t, command)
			os.RemoveAll(m.dir + "/ext")
			if err := os.Mkdir(m.dir+"/ext", 0o755); err != nil {
				t.Fatal(err)
			}
			m.record(0, "--modify", "--attrib", "--absent")
			if said := m.bmake("-n"); m.rebuilds(said) {
				log, _ := os.ReadFile(m.dir + "/log")
				t.Errorf("nothing changed, and bmake rebuilds:\n%s\n%s", m.bmake("-n", "-dM"), log)
			}
		})
	}
}

// TestMeta2deps: bmake's script that makes dependencies out of .meta files
// reads a log without complaint. Its later versions also want an X for every E.
func TestMeta2deps(t *testing.T) {
	const script = "/usr/share/mk/meta2deps.py"
	if _, err := os.Stat(script); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3")
	}
	m := newMeta(t, compiler)
	l := m.record(0, "--modify", "--attrib", "--absent") // with comments and letters of our own among the records
	var executed, ended, absent []int
	for _, r := range l.records {
		switch r.letter {
		case 'E':
			executed = append(executed, r.pid)
		case 'X':
			ended = append(ended, r.pid)
		case 'N':
			absent = append(absent, r.pid)
		}
	}
	if len(absent) < 10 {
		t.Errorf("only %d look-ups failed", len(absent))
	}
	if said := m.bmake("-n"); m.rebuilds(said) {
		t.Errorf("nothing changed, and bmake rebuilds:\n%s", m.bmake("-n", "-dM"))
	}
	for _, pid := range executed {
		if !slices.Contains(ended, pid) {
			t.Errorf("process %d has an E and no X", pid)
		}
	}
	cmd := exec.Command("python3", script, "-m", "any", "-S", m.dir, "-C", m.dir+"/make", "-O", m.dir+"/obj", m.dir+"/obj/prog.meta")
	if said := m.run(cmd); strings.Contains(said, "ERROR") || !strings.Contains(said, "include/nested") {
		t.Errorf("%v says:\n%s", cmd.Args, said)
	}
}
