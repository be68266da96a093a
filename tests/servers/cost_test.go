package servers

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// round is how long one program is measured at a time, settle how long it has to begin.
const (
	round  = 4 * time.Second
	settle = time.Second
)

var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// BenchmarkCost measures what recorders cost PostgreSQL: transactions per second beside
// each in turns, against those without, b.N rounds of each. Whatever is not installed is
// left out. Each ratio is that of a round to the mean of the bare ones around it.
func BenchmarkCost(b *testing.B) {
	need(b, "pgrep")
	p := startPostgres(b)
	data := filepath.Join(p.dir, "data")
	beside := []struct {
		name string
		run  func() (stop func())
	}{
		{"fanrec", func() func() {
			return running(b, syscall.SIGTERM, fanrec, "attach", "-q", "-f", "jsonl", "-o", filepath.Join(b.TempDir(), "log"), strconv.Itoa(p.pid))
		}},
		{"fatrace", func() func() { return running(b, syscall.SIGTERM, "fatrace", "-o", filepath.Join(b.TempDir(), "log")) }},
		{"auditctl", func() func() { return audited(b, data) }},
		{"strace", func() func() {
			args := []string{"-f", "-qq", "-e", "trace=file", "-o", filepath.Join(b.TempDir(), "log"), "-p", strconv.Itoa(p.pid)}
			for _, c := range children(p.pid) {
				args = append(args, "-p", c)
			}
			return running(b, syscall.SIGINT, "strace", args...)
		}},
	}
	for _, load := range []struct{ name, script string }{{"read", "-S"}, {"write", "-N"}} {
		tps := func() float64 {
			out := p.do(b, "pgbench", "-h", p.dir, "-n", load.script, "-c", "4", "-j", "2", "-T", strconv.Itoa(int(round.Seconds())), "bench")
			v, err := strconv.ParseFloat(string(tpsLine.FindSubmatch([]byte(out))[1]), 64)
			do(b, err)
			return v
		}
		b.Run(load.name, func(b *testing.B) {
			tps() // its pages are in memory then
			ratios := map[string][]float64{}
			var bares []float64
			before := tps()
			for range b.N {
				for _, r := range beside {
					if _, err := exec.LookPath(r.name); r.name != "fanrec" && errors.Is(err, exec.ErrNotFound) {
						continue
					}
					stop := r.run()
					time.Sleep(settle)
					with := tps()
					stop()
					after := tps()
					ratios[r.name] = append(ratios[r.name], 2*with/(before+after))
					bares = append(bares, after)
					before = after
				}
			}
			b.ReportMetric(middle(bares), "tps-bare")
			for name, all := range ratios {
				b.ReportMetric(middle(all), name+"/bare")
				fmt.Fprintf(os.Stderr, "%s: %-8s %.3f of bare, quartiles %.3f to %.3f, %d rounds\n", load.name, name, middle(all), all[len(all)/4], all[len(all)*3/4], len(all))
			}
		})
	}
}

// middle returns the median, and leaves the numbers sorted.
func middle(all []float64) float64 {
	slices.SortFunc(all, cmp.Compare)
	return all[len(all)/2]
}

// running starts a recorder, and returns what ends it.
func running(b *testing.B, sig syscall.Signal, name string, args ...string) (stop func()) {
	b.Helper()
	d := start(b, nil, name, args...)
	return func() { d.stop(sig) }
}

// audited has the kernel tell of every access below a directory, as auditctl(8) does it.
func audited(b *testing.B, dir string) (stop func()) {
	b.Helper()
	// A rule for all tasks, as Debian's set has it, would leave no other to act.
	never := strings.Contains(run(b, "auditctl", "-l"), "-a never,task")
	if never {
		run(b, "auditctl", "-d", "never,task")
	}
	run(b, "auditctl", "-a", "always,exit", "-F", "dir="+dir, "-F", "perm=rwa", "-k", "fanrec-bench")
	run(b, "auditctl", "-e", "1")
	return func() {
		run(b, "auditctl", "-D", "-k", "fanrec-bench")
		if never {
			run(b, "auditctl", "-a", "never,task")
		}
	}
}
