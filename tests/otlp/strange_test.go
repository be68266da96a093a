package otlp

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	answers "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// header begins a recording.
const header = `{"kind":"header","version":1,"time":"2026-11-20T00:00:00Z","pid":1,"host":"web7"}` + "\n"

const records = header + `{"time":"2026-11-20T00:00:00.000000001Z","kind":"read","pid":1,"ppid":0,"start":1,"uid":0,"comm":"a","path":"/a"}
{"time":"2026-11-20T00:00:00.000000002Z","kind":"read","pid":1,"ppid":0,"start":1,"uid":0,"comm":"a","path":"/b"}
`

// sender runs fanrec-otlp as fanrec does.
type sender struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan string
}

func newSender(t *testing.T, url string) *sender {
	t.Helper()
	s := &sender{cmd: exec.Command(filepath.Join(dir, "fanrec-otlp"), "--acks", url), out: make(chan string, 1000)}
	in, err := s.cmd.StdinPipe()
	do(t, err)
	out, err := s.cmd.StdoutPipe()
	do(t, err)
	s.in, s.cmd.Stderr = in, os.Stderr
	do(t, s.cmd.Start())
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.out <- lines.Text()
		}
		close(s.out)
	}()
	s.hears(t, "ready")
	return s
}

// hears waits for a line that begins so, past others.
func (s *sender) hears(t *testing.T, want string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-s.out:
			if strings.HasPrefix(line, want) {
				return line
			}
			if !ok {
				t.Fatalf("it ended, and never said %q", want)
			}
		case <-timeout:
			t.Fatalf("it never said %q", want)
		}
	}
}

// TestAcks: each line is dealt with before more is waited for, whatever it is.
func TestAcks(t *testing.T) {
	http, grpc := addresses(t)
	c := start(t, http, grpc, "take")
	s := newSender(t, "http://"+http)
	io.WriteString(s.in, header)
	s.hears(t, "sent 1")
	io.WriteString(s.in, `{"kind":"comment","text":"hello"}`+"\n")
	s.hears(t, "sent 2")
	io.WriteString(s.in, strings.TrimPrefix(records, header))
	s.hears(t, "sent 4")
	io.WriteString(s.in, `{"kind":"trailer","time":"2026-11-20T00:00:01Z","complete":true}`+"\n")
	s.hears(t, "sent 5")
	io.WriteString(s.in, header) // another one
	s.hears(t, "sent 6")
	io.WriteString(s.in, "what?\n") // is not dealt with
	if line := s.hears(t, "sent"); line != "sent 6" {
		t.Errorf("it says %q of a line that it did not understand", line)
	}
	c.stop(t)
	all := c.records(t)
	if len(all) != 5 || all[0].resource.get("host.name").text() != "web7" || all[0].resource.get("host.id").text() != "" {
		t.Errorf("%d log records, of %+v", len(all), all[0].resource)
	}
}

// TestNotRoot: what speaks with the network is nobody.
func TestNotRoot(t *testing.T) {
	root(t)
	s := newSender(t, "http://127.0.0.1:1")
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	do(t, err)
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in %s", want, b)
		}
	}
}

// TestStrangeAnswers: what is no collector takes nothing; what a collector has taken, or
// refused, is not sent again, whatever it says of that.
func TestStrangeAnswers(t *testing.T) {
	partial := func(n int64, message string) []byte {
		b, err := proto.Marshal(&answers.ExportLogsServiceResponse{PartialSuccess: &answers.ExportLogsPartialSuccess{RejectedLogRecords: n, ErrorMessage: message}})
		do(t, err)
		return b
	}
	const protobuf = "application/x-protobuf"
	for name, c := range map[string]struct {
		status int
		kind   string
		body   []byte
		says   string // first
		posts  int32  // at least
		never  bool   // is anything taken
	}{
		"taken":                    {200, protobuf, nil, "sent 3", 1, false},
		"taken, and no word":       {204, "", nil, "sent 3", 1, false},
		"taken, and nonsense":      {200, protobuf, []byte("\xff\xff\xff"), "sent 3", 1, false},
		"a redirect":               {302, "", nil, "waits", 2, true},
		"moved for good":           {301, "", nil, "waits", 2, true},
		"a page":                   {200, "text/html; charset=utf-8", []byte("<h1>Log in</h1>"), "waits", 2, true},
		"not allowed":              {401, "", nil, "waits", 2, true},
		"busy":                     {503, "", nil, "waits", 2, true},
		"partly":                   {200, protobuf, partial(1, "bad"), "refused 1", 1, false},
		"partly, on two lines":     {200, protobuf, partial(2, "bad\nvery (7 logs rejected)\n"), "refused 2", 1, false},
		"a warning":                {200, protobuf, partial(0, "slow down"), "sent 3", 1, false},
		"refused":                  {400, "", []byte("\x1b[31mwhat?"), "refused 1", 3, false},
		"at fault by its own":      {500, "", nil, "refused 1", 3, false},
		"too much, however little": {413, "", nil, "refused 1", 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var posts atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if r.Method != http.MethodPost {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				posts.Add(1)
				if c.status/100 == 3 {
					w.Header().Set("Location", "/login")
				}
				if c.kind != "" {
					w.Header().Set("Content-Type", c.kind)
				}
				w.WriteHeader(c.status)
				w.Write(c.body)
			}))
			defer server.Close()
			s := newSender(t, server.URL)
			io.WriteString(s.in, records)
			first := s.hears(t, "")
			if !strings.HasPrefix(first, c.says) || strings.ContainsAny(first, "\x1b\n") {
				t.Errorf("it says %q, want %q", first, c.says)
			}
			if c.never {
				s.hears(t, "waits") // again
			} else if !strings.HasPrefix(c.says, "sent") {
				s.hears(t, "sent 3")
			}
			if n := posts.Load(); n < c.posts || !c.never && c.posts == 1 && n > 1 {
				t.Errorf("%d requests, want %d", n, c.posts)
			}
		})
	}
}
