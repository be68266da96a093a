// Command skips runs go test with its arguments and tells which tests were
// skipped, and why. In CI, where CI is "true", each of them is a failure: what a
// test needs is installed there, so what it misses is a fault of the set-up.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	skipped, err := run(os.Args[1:], os.Stdout)
	for _, s := range skipped {
		fmt.Println("skipped:", s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(1)
	}
	if len(skipped) > 0 && os.Getenv("CI") == "true" {
		fmt.Fprintf(os.Stderr, "skips: %d tests did not run in CI: install what they miss (PACKAGES in the Makefile)\n", len(skipped))
		os.Exit(1)
	}
}

// run runs go test. What packages say goes to out, and what a test says that fails.
func run(args []string, out io.Writer) (skipped []string, err error) {
	// What make says to makes below it is not for those that tests run.
	for _, name := range []string{"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"} {
		os.Unsetenv(name)
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	skipped, err = follow(events, out)
	return skipped, errors.Join(err, cmd.Wait())
}

// follow reads what go test -json writes.
func follow(events io.Reader, out io.Writer) (skipped []string, err error) {
	said := map[string]string{} // by tests that are running
	in := json.NewDecoder(events)
	for {
		var e struct{ Action, Package, Test, Output string }
		if err := in.Decode(&e); err == io.EOF {
			return skipped, nil
		} else if err != nil {
			return skipped, fmt.Errorf("read what go test says: %w", err)
		}
		test := e.Package + " " + e.Test
		switch {
		case e.Action == "build-output", e.Action == "output" && e.Test == "" && e.Output != "PASS\n":
			io.WriteString(out, e.Output)
		case e.Test == "":
		case e.Action == "output":
			said[test] += e.Output
		case e.Action == "fail":
			io.WriteString(out, said[test])
			delete(said, test)
		case e.Action == "skip":
			skipped = append(skipped, test+": "+reason(said[test]))
			delete(said, test)
		case e.Action == "pass":
			delete(said, test)
		}
	}
}

// reason returns what a test said of its own accord.
func reason(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}
