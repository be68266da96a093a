package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"fanrec/output"
	"fanrec/output/export"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
)

// exportFlags say where records go beside the log.
type exportFlags struct {
	otlp     string
	resource []string
	only     bool // nothing is written to a file
}

func (f *exportFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.otlp, "otlp", "", "send records to the collector at `URL` by OTLP, as http://collector:4318 or grpc://collector:4317")
	fl.StringArrayVar(&f.resource, "resource", nil, "with --otlp: add `NAME=VALUE` to what says of whom records are (repeatable)")
}

// exporter is the program that speaks OTLP: it stands beside this one, or in $PATH.
const exporter = "fanrec-otlp"

// options understands the flags, for recordings of these units.
func (f *exportFlags) options(units []string, spool int, log zerolog.Logger) (*export.Options, error) {
	path, err := findExporter()
	if err != nil {
		return nil, fmt.Errorf("--otlp: %w", err)
	}
	argv := []string{path, "--acks"}
	if len(units) == 1 {
		unit := units[0]
		if !strings.Contains(unit, ".") {
			unit += ".service"
		}
		argv = append(argv, "--resource", "systemd.unit="+unit, "--resource", "service.name="+strings.TrimSuffix(unit, ".service"))
	}
	for _, r := range f.resource {
		argv = append(argv, "--resource", r)
	}
	return &export.Options{Argv: append(argv, "--", f.otlp), Spool: spool, Log: func(err error) {
		log.Warn().Msg(err.Error())
	}}, nil
}

func findExporter() (string, error) {
	if path := os.Getenv(exporterVariable); path != "" {
		return path, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), exporter)
		if _, err := os.Stat(beside); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return beside, err
		}
	}
	path, err := exec.LookPath(exporter)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside fanrec nor in $PATH; make install puts it there", exporter)
	}
	return path, nil
}

// tee writes to several logs.
type tee []recordLog

func (t tee) Write(r *output.Record) {
	for _, to := range t {
		to.Write(r)
	}
}

func (t tee) Comment(text string) {
	for _, to := range t {
		to.Comment(text)
	}
}

func (t tee) Flush() {
	for _, to := range t {
		to.Flush()
	}
}

// Err returns why the first cannot be written.
func (t tee) Err() error { return t[0].Err() }

// GiveUp has each wait no longer.
func (t tee) GiveUp() {
	for _, to := range t {
		to.GiveUp()
	}
}

// End ends each with what is missing in all, and makes the trailer say what is missing
// in any.
func (t tee) End(tr *output.Trailer) error {
	var errs []error
	all := tr.Incomplete
	for _, to := range t {
		own := output.Trailer{Stop: tr.Stop, Incomplete: tr.Incomplete[:len(tr.Incomplete):len(tr.Incomplete)]}
		errs = append(errs, to.End(&own))
		all = append(all, own.Incomplete[len(tr.Incomplete):]...)
	}
	tr.Incomplete = all
	return errors.Join(errs...)
}

var _ recordLog = (*export.Export)(nil)
