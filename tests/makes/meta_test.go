package makes

import (
	"bytes"
	"fanrec/tests/bmakedir"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree is a directory with what bmake makes in it.
type tree struct {
	t   *testing.T
	dir string
}

// newTree makes one; $D in a file is the directory. All files are old.
func newTree(t *testing.T, files map[string]string) *tree {
	t.Helper()
	need(t, "bmake")
	tr := &tree{t, bmakedir.Make(t)}
	for name, text := range files {
		path := filepath.Join(tr.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "$D", tr.dir)), 0o644); err != nil {
			t.Fatal(err)
		}
		tr.age(name, -time.Hour)
	}
	return tr
}

func (tr *tree) age(name string, by time.Duration) {
	tr.t.Helper()
	then := now.Add(by)
	if err := os.Chtimes(filepath.Join(tr.dir, name), then, then); err != nil {
		tr.t.Fatal(err)
	}
}

// run runs a command in the directory and returns what it says.
func (tr *tree) run(status int, argv ...string) string {
	tr.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = tr.dir
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != status {
		tr.t.Fatalf("%v: exit status %d, want %d\n%s", argv, got, status, out)
	}
	return string(out)
}

// meta records a bmake, which ends with a status.
func (tr *tree) meta(status int, args ...string) string {
	tr.t.Helper()
	out := tr.run(status, append([]string{fanrec, "meta", "--", "bmake"}, args...)...)
	tr.settle()
	return out
}

// settle makes all that was made half an hour old: bmake counts in seconds.
func (tr *tree) settle() {
	tr.t.Helper()
	err := filepath.WalkDir(tr.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if then := now.Add(-30 * time.Minute); err == nil && st.ModTime().After(then) {
			err = os.Chtimes(path, then, then)
		}
		return err
	})
	if err != nil {
		tr.t.Fatal(err)
	}
}

// outdated returns the targets that bmake would make: the words behind ">" in
// what it would run.
func (tr *tree) outdated(args ...string) string {
	tr.t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`[^>]>(\w+)`).FindAllStringSubmatch(tr.run(0, append([]string{"bmake", "-n"}, args...)...), -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func (tr *tree) is(why, want string, args ...string) {
	tr.t.Helper()
	if got := tr.outdated(args...); got != want {
		tr.t.Errorf("%s: out of date are %q, want %q\n%s", why, got, want, tr.run(0, append([]string{"bmake", "-ndM"}, args...)...))
	}
}

// younger tells what is out of date while a file is younger.
func (tr *tree) younger(name, want string, args ...string) {
	tr.t.Helper()
	tr.age(name, time.Hour)
	tr.is(name+" is younger", want, args...)
	tr.age(name, -time.Hour)
}

const mode = ".MAKE.MODE = meta curdirok=yes missing-filemon=yes\n.MAKE.META.BAILIWICK = $D\n"

// modes are the ways in which bmake runs jobs.
func modes(t *testing.T, test func(t *testing.T, flags []string)) {
	for _, flags := range [][]string{nil, {"-j1"}, {"-j4"}} {
		t.Run("bmake"+strings.Join(flags, ""), func(t *testing.T) { test(t, flags) })
	}
}

// TestNestedMakes: what an inner make runs is in its own .meta files, in whatever
// directory, and the job around it has what the inner make read itself.
func TestNestedMakes(t *testing.T) {
	modes(t, func(t *testing.T, flags []string) {
		tr := newTree(t, map[string]string{
			"Makefile": mode + "all: outer other plain\nouter: .META\n\tcat $D/a >outer\n\t${.MAKE} -C $D/sub\n\tcat $D/b >>outer\n" +
				"other: .META\n\t@-cat $D/c >other\n\tcat $D/d >>other; exit 0\nplain: .META other\n\tprintf '%s\\n' 'it'\\''s' \"$$HOME\" ${:!cat $D/asked!:Q} >plain\n",
			"sub/Makefile":    mode + ".OBJDIR: $D/sub/obj\n.include \"$D/sub/included.mk\"\nall: .PHONY inner\n\tcat $D/e >/dev/null\ninner: .META\n\tcat $D/f >inner\n",
			"sub/included.mk": "", "sub/obj/empty": "", "a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "asked": "x",
		})
		inner := []string{"-C", tr.dir + "/sub"}
		if said := tr.meta(0, flags...); !strings.Contains(said, "fanrec: records for 4 .meta files\n") {
			t.Errorf("it says:\n%s", said)
		}
		tr.is("nothing changed", "")
		tr.is("nothing changed within", "", inner...)
		for name, want := range map[string]string{"a": "outer", "b": "outer", "c": "other plain", "d": "other plain", "e": "outer", "f": "", "sub/included.mk": "outer", "asked": ""} {
			tr.younger(name, want)
		}
		tr.younger("f", "inner", inner...)
		tr.younger("e", "", inner...)
	})
}

// TestFailures: a command that fails has its records, as with filemon; after one
// that is killed, or a make that is, nothing half made looks up to date.
func TestFailures(t *testing.T) {
	modes(t, func(t *testing.T, flags []string) {
		tr := newTree(t, map[string]string{
			"Makefile": mode + "all: fails killed good\nfails: .META\n\tcat $D/a >fails; exit 3\nkilled: .META\n\tcat $D/a >killed; kill -9 $$$$\ngood: .META\n\tcat $D/b >good\n" +
				"orphaned: .META\n\tcat $D/a >orphaned; kill -9 $$PPID; sleep 0.3\n\tcat $D/b >>orphaned\n",
			"a": "", "b": "",
		})
		status := 1 // of -k; without -j that is no error
		if flags == nil {
			status = 0
		}
		said := tr.meta(status, append([]string{"-k"}, flags...)...)
		if !strings.Contains(said, "fanrec: "+tr.dir+"/killed.meta: the command was killed by signal 9; bmake will make its target again\n") {
			t.Errorf("it says:\n%s", said)
		}
		tr.is("as it is", "killed", "-k")
		tr.younger("a", "fails killed", "-k")
		tr.younger("b", "good killed", "-k")
		tr.meta(137, append([]string{"orphaned"}, flags...)...)
		tr.is("make was killed", "orphaned", "orphaned")
	})
}

// TestInterrupt: what a make was at when it was interrupted is made again, though
// it is precious; what was done before is not.
func TestInterrupt(t *testing.T) {
	modes(t, func(t *testing.T, flags []string) {
		tr := newTree(t, map[string]string{
			"Makefile": mode + "all: .PRECIOUS first last\nfirst: .META\n\tcat $D/a >first\nlast: .META first\n\tcat $D/a >last; cat $D/fifo\n.PRECIOUS: last\n",
			"a":        "",
		})
		fifo := filepath.Join(tr.dir, "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(fanrec, append([]string{"meta", "-q", "--", "bmake"}, flags...)...)
		cmd.Dir, cmd.SysProcAttr = tr.dir, &syscall.SysProcAttr{Setpgid: true}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns when the job reads
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 2 && got != 130 {
			t.Errorf("exit status %d\n%s", got, said.String())
		}
		if _, err := os.Stat(tr.dir + "/last"); err != nil {
			t.Fatal(err)
		}
		tr.is("interrupted", "last")
	})
}

// TestLoss: after an incomplete recording all that was made in it is made again.
func TestLoss(t *testing.T) {
	files := map[string]string{"Makefile": mode + "all:", "a": ""}
	var all []string
	for i := range 8 {
		name := fmt.Sprintf("t%d", i)
		all = append(all, name)
		files["Makefile"] += " " + name
	}
	for _, name := range all {
		files["Makefile"] += "\n" + name + ": .META\n\tcat $D/a >" + name
	}
	files["Makefile"] += "\n"
	tr := newTree(t, files)
	said := tr.run(125, fanrec, "meta", "--call-ring", "4096", "--", "bmake", "-j2")
	if !strings.Contains(said, "fanrec: INCOMPLETE: ") || !strings.Contains(said, "\nfanrec: bmake will make the targets of 8 .meta files again\n") {
		t.Errorf("it says:\n%s", said)
	}
	tr.is("incomplete", strings.Join(all, " "))
	tr.meta(0, "-j2")
	tr.is("made again", "")
	// And so is what nobody recorded.
	if err := os.Remove(tr.dir + "/t3"); err != nil {
		t.Fatal(err)
	}
	tr.run(0, "bmake", "-j2")
	tr.settle()
	tr.is("made without fanrec", "t3")
}

// TestFullDisk: where there is no room for a section, the .meta is spoilt where it
// stands, and its target made again.
func TestFullDisk(t *testing.T) {
	need(t, "unshare", "mount")
	tr := newTree(t, map[string]string{
		// More records than what is left of the last page of the .meta.
		"Makefile":   mode + "all: full\nfull: .META\n\tcat $D/a >full; for i in 1 2 3 4 5 6 7 8; do cat $D/a; done; head -c 1048576 /dev/zero >$D/disk/rest || true\n", // never more than that, wherever it goes
		"a":          "",
		"disk/empty": "",
		"run.sh": "mount -t tmpfs -o size=256k none $D/disk && cp -p $D/Makefile $D/a $D/disk && cd $D/disk\n" +
			"status=0; $1 meta -- bmake || status=$?; echo status $status\n" +
			"rm rest; head -n 3 full.meta; bmake -n\n",
	})
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skip("no mount namespaces")
	}
	said := tr.run(0, "unshare", "-m", "sh", "-e", "run.sh", fanrec)
	for _, want := range []string{"\nstatus 125\n", "\nfanrec: write " + tr.dir + "/disk/full.meta: ", "no space left on device", "\n-- filemon\nR 1\n", "\ncat " + tr.dir + "/a >full; for "} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// TestUser: sections are written with the rights of the user that make runs as.
func TestUser(t *testing.T) {
	tr := newTree(t, map[string]string{
		"Makefile":    mode + "all: mine evil\nmine: .META\n\tcat $D/a >mine\nevil: .META\n\tcat $D/a >evil; ln -sf $D/closed/victim evil.meta\n",
		"a":           "",
		"closed/link": "",
	})
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("no user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	for _, err := range []error{os.Chmod(tr.dir, 0o755), os.Chown(tr.dir, uid, -1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("setpriv", "--reuid="+nobody.Uid, "--clear-groups", "ls", tr.dir).CombinedOutput(); err != nil {
		t.Skipf("nobody cannot get here: %s", out)
	}
	victim := "# Meta data file " + tr.dir + "/evil.meta\nCMD cat\nCWD /\n-- command output --\n\n"
	if err := os.WriteFile(tr.dir+"/closed/victim", []byte(victim), 0o666); err != nil {
		t.Fatal(err)
	}
	said := tr.run(125, fanrec, "meta", "--user", "nobody", "--", "bmake")
	if !strings.Contains(said, "fanrec: open "+tr.dir+"/evil.meta: too many levels of symbolic links\n") {
		t.Errorf("it says:\n%s", said)
	}
	if b, _ := os.ReadFile(tr.dir + "/closed/victim"); string(b) != victim {
		t.Errorf("root's file was changed:\n%s", b)
	}
	st, err := os.Stat(tr.dir + "/mine.meta")
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != uint32(uid) {
		t.Errorf("%+v, %v", st, err)
	}
	tr.younger("a", "mine", "mine")
}

// TestSameAsAlone: the section of a job is the log that its command has when it is
// recorded alone.
func TestSameAsAlone(t *testing.T) {
	need(t, "bmake", "gcc", "ar")
	p := newProject(t)
	writeBmake(p)
	l := loop{project: p, maker: makers()[0]}
	l.run(0)
	for _, name := range []string{"gen", "lib00.o", "liball.a", "twice"} {
		target := p.target(name)
		if err := os.Remove(p.path("obj/" + name)); err != nil {
			t.Fatal(err)
		}
		argv := []string{"/bin/sh", "-c", p.commandOf(target)}
		if !strings.ContainsAny(target.command, ";>&|") {
			argv = strings.Fields(p.commandOf(target)) // bmake does without a shell
		}
		cmd := exec.Command(fanrec, append([]string{"-q", "-o", p.path("log"), "--"}, argv...)...)
		cmd.Dir = p.path("obj")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		alone, err := os.ReadFile(p.path("log"))
		if err != nil {
			t.Fatal(err)
		}
		made, err := os.ReadFile(p.path("obj/" + name + ".meta"))
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(made), "\n-- filemon acquired metadata --\n")
		if diff := cmp.Diff(anonymous(string(alone)), anonymous(section)); diff != "" {
			t.Errorf("%s: (-alone +in the .meta):\n%s", name, diff)
		}
	}
}

// anonymous returns the records of a log, with processes and temporary files named in the
// order in which they appear.
func anonymous(log string) []string {
	names := map[string]string{}
	name := func(word, prefix string) string {
		if names[word] == "" {
			names[word] = prefix + strconv.Itoa(len(names))
		}
		return names[word]
	}
	temporary := regexp.MustCompile(`/tmp/cc\w+|/st\w{6}`)
	var out []string
	for line := range strings.Lines(log) {
		if line[0] == '#' {
			continue
		}
		word := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if word[0] != "V" {
			word[1] = name(word[1], "p")
		}
		if word[0] == "F" {
			word[2] = name(word[2], "p")
		}
		out = append(out, temporary.ReplaceAllStringFunc(strings.Join(word, " "), func(s string) string { return name(s, "tmp") }))
	}
	return out
}

// named returns the targets that the makefile says depend on one: with -n bmake
// knows of no others, for it makes none of them.
func (p *project) named(name string) []string {
	var out []string
	for _, t := range p.targets {
		if slices.Contains(t.declared, name) {
			out = append(append(out, t.name), p.named(t.name)...)
		}
	}
	return out
}

// TestSystemFiles: a younger compiler or system header has bmake make what read it.
// The newer copy is mounted over the file where only that bmake sees it.
func TestSystemFiles(t *testing.T) {
	need(t, "bmake", "gcc", "ar", "unshare")
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skip("no mount namespaces")
	}
	p := newProject(t)
	writeBmake(p)
	l := loop{project: p, maker: makers()[2]}
	l.run(0)
	l.age()
	reads := map[string][]string{} // file: targets
	for _, target := range p.targets {
		for _, file := range readMeta(p, target) {
			below := strings.HasPrefix(file, p.dir) || bmakedir.Ignored(file)
			if st, err := os.Stat(file); !below && err == nil && st.Mode().IsRegular() && !slices.Contains(reads[file], target.name) {
				reads[file] = append(reads[file], target.name)
			}
		}
	}
	tried := 0
	for _, file := range slices.Sorted(maps.Keys(reads)) {
		if !long && !slices.Contains([]string{"stdio.h", "cc1", "Scrt1.o", "rm"}, filepath.Base(file)) {
			continue
		}
		tried++
		newer := p.path("newer")
		if out, err := exec.Command("cp", file, newer).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.Chmod(newer, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" "$2" && exec bmake -C "$3" -f "$4" -n`, "sh", newer, file, p.path("obj"), p.path("Makefile"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, out)
		}
		want := slices.Clone(reads[file])
		for _, name := range reads[file] {
			want = append(want, p.named(name)...)
		}
		slices.Sort(want)
		var got []string
		for _, target := range p.targets {
			if strings.Contains("\n"+string(out), "\n"+p.commandOf(target)+"\n") {
				got = append(got, target.name)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
			t.Errorf("%s is younger: (-want +got):\n%s", file, diff)
		}
		os.Remove(newer)
	}
	if tried < 4 {
		t.Errorf("only %d files tried, of %d", tried, len(reads))
	}
	t.Logf("%d of %d files tried", tried, len(reads))
}
