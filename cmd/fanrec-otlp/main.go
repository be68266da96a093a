// Command fanrec-otlp sends a recording, as JSON lines from standard input, to a
// collector by OTLP. "fanrec attach --otlp" runs it; it has a process of its own so
// that what speaks with the network has none of fanrec's rights, and so that who does
// not need it does not pay for it.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"fanrec/output"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"golang.org/x/sys/unix"
)

var version = "unknown"

const usage = `usage: fanrec-otlp [flags] ENDPOINT <recording.jsonl

Sends a recording of fanrec, as JSON lines, to a collector by OTLP: each record is a
log record. ENDPOINT is a URL: http://collector:4318 (or https) for OTLP over HTTP,
grpc://collector:4317 (or grpcs) for gRPC. The variables OTEL_EXPORTER_OTLP_HEADERS,
_CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY, _COMPRESSION and _TIMEOUT,
OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME mean what OpenTelemetry says.

What the collector does not take is sent again until it does. Its exit status is 0 if
all was taken, and 1 if not, or if the recording is none.

  fanrec search --start yesterday -f jsonl /var/log/fanrec/web.jsonl |
      fanrec-otlp --resource service.name=web http://localhost:4318

Flags:
`

func main() {
	fl := pflag.NewFlagSet("fanrec-otlp", pflag.ContinueOnError)
	fl.SortFlags = false
	fl.Usage = func() { fmt.Fprint(os.Stderr, usage, fl.FlagUsages()) }
	resources := fl.StringArray("resource", nil, "add an attribute of the resource, as `NAME=VALUE` (repeatable)")
	acks := fl.Bool("acks", false, "tell on standard output what was taken, for fanrec")
	wanted := fl.Bool("version", false, "print the version")
	fl.MarkHidden("acks")
	err := fl.Parse(os.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err == nil && *wanted:
		fmt.Println("fanrec-otlp", version)
		return
	case err == nil && fl.NArg() != 1:
		fl.Usage()
		os.Exit(1)
	}
	if err == nil {
		err = run(fl.Arg(0), *resources, *acks)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanrec-otlp:", reason(err))
		os.Exit(1)
	}
}

func run(endpoint string, resources []string, acks bool) error {
	ctx := context.Background()
	if !acks { // else fanrec decides
		var stop func()
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	} else {
		beLast()
		signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	}
	// Of what is told by errors nothing comes by this.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	attrs, err := parseResources(resources)
	if err != nil {
		return err
	}
	to, err := newExporter(ctx, endpoint) // it may read keys that are root's
	if err != nil {
		return err
	}
	if err := dropRights(); err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	report := newReporter(acks)
	s := &sender{to: to, batch: &batch{}, attrs: attrs, waits: report.waits, refused: report.refused}
	parent := os.Getppid()
	s.wait = func(d time.Duration) bool {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
		return ctx.Err() == nil && !(acks && orphaned(parent))
	}
	report.ready()
	return cmp.Or(s.copy(ctx, os.Stdin, report), report.err())
}

// parseResources understands --resource.
func parseResources(given []string) ([]attribute.KeyValue, error) {
	attrs := []attribute.KeyValue{semconv.ServiceName("fanrec")}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--resource %s: want NAME=VALUE", text)
		}
		attrs = append(attrs, attribute.String(name, value))
	}
	return attrs, nil
}

// of makes what is emitted from here on of a machine: that of the recording, which need
// not be this one.
func (s *sender) of(ctx context.Context, host string) error {
	own, _ := os.Hostname()
	if host == "" {
		host = own
	}
	if s.logger != nil && host == s.host {
		return nil
	}
	options := []resource.Option{resource.WithOSType(), resource.WithTelemetrySDK(), resource.WithAttributes(semconv.HostName(host))}
	if host == own {
		options = append(options, resource.WithHostID())
	}
	res, err := resource.New(ctx, append(options, resource.WithAttributes(s.attrs...), resource.WithFromEnv())...)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) { // a machine may have no id
		return err
	}
	provider := sdk.NewLoggerProvider(sdk.WithResource(res), sdk.WithProcessor(s.batch), sdk.WithAttributeCountLimit(-1))
	s.host, s.logger = host, provider.Logger("fanrec", log.WithInstrumentationVersion(version))
	return nil
}

// maxBatch is how many records are sent at once.
const maxBatch = 2000

// copy sends recordings, one behind the other, until there are no more.
func (s *sender) copy(ctx context.Context, from *os.File, report *reporter) error {
	in := bufio.NewReaderSize(from, 256<<10)
	if _, err := in.Peek(1); err == io.EOF {
		return nil
	}
	r, err := output.NewJSONLStream(in)
	if err != nil {
		return err
	}
	// What was read is dealt with, but for so many lines.
	flush := func(but int) error {
		if err := s.flush(ctx); err != nil {
			return err
		}
		return report.sent(r.Line() - but)
	}
	r.Idle(func() error {
		if readable(from) {
			return nil
		}
		return flush(0)
	})
	var rec output.Record
	for {
		if err := s.of(ctx, r.Header().Host); err != nil {
			return err
		}
		s.logger.Emit(ctx, begin(r.Header(), time.Now()))
		for err = r.Read(&rec); err == nil; err = r.Read(&rec) {
			if s.logger.Emit(ctx, logRecord(&rec, time.Now())); len(s.batch.records) >= maxBatch {
				if err := flush(0); err != nil {
					return err
				}
			}
		}
		if err != io.EOF {
			return cmp.Or(err, flush(1)) // the last line was not understood
		}
		s.logger.Emit(ctx, end(r.Trailer(), time.Now()))
		if err := flush(0); err != nil {
			return err
		}
		if err := r.Next(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// readable tells whether something is there to be read now.
func readable(f *os.File) bool {
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	return err == nil && n > 0
}
