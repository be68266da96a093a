package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// asPrinted has a shell print what it would call fanrec with.
const asPrinted = `
fanrec() { printf '%s\0' "$@" >&3; printf '\0' >&3; }
sudo() { "$@"; }
pidof() { echo 4711; }
jq() { cat >/dev/null; }
USER=me
`

// TestExamples: the commands that help and manual pages show have flags that fanrec
// understands, as they are printed.
func TestExamples(t *testing.T) {
	seen := 0
	each(newRoot(), func(c *cobra.Command) {
		if c.Example == "" || c.Parent() != nil && c.Parent().Name() == "completion" {
			return
		}
		dir := t.TempDir()
		for _, name := range []string{"log.jsonl", "filemon.out"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", asPrinted+c.Example)
		cmd.Dir, cmd.ExtraFiles = dir, []*os.File{w}
		out, err := cmd.CombinedOutput()
		w.Close()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", c.CommandPath(), err, out)
		}
		var all bytes.Buffer
		if _, err := all.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		for call := range strings.SplitSeq(strings.TrimSuffix(all.String(), "\x00\x00"), "\x00\x00") {
			args := strings.Split(call, "\x00")
			root := newRoot()
			of, rest, err := root.Find(args)
			if err == nil {
				err = of.ParseFlags(rest)
			}
			if err == nil {
				err = refuseEmpty(of.Flags())
			}
			if err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), args, err)
			}
			seen++
		}
	})
	if seen < 20 {
		t.Errorf("%d examples", seen)
	}
}
