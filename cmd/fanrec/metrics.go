package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"fanrec"
	"fanrec/output"

	"golang.org/x/sys/unix"
)

// metrics tells Prometheus how a recording is.
type metrics struct {
	listener net.Listener
	server   http.Server
	attached *attached

	mu   sync.Mutex // one scrape after the other: the recorder has other things to do
	page []byte
	at   time.Time
}

// fresh is for how long a page is told again.
const fresh = 100 * time.Millisecond

// scrapeTime bounds everything that a scrape waits for.
const scrapeTime = 5 * time.Second

// newMetrics begins to listen at an address, as :9435. Nothing is answered before
// serve.
func newMetrics(address string) (*metrics, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("--metrics %s: want an address with a port, as :9435 or localhost:9435", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics %s: %w", address, err)
	}
	m := &metrics{listener: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", m.scrape)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><title>fanrec</title><a href=\"/metrics\">Metrics</a>\n")
	})
	m.server = http.Server{
		Handler: http.MaxBytesHandler(mux, 0), ReadTimeout: scrapeTime, WriteTimeout: 2 * scrapeTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	return m, nil
}

// serve answers with how a recording is.
func (m *metrics) serve(a *attached) {
	m.attached = a
	go m.server.Serve(m.listener)
}

func (m *metrics) close() {
	if m != nil {
		m.listener.Close()
		m.server.Close()
	}
}

func (m *metrics) scrape(w http.ResponseWriter, _ *http.Request) {
	page, err := m.get()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(page)
}

// get returns the page as it is now, or was just before.
func (m *metrics) get() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.at) <= fresh {
		return m.page, nil
	}
	done := make(chan exposition, 1)
	if !m.attached.rec.Do(func() { done <- m.attached.expose() }) {
		return nil, errors.New("the recording has ended")
	}
	select {
	case e := <-done:
		m.page, m.at = e.Bytes(), time.Now()
		return m.page, nil
	case <-time.After(scrapeTime):
		return nil, errors.New("the recorder does not answer: it has much to do")
	}
}

// expose writes all metrics. It runs on the recorder's goroutine.
func (a *attached) expose() (e exposition) {
	e.family("fanrec_build_info", "gauge", "The version of fanrec.").value(1, "version", fullVersion())
	if a.one == nil || a.ended {
		return e
	}
	h := a.one.Health()
	e.family("fanrec_complete", "gauge", "1 if nothing that was done is missing in the recording, else 0.").value(number(len(h.Missing)+a.dropped()+a.refused() == 0))
	e.family("fanrec_records_total", "counter", "Records by what was done, those too that filters leave out.")
	for k := output.Kind(1); int(k) < output.Kinds; k++ {
		e.value(float64(h.Records[k]), "kind", k.String())
	}
	e.family("fanrec_lost_total", "counter", "What was lost, by cause: each makes the recording incomplete.")
	other := len(h.Missing)
	for _, l := range h.Losses {
		if e.value(float64(l.N), "cause", l.Cause); l.N > 0 {
			other--
		}
	}
	e.value(float64(other), "cause", "other")
	e.value(float64(a.dropped()), "cause", "spool").value(float64(a.refused()), "cause", "refused")
	e.family("fanrec_events_total", "counter", "Events of fanotify that are of recorded processes.").value(float64(h.Events))
	e.family("fanrec_processes", "gauge", "Recorded processes that run.").value(float64(h.Processes))
	e.family("fanrec_epochs_total", "counter", "How often events were gathered and put in order.").value(float64(h.Epochs))
	e.family("fanrec_paths_total", "counter", "Directories that were named for records.").value(float64(h.Paths))
	e.family("fanrec_lookups_total", "counter", "Directories that had to be looked up in the file system to be named; the others were known.").value(float64(h.Lookups))
	e.family("fanrec_queue_bytes", "gauge", "Events that wait in the queue of fanotify.").value(float64(h.Queue))
	e.family("fanrec_ring_bytes", "gauge", "Records of the tracker that wait in a ring.")
	for _, r := range h.Rings {
		e.value(float64(r.Used), "ring", r.Ring)
	}
	e.family("fanrec_ring_size_bytes", "gauge", "How much a ring holds.")
	for _, r := range h.Rings {
		e.value(float64(r.Size), "ring", r.Ring)
	}
	e.delays(&h.Delays)
	if spools := a.spools(); len(spools) > 0 {
		e.family("fanrec_spool_bytes", "gauge", "What waits for the disk or the collector.")
		for to, s := range spools {
			e.value(float64(s.Waits()), "to", to)
		}
		e.family("fanrec_spool_dropped_total", "counter", "Records that were dropped because the disk or the collector did not take them in time.")
		for to, s := range spools {
			e.value(float64(s.Dropped()), "to", to)
		}
	}
	e.process()
	return e
}

// delays writes a histogram.
func (e *exposition) delays(d *fanrec.Delays) {
	e.family("fanrec_delay_seconds", "histogram", "How long after it was done the first record of a batch was handed out.")
	n := 0
	for i, bound := range fanrec.DelayBounds {
		n += d.Batches[i]
		e.sample("_bucket", float64(n), "le", fmt.Sprint(bound.Seconds()))
	}
	n += d.Batches[len(fanrec.DelayBounds)]
	e.sample("_bucket", float64(n), "le", "+Inf").sample("_sum", d.Sum.Seconds()).sample("_count", float64(n))
}

// process writes what every exporter tells of itself.
func (e *exposition) process() {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		e.family("process_cpu_seconds_total", "counter", "Processor time of fanrec, user and system.").
			value(time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds())
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident float64
		if _, err := fmt.Sscan(string(b), &size, &resident); err == nil {
			e.family("process_resident_memory_bytes", "gauge", "Resident memory of fanrec.").value(resident * float64(os.Getpagesize()))
		}
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
