// Package storm holds programs that put a recorder under stress, and the checks of the log that they must leave.
//
// The programs are the subcommands of program/storm.c. They leave no trace of what they did: every record, and the
// order of those that have one, follows from the storm's parameters alone. Flipflop, Forest and the others say what a storm
// must leave (Want), Parse reads what a recorder left, and Check compares the two. Where the order is a matter of chance,
// Replay asks whether the log's can have been.
package storm

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed program/storm.c
var source []byte

// Build compiles storm.c into dir with the system's C compiler, and returns the absolute path of the program. It is
// static, so that it opens no file which its storms do not ask for.
func Build(dir string) (string, error) {
	program, err := filepath.Abs(filepath.Join(dir, "storm"))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(program+".c", source, 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command("cc", "-O2", "-pthread", "-static", "-o", program, program+".c").CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile storm.c: %w\n%s", err, out)
	}
	return program, nil
}
