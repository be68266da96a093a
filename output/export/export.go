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
	if o.Log == nil {
		o.Log = func(error) {}
	}
	p := &program{argv: o.Argv, head: *head, log: o.Log, lives: map[int]life{}}
	if err := p.start(nil); err != nil {
		return nil, err
	}
	s, err := spool.New(spool.Options{
		Format: format, Limit: o.Spool, Batch: pipeBytes, Slow: "the collector did not take them in time", Failed: "not all records could be sent", Log: o.Log, Retry: o.retry,
	}, p, head, nil)
	if err != nil {
		p.Close()
		return nil, err
	}
	return &Export{s, p}, nil
}

// Own tells whether what a process did at a time, in ns since 1970, was done by the
// program.
func (e *Export) Own(pid int, at int64) bool {
	e.to.mu.Lock()
	defer e.to.mu.Unlock()
	l, ok := e.to.lives[pid]
	return ok && l.from <= at && at <= l.to
}

// Refused returns how many records the other side has refused.
func (e *Export) Refused() int { return int(e.to.refused.Load()) }
