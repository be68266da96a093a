package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"fanrec/tests/rights"
)

// unitFile is the template that records a unit of systemd.
const unitFile = "../../contrib/systemd/fanrec@.service"

// setting returns what a unit file says of a name.
func setting(t *testing.T, name string) (words []string) {
	t.Helper()
	b, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			words = append(words, strings.Fields(value)...)
		}
	}
	if len(words) == 0 {
		t.Fatalf("%s has no %s", unitFile, name)
	}
	return words
}

// TestUnit: systemd finds nothing wrong with the template, and what it allows is what
// the recorder needs: every system call that it makes, with just these capabilities.
func TestUnit(t *testing.T) {
	needRoot(t)
	for _, p := range []string{"systemd-analyze", "strace", "capsh"} {
		if _, err := exec.LookPath(p); errors.Is(err, exec.ErrNotFound) {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	b, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	instance := filepath.Join(dir, "fanrec@web.service")
	text := strings.Replace(string(b), "/usr/local/bin/fanrec", filepath.Join(tools, "fanrec"), 1)
	if err := os.WriteFile(instance, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", instance).CombinedOutput(); err != nil || strings.Contains(string(out), "fanrec@") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}

	allowed := map[string]bool{}
	for _, word := range setting(t, "SystemCallFilter") {
		expand(t, word, allowed)
	}
	trace, log := filepath.Join(dir, "trace"), filepath.Join(dir, "log.jsonl")
	drop, err := rights.Others(setting(t, "CapabilityBoundingSet"))
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", "while :; do cat /etc/passwd >"+dir+"/x; sleep 0.1; done")
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { shell.Process.Kill(); shell.Wait() }()
	// capsh keeps these capabilities only, as systemd would.
	script := "exec " + filepath.Join(tools, "fanrec") + " attach " + strconv.Itoa(shell.Process.Pid) + " -q --duration 3s -f jsonl -o " + log +
		" --rotate 4K,1s --keep 2 --metrics 127.0.0.1:0"
	out, err := exec.Command("strace", "-f", "-qq", "-o", trace, "capsh", "--drop="+drop, "--", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z_0-9]+)\(`).FindAllStringSubmatch(string(calls), -1) {
		seen[m[1]] = true
	}
	if !seen["bpf"] || !seen["fanotify_init"] {
		t.Fatal("strace did not see a recorder")
	}
	for name := range seen {
		if !allowed[name] {
			t.Errorf("SystemCallFilter= forbids %s", name)
		}
	}
	if names, _ := filepath.Glob(log + ".*"); len(names) == 0 {
		t.Error("nothing was rotated")
	}
}

// expand adds the calls of a group, or one.
func expand(t *testing.T, word string, to map[string]bool) {
	t.Helper()
	if !strings.HasPrefix(word, "@") {
		to[word] = true
		return
	}
	out, err := exec.Command("systemd-analyze", "syscall-filter", "--no-pager", word).Output()
	if err != nil {
		t.Fatal(word, err)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if name := strings.TrimSpace(line); name != "" && !strings.HasPrefix(name, "#") && name != word {
			expand(t, name, to)
		}
	}
}
