package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"fanrec/output"
	"fanrec/output/series"

	"github.com/spf13/cobra"
)

func newConvert() *cobra.Command {
	var format, name string
	var schema schemaFlag
	cmd := &cobra.Command{
		Use:   "convert -f FORMAT [-o FILE] LOG",
		Short: "Turn a log into another format",
		Long: `fanrec convert reads a log, - for standard input, in whatever format it is, and
writes it in another. What the old format does not have, as the times of a
filemon log, is 0 or missing in the new one. A log that is not complete stays so,
and the exit status is 125.`,
		Example: `  fanrec convert -f jsonl filemon.out | jq -r 'select(.kind=="write").path'
  fanrec convert -f filemon4 -o old.out - <log.jsonl`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("want one log; try fanrec convert --help")
			}
			if err := schema.choose(cmd.Flags(), &format); err != nil {
				return err
			}
			in := os.Stdin
			if args[0] != "-" {
				var err error
				if in, err = openInput(args[0]); err != nil {
					return err
				}
				defer in.Close()
			}
			return convertTo(name, format, in, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&format, "format", "f", "jsonl", "`FORMAT` to write: filemon (version 5), filemon4, jsonl or text")
	schema.add(fl)
	fl.StringVarP(&name, "output", "o", "-", "write to `FILE`, - for standard output")
	completeFormat(cmd)
	return cmd
}

// convertTo converts a log into a file.
func convertTo(name, format string, in io.Reader, from string) error {
	if _, err := output.NewWriter(format, io.Discard); err != nil {
		return err
	}
	plain, err := series.Reader(in)
	if err != nil {
		return fmt.Errorf("read the log %s: %w", from, err)
	}
	defer plain.Close()
	r, err := output.NewReader(plain)
	if err != nil {
		return fmt.Errorf("read the log %s: %w", from, err)
	}
	file, err := openLog(name, nil)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	if err := convert(r, format, out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	if why := r.Trailer().Incomplete; len(why) > 0 {
		for _, w := range why {
			fmt.Fprintf(os.Stderr, "fanrec: INCOMPLETE: %s\n", w)
		}
		return exitStatus(exitUsage)
	}
	return nil
}

// convert writes what a reader reads, to its end.
func convert(r output.Reader, format string, out io.Writer) error {
	w, err := output.NewWriter(format, out)
	if err != nil {
		return err
	}
	if err := w.Begin(r.Header()); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	var rec output.Record
	for {
		switch err := r.Read(&rec); {
		case errors.Is(err, io.EOF):
			if err := w.End(r.Trailer()); err != nil {
				return fmt.Errorf("write the log: %w", err)
			}
			return nil
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		}
		if err := w.Write(&rec); err != nil {
			return fmt.Errorf("write the log: %w", err)
		}
	}
}
