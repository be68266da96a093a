package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"fanrec/output"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The SDK's own batch processor drops what waits when the collector is away. Here
// nothing is dropped: who sends waits, and so does who hands on records.

// batch is a processor that gathers what is emitted.
type batch struct{ records []sdk.Record }

func (b *batch) Enabled(context.Context, sdk.EnabledParameters) bool { return true }
func (b *batch) Shutdown(context.Context) error                      { return nil }
func (b *batch) ForceFlush(context.Context) error                    { return nil }

func (b *batch) OnEmit(_ context.Context, r *sdk.Record) error {
	b.records = append(b.records, r.Clone())
	return nil
}

// sender sends batches until they are taken.
type sender struct {
	to      sdk.Exporter
	attrs   []attribute.KeyValue // of the resource
	host    string               // whose
	logger  log.Logger           // of that; nil before the first header
	batch   *batch
	waits   func(error)              // the collector does not take them now
	refused func(n int, why string)  // it will never take these
	wait    func(time.Duration) bool // false: nobody waits any more

	refusals int // since something was taken
}

// maxRefusals is after how many refusals it is not looked for what is at fault any more.
const maxRefusals = 20

// flush sends what was emitted. It returns an error only if it was given up.
func (s *sender) flush(ctx context.Context) error {
	err := s.send(ctx, s.batch.records)
	clear(s.batch.records)
	s.batch.records = s.batch.records[:0]
	return err
}

// How long to wait before what failed is tried again: twice as long each time.
const (
	firstWait = 500 * time.Millisecond
	lastWait  = 30 * time.Second
)

// errGivenUp is returned when nobody waits any more.
var errGivenUp = errors.New("given up")

func (s *sender) send(ctx context.Context, records []sdk.Record) error {
	for pause := firstWait; len(records) > 0; pause = min(2*pause, lastWait) {
		err := s.to.Export(ctx, records)
		switch v, n := verdictOf(err); v {
		case taken:
			s.refusals = 0
			return nil
		case partly:
			s.refused(n, reason(err))
			return nil
		case tooMuch, never:
			if s.refusals++; len(records) == 1 || v == never && s.refusals > maxRefusals {
				s.refused(len(records), reason(err))
				return nil
			}
			// One of them may be at fault, or all of them together.
			half := len(records) / 2
			if err := s.send(ctx, records[:half]); err != nil {
				return err
			}
			records = records[half:]
			pause = firstWait
			continue
		}
		s.waits(errors.New(reason(err)))
		if !s.wait(pause) {
			return fmt.Errorf("%w: %s", errGivenUp, reason(err))
		}
	}
	return nil
}

// verdict is what an answer of the collector means for what was sent.
type verdict int

const (
	taken   verdict = iota
	partly          // but for some, which it refuses
	later           // it may be taken if it is sent again
	tooMuch         // less at once may be taken
	never
)

// The SDK tells by its texts only what the collector said: tests have them from real
// ones.
var (
	refusal  = regexp.MustCompile(`(?s)OTLP partial success: .*\((\d+) [a-z ]+ rejected\)`)
	httpSaid = regexp.MustCompile(`failed to send logs to .*?: (\d{3}) `)
)

// verdictOf understands what an exporter returned; n is how many are refused.
func verdictOf(err error) (v verdict, n int) {
	if err == nil {
		return taken, 0
	}
	text := err.Error()
	if m := refusal.FindStringSubmatch(text); m != nil {
		fmt.Sscan(m[1], &n)
		if n == 0 { // a warning
			return taken, 0
		}
		return partly, n
	}
	if strings.Contains(text, "too large: exceeded") {
		return tooMuch, 0
	}
	if m := httpSaid.FindStringSubmatch(text); m != nil {
		switch m[1] {
		case "413":
			return tooMuch, 0
		case "301", "302", "303", "307", "308", "401", "403", "404", "405", "407", "408", "421", "425":
			return later, 0 // somebody will mend the collector, its address or a password
		}
		return never, 0 // OTLP says so of all others
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		switch s.GRPCStatus().Code() {
		case codes.InvalidArgument, codes.Internal, codes.FailedPrecondition, codes.AlreadyExists:
			return never, 0
		case codes.ResourceExhausted:
			if strings.Contains(text, "larger than max") {
				return tooMuch, 0
			}
		}
	}
	return later, 0
}

// reason is an error in one line that a terminal can show.
func reason(err error) string {
	return output.Printable(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
}

// orphaned tells whether the process that has started this one is gone.
func orphaned(parent int) bool { return os.Getppid() != parent }
