package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the manual pages")

// The library writes the default value of a flag behind it: --duration=0s, --key="".
var (
	defaultValue = regexp.MustCompile(`(?m)^(\\fB-.*\\fP)="?([A-Z=]+)"?$`)
	noValue      = regexp.MustCompile(`(?m)^(\\fB-.*\\fP)\[=.*\]$`)
)

// describe has the library write what a flag wants instead of its default value, and
// that, where it says something, behind what the flag is for.
func describe(f *pflag.Flag) {
	want, usage := pflag.UnquoteUsage(f)
	if f.NoOptDefVal == "" {
		if d := f.DefValue; d != "" && d != "0" && d != "0s" && d != "[]" && d != "false" {
			usage += fmt.Sprintf(" (default %s)", d)
		}
		f.DefValue = strings.ToUpper(want)
	}
	f.Usage = usage
}

// each calls a function for a command and all below it.
func each(c *cobra.Command, fn func(*cobra.Command)) {
	for _, below := range c.Commands() {
		each(below, fn)
	}
	fn(c)
}

// TestManPages: the pages say what the commands say of themselves.
func TestManPages(t *testing.T) {
	root := newRoot()
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	each(root, func(c *cobra.Command) {
		c.LocalFlags().VisitAll(describe)
		if c.Name() == "completion" { // its own help says enough
			c.RemoveCommand(c.Commands()...)
		}
	})
	dir := t.TempDir()
	date := time.Unix(0, 0)
	header := &doc.GenManHeader{Title: "FANREC", Section: "1", Date: &date, Source: "fanrec " + pageVersion, Manual: "User Commands"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(made) < 8 {
		t.Fatal(made, err)
	}
	for _, path := range made {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		if command := strings.TrimSuffix(name, ".1"); command != "fanrec" {
			want = bytes.Replace(want, []byte(`"FANREC"`), []byte(`"`+strings.ToUpper(command)+`"`), 1)
		}
		want = defaultValue.ReplaceAll(want, []byte("$1 \\fI$2\\fP"))
		want = noValue.ReplaceAll(want, []byte("$1"))
		// The library writes the month, and nobody wants that of a build.
		want = bytes.Replace(want, []byte(`"Jan 1970"`), []byte(`""`), 1)
		name = filepath.Join("man", name)
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what the command says (-want +got); go test ./cmd/fanrec -run ManPages -update writes it:\n%s", name, diff)
		}
	}
	pages, err := filepath.Glob("man/*.1")
	if err != nil || len(pages) != len(made) {
		t.Errorf("%d pages, want %d: %v", len(pages), len(made), err)
	}
}
