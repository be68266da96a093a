package main

import (
	"fmt"
	"slices"

	"fanrec/output"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// schemaFlag is the name of a schema, of output.Schemas; empty: none.
type schemaFlag string

func (f *schemaFlag) add(fl *pflag.FlagSet) {
	fl.StringVar((*string)(f), "schema", "", "write JSON lines with the field names of `NAME`: ecs (Elastic Common Schema) or ocsf")
}

// choose makes the schema, if there is one, the format: it is one of JSON lines.
func (f schemaFlag) choose(fl *pflag.FlagSet, format *string) error {
	switch {
	case f == "":
		return nil
	case !slices.Contains(output.Schemas, string(f)):
		return fmt.Errorf("--schema %s: want ecs or ocsf", string(f))
	case fl.Changed("format") && *format != "jsonl" && *format != string(f):
		return fmt.Errorf("--schema %s with --format %s: a schema is of jsonl; leave out one of them", string(f), *format)
	}
	*format = string(f)
	return nil
}

// completeFormat offers what --format and --schema take.
func completeFormat(cmd *cobra.Command) {
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(output.Formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("schema", cobra.FixedCompletions(output.Schemas, cobra.ShellCompDirectiveNoFileComp))
}
