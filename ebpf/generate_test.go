package ebpf

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// generatedBy is the compiler that the committed objects are of: that of Debian
// 12. Another one makes other objects of the same source.
const generatedBy = "Debian clang version 14.0.6"

// The objects that are committed, so that nobody needs clang, are those of the
// source beside them.
func TestGenerated(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(clang, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", clang, err)
	}
	if !strings.HasPrefix(string(version), generatedBy) {
		t.Skipf("clang is not %q: %.40q", generatedBy, version)
	}
	headers := exec.Command(clang, "-target", "bpf", "-fsyntax-only", "-x", "c", "-")
	headers.Stdin = strings.NewReader("typedef unsigned __u32; typedef unsigned long long __u64;\n#include <bpf/bpf_core_read.h>\n")
	if out, err := headers.CombinedOutput(); bytes.Contains(out, []byte("file not found")) {
		t.Skipf("no headers of libbpf: %v\n%s", err, out)
	} else if err != nil {
		t.Fatalf("headers of libbpf: %v\n%s", err, out)
	}

	dir, tool := t.TempDir(), filepath.Join(t.TempDir(), "bpf2go")
	if out, err := exec.Command("go", "build", "-o", tool, "github.com/cilium/ebpf/cmd/bpf2go").CombinedOutput(); err != nil {
		t.Fatalf("build the tool: %v\n%s", err, out)
	}
	// It is run here, as go generate does, but writes elsewhere.
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(doc)) {
		args, ok := strings.CutPrefix(line, "//go:generate go tool bpf2go ")
		if !ok {
			continue
		}
		lines++
		cmd := exec.Command(tool, append([]string{"-output-dir", dir}, words(strings.TrimSpace(args))...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	if lines != 2 {
		t.Fatalf("doc.go says %d times how objects are generated: want one that attaches to raw tracepoints, one by perf", lines)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(made) != 4*lines {
		t.Fatalf("generated %v, %v; want an object and a file in Go for each of two architectures, of each", made, err)
	}
	for _, path := range made {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Base(path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the source makes: run go generate ./ebpf", filepath.Base(path))
		}
	}
}

// words splits a go:generate line: at blanks that are not in quotes.
func words(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}
