package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fanrec"
	"fanrec/output"
	"fanrec/output/export"
	"fanrec/output/logfile"
	"fanrec/output/series"
	"fanrec/output/spool"

	"github.com/spf13/cobra"
)

type attachFlags struct {
	recordFlags
	whomFlags
	rotateFlags
	exportFlags
	duration time.Duration
	metrics  string
	mountsOf int
	host     string
}

func newAttach() *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:   "attach [flags] PID...",
		Short: "Record what runs already: processes, a service, a container",
		Long: `fanrec attach records what processes that run already, and all their descendants,
do to files from now on: of the PIDs that are named, or of everybody who is in a
service of systemd, a container or a control group, now or later.

It begins with what was so already: which processes there are, what they execute,
where they are, and which files they hold; in jsonl these records are "attached", in
the other formats they are between two lines "# attached". Then comes all that
is done, with nothing between the two left out.

With --rotate it writes one file after the other, for as long as wanted: FILE is
the one that is written; the earlier ones have the time at which they began behind
that name, and are compressed (zstd). Each is a whole log. A disk that is full or slow
keeps nobody: what does not fit into --spool is dropped, the file says so at its
end, and the next one is complete again. SIGHUP begins another file; without
--rotate and --keep it ends the recording.

Without -o it prints text for people. SIGINT, SIGTERM and --duration end the
recording; that of PIDs and of a container also ends with the last process. What a
disk or a collector has not taken then is waited for, 20 s at most or until another
signal comes. Nobody who is recorded notices.

In a GLOB of a path, * and ? stay within a name, ** crosses directories, and
[a-z] and [!a-z] are sets. It takes what is below a directory along. One that
begins with / is for whole paths, any other may begin at any directory.

The exit status is 0, or 125 if fanrec failed or the log is incomplete.`,
		Example: `  sudo fanrec attach $(pidof nginx)
  sudo fanrec attach --unit postgresql --only W,D,M,L
  sudo fanrec attach --container 3f2a --duration 10m -o container.log
  sudo fanrec attach --all --path '/etc/**' --only W,D,M`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.schema.choose(cmd.Flags(), &f.format); err != nil {
				return err
			}
			f.only = f.otlp != "" && !cmd.Flags().Changed("output")
			return f.run(args, cmd.Flags().Changed("duration"))
		},
	}
	fl := cmd.Flags()
	f.whomFlags.add(fl)
	fl.DurationVar(&f.duration, "duration", 0, "end after `TIME`, as 90s or 2h")
	fl.StringVar(&f.metrics, "metrics", "", "tell Prometheus at `ADDRESS` how the recording is, as :9435")
	fl.StringVar(&f.host, "host", "", "`NAME` of the machine in what is written; in a container it is not that of the container")
	fl.IntVar(&f.mountsOf, "mounts-of", 0, "be in the mount namespace of process `PID`: in a container, 1 makes all paths the host's")
	f.addLog(fl, "-", "text")
	f.rotateFlags.add(fl)
	f.exportFlags.add(fl)
	f.addKinds(fl)
	completeLog(cmd)
	cmd.ValidArgsFunction = completePIDs
	return cmd
}

func (f *attachFlags) run(args []string, timed bool) error {
	switch {
	case f.duration < 0 || f.duration == 0 && timed:
		return fmt.Errorf("--duration %v: want a time, as 90s or 2h", f.duration)
	case len(args) == 0 && len(f.pid) > 0 && !f.named():
		return errors.New("--pid chooses what is written of a recording; to attach to processes, name them without it")
	case len(f.resource) > 0 && f.otlp == "":
		return errors.New("--resource is for --otlp, which says where records go")
	case f.mountsOf != 0 && f.output != "-" && !filepath.IsAbs(f.output):
		return fmt.Errorf("-o %s: with --mounts-of want a path from the root directory, which is that of the process", f.output)
	case f.mountsOf != 0:
		if err := enterMounts(f.mountsOf); err != nil {
			return err
		}
	}
	log, err := newLog(&f.recordFlags)
	if err != nil {
		return err
	}
	filter, err := f.filterFlags.compile()
	if err != nil {
		return err
	}
	if _, err := output.NewWriter(f.format, io.Discard); err != nil {
		return err
	}
	var pieces *series.Options
	if f.wanted() {
		o, err := f.rotateFlags.options(f.output, f.format)
		if err != nil {
			return err
		}
		o.Log = func(err error) { log.Warn().Msg(err.Error()) }
		pieces = &o
	}
	waits, err := f.spoolBytes()
	if err != nil {
		return err
	}
	var away *export.Options
	if f.otlp != "" {
		if away, err = f.exportFlags.options(f.unit, waits, log); err != nil {
			return err
		}
	}
	var metrics *metrics
	if f.metrics != "" {
		if metrics, err = newMetrics(f.metrics); err != nil {
			return err
		}
		defer metrics.close()
	}
	whom, notes, err := f.whom(args, log)
	if err != nil {
		return err
	}
	if err := permitted(false); err != nil {
		return err
	}
	// From here on a signal ends the recording, not fanrec.
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if pieces == nil && !signal.Ignored(syscall.SIGHUP) { // as under nohup(1)
		ends = append(ends, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, ends...)
	hangup := make(chan os.Signal, 1)
	if pieces != nil { // it begins another file, from before there is one
		signal.Notify(hangup, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may leave: a write then fails
	j := &job{recordFlags: &f.recordFlags, filter: filter, log: log}
	all := j.full() || away != nil
	opts := fanrec.Options{
		Serve: true, Attach: true, Absent: f.absent, Modify: f.modify, Attrib: f.attrib, Handles: all, Seen: all, Containers: all, Log: log,
		Epoch: f.epoch, ProcessRing: f.processRing, CallRing: f.callRing,
	}
	if f.args {
		opts.ArgsMax = maxArgs
	}
	// What waits for a disk or a collector is not garbage.
	limit := int64(memoryLimit)
	if pieces != nil {
		limit += int64(waits)
	}
	if away != nil {
		limit += int64(waits)
	}
	debug.SetMemoryLimit(limit)
	l, err := startLive(opts, nil)
	if err != nil {
		return err
	}
	defer l.rec.Close()
	a := &attached{pieces: pieces, away: away, only: f.only, job: j, live: l, broken: make(chan struct{})}
	head := &output.Header{Start: time.Now().UnixNano(), Key: f.key, Notes: append(notes, l.rec.Notes()...), Origin: output.Here(fullVersion())}
	head.Host = cmp.Or(f.host, head.Host)
	if len(whom.PIDs) > 0 {
		head.Target = uint32(whom.PIDs[0])
	}
	if err := a.begin(whom, a.sink(), f.ends(), func() error { return a.open(head) }); err != nil {
		return err
	}
	if a.file != nil {
		defer a.file.Close()
	}
	if metrics != nil {
		metrics.serve(a)
	}
	notify("READY=1")
	if a.series != nil {
		go a.reopenOn(hangup)
	}
	var timeout <-chan time.Time
	if f.duration > 0 {
		timeout = time.After(f.duration)
	}
	select {
	case <-signals:
	case <-timeout:
	case <-a.gone:
	case <-a.broken:
	case <-a.over:
	}
	notify("STOPPING=1")
	go a.hurry(signals, ends)
	res := a.end()
	end := &output.Trailer{Stop: time.Now().UnixNano(), Incomplete: res.Incomplete}
	if err := a.to.End(end); err != nil {
		log.Debug().Err(err).Msg("the log was left as it is")
	}
	res.Incomplete = end.Incomplete
	return j.finish(res)
}

// noHurry is how long another signal is no other: timeout(1) sends two at once.
const noHurry = time.Second

// hurry has the end of a recording wait no longer for who takes it, if another signal
// comes. One more ends fanrec.
func (a *attached) hurry(signals <-chan os.Signal, ends []os.Signal) {
	time.Sleep(noHurry)
	for len(signals) > 0 {
		<-signals
	}
	if !a.quiet { // who does not take that keeps nobody either
		go fmt.Fprintln(os.Stderr, "fanrec: waiting until what was recorded is taken; another signal gives that up")
	}
	<-signals
	signal.Reset(ends...)
	a.to.GiveUp()
}

// recordLog is what a recording is written to.
type recordLog interface {
	Write(*output.Record)
	Comment(string)
	Flush()
	Err() error // it cannot be written, for good if there is one file only
	GiveUp()    // End, in another goroutine, waits no longer
	End(*output.Trailer) error
}

// spoolBytes is how much of the log may wait for who takes it before it is given up.
const spoolBytes = 16 << 20

// attached is a recording of what ran already.
type attached struct {
	*job
	*live
	pieces *series.Options // nil: one file
	away   *export.Options // nil: only to a file
	only   bool            // not to a file
	// From when on there is somebody to write of:
	file   *logfile.File  // nil if there are several
	series *spool.Spool   // nil if there is one
	export *export.Export // nil if only files are written
	to     recordLog
	broken chan struct{} // closed when the log cannot be written any more
}

// open opens all that is written to.
func (a *attached) open(head *output.Header) error {
	if a.away == nil {
		return a.openLog(head)
	}
	var err error
	if a.export, err = export.Open(*a.away, head); err != nil {
		return err
	}
	if a.to = a.export; a.only {
		return nil
	}
	if err := a.openLog(head); err != nil {
		return err
	}
	a.to = tee{a.to, a.export}
	return nil
}

// openLog opens the log, or the first of several.
func (a *attached) openLog(head *output.Header) error {
	var err error
	if a.pieces != nil {
		if a.series, err = series.Open(*a.pieces, head); err != nil {
			return err
		}
		a.to = a.series
		return nil
	}
	var one *logfile.Log
	if a.file, one, err = a.job.openLog(nil); err != nil {
		return err
	}
	// A reader that stops must keep nobody.
	a.file.Spool(spoolBytes)
	one.Begin(head)
	a.to = one
	return nil
}

// spools returns what is written to with a spool, by what it is for.
func (a *attached) spools() map[string]*spool.Spool {
	all := map[string]*spool.Spool{}
	if a.series != nil {
		all["file"] = a.series
	}
	if a.export != nil {
		all["otlp"] = a.export.Spool
	}
	return all
}

// dropped returns how many records one of them has dropped.
func (a *attached) dropped() (n int) {
	for _, s := range a.spools() {
		n += s.Dropped()
	}
	return n
}

// refused returns how many records a collector has refused.
func (a *attached) refused() int {
	if a.export == nil {
		return 0
	}
	return a.export.Refused()
}

// reopenOn begins another file with each signal.
func (a *attached) reopenOn(signals <-chan os.Signal) {
	for range signals {
		a.rec.Do(a.series.Reopen)
	}
}

// sink writes what is recorded.
func (a *attached) sink() fanrec.Sink {
	broken := false
	return fanrec.Sink{
		Record: func(r *output.Record) {
			if a.export != nil && a.export.Own(int(r.PID), r.Time) {
				return // what it does for us, of all the machine, would never end
			}
			if !r.Attached { // that was not done
				a.count(r)
			}
			if !a.filter.drops(r) {
				a.to.Write(r)
			}
		},
		Comment: func(text string) { a.to.Comment(text) },
		Flush: func() {
			if a.to.Flush(); a.file != nil && a.to.Err() != nil && !broken {
				broken = true
				close(a.broken)
			}
		},
		Full: true,
	}
}

// completePIDs offers the processes that there are.
func completePIDs(_ *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
	entries, _ := os.ReadDir("/proc")
	var all []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil && strings.HasPrefix(e.Name(), begin) {
			comm, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
			all = append(all, e.Name()+"\t"+strings.TrimSpace(string(comm)))
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}
