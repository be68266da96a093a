package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/output"
)

// scraped are samples by name with labels.
type scraped map[string]float64

// scrape asks for metrics, and returns them as they came, too.
func scrape(t *testing.T, address string) (scraped, []byte) {
	t.Helper()
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r.Status, err, string(b))
	}
	all := scraped{}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 && !strings.HasPrefix(lines.Text(), "#") {
			all[lines.Text()[:i]], err = strconv.ParseFloat(lines.Text()[i+1:], 64)
			if err != nil {
				t.Fatal(lines.Text())
			}
		}
	}
	return all, b
}

// TestMetrics: what Prometheus is told is what the log has, in a form that Prometheus
// itself finds nothing wrong with; a scrape in the midst of things says of the same.
func TestMetrics(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("promtool"); errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	shell := exec.Command("sh", "-c", "read go; for i in 1 2 3 4 5; do cat /etc/passwd >f$i; mv f$i g; rm g; cat missing 2>/dev/null; done; read end")
	shell.Dir = dir
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer shell.Process.Kill()
	defer in.Close() // else it is closed when nothing is written to it any more
	log := filepath.Join(dir, "log")
	f := exec.Command(filepath.Join(tools, "fanrec"), "attach", strconv.Itoa(shell.Process.Pid), "-q", "-f", "jsonl", "-o", log, "--rotate", "1G", "--only", "W", "--metrics", address)
	f.Stderr = os.Stderr
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	defer f.Process.Kill()
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: waited too long", what)
			}
		}
	}
	until("the metrics", func() bool { c, err := net.Dial("tcp", address); return err == nil && c.Close() == nil })
	var got scraped
	var text []byte
	until("the shell", func() bool {
		got, _ = scrape(t, address)
		return got["fanrec_processes"] == 1
	})
	io.WriteString(in, "go\n")
	until("all records", func() bool {
		got, text = scrape(t, address)
		return got[`fanrec_records_total{kind="exit"}`] == 20
	})
	// cat opens its libraries, and the like: more than these.
	for kind, want := range map[string]float64{"fork": 20, "exec": 20, "exit": 20, "write": 10, "rename": 5, "delete": 5, "link": 0} {
		if n := got[fmt.Sprintf("fanrec_records_total{kind=%q}", kind)]; n != want {
			t.Errorf("%s: %v records, want %v", kind, n, want)
		}
	}
	for name, want := range map[string]float64{
		"fanrec_complete": 1, "fanrec_processes": 1, `fanrec_lost_total{cause="queue"}`: 0, `fanrec_lost_total{cause="spool"}`: 0,
		`fanrec_spool_dropped_total{to="file"}`: 0, `fanrec_delay_seconds_bucket{le="+Inf"}`: got["fanrec_delay_seconds_count"],
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s: %v, want %v", name, n, want)
		}
	}
	for _, name := range []string{"fanrec_events_total", "fanrec_paths_total", "fanrec_lookups_total", "fanrec_epochs_total", `fanrec_ring_size_bytes{ring="call"}`,
		"fanrec_delay_seconds_count", "fanrec_delay_seconds_sum", "process_resident_memory_bytes", "process_cpu_seconds_total"} {
		if got[name] <= 0 {
			t.Errorf("%s: %v", name, got[name])
		}
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	// What is no scrape.
	for path, want := range map[string]int{"/": http.StatusOK, "/x": http.StatusNotFound} {
		if r, err := http.Get("http://" + address + path); err != nil || r.StatusCode != want {
			t.Error(path, r, err)
		}
	}
	if r, err := http.Post("http://"+address+"/metrics", "text/plain", strings.NewReader("x")); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Error(r, err)
	}
	f.Process.Signal(syscall.SIGTERM)
	if err := f.Wait(); err != nil {
		t.Error(err)
	}
	writes := 0
	read(t, log, func(r *output.Record) {
		if !r.Attached {
			writes++
		}
	})
	if writes != 10 {
		t.Errorf("%d records in the log, want 10", writes)
	}
	// An address that somebody has.
	l, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out, err := exec.Command(filepath.Join(tools, "fanrec"), "attach", "1", "--metrics", address).CombinedOutput(); err == nil || !strings.Contains(string(out), "--metrics "+address+": ") {
		t.Errorf("%v, %s", err, out)
	}
}
