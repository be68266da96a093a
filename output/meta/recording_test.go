package meta

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
)

// record reads a record: process, letter, path. A path after W+ is of a file that
// was made. Behind E come the arguments, between bars; LINES is one of two lines. $D is
// the directory.
func record(t *testing.T, line, dir string) *output.Record {
	t.Helper()
	pid, rest, _ := strings.Cut(line, " ")
	letter, rest, _ := strings.Cut(rest, " ")
	rest = strings.ReplaceAll(rest, "$D", dir)
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	r := &output.Record{PID: uint32(n), Time: 1e9, Op: output.Open}
	switch letter {
	case "F":
		child, err := strconv.Atoi(rest)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		r.Kind, r.Child = output.Fork, uint32(child)
	case "E":
		argv := strings.Split(rest, "|")
		for i, arg := range argv {
			argv[i] = strings.ReplaceAll(arg, "LINES", "first;\nlast >x")
		}
		r.Kind, r.Path, r.Args = output.Exec, []byte("/bin/"+filepath.Base(argv[0])), []byte(strings.Join(argv, "\x00")+"\x00")
	case "X":
		code, signal, _ := strings.Cut(rest, " ")
		r.Kind = output.Exit
		r.Code, _ = strconv.Atoi(code)
		r.Signal, _ = strconv.Atoi(signal)
	case "R":
		r.Kind, r.Path = output.Read, []byte(rest)
	case "W", "W+":
		r.Kind, r.Path = output.Write, []byte(rest)
		if letter == "W+" {
			r.Op = output.Create
		}
	case "D":
		r.Kind, r.Path = output.Delete, []byte(rest)
	default:
		t.Fatalf("%q: no such record", line)
	}
	return r
}

// made is a .meta file as make leaves it.
func made(path string, commands ...string) string {
	text := "# Meta data file " + path + "\n"
	for _, c := range commands {
		text += "CMD " + c + "\n"
	}
	return text + "CWD /w/obj\nTARGET x\n-- command output --\n\n"
}

// TestRecording: what a make did, and what then stands in its .meta files. The
// streams are real ones, without what the dynamic loader reads.
func TestRecording(t *testing.T) {
	query := "10 F 20\n20 E sh|-c|uname\n20 R /query\n20 X 0\n"
	for name, c := range map[string]struct {
		stream string
		files  map[string][]string // commands of each .meta
		want   string              // the records, and why a job was cut off
	}{
		"one shell with -j": {
			"10 E bmake|-j2\n10 W+ /tmp/makeAfvQID\n10 D /tmp/makeAfvQID\n10 W+ $D/x.meta\n10 F 11\n11 E sh\n11 R /a\n11 F 12\n12 R /b\n12 X 0\n11 X 0\n10 R /later\n10 X 0\n",
			map[string][]string{"x": {"cat /a", "cat /b"}},
			"x: E11 R/a F12 R/b X12 X11",
		},
		"two at once": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/x.meta\n10 F 11\n10 W+ /tmp/makeBBBBBB\n10 D /tmp/makeBBBBBB\n10 W+ $D/y.meta\n10 F 12\n12 E sh\n11 E sh\n12 R /y\n11 R /x\n11 X 0\n12 R /y2\n12 X 0\n",
			map[string][]string{"x": {"c"}, "y": {"c"}},
			"x: E11 R/x X11; y: E12 R/y R/y2 X12",
		},
		"what make asks for a variable, with -j": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/x.meta\n" + query + "10 F 11\n11 E sh|-e\n11 F 12\n12 E sh|-c|uname\n12 X 0\n11 X 0\n" + query,
			map[string][]string{"x": {"uname"}},
			"x: E11 F12 E12 X12 X11",
		},
		"targets without .meta, with -j": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/x.meta\n10 F 11\n11 E sh\n11 X 0\n10 W+ /tmp/makeBBBBBB\n10 D /tmp/makeBBBBBB\n10 F 12\n12 E sh\n12 R /other\n12 X 0\n",
			map[string][]string{"x": {"c"}},
			"x: E11 X11",
		},
		"no command to run, with -j": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/x.meta\n10 W+ /tmp/makeBBBBBB\n10 D /tmp/makeBBBBBB\n10 F 12\n12 E sh\n12 R /other\n12 X 0\n",
			map[string][]string{"x": {"@", "", "..."}},
			"x:",
		},
		"a child for each command without -j": {
			"10 W $D/x.meta\n10 F 11\n11 E cc|-c|a.c\n11 R /a.c\n11 X 0\n10 F 12\n12 E /bin/sh|-c|mv a b; cat c\n12 R /c\n12 X 0\n10 F 13\n13 E cat|/n\n13 R /nometa\n13 X 0\n10 W $D/y.meta\n10 F 14\n14 E touch|y\n14 X 0\n",
			map[string][]string{"x": {"cc  -c a.c", "@mv a b; cat c"}, "y": {"touch y"}},
			"x: E11 R/a.c X11 E12 R/c X12; y: E14 X14",
		},
		"what make asks for a variable, without -j": {
			"10 W $D/x.meta\n" + query + "10 F 11\n11 E cat|/a\n11 R /a\n11 X 0\n" + query + "10 F 12\n12 E sh|-c|true\n12 X 0\n",
			map[string][]string{"x": {"cat /a", "sh -c true"}},
			"x: E11 R/a X11 E12 X12",
		},
		"commands that expand to something else each time": {
			"10 W $D/x.meta\n" + query + "10 F 11\n11 E echo|12:31\n11 X 0\n10 F 12\n12 E cat|/b\n12 R /b\n12 X 0\n10 F 13\n13 E cat|/n\n13 X 0\n",
			map[string][]string{"x": {"echo 12:30", "cat /b"}},
			"x: E11 X11 E12 R/b X12",
		},
		"a command for a shell that expands to something else each time": {
			"10 W $D/x.meta\n" + query + "10 F 11\n11 E /bin/sh|-c|echo 12:31 >x\n11 X 0\n",
			map[string][]string{"x": {"echo 12:30 >x"}},
			"x: E11 X11",
		},
		// Only the texts tell that the failures were ignored.
		"commands of several lines, and longer than what is recorded, of .IGNORE": {
			"10 W $D/x.meta\n10 F 11\n11 E false\n11 X 1\n10 F 12\n12 E /bin/sh|-c|LINES\n12 X 1\n10 F 13\n13 E cc|" + strings.Repeat("long ", 1000) +
				"\n13 X 0\n10 F 14\n14 E cat|/n\n14 X 0\n",
			map[string][]string{"x": {"false", "first;\nlast >x", "cc " + strings.Repeat("long ", 2000)}},
			"x: E11 X11 E12 X12 E13 X13",
		},
		"without -j at the end of a make with -j": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 F 12\n12 E sh\n12 X 0\n10 W $D/x.meta\n10 F 13\n13 E cat|/a\n13 X 0\n10 F 14\n14 E cat|/b\n14 X 0\n",
			map[string][]string{"x": {"cat /a", "cat /b"}},
			"x: E13 X13 E14 X14",
		},
		"a command that fails, and others that make goes on with": {
			"10 W $D/x.meta\n10 F 11\n11 E false\n11 X 1\n10 F 12\n12 E cat|/n\n12 X 0\n",
			map[string][]string{"x": {"false", "touch x"}},
			"x: E11 X11 a command failed, and whose the next one was cannot be told",
		},
		"a command that fails, and another target": {
			"10 W $D/x.meta\n10 F 11\n11 E false\n11 X 1\n10 W $D/y.meta\n10 F 12\n12 E touch|y\n12 X 0\n",
			map[string][]string{"x": {"false", "touch x"}, "y": {"touch y"}},
			"x: E11 X11; y: E12 X12",
		},
		"a command that may fail": {
			"10 W $D/x.meta\n10 F 11\n11 E false\n11 X 1\n10 F 12\n12 E date|2\n12 X 0\n",
			map[string][]string{"x": {"@-false", "date 1"}},
			"x: E11 X11 E12 X12",
		},
		"a command that cannot be executed": {
			"10 W $D/x.meta\n10 F 11\n11 X 1\n",
			map[string][]string{"x": {"nosuch"}},
			"x: X11",
		},
		"an inner make has its own": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/out.meta\n10 F 11\n11 E sh\n11 F 12\n12 E bmake|-C|sub\n12 R $D/in.meta\n12 W $D/in.meta\n12 F 13\n13 E cat|/i\n13 R /i\n13 X 0\n" +
				"12 F 14\n14 E sh|-c|uname\n14 R /asked\n14 X 0\n12 X 0\n11 R /o\n11 X 0\n",
			map[string][]string{"out": {"bmake -C sub"}, "in": {"cat /i"}},
			"in: E13 R/i X13; out: E11 F12 E12 R/in.meta W/in.meta F13 F14 E14 R/asked X14 X12 R/o X11",
		},
		"others write .meta files, too": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/x.meta\n10 F 11\n11 E import\n11 W+ $D/asset.meta\n11 F 12\n12 E sh\n12 R /a\n12 X 0\n11 X 0\n",
			map[string][]string{"x": {"c"}},
			"x: E11 W/asset.meta F12 E12 R/a X12 X11",
		},
		"what make asks in so many words that they are in a file": {
			"10 W+ $D/x.meta\n10 W+ /tmp/makeAAAAAA\n10 F 20\n20 E sh|-c|. /tmp/makeAAAAAA\n20 X 0\n10 D /tmp/makeAAAAAA\n10 F 11\n11 E cat|/a\n11 X 0\n10 F 12\n12 E cat|/b\n12 X 0\n",
			map[string][]string{"x": {"cat /a", "cat /b"}},
			"x: E11 X11 E12 X12",
		},
		"made twice, the last one counts": {
			"10 W+ $D/x.meta\n10 F 11\n11 E cat|/a\n11 R /a\n11 X 0\n10 X 0\n20 W $D/x.meta\n20 F 21\n21 E cat|/b\n21 R /b\n21 X 0\n20 X 0\n",
			map[string][]string{"x": {"cat /b"}},
			"x: E21 R/b X21",
		},
		"descendants that live on": {
			"10 W+ $D/x.meta\n10 F 11\n11 E daemon\n11 F 12\n11 X 0\n12 R /late\n12 X 0\n",
			map[string][]string{"x": {"daemon"}},
			"x: E11 F12 X11",
		},
		"a number that is used again": {
			"10 W+ $D/x.meta\n10 F 11\n11 E true\n11 X 0\n10 F 11\n11 E cat|/n\n11 R /n\n11 X 0\n",
			map[string][]string{"x": {"true"}},
			"x: E11 X11",
		},
		"killed": {
			"10 W+ $D/x.meta\n10 F 11\n11 E cat|/a\n11 R /a\n11 X 0 9\n",
			map[string][]string{"x": {"cat /a"}},
			"x: E11 R/a X11 the command was killed by signal 9",
		},
		"not at its end": {
			"10 W+ /tmp/makeAAAAAA\n10 D /tmp/makeAAAAAA\n10 W+ $D/x.meta\n10 F 11\n11 E sh\n11 R /a\n10 X 2\n",
			map[string][]string{"x": {"cat /a"}},
			"x: E11 R/a the commands have not ended",
		},
		"make ended between commands": {
			"10 W+ $D/x.meta\n10 F 11\n11 E touch|x\n11 X 0\n10 X 0 9\n",
			map[string][]string{"x": {"touch x", "cat /a"}},
			"x: E11 X11 make did not run all the commands",
		},
		"make ended before": {
			"10 W+ $D/x.meta\n10 X 0 9\n",
			map[string][]string{"x": {"touch x"}},
			"x: make did not run the commands",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			paths := map[string]string{}
			for x, commands := range c.files {
				paths[x] = filepath.Join(dir, x+".meta")
				write(t, paths[x], made(paths[x], commands...))
			}
			write(t, filepath.Join(dir, "asset.meta"), "guid: 1\n")
			r := recorded(t, strings.ReplaceAll(c.stream, "$D", dir))
			if _, err := r.Sections(openFile); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range strings.Split("in out x y", " ") {
				if path := paths[x]; path != "" {
					text, why := sectionOf(t, path)
					text = strings.ReplaceAll(text, dir, "")
					if why != "" {
						text += " " + why
					}
					got = append(got, x+":"+text)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if b, _ := os.ReadFile(filepath.Join(dir, "asset.meta")); string(b) != "guid: 1\n" {
				t.Errorf("another's file was changed: %s", b)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func openFile(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR, 0) }

// recorded is a recording of a stream, at the end of which process 10 ends if it has
// not, for a reason or more not complete.
func recorded(t *testing.T, stream string, incomplete ...string) *Recording {
	t.Helper()
	spool, err := os.CreateTemp(t.TempDir(), "spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { spool.Close() })
	r := NewRecording(spool)
	errs := []error{r.Begin(&output.Header{Target: 10, Start: 1e9})}
	if !strings.Contains(stream, "10 X") {
		stream += "10 X 0\n"
	}
	for line := range strings.Lines(stream) {
		errs = append(errs, r.Write(record(t, strings.TrimSuffix(line, "\n"), "")), r.Flush())
	}
	if err := errors.Join(append(errs, r.End(&output.Trailer{Incomplete: incomplete}))...); err != nil {
		t.Fatal(err)
	}
	return r
}

// sectionOf reads the section of a .meta file, which must be a whole log: the records,
// without processes where there is a path, and why it is not complete.
func sectionOf(t *testing.T, path string) (records, why string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, log, found := strings.Cut(string(b), "-- command output --\n\n"+marker)
	if !found {
		t.Fatalf("no section:\n%s", b)
	}
	r, err := output.NewFilemonReader(strings.NewReader(log))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	var rec output.Record
	for err = r.Read(&rec); err == nil; err = r.Read(&rec) {
		records += " " + string(rec.Kind.Letter())
		switch rec.Kind {
		case output.Fork:
			records += strconv.Itoa(int(rec.Child))
		case output.Exec, output.Exit:
			records += strconv.Itoa(int(rec.PID))
		default:
			records += string(rec.Path)
		}
	}
	if !strings.HasSuffix(err.Error(), "EOF") {
		t.Fatalf("%v\n%s", err, b)
	}
	return records, strings.Join(r.Trailer().Incomplete, "; ")
}

const single = "10 W+ $D/x.meta\n10 F 11\n11 E cat|/a\n11 R /a\n11 X 0\n"

// TestIncomplete: no .meta of an incomplete recording looks like a whole one, nor
// one that nobody saw being made.
func TestIncomplete(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []string{"x", "unseen", "old"} {
		write(t, dir+"/"+x+".meta", made(dir+"/"+x+".meta", "cat /a"))
	}
	write(t, dir+"/asset.meta", "guid: 1\n")
	if err := os.Chtimes(dir+"/old.meta", time.Time{}, time.Unix(-10, 0)); err != nil {
		t.Fatal(err)
	}
	r := recorded(t, strings.ReplaceAll(single, "$D", dir), "the ring was full")
	res, err := r.Sections(openFile)
	if err != nil || res.Written != 1 || !cmp.Equal(res.Dirs, []string{dir}) {
		t.Fatalf("%+v, %v", res, err)
	}
	if n, err := r.Unknown(dir, openFile); n != 1 || err != nil {
		t.Fatalf("%d unknown, %v", n, err)
	}
	for _, x := range []string{"x", "unseen"} {
		if records, why := sectionOf(t, dir+"/"+x+".meta"); records != "" || why != "the ring was full" {
			t.Errorf("%s: %q, incomplete: %q", x, records, why)
		}
	}
	for x, want := range map[string]string{"asset": "guid: 1\n", "old": made(dir+"/old.meta", "cat /a")} {
		if b, _ := os.ReadFile(dir + "/" + x + ".meta"); string(b) != want {
			t.Errorf("%s was changed:\n%s", x, b)
		}
	}
}

// TestLeftAlone: the section of a bmake that has filemon, a file that is gone, and
// the time of a file.
func TestLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/x.meta"
	sectioned := made(path, "cat /a") + marker + "# filemon version 4\n# Target pid 1\nV 4\n# Bye bye\n"
	write(t, path, sectioned)
	stream := strings.ReplaceAll(single, "$D", dir)
	if res, err := recorded(t, stream).Sections(openFile); err != nil || res.Written != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if b, _ := os.ReadFile(path); string(b) != sectioned {
		t.Errorf("changed:\n%s", b)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if res, err := recorded(t, stream).Sections(openFile); err != nil || res.Written != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("made again: ", err)
	}
	// What a command says is no section.
	write(t, path, made(path, "cat /a")+marker+"more\n\n")
	then := time.Unix(1e9, 7)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	if res, err := recorded(t, stream).Sections(openFile); err != nil || res.Written != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if st, err := os.Stat(path); err != nil || !st.ModTime().Equal(then) {
		t.Errorf("last changed at %v, %v, want %v", st.ModTime(), err, then)
	}
}

// TestUnwritable: the file that cannot be written is told, and the others get their
// sections.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []string{"x", "y"} {
		write(t, dir+"/"+x+".meta", made(dir+"/"+x+".meta", "cat /a"))
	}
	stream := strings.ReplaceAll(single+strings.ReplaceAll(single, "x.meta", "y.meta"), "$D", dir)
	res, err := recorded(t, stream).Sections(func(path string) (*os.File, error) {
		if path == dir+"/x.meta" {
			return os.Open(path) // for reading only
		}
		return openFile(path)
	})
	if err == nil || !strings.Contains(err.Error(), "write "+dir+"/x.meta: ") || res.Written != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if records, why := sectionOf(t, dir+"/y.meta"); records != " E11 R/a X11" || why != "" {
		t.Errorf("%q, %q", records, why)
	}
}

// TestOpen: a make that goes on after the recording may still write to its .meta: what
// says that it is not whole stands where that does not come.
func TestOpen(t *testing.T) {
	path := t.TempDir() + "/x.meta"
	write(t, path, made(path, "cat /a"))
	stream := strings.ReplaceAll(single, "$D/x.meta", path)
	res, err := recorded(t, strings.ReplaceAll(stream, "10 ", "20 ")).Sections(openFile) // 10 is another, then
	if err != nil || len(res.Cut) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if b, _ := os.ReadFile(path); !strings.HasPrefix(string(b), "-- filemon\nR 1\n") {
		t.Errorf("it looks whole:\n%s", b)
	}
}

// TestSpoil: what make(1) then reads is malformed in its second line.
func TestSpoil(t *testing.T) {
	path := t.TempDir() + "/x.meta"
	whole := made(path, "cat /a")
	write(t, path, whole+"half a section")
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := spoil(f, int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	if !strings.HasPrefix(string(b), "-- filemon\nR 1\n") || len(b) != len(whole) {
		t.Errorf("%d of %d bytes:\n%s", len(b), len(whole), b)
	}
}

// TestUnfinished: until the end is written, the log is malformed to make(1).
func TestUnfinished(t *testing.T) {
	path := t.TempDir() + "/x.meta"
	write(t, path, made(path, "cat /a"))
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newSection(f, nil, &Job{Path: path, Make: 10}, nil)
	s.Write([]byte("R 11 /a\n"))
	s.w.Flush()
	b, _ := os.ReadFile(path)
	if !strings.Contains(string(b), "\n"+marker+unfinished) || strings.Contains(string(b), heading) {
		t.Errorf("before the end:\n%s", b)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if records, why := sectionOf(t, path); records != " R/a" || why != "" {
		t.Errorf("%q, %q", records, why)
	}
}
