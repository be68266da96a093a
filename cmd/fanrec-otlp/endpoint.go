package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdk "go.opentelemetry.io/otel/sdk/log"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// newExporter returns the exporter of an endpoint: http and https are OTLP over HTTP,
// grpc and grpcs over gRPC. Certificates, headers, compression and time-outs are those
// of the variables OTEL_EXPORTER_OTLP_*.
func newExporter(ctx context.Context, endpoint string) (sdk.Exporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("endpoint %q: want a URL, as http://collector:4318 or grpc://collector:4317", endpoint)
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, fmt.Errorf("endpoint %q: there is no port %s", endpoint, port)
		}
	}
	trust, err := newTLS()
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https":
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/logs"
		}
		client, err := newClient(trust)
		if err != nil {
			return nil, err
		}
		return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(u.String()), otlploghttp.WithRetry(otlploghttp.RetryConfig{}), otlploghttp.WithHTTPClient(client))
	case "grpc", "grpcs":
		opts := []otlploggrpc.Option{otlploggrpc.WithEndpoint(u.Host), otlploggrpc.WithRetry(otlploggrpc.RetryConfig{})}
		if u.Scheme == "grpc" {
			opts = append(opts, otlploggrpc.WithInsecure())
		} else {
			opts = append(opts, otlploggrpc.WithTLSCredentials(credentials.NewTLS(trust)))
		}
		return otlploggrpc.New(ctx, opts...)
	}
	return nil, fmt.Errorf("endpoint %q: %s is not known; http, https, grpc and grpcs are", endpoint, u.Scheme)
}

// variable returns what OTEL_EXPORTER_OTLP_LOGS_NAME says, or else what
// OTEL_EXPORTER_OTLP_NAME does.
func variable(name string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_LOGS_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
}

// newTLS reads the certificates that the variables name. It is done here because the
// SDK does it for a client of its own only.
func newTLS() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if name := variable("CERTIFICATE"); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("certificates to trust: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates to trust: %s has none", name)
		}
	}
	if cert, key := variable("CLIENT_CERTIFICATE"), variable("CLIENT_KEY"); cert != "" || key != "" {
		own, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// newClient returns a client that goes nowhere else: a page to log in, to which a
// request was led, must not be taken for a collector that has taken records.
func newClient(trust *tls.Config) (*http.Client, error) {
	timeout := 10 * time.Second
	if text := variable("TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT=%s: want milliseconds", text)
		}
		timeout = time.Duration(ms) * time.Millisecond
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	return &http.Client{
		Transport:     collectorOnly{transport},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// collectorOnly sees to it that who answers is a collector.
type collectorOnly struct{ http.RoundTripper }

// answerMax is how much of an answer is read.
const answerMax = 1 << 20

func (c collectorOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := c.RoundTripper.RoundTrip(r)
	if err != nil || a.StatusCode/100 != 2 {
		return a, err
	}
	defer a.Body.Close()
	// It has taken them: whatever happens now, they must not be sent again.
	body, rerr := io.ReadAll(io.LimitReader(a.Body, answerMax))
	if kind := a.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
		return nil, errors.New("the answer is a page (text/html): that is no collector")
	}
	if rerr != nil || len(body) == answerMax || proto.Unmarshal(body, &logs.ExportLogsServiceResponse{}) != nil {
		body = nil
	}
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return a, nil
}
