package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"fanrec"
	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

type recordFlags struct {
	output   string
	format   string
	user     string
	exclude  []string
	waitAll  bool
	quiet    bool
	verbose  bool
	logLevel string
	noCalls  bool
	args     bool
	modify   bool
	attrib   bool

	epoch        time.Duration
	processRing  int
	callRing     int
	limitedQueue bool
	noRings      bool
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
missing.

The exit status is the command's, 128+n if signal n killed it, 127 if it was
not found, 126 if it cannot be executed, and 125 if fanrec itself failed or the
log is incomplete. An incomplete log says so, and no "# Bye bye" ends it.

SIGINT and SIGQUIT are left to the command, SIGTERM and SIGHUP passed on to it.
After the command, while -w waits for its descendants, they end the recording.

In a GLOB of --exclude, * and ? stay within a name, ** crosses directories, and
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
			return record(&f, args)
		},
	}
	fl := cmd.Flags()
	fl.SetInterspersed(false)
	fl.StringVarP(&f.output, "output", "o", "filemon.out", "write the log to `FILE`, - for standard output")
	fl.StringVarP(&f.format, "format", "f", "filemon", "`FORMAT` of the log: filemon (version 5), filemon4 or jsonl")
	fl.StringVar(&f.user, "user", "", "run the command as user `NAME`")
	fl.BoolVarP(&f.waitAll, "wait-all", "w", false, "go on until the last descendant is gone, not only the command")
	fl.StringArrayVar(&f.exclude, "exclude", nil, "leave out paths that match `GLOB` (** crosses directories; repeatable)")
	fl.BoolVar(&f.args, "args", false, "with jsonl: record the arguments of executed programs")
	fl.BoolVar(&f.modify, "modify", false, "record writes, too, through whatever descriptor; each write(2) of the machine then costs more")
	fl.BoolVar(&f.attrib, "attrib", false, "record changes of mode, owner, times and extended attributes")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "say more about the recording (as --log-level debug)")
	fl.StringVar(&f.logLevel, "log-level", "warn", "`LEVEL` of messages: debug, info, warn or error")
	fl.BoolVar(&f.noCalls, "no-calls", false, "do without call records: less exact, no cost to system calls")
	fl.DurationVar(&f.epoch, "epoch", 0, "gather for so long before records are put in order")
	fl.IntVar(&f.processRing, "process-ring", 0, "bytes of the ring of process records, a power of two")
	fl.IntVar(&f.callRing, "call-ring", 0, "bytes of the ring of call records, a power of two")
	fl.BoolVar(&f.limitedQueue, "limited-queue", false, "keep the kernel's limit of queued events")
	fl.BoolVar(&f.noRings, "no-rings", false, "as on a kernel that does not tell what io_uring does")
	fl.BoolP("help", "h", false, "print this")
	fl.Bool("version", false, "print the version")
	for _, name := range []string{"epoch", "process-ring", "call-ring", "limited-queue", "no-rings"} {
		fl.MarkHidden(name)
	}
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.SetUsageTemplate(usageTemplate)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if c.HasParent() {
			return fmt.Errorf("%w; try %s --help, or fanrec [flags] -- %s to record a program of that name", err, c.CommandPath(), c.Name())
		}
		return fmt.Errorf("%w; try fanrec --help", err)
	})
	return cmd
}

// usage is for who gives no command.
const usage = `usage: fanrec [flags] -- command [arguments]
       fanrec convert | deps | doctor | meta | version | man | completion
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

func terminal(fd uintptr) bool {
	_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
	return err == nil
}

// newLog returns the logger of messages to a person.
func newLog(f *recordFlags) (zerolog.Logger, error) {
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
		Out: os.Stderr, NoColor: !terminal(os.Stderr.Fd()) || os.Getenv("NO_COLOR") != "", PartsOrder: []string{"level", "message"},
		FormatLevel: func(l any) string {
			if l == "warn" {
				return "fanrec: warning:"
			}
			return "fanrec:"
		},
	}
	return zerolog.New(w).Level(level), nil
}

// newWriter returns the writer of a format.
// formats are those of a log, as they are completed.
var formats = []string{"filemon", "filemon4", "jsonl"}

func newWriter(format string, w io.Writer) (output.Writer, error) {
	switch format {
	case "filemon", "filemon5":
		return output.NewFilemon(w, 5), nil
	case "filemon4":
		return output.NewFilemon(w, 4), nil
	case "jsonl", "json":
		return output.NewJSONL(w), nil
	}
	return nil, fmt.Errorf("--format %s: want filemon, filemon4 or jsonl", format)
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

// record records a command into a log.
func record(f *recordFlags, argv []string) error {
	return recordTo(f, argv, func(as *syscall.Credential) (*logFile, output.Writer, error) {
		file, err := openLog(f.output, as)
		if err != nil {
			return nil, nil, err
		}
		writer, err := newWriter(f.format, file)
		return file, writer, err
	})
}

// recordTo records a command into what open returns, which may belong to the user
// that the command runs as.
func recordTo(f *recordFlags, argv []string, open func(as *syscall.Credential) (*logFile, output.Writer, error)) error {
	log, err := newLog(f)
	if err != nil {
		return err
	}
	exclude, err := newExclude(f.exclude)
	if err != nil {
		return err
	}
	if _, err := newWriter(f.format, io.Discard); err != nil {
		return err
	}
	command := &fanrec.Command{Argv: argv}
	if f.user != "" {
		if err := runAs(command, f.user); err != nil {
			return err
		}
	}
	if err := command.Check(); err != nil {
		return err
	}
	if err := permitted(f.user != ""); err != nil {
		return err
	}
	json := strings.HasPrefix(f.format, "json")
	opts := fanrec.Options{
		NoCalls: f.noCalls, Modify: f.modify, Attrib: f.attrib, Epoch: f.epoch, WaitAll: f.waitAll, Handles: json, Seen: json, Log: log,
		ProcessRing: f.processRing, CallRing: f.callRing, LimitedQueue: f.limitedQueue, NoRings: f.noRings,
	}
	if f.args {
		opts.ArgsMax = 8192
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

	file, writer, err := open(command.As)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := rec.IgnoreWrites(int(file.Fd())); err != nil {
		log.Debug().Err(err).Msg("the log's own writes may be recorded")
	}
	signals := catch()
	begin := time.Now()
	pid, err := rec.Start(command)
	if err != nil {
		return err
	}
	go forward(rec, signals)
	return run(f, log, rec, file, writer, exclude, &output.Header{Target: uint32(pid), Start: begin.UnixNano(), Command: argv, Notes: rec.Notes()})
}

// run writes the log until the recording is over and returns its exit status.
func run(f *recordFlags, log zerolog.Logger, rec *fanrec.Recorder, file *logFile, w output.Writer, exclude exclude, h *output.Header) error {
	var werr error
	keep := func(err error) {
		if werr == nil {
			werr = err
		}
	}
	keep(w.Begin(h))
	wrote := true
	var excluded fanrec.Stats
	res, err := rec.Run(func(r *output.Record) {
		if exclude.match(r) {
			excluded.Records[r.Kind]++
			return
		}
		wrote = true
		keep(w.Write(r))
	}, func() {
		if wrote {
			wrote = false
			keep(w.Flush())
		}
	})
	if err != nil {
		return err
	}
	for kind, n := range excluded.Records {
		res.Stats.Records[kind] -= n
	}
	end := &output.Trailer{Stop: time.Now().UnixNano(), Incomplete: res.Incomplete}
	if werr == nil {
		werr = w.End(end)
	}
	if werr == nil && file.regular {
		werr = file.Close() // some filesystems tell only now
	}
	if werr != nil {
		end.Incomplete = append(end.Incomplete, fmt.Sprintf("the log could not be written: %v", werr))
		if err := salvage(f.format, file, h, end); err != nil {
			log.Debug().Err(err).Msg("the log was left as it is")
		}
	}
	for _, why := range end.Incomplete {
		fmt.Fprintf(os.Stderr, "fanrec: INCOMPLETE: %s\n", why)
	}
	if !f.quiet {
		fmt.Fprintln(os.Stderr, summary(f.output, &res.Stats))
	}
	log.Debug().Int("epochs", res.Stats.Epochs).Int("lookups", res.Stats.Lookups).Msg("recording")
	switch {
	case len(end.Incomplete) > 0:
		return exitStatus(exitUsage)
	case res.Status.Signaled():
		return exitStatus(128 + int(res.Status.Signal()))
	case res.Status.ExitStatus() != 0:
		return exitStatus(res.Status.ExitStatus())
	}
	return nil
}

// salvage ends a log that could not be written.
func salvage(format string, file *logFile, h *output.Header, end *output.Trailer) error {
	var b bytes.Buffer
	w, err := newWriter(format, &b)
	if err != nil {
		return err
	}
	w.Begin(h) // the end names the last process
	w.Flush()
	b.Reset()
	if err := w.End(end); err != nil {
		return err
	}
	return file.salvage(b.Bytes())
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

// forward passes on what was sent to the recorder alone. The terminal sends
// SIGINT and SIGQUIT to the command itself. When the command has ended, any of
// them ends a recording that goes on for its descendants.
func forward(rec *fanrec.Recorder, ch chan os.Signal) {
	for s := range ch {
		switch s {
		case syscall.SIGTERM, syscall.SIGHUP:
			rec.Signal(s.(syscall.Signal))
		case syscall.SIGINT, syscall.SIGQUIT:
			rec.Stop()
		}
	}
}
