// Command collector is the OTLP receiver of the OpenTelemetry Collector, and writes
// what it receives as JSON lines of OTLP to standard output. It is a module of its own:
// the tests only need it, and it needs much.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

// The arguments are where to listen for HTTP and for gRPC, and how what is received is
// answered: taken, or refused for good.
func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(http, grpc, how string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f := otlpreceiver.NewFactory()
	cfg := f.CreateDefaultConfig()
	err := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"http": map[string]any{"endpoint": http}, "grpc": map[string]any{"endpoint": grpc},
	}}).Unmarshal(cfg)
	if err != nil {
		return err
	}
	var json plog.JSONMarshaler
	next, err := consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		if how == "refuse" {
			return consumererror.NewPermanent(fmt.Errorf("not these %d", logs.LogRecordCount()))
		}
		b, err := json.MarshalLogs(logs)
		if err == nil {
			_, err = os.Stdout.Write(append(b, '\n'))
		}
		return err
	})
	if err != nil {
		return err
	}
	settings := receiver.Settings{ID: component.NewID(f.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	r, err := f.CreateLogs(ctx, settings, cfg, next)
	if err != nil {
		return err
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	<-ctx.Done()
	return r.Shutdown(context.Background())
}
