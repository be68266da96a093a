package oracle

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A process that does a bit of everything. Line numbers count from 1.
const smallTrace = `10 execve("./outer", ["outer"], 0x1 /* 1 var */) = 0
10 openat(AT_FDCWD</tmp/t>, "in", O_RDONLY) = 3</tmp/t/in>
10 openat(AT_FDCWD</tmp/t>, "out", O_RDWR|O_CREAT, 0600) = 4</tmp/t/out>
10 fork() = 11
11 rename("out", "new")              = 0
11 openat(AT_FDCWD</tmp/t>, "log", O_RDONLY|O_CREAT, 0600) = 3</tmp/t/log>
11 +++ exited with 0 +++
10 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=11, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---
10 mkdir("new.d", 0700 <unfinished ...>
10 <... mkdir resumed>)              = 0
10 unlink("new")                     = 0
10 +++ killed by SIGTERM +++
`

// The log of the same run. Process 9 is strace.
const smallLog = `E 9 /usr/bin/strace
F 9 10
E 10 /usr/bin/dash
R 10 /tmp/t/outer
R 10 /tmp/t/inner
R 10 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
R 10 /tmp/t/in
R 10 /tmp/t/out
W 10 /tmp/t/out
W 9 /tmp/trace
F 10 11
M 11 '/tmp/t/out' '/tmp/t/new'
W 11 /tmp/t/log
R 11 /tmp/t/log
X 11 0 0
W 10 /tmp/t/new.d
D 10 /tmp/t/new
X 10 0 15
X 9 0 15
`

func parseTrace(t *testing.T, text string) []Op {
	t.Helper()
	trace, err := ReadStrace(strings.NewReader(text), captured, debian)
	if err != nil {
		t.Fatal(err)
	}
	return trace.Ops
}

// edit is how a test changes a log.
type edit func(lines []string) []string

func without1(line string) edit {
	return func(lines []string) []string {
		i := slices.Index(lines, line)
		return slices.Delete(lines, i, i+1)
	}
}

func replaced(old, with string) edit {
	return func(lines []string) []string {
		lines[slices.Index(lines, old)] = with
		return lines
	}
}

// moved takes a line out and puts it in front of another one.
func moved(line, before string) edit {
	return func(lines []string) []string {
		lines = without1(line)(lines)
		return slices.Insert(lines, slices.Index(lines, before), line)
	}
}

func inserted(line, before string) edit {
	return func(lines []string) []string { return slices.Insert(lines, slices.Index(lines, before), line) }
}

func edited(log string, edits ...edit) string {
	lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	for _, e := range edits {
		lines = e(lines)
	}
	return strings.Join(lines, "\n") + "\n"
}

// diffs are the differences of a report without line numbers.
func diffs(r *Report) []string {
	var found []string
	for _, d := range r.Diffs {
		found = append(found, string(d.Kind)+" "+d.Record.String())
	}
	slices.Sort(found)
	return found
}

func TestCompare(t *testing.T) {
	const loader = "R 10 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
	for name, c := range map[string]struct {
		edits []edit
		want  []string
	}{
		"same":               {nil, nil},
		"no optional W":      {[]edit{without1("W 11 /tmp/t/log")}, nil},
		"optional W behind":  {[]edit{moved("W 11 /tmp/t/log", "X 11 0 0")}, nil},
		"two optional W":     {[]edit{inserted("W 11 /tmp/t/log", "X 11 0 0")}, []string{"extra W /tmp/t/log"}},
		"missing":            {[]edit{without1("R 10 /tmp/t/in")}, []string{"missing R /tmp/t/in"}},
		"missing rename":     {[]edit{without1("M 11 '/tmp/t/out' '/tmp/t/new'")}, []string{"missing M '/tmp/t/out' '/tmp/t/new'"}},
		"extra":              {[]edit{inserted("W 11 /x", "X 11 0 0")}, []string{"extra W /x"}},
		"wrong letter":       {[]edit{replaced("R 10 /tmp/t/in", "W 10 /tmp/t/in")}, []string{"extra W /tmp/t/in", "missing R /tmp/t/in"}},
		"wrong path":         {[]edit{replaced("R 10 /tmp/t/in", "R 10 in")}, []string{"extra R in", "missing R /tmp/t/in"}},
		"wrong process":      {[]edit{replaced("R 11 /tmp/t/log", "R 10 /tmp/t/log")}, []string{"extra R /tmp/t/log", "missing R /tmp/t/log"}},
		"wrong exit":         {[]edit{replaced("X 10 0 15", "X 10 143 0")}, []string{"extra X 143 0", "missing X 0 15"}},
		"other process":      {[]edit{inserted("W 8 /x", "F 10 11"), inserted("R 9 /y", "F 10 11")}, nil},
		"script not loaded":  {[]edit{without1("R 10 /tmp/t/inner")}, []string{"loader E /usr/bin/dash"}},
		"nothing loaded":     {[]edit{without1("R 10 /tmp/t/outer"), without1("R 10 /tmp/t/inner"), without1(loader)}, []string{"loader E /usr/bin/dash", "loader E /usr/bin/dash", "loader E /usr/bin/dash"}},
		"loaded twice":       {[]edit{inserted("R 10 /tmp/t/inner", "R 10 /tmp/t/in")}, []string{"extra R /tmp/t/inner"}},
		"loaded too late":    {[]edit{moved(loader, "F 10 11")}, []string{"extra R /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "loader E /usr/bin/dash"}},
		"script for image":   {[]edit{replaced("E 10 /usr/bin/dash", "E 10 /tmp/t/outer")}, []string{"extra E /tmp/t/outer", "missing E /usr/bin/dash"}},
		"W before R":         {[]edit{moved("W 10 /tmp/t/out", "R 10 /tmp/t/out")}, []string{"order R /tmp/t/out", "order W /tmp/t/out"}},
		"order in a process": {[]edit{moved("R 10 /tmp/t/out", "R 10 /tmp/t/in")}, []string{"order R /tmp/t/in"}},
		"order on a path":    {[]edit{moved("M 11 '/tmp/t/out' '/tmp/t/new'", "X 11 0 0"), moved("D 10 /tmp/t/new", "M 11 '/tmp/t/out' '/tmp/t/new'"), moved("W 10 /tmp/t/new.d", "D 10 /tmp/t/new"), without1("W 11 /tmp/t/log"), without1("R 11 /tmp/t/log")}, []string{"missing R /tmp/t/log", "order M '/tmp/t/out' '/tmp/t/new'"}},
		"other paths":        {[]edit{moved("X 11 0 0", "D 10 /tmp/t/new")}, nil},
		"child before fork":  {[]edit{moved("M 11 '/tmp/t/out' '/tmp/t/new'", "F 10 11")}, []string{"frame M '/tmp/t/out' '/tmp/t/new'"}},
		"no fork":            {[]edit{without1("F 10 11")}, []string{"frame M '/tmp/t/out' '/tmp/t/new'", "missing F 11"}},
		"no exit":            {[]edit{without1("X 11 0 0")}, []string{"frame R /tmp/t/log", "missing X 0 0"}},
		"two exits":          {[]edit{inserted("X 11 0 0", "X 10 0 15")}, []string{"extra X 0 0", "frame X 0 0"}},
		"after the exit":     {[]edit{moved("X 11 0 0", "R 11 /tmp/t/log")}, []string{"extra R /tmp/t/log", "frame R /tmp/t/log", "frame R /tmp/t/log", "missing R /tmp/t/log"}},
		"no child":           {[]edit{without1("M 11 '/tmp/t/out' '/tmp/t/new'"), without1("W 11 /tmp/t/log"), without1("R 11 /tmp/t/log"), without1("X 11 0 0")}, []string{"frame F 11", "missing M '/tmp/t/out' '/tmp/t/new'", "missing R /tmp/t/log", "missing X 0 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			report := Compare(parseTrace(t, smallTrace), parseLog(t, edited(smallLog, c.edits...)))
			if diff := cmp.Diff(c.want, diffs(report)); diff != "" {
				var b strings.Builder
				_ = report.Write(&b, 0)
				t.Errorf("(-want +got):\n%s\n%s", diff, &b)
			}
		})
	}
}

func TestReport(t *testing.T) {
	log := edited(smallLog, without1("R 10 /tmp/t/in"), inserted("W 11 /x", "X 11 0 0"), inserted("W 11 /y", "X 11 0 0"))
	report := Compare(parseTrace(t, smallTrace), parseLog(t, log))
	var b strings.Builder
	if err := report.Write(&b, 1); err != nil {
		t.Fatal(err)
	}
	const want = `processes 2 strace 12 log 13 common 11 allowed 3 | recall 91.667% precision 84.615% order 0 frame 0 loader 0
  missing pid 10  R /tmp/t/in  (log:0 strace:2)
  extra   pid 11  W /x  (log:17 strace:6)
  ... and 1 more
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if report.OK() {
		t.Error("the report is all right")
	}
}

// A process id that is used twice is two processes.
func TestPIDReuse(t *testing.T) {
	trace := parseTrace(t, `10 fork() = 11
11 openat(AT_FDCWD</tmp/t>, "a", O_RDONLY) = 3</tmp/t/a>
11 +++ exited with 0 +++
10 fork( <unfinished ...>
11 openat(AT_FDCWD</tmp/t>, "b", O_RDONLY) = 3</tmp/t/b>
10 <... fork resumed>) = 11
11 +++ exited with 1 +++
10 +++ exited with 0 +++
`)
	const log = `F 10 11
R 11 /tmp/t/a
X 11 0 0
F 10 11
R 11 /tmp/t/b
X 11 1 0
X 10 0 0
`
	for name, c := range map[string]struct {
		log  string
		want []string
	}{
		"same":      {log, nil},
		"mixed up":  {edited(log, replaced("R 11 /tmp/t/a", "R 11 /tmp/t/c"), replaced("R 11 /tmp/t/b", "R 11 /tmp/t/a"), replaced("R 11 /tmp/t/c", "R 11 /tmp/t/b")), []string{"extra R /tmp/t/a", "extra R /tmp/t/b", "missing R /tmp/t/a", "missing R /tmp/t/b"}},
		"too early": {edited(log, moved("R 11 /tmp/t/b", "X 11 0 0")), []string{"extra R /tmp/t/b", "missing R /tmp/t/b"}},
	} {
		if diff := cmp.Diff(c.want, diffs(Compare(trace, parseLog(t, c.log)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Calls that overlapped others may stand in any order, but for the two records of one open.
func TestOverlap(t *testing.T) {
	trace := parseTrace(t, `10 fork() = 11
10 openat(AT_FDCWD</tmp/t>, "a", O_RDWR|O_CREAT, 0600 <unfinished ...>
11 openat(AT_FDCWD</tmp/t>, "a", O_RDONLY <unfinished ...>
10 <... openat resumed>) = 3</tmp/t/a>
11 <... openat resumed>) = 3</tmp/t/a>
11 +++ exited with 0 +++
10 openat(AT_FDCWD</tmp/t>, "a", O_RDONLY) = 3</tmp/t/a>
10 +++ exited with 0 +++
`)
	for log, want := range map[string][]string{
		"F 10 11\nR 10 /tmp/t/a\nW 10 /tmp/t/a\nR 11 /tmp/t/a\nX 11 0 0\nR 10 /tmp/t/a\nX 10 0 0\n": nil,
		"F 10 11\nR 11 /tmp/t/a\nR 10 /tmp/t/a\nW 10 /tmp/t/a\nX 11 0 0\nR 10 /tmp/t/a\nX 10 0 0\n": nil,
		"F 10 11\nR 10 /tmp/t/a\nR 11 /tmp/t/a\nW 10 /tmp/t/a\nX 11 0 0\nR 10 /tmp/t/a\nX 10 0 0\n": nil,
		"F 10 11\nW 10 /tmp/t/a\nR 10 /tmp/t/a\nR 11 /tmp/t/a\nX 11 0 0\nR 10 /tmp/t/a\nX 10 0 0\n": {"order W /tmp/t/a"},
		"F 10 11\nR 10 /tmp/t/a\nR 11 /tmp/t/a\nR 10 /tmp/t/a\nW 10 /tmp/t/a\nX 11 0 0\nX 10 0 0\n": {"order W /tmp/t/a"},
	} {
		if diff := cmp.Diff(want, diffs(Compare(trace, parseLog(t, log)))); diff != "" {
			t.Errorf("%s(-want +got):\n%s", log, diff)
		}
	}
}

// What strace cannot know must do either way, and nothing else.
func TestUnsure(t *testing.T) {
	for name, c := range map[string]struct{ trace, right, wrong string }{
		"script that is gone": {
			"10 execve(\"./gone\", [], 0x1) = 0\n10 +++ exited with 0 +++\n",
			"E 10 /usr/bin/perl\nR 10 /tmp/t/gone\nR 10 /usr/lib/ld-linux.so\nX 10 0 0\n",
			"E 10 /usr/bin/perl\nR 10 /usr/lib/ld-linux.so\nR 10 /tmp/t/gone\nX 10 0 0\n",
		},
		"image that is gone": {
			"10 execve(\"./gone\", [], 0x1) = 0\n10 +++ exited with 0 +++\n",
			"E 10 /tmp/t/gone\nR 10 /usr/lib/ld-linux.so\nX 10 0 0\n",
			"E 10 /tmp/t/other\nR 10 /usr/lib/ld-linux.so\nX 10 0 0\n",
		},
		"script that is another now": {
			"10 execve(\"./inner\", [], 0x1) = 0\n10 rename(\"x\", \"inner\") = 0\n10 +++ exited with 0 +++\n",
			"E 10 /usr/bin/perl\nR 10 /tmp/t/inner\nM 10 '/tmp/t/x' '/tmp/t/inner'\nX 10 0 0\n",
			"E 10 /usr/bin/perl\nM 10 '/tmp/t/x' '/tmp/t/inner'\nX 10 0 0\n",
		},
		"script whose directory is another now": {
			"10 execve(\"../t/inner\", [], 0x1) = 0\n10 rename(\"/tmp/x\", \"/tmp/t\") = 0\n10 +++ exited with 0 +++\n",
			"E 10 /usr/bin/perl\nR 10 /tmp/t/inner\nM 10 '/tmp/x' '/tmp/t'\nX 10 0 0\n",
			"E 10 /usr/bin/perl\nM 10 '/tmp/x' '/tmp/t'\nX 10 0 0\n",
		},
		"the killed have no result": {
			"10 unlink(\"a\" <unfinished ...>\n10 +++ killed by SIGKILL +++\n",
			"D 10 /tmp/t/a\nX 10 0 9\n",
			"D 10 /tmp/t/b\nX 10 0 9\n",
		},
		"directory renamed meanwhile": {
			"10 fork() = 11\n11 rename(\"d\", \"e\" <unfinished ...>\n10 unlink(\"d/f\") = 0\n11 <... rename resumed>) = 0\n" +
				"11 +++ exited with 0 +++\n10 +++ exited with 0 +++\n",
			"F 10 11\nM 11 '/tmp/t/d' '/tmp/t/e'\nD 10 /tmp/t/e/f\nX 11 0 0\nX 10 0 0\n",
			"F 10 11\nM 11 '/tmp/t/d' '/tmp/t/e'\nD 10 /tmp/t/g/f\nX 11 0 0\nX 10 0 0\n",
		},
		"working directory renamed meanwhile": {
			"10 chdir(\"d\") = 0\n10 fork() = 11\n10 rmdir(\"f\" <unfinished ...>\n11 rename(\"../d\", \"../e\") = 0\n10 <... rmdir resumed>) = 0\n" +
				"11 +++ exited with 0 +++\n10 +++ exited with 0 +++\n",
			"C 10 /tmp/t/d\nF 10 11\nD 10 /tmp/t/d/f\nM 11 '/tmp/t/d' '/tmp/t/e'\nX 11 0 0\nX 10 0 0\n",
			"C 10 /tmp/t/d\nF 10 11\nD 10 /tmp/t/f\nM 11 '/tmp/t/d' '/tmp/t/e'\nX 11 0 0\nX 10 0 0\n",
		},
		"directory renamed twice meanwhile": {
			"10 fork() = 11\n10 unlink(\"d/f\" <unfinished ...>\n11 rename(\"d\", \"e\") = 0\n11 rename(\"e\", \"d\") = 0\n10 <... unlink resumed>) = 0\n" +
				"11 +++ exited with 0 +++\n10 +++ exited with 0 +++\n",
			"F 10 11\nM 11 '/tmp/t/d' '/tmp/t/e'\nD 10 /tmp/t/e/f\nM 11 '/tmp/t/e' '/tmp/t/d'\nX 11 0 0\nX 10 0 0\n",
			"F 10 11\nM 11 '/tmp/t/d' '/tmp/t/e'\nD 10 /tmp/t/g/f\nM 11 '/tmp/t/e' '/tmp/t/d'\nX 11 0 0\nX 10 0 0\n",
		},
		"directory entered before its rename returned": {
			"10 fork() = 11\n11 rename(\"d\", \"e\" <unfinished ...>\n10 chdir(\"e\") = 0\n11 <... rename resumed>) = 0\n11 rename(\"e\", \"g\") = 0\n" +
				"10 unlink(\"f\") = 0\n11 +++ exited with 0 +++\n10 +++ exited with 0 +++\n",
			"F 10 11\nM 11 '/tmp/t/d' '/tmp/t/e'\nC 10 /tmp/t/e\nM 11 '/tmp/t/e' '/tmp/t/g'\nD 10 /tmp/t/g/f\nX 11 0 0\nX 10 0 0\n",
			"F 10 11\nM 11 '/tmp/t/d' '/tmp/t/e'\nC 10 /tmp/t/e\nM 11 '/tmp/t/e' '/tmp/t/g'\nD 10 /tmp/t/e/f\nX 11 0 0\nX 10 0 0\n",
		},
		"descriptor without path": {
			"10 openat(AT_FDCWD</tmp/t>, \"d/f\", O_WRONLY) = 3\n10 +++ exited with 0 +++\n",
			"W 10 /tmp/t/d/f\nX 10 0 0\n",
			"W 10 /tmp/t/f\nX 10 0 0\n",
		},
		"no path at all": {
			"10 open_by_handle_at(3</tmp/t>, {...}, O_WRONLY) = 4\n10 +++ exited with 0 +++\n",
			"W 10 /tmp/t/anything\nX 10 0 0\n",
			"R 10 /tmp/t/anything\nX 10 0 0\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			trace := parseTrace(t, c.trace)
			if got := diffs(Compare(trace, parseLog(t, c.right))); got != nil {
				t.Errorf("right log: %q", got)
			}
			if got := diffs(Compare(trace, parseLog(t, c.wrong))); got == nil {
				t.Error("wrong log: no difference")
			}
		})
	}
}
