package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fanrec/tests/oracle"
)

// The test binary is its own recorder: fake names what it does wrong.
const fake = "ORACLE_FAKE_RECORDER"

func TestMain(m *testing.M) {
	if wrong, ok := os.LookupEnv(fake); ok {
		if err := record(wrong, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "fake recorder:", err)
			os.Exit(125)
		}
		return
	}
	os.Exit(m.Run())
}

// record writes the log that strace's view of a command amounts to: of a command that runs under strace already, or else of a run of its own.
func record(wrong string, args []string) error {
	end := slices.Index(args, "--")
	command, trace, parent := args[end+1:], args[1]+".own", false
	if at := slices.Index(command, "-o"); command[0] == "strace" && at > 0 {
		trace, parent = command[at+1], true
	} else {
		command = slices.Concat([]string{"strace"}, oracle.StraceArgs, []string{"-o", trace, "--"}, command)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	disk, err := oracle.NewLive(dir)
	if err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, fake) })
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return err
	}
	f, err := os.Open(trace)
	if err != nil {
		return err
	}
	defer f.Close()
	seen, err := oracle.ReadStrace(f, dir, disk)
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], []byte(log(seen, parent, wrong)), 0o644)
}

// log is a log of a command that makes no other processes and has no odd names.
func log(seen *oracle.Trace, parent bool, wrong string) string {
	var b strings.Builder
	b.WriteString("# filemon version 5\n# Target pid 1\nV 5\n")
	if parent {
		fmt.Fprintf(&b, "F 1 %d\n", seen.Ops[0].PID)
	}
	for _, op := range seen.Ops {
		if line := op.String(); line != wrong {
			fmt.Fprintf(&b, "%c %d %s\n", op.Letter, op.PID, line[2:])
		}
		if op.Exec != nil {
			for _, path := range op.Exec.Opens {
				fmt.Fprintf(&b, "R %d %s\n", op.PID, path)
			}
		}
	}
	if wrong != "incomplete" {
		b.WriteString("# Bye bye\n")
	}
	return b.String()
}

func TestRun(t *testing.T) {
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace: %v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags  []string
		wrong  string
		agreed bool
		err    error
	}{
		"same run":   {nil, "", true, nil},
		"parallel":   {[]string{"-n", "5", "-parallel", "3"}, "", true, nil},
		"free run":   {[]string{"-free", "-n", "2"}, "", true, nil},
		"missing":    {nil, "X 0 0", false, nil},
		"incomplete": {nil, "incomplete", true, oracle.ErrIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(fake, c.wrong)
			keep := t.TempDir()
			// It works in a fresh copy only.
			args := append(c.flags, "-fanrec", self, "-keep", keep, "-copy", source, "--", "mv", "-n", "old", "new")
			cfg, err := parseFlags(args)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			agreed, err := run(cfg, &out)
			if agreed != c.agreed || !errors.Is(err, c.err) {
				t.Errorf("agreed %v, error %v\n%s", agreed, err, &out)
			}
			text, err := os.ReadFile(filepath.Join(keep, fmt.Sprintf("run-%d.fanrec", cfg.runs-1)))
			if err != nil || !strings.Contains(string(text), "/old' '") {
				t.Errorf("kept log: %v\n%s", err, text)
			}
		})
	}
}

func TestParseFlags(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		ok   bool
	}{
		"plain":               {[]string{"-fanrec", self, "--", "true", "-n"}, true},
		"no command":          {[]string{"-fanrec", self}, false},
		"no recorder":         {[]string{"-fanrec", "/nowhere/fanrec", "true"}, false},
		"parallel in one dir": {[]string{"-fanrec", self, "-parallel", "2", "true"}, false},
		"none at a time":      {[]string{"-fanrec", self, "-parallel", "0", "-copy", "/", "true"}, false},
	} {
		if _, err := parseFlags(c.args); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
