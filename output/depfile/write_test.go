package depfile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// odd are names that make or ninja could take for something else. What no rule of
// make can name is told apart.
var odd = []string{
	"plain", "a b", " lead", "trail ", "tab\tx", "hash#x", "dollar$x", "$(X)", "colon:x", "semi;x", "percent%x", "star*x", "what?x", "set[a]x",
	"eq=x", "x=", "~home", "bar|x", "|", "amp&x", `back\x`, `back\\x`, `slash\ x`, `end\`, `a\#b`, `a\:b`, "quote'x", `quote"x`, "(paren)", "{brace}", "comma,x", "dot.", "@at", "+plus", "-dash", "!", "x::y", ":=", "%", "ü", "\xff",
}

// Whatever a file is called, the target is up to date exactly until it changes.
func TestWriteMake(t *testing.T) {
	need(t, "make")
	builder(t, []string{"$(X)", "semi;x"}, func(r *Rule, b *bytes.Buffer) error { return r.WriteMake(b) }, "makefile", "include d\nt:\n\t@touch t\n", func(dir string) (string, error) {
		return run(dir, "make", "-f", "makefile", "-q", "t")
	})
}

func TestWriteNinja(t *testing.T) {
	need(t, "ninja")
	builder(t, []string{"tab\tx", "semi;x", "star*x", "what?x", "bar|x", "|", "amp&x", `end\`, "quote'x", `quote"x`}, func(r *Rule, b *bytes.Buffer) error { return r.WriteNinja(b) }, "build.ninja", "rule r\n command = touch -d '30 minutes ago' t\n depfile = d\nbuild t: r\n", func(dir string) (string, error) {
		if _, err := os.Stat(filepath.Join(dir, ".ninja_log")); err != nil {
			if out, err := run(dir, "ninja"); err != nil { // it wants to have made the target itself
				return out, err
			}
		}
		out, err := run(dir, "ninja", "-n", "-d", "explain")
		if err == nil && !strings.Contains(out, "no work to do") {
			return out, os.ErrInvalid
		}
		return out, err
	})
}

func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip(err)
	}
}

func run(dir string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// builder asks a real builder about each odd name, alone and behind others.
func builder(t *testing.T, cannot []string, write func(*Rule, *bytes.Buffer) error, file, text string, upToDate func(dir string) (string, error)) {
	refused := map[string]bool{}
	for _, name := range odd {
		for _, list := range [][]string{{name}, {"first", name, "last"}} {
			dir := t.TempDir()
			old := time.Now().Add(-time.Hour)
			for _, n := range list {
				if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(filepath.Join(dir, n), old, old); err != nil {
					t.Fatal(err)
				}
			}
			var b bytes.Buffer
			if err := write(&Rule{Target: "t", Inputs: list}, &b); err != nil {
				refused[name] = true
				continue
			}
			for n, text := range map[string]string{"t": "", "d": b.String(), file: text} {
				if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := upToDate(dir); err != nil {
				t.Errorf("%q of %q is not up to date: %v\n%s%s", name, list, err, out, b.String())
				continue
			}
			now := time.Now().Add(time.Hour)
			os.Chtimes(filepath.Join(dir, name), now, now)
			if out, err := upToDate(dir); err == nil || strings.Contains(out, "***") {
				t.Errorf("%q of %q is up to date though it changed\n%s%s", name, list, out, b.String())
			}
		}
	}
	var got []string
	for _, name := range odd {
		if refused[name] {
			got = append(got, name)
		}
	}
	if diff := cmp.Diff(cannot, got); diff != "" {
		t.Errorf("names that cannot be written (-want +got):\n%s", diff)
	}
}

// A target is up to date as long as what is absent is not there, and it is not when that
// is there, however old it is. Once it was made again, it is up to date.
func TestWriteMakeAbsent(t *testing.T) {
	for _, name := range []string{"MAKEFLAGS", "MAKELEVEL"} {
		t.Setenv(name, "") // of a make that runs the tests
	}
	need(t, "make")
	var refused []string
	for _, name := range odd {
		for _, list := range [][]string{{name}, {"first", "d/" + name, "last"}} {
			dir := t.TempDir()
			var b bytes.Buffer
			if err := (&Rule{Target: "t", Absent: list}).WriteMake(&b); err != nil {
				if len(list) == 1 {
					refused = append(refused, name)
				}
				continue
			}
			old := time.Now().Add(-2 * time.Hour)
			put := func(name, text string, at time.Time) {
				t.Helper()
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, at, at); err != nil {
					t.Fatal(err)
				}
			}
			makes := func() string {
				out, _ := run(dir, "make", "-f", "makefile")
				return out
			}
			put("d/x", "", old)
			put("t", "", old.Add(time.Hour))
			put("dep", b.String(), old)
			put("makefile", "t:\n\t@echo remade; touch -d 'next year' t\ninclude dep\n", old)
			if out := makes(); !strings.Contains(out, "up to date") {
				t.Errorf("%q are absent: %s%s", list, out, b.String())
				continue
			}
			put(list[len(list)/2], "", old.Add(-time.Hour))
			if out := makes(); out != "remade\n" {
				t.Errorf("%q is there: %s%s", list[len(list)/2], out, b.String())
			} else if out = makes(); !strings.Contains(out, "up to date") {
				t.Errorf("%q is there, and the target was made: %s%s", list[len(list)/2], out, b.String())
			}
		}
	}
	if diff := cmp.Diff([]string{"$(X)", "semi;x"}, refused); diff != "" {
		t.Errorf("names that cannot be written (-want +got):\n%s", diff)
	}
}

func TestWriteRefuses(t *testing.T) {
	if err := (&Rule{Target: "t", Absent: []string{}}).WriteNinja(nil); err != ErrAbsent {
		t.Errorf("ninja, absent: %v", err)
	}
	for _, name := range []string{"a(b{c", "a\nb"} {
		var b bytes.Buffer
		if err := (&Rule{Target: "t", Absent: []string{name}}).WriteMake(&b); err == nil || b.Len() > 0 {
			t.Errorf("make, absent %q: %v, wrote %q", name, err, b.String())
		}
	}
	for _, name := range []string{"a\nb", "a\rb"} {
		var b bytes.Buffer
		r := Rule{Target: "t", Inputs: []string{name}}
		if err := r.WriteMake(&b); err == nil || b.Len() > 0 || strings.Contains(err.Error(), "\n") {
			t.Errorf("make: %v, wrote %q", err, b.String())
		}
		if err := r.WriteNinja(&b); err == nil || b.Len() > 0 {
			t.Errorf("ninja: %v, wrote %q", err, b.String())
		}
	}
}

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	r := Rule{Target: "t", Inputs: []string{"/<a>", "/\xff"}}
	if r.Absent = []string{"/x"}; r.WriteJSON(&b) != nil || !strings.HasPrefix(b.String(), `{"absent":["/x"],"inputs":`) {
		t.Errorf("with absent: %s", b.String())
	}
	b.Reset()
	if r.Absent = nil; r.WriteJSON(&b) != nil {
		t.Error("not written")
	}
	const want = `{"inputs":["/<a>","/\ufffd"],"inputs_raw":["LzxhPg==","L/8="],"outputs":[],"target":"t"}` + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
