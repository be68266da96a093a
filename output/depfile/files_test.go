package depfile

import (
	"strings"
	"testing"

	"fanrec/output"

	"github.com/google/go-cmp/cmp"
)

// files takes a filemon log, without header and trailer.
func files(t *testing.T, records string) *Files {
	t.Helper()
	log := "# filemon version 5\n# Target pid 1\n# Start 1.000000\nV 5\n" + records + "# Stop 2.000000\n# Bye bye\n"
	r, err := output.NewFilemonReader(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	var f Files
	var rec output.Record
	for r.Read(&rec) == nil {
		f.Add(&rec)
	}
	if r.Trailer().Incomplete != nil {
		t.Fatal(r.Trailer().Incomplete)
	}
	return &f
}

// What was looked for in vain and can still appear.
func TestAbsent(t *testing.T) {
	for name, c := range map[string]struct{ records, want string }{
		"a header that another directory has": {"N 1 /a/x.h\nN 1 /b/x.h\nR 1 /c/x.h\n", "/a/x.h /b/x.h"},
		"each once":                           {"N 1 /x\nN 2 /x\n", "/x"},
		"made afterwards":                     {"N 1 /o\nW 1 /o\nN 1 /t\nW 1 /t\nD 1 /t\nN 1 /l\nL 1 'text' '/l'\nN 1 /m\nW 1 /u\nM 1 '/u' '/m'\n", ""},
		"found afterwards":                    {"N 1 /x\nR 1 /x\nN 1 /d\nR 1 /d/y\n", ""},
		"removed before":                      {"D 1 /x\nN 1 /x\nM 1 '/y' '/z'\nN 1 /y\n", ""},
		"below what was removed":              {"W 1 /t\nN 1 /t/d/x\nD 1 /t\nN 1 /t2/x\n", "/t2/x"},
		"in a new directory that stays":       {"W 1 /n\nN 1 /n/x\n", "/n/x"},
		"below a file":                        {"N 1 /f.zip/x\nR 1 /f.zip\n", "/f.zip/x"},
		"with a newline":                      {"N 1 /a\\012b\n", "/a\nb"},
		"nothing":                             {"R 1 /x\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := files(t, c.records)
			if got := strings.Join(f.Absent(), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if in := f.Inputs(); name == "below a file" && !cmp.Equal(in, []string{"/f.zip"}) {
				t.Errorf("inputs %q", in)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	for name, c := range map[string]struct{ records, inputs, outputs string }{
		"a compiler": {`E 1 /usr/bin/cc
R 1 /lib/ld.so
R 1 /src/a.c
R 1 /src/a.h
W 1 /tmp/cc.s
R 1 /tmp/cc.s
W 1 /out/a.o
D 1 /tmp/cc.s
`, "/lib/ld.so /src/a.c /src/a.h /usr/bin/cc", "/out/a.o"},
		"written beside, then renamed":      {"R 1 /f\nW 1 /f.new\nM 1 '/f.new' '/f'\n", "", "/f"},
		"read before it was replaced":       {"R 1 /in\nR 1 /f\nD 1 /f\nW 1 /f\n", "/in", "/f"},
		"gone at the end":                   {"R 1 /f\nD 1 /f\n", "", ""},
		"a directory that is moved":         {"W 1 /t\nW 1 /t/d\nW 1 /t/d/a\nR 1 /t/d/a\nM 1 '/t' '/o'\nR 1 /o/d/a\n", "", "/o/d/a"},
		"a directory that was there, moved": {"R 1 /t/a\nM 1 '/t' '/o'\nR 1 /o/b\n", "/o/b", "/o/a"},
		"directories":                       {"C 1 /w\nR 1 /w\nR 1 /d\nR 1 /d/a\nW 1 /n\nW 1 /n/b\n", "/d/a", "/n/b"},
		"links":                             {"L 1 '/a' '/b'\nR 1 /b\nL 1 'text' '/s'\nR 1 /s\n", "/a", "/b /s"},
		"made by another":                   {"R 1 /x\nF 1 2\nW 2 /y\nR 1 /y\nX 2 0 0\n", "/x", "/y"},
		"each once":                         {"R 1 /x\nR 2 /x\nR 1 /x\n", "/x", ""},
		"no files":                          {"F 1 2\nX 2 0 0\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := files(t, c.records)
			if diff := cmp.Diff(strings.Fields(c.inputs), f.Inputs()); diff != "" && len(c.inputs)+len(f.Inputs()) > 0 {
				t.Errorf("inputs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(strings.Fields(c.outputs), f.Outputs()); diff != "" && len(c.outputs)+len(f.Outputs()) > 0 {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		})
	}
}
