package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fanrec"
	"fanrec/output"
	"fanrec/top"
	"fanrec/top/screen"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"
)

type topFlags struct {
	recordFlags
	whomFlags
	delay       float64
	batch       bool
	iterations  int
	rows        int
	sort        string
	total       bool
	directories bool
}

func newTop() *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top [flags] [PID...]",
		Short: "Show which processes and files are busy, as top(1) does",
		Long: `fanrec top shows what processes do to files, by how much they do it: opens for
reading and for writing, names that are made, removed and renamed, everything else
(forks, execs, exits, changes of directory), a second or in all. To the left is the
tree of processes, to the right are files or directories. It attaches as fanrec attach
does: to PIDs and their descendants, a service, a container, a control group, and
without any of these to the whole machine.

    up, down, j, k       the row above, below; PgUp, PgDn, Home, End, g, G
    tab, left, right     the other side
    enter                into a process: what it and its descendants do;
                         into a directory: what is below it; into a file: who uses it
    esc, backspace       back: without the filter, then out again
    s, >  and  S, <      sort by the next column, by the one before; r: the least first
    t                    numbers in all, or per second
    d                    files, or the directories that they are in
    v                    processes as a tree, or not
    i                    without processes that do nothing, or with them
    /                    only names with this in it, or that match (*, ?, [])
    space, f             freeze what is shown; all is counted all the same
    q, ^C                quit; h: help; ^L: draw again; ^Z: stop

Every record counts, whatever is on the screen; in all they are as many as fanrec
attach -c has. What a process that has ended did counts as its parent's after some
seconds. Of what is too much to remember the quietest is told as "(others)" of its
directory, so that sums stay exact. A rename, and a link, counts at the new name.
What is there when it begins counts nowhere. With the flags of filters only what they
choose is shown.

With --batch it prints text, every --delay seconds, and needs no terminal.

When it ends it says on standard error what there was. The exit status is 0, or 125 if
fanrec failed or something is missing: then INCOMPLETE, and why, is on the screen, too.
After a long ^Z that may be so: the kernel keeps only so much that nobody takes.`,
		Example: `  sudo fanrec top
  sudo fanrec top --unit postgresql
  sudo fanrec top --only W,D,M,L --path '/etc/**'
  sudo fanrec top --batch -n 3 -d 10 --total $(pidof -s nginx)`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(_ *cobra.Command, args []string) error { return f.run(args) },
	}
	fl := cmd.Flags()
	f.whomFlags.add(fl)
	f.filterFlags.add(fl)
	f.addKinds(fl)
	f.addMessages(fl)
	fl.Float64VarP(&f.delay, "delay", "d", 1, "show new numbers every so many `SECONDS`")
	fl.BoolVarP(&f.batch, "batch", "b", false, "print text, for scripts")
	fl.IntVarP(&f.iterations, "iterations", "n", 0, "end after so `MANY` delays")
	fl.IntVar(&f.rows, "rows", 20, "with --batch: so `MANY` processes and files; 0: all")
	fl.StringVar(&f.sort, "sort", "total", "sort by `COLUMN`: "+strings.Join(top.ColumnNames(), ", "))
	fl.BoolVarP(&f.total, "total", "t", false, "begin with numbers in all, not per second")
	fl.BoolVar(&f.directories, "directories", false, "begin with directories, not files")
	cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(top.ColumnNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = completePIDs
	return cmd
}

// leastDelay: it must not be its own load.
const leastDelay = 0.1

// query returns what is shown at first.
func (f *topFlags) query() (*top.Query, error) {
	column, ok := top.ParseColumn(f.sort)
	switch {
	case !ok:
		return nil, fmt.Errorf("--sort %s: want %s", f.sort, strings.Join(top.ColumnNames(), ", "))
	case !(f.delay >= leastDelay && f.delay <= 1e6): // nor what is no number
		return nil, fmt.Errorf("--delay %v: want seconds, %v or more", f.delay, leastDelay)
	case f.iterations < 0:
		return nil, fmt.Errorf("--iterations %d: want a number, or 0 for no end", f.iterations)
	case f.rows < 0:
		return nil, fmt.Errorf("--rows %d: want a number, or 0 for all", f.rows)
	}
	return &top.Query{Sort: column, Total: f.total, Directories: f.directories, Busy: f.batch, Flat: f.batch}, nil
}

func (f *topFlags) run(args []string) error {
	said := &messages{to: os.Stderr}
	log, err := newLogTo(said, &f.recordFlags)
	if err != nil {
		return err
	}
	filter, err := f.filterFlags.compile()
	if err != nil {
		return err
	}
	query, err := f.query()
	if err != nil {
		return err
	}
	if len(args)+len(f.unit)+len(f.cgroup)+len(f.container) == 0 {
		f.all = true
	}
	whom, notes, err := f.whom(args, log)
	if err != nil {
		return err
	}
	if err := permitted(false); err != nil {
		return err
	}
	var on tcell.Screen
	if !f.batch {
		if !terminal(os.Stdout.Fd()) {
			return errors.New("standard output is no terminal; use --batch")
		}
		if on, err = screen.Open(); err != nil {
			return err
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer cancel()
	signal.Ignore(syscall.SIGPIPE) // whoever reads may leave: a write then fails
	debug.SetMemoryLimit(topMemoryLimit)
	f.output = "-"
	t := &overview{
		job: &job{recordFlags: &f.recordFlags, filter: filter, log: log}, said: said,
		model: top.New(top.DefaultLimits, time.Now()),
	}
	t.live, err = startLive(fanrec.Options{
		Serve: true, Attach: true, Absent: f.absent, Modify: f.modify, Attrib: f.attrib, Log: log,
		Epoch: f.epoch, ProcessRing: f.processRing, CallRing: f.callRing,
	}, t.restore)
	if err != nil {
		return err
	}
	defer t.rec.Close()
	t.notes = t.rec.Notes()
	if err := t.begin(whom, t.sink(), f.ends(), func() error { return nil }); err != nil {
		return err
	}
	go func() {
		<-t.over // nothing comes any more
		cancel()
	}()
	t.title = strings.ReplaceAll(strings.Join(notes, ", "), "attached to ", "")
	delay := time.Duration(f.delay * float64(time.Second))
	over := false
	if f.batch {
		query.Limit = f.rows
		over, err = t.print(ctx, delay, f.iterations, query)
	} else {
		said.hold()
		o := screen.Options{Title: t.title, Delay: delay, Ticks: f.iterations, Query: *query}
		err = screen.Run(ctx, on, t, o, func() { t.shown.Store(&on) })
		said.release()
	}
	cancel() // another signal ends fanrec
	res := t.end()
	if over && err == nil {
		t.missing = res.Incomplete
		err = t.write(query) // with what was done to the end
	}
	if status := t.finish(res); err == nil {
		err = status
	}
	return err
}

// topMemoryLimit is memoryLimit with room for a full model.
const topMemoryLimit = memoryLimit + 12<<20

// overview is a recording that is shown.
type overview struct {
	*job
	*live
	title string   // what is recorded
	notes []string // what of it cannot be had
	said  *messages
	shown atomic.Pointer[tcell.Screen]

	mu      sync.Mutex // of what the recorder and who looks share
	model   *top.Model
	missing []string // as it was known last
}

// restore gives the terminal back.
func (t *overview) restore() {
	if s := t.shown.Load(); s != nil {
		(*s).Fini()
	}
}

// sink counts what is recorded.
func (t *overview) sink() fanrec.Sink {
	return fanrec.Sink{Record: func(r *output.Record) {
		if !r.Attached {
			t.count(r)
		}
		show := !t.filter.drops(r)
		t.mu.Lock()
		t.model.Add(r, show)
		t.mu.Unlock()
	}}
}

// Tick implements screen.Source.
func (t *overview) Tick(now time.Time) {
	t.mu.Lock()
	t.model.Tick(now)
	t.mu.Unlock()
}

// View implements screen.Source.
func (t *overview) View(q *top.Query) *top.View {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.model.View(q)
}

// Keep implements screen.Source.
func (t *overview) Keep(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.model.Keep(id)
}

// Notes implements screen.Source. Of what is missing it tells also while the screen is
// frozen; the recorder is asked and not waited for.
func (t *overview) Notes() []string {
	t.rec.Do(func() {
		missing := t.one.Missing()
		t.mu.Lock()
		t.missing = missing
		t.mu.Unlock()
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, why := range t.missing {
		all = append(all, "INCOMPLETE: "+why)
	}
	if last := t.said.last(); last != "" {
		all = append(all, last)
	}
	select {
	case <-t.gone:
		all = append(all, "all processes have ended")
	default:
	}
	return append(all, t.notes...)
}

// Match implements screen.Source. Without a wildcard a name is to have the text in it,
// in whatever case; so is one with a wildcard that makes no pattern yet.
func (*overview) Match(text string) func(string) bool {
	if strings.ContainsAny(text, "*?[") {
		if g, err := newGlobs("", []string{text}); err == nil {
			return func(name string) bool { return g.match([]byte("/" + strings.TrimPrefix(name, "/"))) }
		}
	}
	text = strings.ToLower(text)
	return func(name string) bool { return strings.Contains(strings.ToLower(name), text) }
}

// print writes text so often, 0 for as long as there is somebody. It reports whether it
// was over before.
func (t *overview) print(ctx context.Context, delay time.Duration, iterations int, q *top.Query) (over bool, err error) {
	ticks := time.NewTicker(delay)
	defer ticks.Stop()
	for n := 0; n == 0 || n != iterations; n++ {
		select {
		case <-ticks.C:
		case <-t.gone:
			return true, nil
		case <-ctx.Done():
			return true, nil
		}
		if err := t.write(q); err != nil {
			return false, err
		}
	}
	return false, nil
}

// write ends an interval and writes it as text.
func (t *overview) write(q *top.Query) error {
	t.Tick(time.Now())
	v := t.View(q)
	v.Sort(q)
	err := v.Write(os.Stdout, t.title, t.Notes(), q.Limit)
	var at *os.PathError
	switch {
	case errors.As(err, &at):
		return fmt.Errorf("write to standard output: %w", at.Err)
	case err != nil:
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}
