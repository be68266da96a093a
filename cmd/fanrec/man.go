package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"

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
		Use:   "man [DIRECTORY]",
		Short: "Print the manual page, or write all pages into a directory",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				b, err := page("fanrec.1")
				if err == nil {
					_, err = cmd.OutOrStdout().Write(b)
				}
				if err != nil {
					return fmt.Errorf("write the manual page: %w", err)
				}
				return nil
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
