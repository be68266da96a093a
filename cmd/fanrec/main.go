// Command fanrec records what a command and all its descendants do to files.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Exit statuses of fanrec's own; else it is the command's.
const (
	exitUsage   = 125 // also: fanrec failed, or the log is incomplete
	exitCannot  = 126 // the command cannot be executed
	exitMissing = 127 // the command was not found
)

// exitStatus is an error that only sets the exit status: the rest was said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	err := newRoot().Execute()
	var status exitStatus
	switch {
	case err == nil:
		return
	case errors.As(err, &status):
		os.Exit(int(status))
	default:
		fmt.Fprintf(os.Stderr, "fanrec: %v\n", err)
		os.Exit(statusOf(err))
	}
}

func newRoot() *cobra.Command {
	root := newRecord()
	root.AddCommand(newAttach(), newServe(), newConvert(), newDeps(), newDoctor(), newMeta(), newSearch(), newTop(), newVersion(), newMan())
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil && c != root {
		c.RunE = func(*cobra.Command, []string) error {
			return errors.New("for which shell? bash, zsh, fish or powershell")
		}
		c.SilenceErrors, c.SilenceUsage, c.Args = true, true, cobra.ArbitraryArgs
	}
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	return root
}
