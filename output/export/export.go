// Package export hands a recording to another program that sends it somewhere, and
// knows what that has dealt with: what it has not is handed on again if it ends.
package export

import (
	"time"

	"fanrec/output"
	"fanrec/output/spool"
)

// Options of an export.
type Options struct {
	Argv  []string    // the program with its arguments, which speaks as cmd/fanrec-otlp --acks does
	Spool int         // bytes that may wait for it; 0: 64 MiB
	Log   func(error) // what goes wrong and is tried again; may be nil

	retry time.Duration // for tests
}

// An Export is a recording that is handed to a program.
type Export struct {
	*spool.Spool
	to *program
}

// format is what the program reads.
const format = "jsonl"

// Open starts the program and begins a recording for it.
func Open(o Options, head *output.Header) (*Export, error) {
	p := &program{argv: o.Argv, head: *head}
	if err := p.start(); err != nil {
		return nil, err
	}
	s, err := spool.New(spool.Options{
		Format: format, Limit: o.Spool, Batch: pipeBytes, Slow: "the collector did not take them in time", Log: o.Log, Retry: o.retry,
	}, p, head, nil)
	if err != nil {
		p.Close()
		return nil, err
	}
	return &Export{s, p}, nil
}

// PID returns the number of the program's process, 0 if it does not run now.
func (e *Export) PID() int { return int(e.to.pid.Load()) }
