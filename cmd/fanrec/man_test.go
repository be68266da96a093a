package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra/doc"
)

var update = flag.Bool("update", false, "write the manual pages")

// TestManPages: the pages say what the commands say of themselves.
func TestManPages(t *testing.T) {
	root := newRoot()
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
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
		// The library writes the month, and nobody wants that of a build.
		want = bytes.Replace(want, []byte(`"Jan 1970"`), []byte(`""`), 1)
		name := filepath.Join("man", filepath.Base(path))
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
