package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// pages are the manual pages, made of the commands by TestManPages -update: what
// makes them is not linked into the program, whose start it would slow down.
//
//go:embed man/*.1
var pages embed.FS

// pageVersion stands in a page where the version comes.
const pageVersion = "@VERSION@"

// page returns a page as it is printed.
func page(name string) ([]byte, error) {
	b, err := pages.ReadFile("man/" + name)
	return bytes.ReplaceAll(b, []byte(pageVersion), []byte(fullVersion())), err
}

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man [COMMAND | DIRECTORY]",
		Short: "Print a manual page, or write all pages into a directory",
		Long: `fanrec man prints the manual page, or that of one of its commands, for man(1):

  fanrec man attach | man -l -

With a directory, which is made if it has a / in its name, it writes all pages there.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "fanrec.1"
			if len(args) > 0 {
				name = "fanrec-" + args[0] + ".1"
			}
			if b, err := page(name); err == nil || len(args) == 0 {
				if err == nil {
					_, err = cmd.OutOrStdout().Write(b)
				}
				if err != nil {
					return fmt.Errorf("write the manual page: %w", err)
				}
				return nil
			}
			if st, err := os.Stat(args[0]); !strings.Contains(args[0], "/") && (err != nil || !st.IsDir()) {
				return fmt.Errorf("%s is no command of fanrec, and no directory; write ./%s to have that made", args[0], args[0])
			}
			if err := writePages(args[0]); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			return nil
		},
	}
}

func writePages(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := pages.ReadDir("man")
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := page(e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
