package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIRECTORY]",
		Short: "Print the manual page, or write all pages into a directory",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "FANREC", Section: "1", Source: "fanrec " + fullVersion(), Manual: "User Commands"}
			if len(args) == 0 {
				if err := doc.GenMan(root, header, cmd.OutOrStdout()); err != nil {
					return fmt.Errorf("write the manual page: %w", err)
				}
				return nil
			}
			if err := os.MkdirAll(filepath.Clean(args[0]), 0o755); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			return nil
		},
	}
}
