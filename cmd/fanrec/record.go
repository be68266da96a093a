package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"fanrec"
	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
	"fanrec/output/logfile"
	"fanrec/service"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

type recordFlags struct {
	filterFlags
	output   string
	format   string
	schema   schemaFlag
	user     string
	waitAll  bool
	quiet    bool
	verbose  bool
	logLevel string
	noCalls  bool
	args     bool
	absent   bool
	modify   bool
	attrib   bool
	key      string
	counts   bool

	epoch        time.Duration
	processRing  int
	callRing     int
	limitedQueue bool
	noRings      bool

	noService bool
	socket    string
}

func newRecord() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "fanrec [flags] -- command [arguments]",
		Short: "Record what a command and all its descendants do to files",
		Long: `fanrec runs a command and records every file that it and all its descendants
open, write, rename, link, delete and execute, as a filemon(4) log.

The command runs as it would without fanrec: nothing is traced or preloaded,
static and setuid programs included. Recording needs root, or CAP_SYS_ADMIN,
CAP_DAC_READ_SEARCH, CAP_BPF and CAP_PERFMON; "fanrec doctor" tells what is
missing. Where a service runs (see fanrec serve) it records for everybody: then
nothing is needed, and what executes a program that gives it privileges is not
recorded any more, unless root has asked.

The exit status is the command's, 128+n if signal n killed it, 127 if it was
not found, 126 if it cannot be executed, and 125 if fanrec itself failed or the
log is incomplete. An incomplete log says so, and no "# Bye bye" ends it.

SIGINT and SIGQUIT are left to the command, SIGTERM and SIGHUP passed on to it.
After the command, while -w waits for its descendants, they end the recording.

In a GLOB of a path, * and ? stay within a name, ** crosses directories, and
[a-z] and [!a-z] are sets. It takes what is below a directory along. One that
begins with / is for whole paths, any other may begin at any directory.`,
		Example: `  sudo fanrec -- ./configure
  sudo fanrec --user "$USER" -o build.log -- make -j8
  sudo fanrec -f jsonl -o - -q -- sh ./install.sh | jq -r .path`,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       fullVersion(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				fmt.Fprint(cmd.ErrOrStderr(), usage)
				return exitStatus(exitUsage)
			}
			if err := f.schema.choose(cmd.Flags(), &f.format); err != nil {
				return err
			}
			err := record(&f, args)
			if errors.Is(err, fanrec.ErrNotFound) && args[0] != "" {
				if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
					slices.Sort(meant)
					err = fmt.Errorf("%w; did you mean fanrec %s?", err, strings.Join(meant, " or fanrec "))
				}
			}
			return err
		},
		SuggestionsMinimumDistance: 2,
	}
	fl := cmd.Flags()
	fl.SetInterspersed(false)
	f.addLog(fl, "filemon.out", "filemon")
	fl.StringVar(&f.user, "user", "", "run the command as user `NAME`")
	fl.BoolVarP(&f.waitAll, "wait-all", "w", false, "go on until the last descendant is gone, not only the command")
	f.addKinds(fl)
	fl.BoolVar(&f.noService, "no-service", false, "record by itself though a service runs (see fanrec serve)")
	fl.StringVar(&f.socket, "socket", "", "ask the service at `PATH` (default $FANREC_SOCKET, or "+service.Socket+" if one runs)")
	fl.BoolVar(&f.noCalls, "no-calls", false, "do without call records: less exact, no cost to system calls")
	fl.BoolVar(&f.limitedQueue, "limited-queue", false, "keep the kernel's limit of queued events")
	fl.BoolVar(&f.noRings, "no-rings", false, "as on a kernel that does not tell what io_uring does")
	fl.BoolP("help", "h", false, "print this")
	fl.Bool("version", false, "print the version")
	for _, name := range []string{"limited-queue", "no-rings"} {
		fl.MarkHidden(name)
	}
	completeLog(cmd)
	cmd.SetUsageTemplate(usageTemplate)
	cmd.SetFlagErrorFunc(flagError)
	cmd.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return refuseEmpty(c.Flags()) }
	return cmd
}

// flagError says what is wrong with the flags of a command.
func flagError(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &value):
		want := "a number"
		switch value.GetFlag().Value.Type() {
		case "duration":
			want = "a time, as 90s or 2h"
		case "bool":
			want = "true or false"
		case "string", "stringSlice", "stringArray":
			want = "a text"
		}
		return fmt.Errorf("--%s %s: want %s; try %s --help", value.GetFlag().Name, value.GetValue(), want, c.CommandPath())
	case c.HasParent():
		return fmt.Errorf("%w; try %s --help, or fanrec [flags] -- %s to record a program of that name", err, c.CommandPath(), c.Name())
	}
	return fmt.Errorf("%w; try fanrec --help", err)
}

// refuseEmpty refuses flags whose value is empty: it most likely comes of a variable
// that is not set, and without it the command is another one.
func refuseEmpty(fl *pflag.FlagSet) (err error) {
	fl.Visit(func(f *pflag.Flag) {
		empty := false
		switch v := f.Value.(type) {
		case pflag.SliceValue:
			values := v.GetSlice()
			empty = len(values) == 0 || slices.Contains(values, "")
		default:
			empty = v.String() == ""
		}
		if empty && f.Name != "key" { // recordings without a key have that
			name, _ := pflag.UnquoteUsage(f)
			err = fmt.Errorf("--%s is empty; want %s", f.Name, cmp.Or(name, "a value"))
		}
	})
	return err
}

// addKinds adds the flags of what is only recorded on request.
func (f *recordFlags) addKinds(fl *pflag.FlagSet) {
	fl.BoolVar(&f.absent, "absent", false, "record paths, too, that were looked for and not found")
	fl.BoolVar(&f.modify, "modify", false, "record writes, too, through whatever descriptor; each write(2) of the machine then costs more")
	fl.BoolVar(&f.attrib, "attrib", false, "record changes of mode, owner, times and extended attributes")
}

// addLog adds the flags of how a recording is written.
func (f *recordFlags) addLog(fl *pflag.FlagSet, name, format string) {
	fl.StringVarP(&f.output, "output", "o", name, "write the log to `FILE`, - for standard output")
	fl.StringVarP(&f.format, "format", "f", format, "`FORMAT` of the log: filemon (version 5), filemon4, jsonl or text")
	f.schema.add(fl)
	fl.StringVar(&f.key, "key", "", "call the recording `NAME` in its log")
	f.filterFlags.add(fl)
	fl.BoolVar(&f.args, "args", false, "with jsonl or --schema: record the arguments of executed programs")
	f.addMessages(fl)
}

// addMessages adds the flags of what is said to a person.
func (f *recordFlags) addMessages(fl *pflag.FlagSet) {
	fl.BoolVarP(&f.counts, "count", "c", false, "print a table at the end: all that was recorded, by name of the process and by kind")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "say more about the recording (as --log-level debug)")
	fl.StringVar(&f.logLevel, "log-level", "warn", "`LEVEL` of messages: debug, info, warn or error")
	fl.DurationVar(&f.epoch, "epoch", 0, "gather for so long before records are put in order")
	fl.IntVar(&f.processRing, "process-ring", 0, "bytes of the ring of process records, a power of two")
	fl.IntVar(&f.callRing, "call-ring", 0, "bytes of the ring of call records, a power of two")
	for _, name := range []string{"epoch", "process-ring", "call-ring"} {
		fl.MarkHidden(name)
	}
}

func completeLog(cmd *cobra.Command) {
	completeFormat(cmd)
	cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
}

// usage is for who gives no command.
const usage = `usage: fanrec [flags] -- command [arguments]
       fanrec attach | convert | deps | doctor | meta | search | serve | top | version | man | completion
"fanrec --help" tells more.
`

// usageTemplate is cobra's, but that a command to run is no command of fanrec.
const usageTemplate = `Usage:
  {{.UseLine}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

{{if .HasParent}}Commands{{else}}Instead of recording{{end}}:{{range .Commands}}{{if .IsAvailableCommand}}
  {{.CommandPath | printf "%-18s"}} {{.Short}}{{end}}{{end}}{{if not .HasParent}}

A program of one of these names is recorded with "--" in front of it.{{end}}{{end}}
`

// statusOf returns the exit status for an error that was met before or instead
// of running the command.
func statusOf(err error) int {
	switch {
	case errors.Is(err, fanrec.ErrNotFound):
		return exitMissing
	case errors.Is(err, fanrec.ErrNotExecutable):
		return exitCannot
	}
	return exitUsage
}

// coloured tells whether what is written there has colours: on a terminal that has, if
// nobody asked not to (no-color.org).
func coloured(fd uintptr) bool {
	return terminal(fd) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func terminal(fd uintptr) bool {
	_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
	return err == nil
}

// newLog returns the logger of messages to a person.
func newLog(f *recordFlags) (zerolog.Logger, error) { return newLogTo(os.Stderr, f) }

func newLogTo(to io.Writer, f *recordFlags) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(f.logLevel)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("--log-level %s: want debug, info, warn or error", f.logLevel)
	}
	if f.verbose {
		level = zerolog.DebugLevel
	}
	if f.quiet {
		level = zerolog.ErrorLevel
	}
	w := zerolog.ConsoleWriter{
		Out: to, NoColor: !coloured(os.Stderr.Fd()), PartsOrder: []string{"level", "message"},
		FormatLevel: func(l any) string {
			if l == "warn" {
				return "fanrec: warning:"
			}
			return "fanrec:"
		},
	}
	return zerolog.New(w).Level(level), nil
}

// explain adds to an error of fanrec.New what can be done about it.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("not permitted to record, though every capability is there: %w; see fanrec doctor", err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, fan.ErrNotSupported):
		return fmt.Errorf("%w; see fanrec doctor", err)
	}
	return err
}

// permitted tells whether this process has the capabilities that it needs.
func permitted(asUser bool) error {
	if inUserNamespace() {
		return errors.New("not permitted to record: this is a user namespace, whose capabilities do not count; run fanrec on the host")
	}
	wanted := capabilities
	if asUser {
		wanted = append(wanted[:len(wanted):len(wanted)], userCapabilities...)
	}
	if missing := missingCapabilities(wanted); len(missing) > 0 {
		return fmt.Errorf("not permitted to record: no %s; run it as root (sudo fanrec ...)", strings.Join(missing, ", "))
	}
	return nil
}

// job is a command that is to be recorded, and where to.
type job struct {
	*recordFlags
	command *fanrec.Command
	filter  *filter
	log     zerolog.Logger
	open    opener
	dated   bool // text says of which day it is
	special bool // open returns a writer that is not of the format
	counted counts
}

// count counts a record for -c.
func (j *job) count(r *output.Record) {
	if j.counts {
		j.counted.add(r)
	}
}

// opener opens what is recorded into, which may belong to the user that the
// command runs as.
type opener func(as *syscall.Credential) (*logfile.File, *logfile.Log, error)

// record records a command into a log.
func record(f *recordFlags, argv []string) error {
	return recordTo(f, argv, nil)
}

// recordTo records a command into what open returns; nil: the log of the flags.
func recordTo(f *recordFlags, argv []string, open opener) error {
	log, err := newLog(f)
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
	if f.absent && f.noCalls {
		return errors.New("--absent with --no-calls: only call records tell of what was not found; leave out one of them")
	}
	j := &job{recordFlags: f, command: &fanrec.Command{Argv: argv}, filter: filter, log: log, open: open, special: open != nil}
	if open == nil {
		j.open = j.openLog
	}
	if f.user != "" {
		if err := runAs(j.command, f.user); err != nil {
			return err
		}
	}
	if err := j.command.Check(); err != nil {
		return err
	}
	if conn := j.service(); conn != nil {
		return j.through(conn)
	}
	return j.alone()
}

// openLog opens the log of the flags.
func (j *job) openLog(as *syscall.Credential) (*logfile.File, *logfile.Log, error) {
	file, err := openLog(j.output, as)
	if err != nil {
		return nil, nil, err
	}
	if j.format == "text" && terminal(file.Fd()) {
		return file, logfile.To(file, output.NewText(file, output.TextOptions{Color: coloured(file.Fd()), Live: !j.dated})), nil
	}
	to, err := logfile.New(file, j.format)
	return file, to, err
}

// full tells whether the log has all that there is to a record.
func (j *job) full() bool { return output.Full(j.format) }

// alone records without a service.
func (j *job) alone() error {
	if err := permitted(j.user != ""); err != nil {
		return err
	}
	opts := fanrec.Options{
		NoCalls: j.noCalls, Absent: j.absent, Modify: j.modify, Attrib: j.attrib, Epoch: j.epoch, WaitAll: j.waitAll, Handles: j.full(), Seen: j.full(), Containers: j.full(), Log: j.log,
		ProcessRing: j.processRing, CallRing: j.callRing, LimitedQueue: j.limitedQueue, NoRings: j.noRings,
	}
	if j.args {
		opts.ArgsMax = maxArgs
	}
	// What loading leaves behind is not worth a collection before the command runs.
	gc := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	rec, err := fanrec.New(opts)
	if err != nil {
		return explain(err)
	}
	defer rec.Close()
	// Recording is one loop: a second processor would only cost.
	runtime.GOMAXPROCS(1)
	time.AfterFunc(time.Second, func() { debug.SetGCPercent(gc) })

	file, to, err := j.open(j.command.As)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := rec.IgnoreWrites(int(file.Fd())); err != nil {
		j.log.Debug().Err(err).Msg("the log's own writes may be recorded")
	}
	signals := catch()
	begin := time.Now()
	pid, err := rec.Start(j.command)
	if err != nil {
		return err
	}
	go forward(rec, signals)
	return j.run(rec, to, &output.Header{Target: uint32(pid), Start: begin.UnixNano(), Command: j.command.Argv, Key: j.key, Notes: rec.Notes(), Origin: output.Here(fullVersion())})
}

// run writes the log until the recording is over and returns its exit status.
func (j *job) run(rec *fanrec.Recorder, to *logfile.Log, h *output.Header) error {
	to.Begin(h)
	wrote := true
	res, err := rec.Run(func(r *output.Record) {
		j.count(r)
		if j.filter.drops(r) {
			return
		}
		wrote = true
		to.Write(r)
	}, func() {
		if wrote {
			wrote = false
			to.Flush()
		}
	})
	if err != nil {
		return err
	}
	end := &output.Trailer{Stop: time.Now().UnixNano(), Incomplete: res.Incomplete}
	if err := to.End(end); err != nil {
		j.log.Debug().Err(err).Msg("the log was left as it is")
	}
	res.Incomplete = end.Incomplete
	return j.finish(res)
}

// finish says how a recording went and returns its exit status.
func (j *job) finish(res *fanrec.Result) error {
	for _, why := range res.Incomplete {
		fmt.Fprintf(os.Stderr, "fanrec: INCOMPLETE: %s\n", why)
	}
	if j.counts {
		j.counted.print(os.Stderr)
	}
	if !j.quiet {
		fmt.Fprintln(os.Stderr, summary(j.output, &res.Stats))
	}
	j.log.Debug().Int("epochs", res.Stats.Epochs).Int("lookups", res.Stats.Lookups).Msg("recording")
	switch {
	case len(res.Incomplete) > 0:
		return exitStatus(exitUsage)
	case res.Status.Signaled():
		return exitStatus(128 + int(res.Status.Signal()))
	case res.Status.ExitStatus() != 0:
		return exitStatus(res.Status.ExitStatus())
	}
	return nil
}

// summary is the line that is printed at the end.
func summary(file string, s *fanrec.Stats) string {
	plural := func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	}
	line := fmt.Sprintf("fanrec: %s, %s, %s, %s, %s, %s, %d lost, %.2f s",
		plural(s.Processes, "process", "processes"),
		plural(s.Records[output.Read], "read", "reads"),
		plural(s.Records[output.Write], "write", "writes"),
		plural(s.Records[output.Delete], "deletion", "deletions"),
		plural(s.Records[output.Rename], "rename", "renames"),
		plural(s.Events, "event", "events"), s.Lost, s.Elapsed.Seconds())
	if file != "-" {
		line += ", log in " + file
	}
	return line
}

// memoryLimit is from where on the garbage collector works harder. The budget
// of resident memory is 64 MiB; rings and the program itself are not in this.
const memoryLimit = 32 << 20

// catch takes the signals that are meant for the command. One that is ignored
// stays so: the command inherits that. Whoever reads the log from a pipe may
// leave: a write then fails, and SIGPIPE must not end the recorder.
func catch() chan os.Signal {
	ch := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE} {
		if !signal.Ignored(s) {
			signal.Notify(ch, s)
		}
	}
	return ch
}

// recording is what signals are for: of the recorder here, or of a service.
type recording interface {
	Signal(syscall.Signal)
	Stop()
}

// forward passes on what was sent to the recorder alone. The terminal sends
// SIGINT and SIGQUIT to the command itself. When the command has ended, any of
// them ends a recording that goes on for its descendants.
func forward(rec recording, ch chan os.Signal) {
	for s := range ch {
		switch s {
		case syscall.SIGTERM, syscall.SIGHUP:
			rec.Signal(s.(syscall.Signal))
		case syscall.SIGINT, syscall.SIGQUIT:
			rec.Stop()
		}
	}
}
