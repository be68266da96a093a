package main

import (
	"fmt"
	"os"
)

// reporter tells who has started this process how it goes: fanrec in lines that it
// reads (output/export), a person in messages.
type reporter struct {
	acks    bool
	down    bool // it was said that the collector does not take them
	dropped int
	why     string
}

func newReporter(acks bool) *reporter { return &reporter{acks: acks} }

func (r *reporter) line(format string, args ...any) error {
	_, err := fmt.Fprintf(os.Stdout, format+"\n", args...)
	return err
}

// ready says that the arguments are understood.
func (r *reporter) ready() {
	if r.acks {
		r.line("ready")
	}
}

// sent says that so many lines from the beginning are dealt with.
func (r *reporter) sent(lines int) error {
	if r.acks {
		return r.line("sent %d", lines)
	}
	if r.down {
		fmt.Fprintln(os.Stderr, "fanrec-otlp: the collector takes them again")
	}
	r.down = false
	return nil
}

// waits says why nothing is taken now.
func (r *reporter) waits(err error) {
	switch {
	case r.acks:
		r.line("waits %v", err)
	case !r.down:
		fmt.Fprintf(os.Stderr, "fanrec-otlp: %v; tried again until it succeeds\n", err)
	}
	r.down = true
}

// refused says that so many records are lost.
func (r *reporter) refused(n int, why string) {
	r.dropped += n
	r.why = why
	if r.acks {
		r.line("refused %d %s", n, why)
	}
}

// err is returned at the end if records are lost.
func (r *reporter) err() error {
	if r.dropped == 0 {
		return nil
	}
	return fmt.Errorf("the collector has refused %d records: %s", r.dropped, r.why)
}
