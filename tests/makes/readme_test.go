package makes

import (
	"fanrec/tests/bmakedir"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: the commands that README.md has for each make do what it says, as they
// are printed there.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## For make\n")
	section, _, _ = strings.Cut(section, "\n## ")
	intro, rest, _ := strings.Cut(section, "\n### ")
	for _, part := range strings.Split(rest, "\n### ") {
		name, body, _ := strings.Cut(part, "\n")
		t.Run(name, func(t *testing.T) {
			program := map[string]string{"bmake": "bmake", "bmake with filemon": fantrace, "ninja": "ninja", "GNU make": "make"}[name]
			need(t, program, "cc")
			dir := bmakedir.Make(t)
			bin := filepath.Join(dir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(fanrec, filepath.Join(bin, "fanrec")); err != nil {
				t.Fatal(err)
			}
			if program == fantrace {
				path, err := filepath.Abs(fantrace)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(path, filepath.Join(bin, filepath.Base(path))); err != nil {
					t.Fatal(err)
				}
				t.Setenv("FANREC_SOCKET", serve(t))
			}
			cmd := exec.Command("sh", "-e", "-c", "sudo() { \"$@\"; }\n"+block(intro)+block(body))
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "USER=root")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			// Once to begin with, and for the header.
			if n := len(regexp.MustCompile(`(?m)^.*cc .*-o prog$`).FindAll(out, -1)); n != 2 {
				t.Errorf("prog is made %d times, want 2:\n%s", n, out)
			}
			if _, err := os.Stat(dir + "/prog"); err != nil {
				t.Error(err)
			}
		})
	}
}

// block returns the indented lines of a text, without the indentation.
func block(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line, ok := strings.CutPrefix(line, "    "); ok {
			b.WriteString(line)
		}
	}
	return b.String()
}
