// Oracle runs a command under fanrec and strace and compares what both saw.
//
//	oracle [flags] -- COMMAND [ARG]...
//	oracle [flags] -programs REGEXP
//
// By default fanrec records strace, which runs the command: both see the same run. With -free each has a run of its own, from a fresh copy of the
// working directory at the same path if -copy is given. The exit status is 0 if there is no difference, 1 if there is one, 2 if a comparison
// could not be made.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"fanrec/tests/oracle"
	"fanrec/tests/oracle/programs"
)

// config is what the flags say.
type config struct {
	fanrec  string
	flags   []string // further ones for fanrec
	keep    string
	free    bool
	runs    int
	workers int
	source  string
	scratch string
	most    int
	timeout time.Duration
	command []string

	programs *regexp.Regexp // those of package programs to compare, nil if a command is given
	fast     bool
	oneRun   bool // no runs of their own
	table    string
}

func main() {
	cfg, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err == nil {
		var agreed bool
		if cfg.programs != nil {
			agreed, err = runTable(cfg, os.Stdout)
		} else {
			agreed, err = run(cfg, os.Stdout)
		}
		if err == nil && !agreed {
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(2)
	}
}

func parseFlags(args []string) (*config, error) {
	var cfg config
	var flags string
	fs := flag.NewFlagSet("oracle", flag.ContinueOnError)
	fs.StringVar(&cfg.fanrec, "fanrec", "bin/fanrec", "the recorder `FILE` to judge")
	fs.StringVar(&flags, "flags", "", "further `FLAGS` for the recorder, split at blanks")
	fs.StringVar(&cfg.keep, "keep", "", "keep logs, traces and output in `DIR`")
	fs.BoolVar(&cfg.free, "free", false, "compare two runs, one under each witness")
	fs.IntVar(&cfg.runs, "n", 1, "number of comparisons")
	fs.IntVar(&cfg.workers, "parallel", 1, "comparisons made at a time; more than one needs -copy")
	fs.StringVar(&cfg.source, "copy", "", "run in fresh copies of `DIR`, not in the working directory")
	fs.StringVar(&cfg.scratch, "scratch", "", "make the copies below `DIR` (default the directory for temporary files)")
	fs.IntVar(&cfg.most, "most", 20, "differences to print of each kind, 0 for all")
	fs.DurationVar(&cfg.timeout, "timeout", 10*time.Minute, "kill a run that takes longer")
	fs.Func("programs", "compare the programs of the table whose names match `REGEXP`, instead of a command", func(text string) (err error) {
		cfg.programs, err = regexp.Compile("^(?:" + text + ")$")
		return err
	})
	fs.BoolVar(&cfg.fast, "fast", false, "of the programs only those that take about a second")
	fs.BoolVar(&cfg.oneRun, "one-run", false, "no runs of their own of the programs that do the same each time")
	fs.StringVar(&cfg.table, "table", "", "put the outcome of the programs into `FILE`, as Markdown; the rows of others stay")
	packages := fs.Bool("packages", false, "print the Debian packages that the programs need, and end")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if *packages {
		fmt.Println(strings.Join(programs.Packages(cfg.chosen()), "\n"))
		os.Exit(0)
	}
	cfg.flags, cfg.command = strings.Fields(flags), fs.Args()
	switch {
	case cfg.programs != nil && (len(cfg.command) > 0 || cfg.source != "" || cfg.workers > 1 || cfg.free):
		return nil, errors.New("-programs goes with no command, -copy, -free or -parallel")
	case cfg.programs == nil && len(cfg.command) == 0:
		return nil, errors.New("no command given")
	case cfg.workers < 1 || cfg.runs < 1:
		return nil, errors.New("-n and -parallel must be positive")
	case cfg.workers > 1 && cfg.source == "":
		return nil, errors.New("-parallel needs -copy: runs would meet in the working directory")
	}
	// Runs have another working directory.
	var err error
	if cfg.fanrec, err = filepath.Abs(cfg.fanrec); err != nil {
		return nil, err
	}
	if _, err = os.Stat(cfg.fanrec); err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	return &cfg, nil
}

// run makes all comparisons and tells whether none found a difference.
func run(cfg *config, out io.Writer) (bool, error) {
	logs, err := logDir(cfg.keep)
	if err != nil {
		return false, err
	}
	if cfg.keep == "" {
		defer os.RemoveAll(logs)
	}
	scratch, err := os.MkdirTemp(cfg.scratch, "oracle-scratch-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(scratch)
	if scratch, err = canonical(scratch); err != nil {
		return false, err
	}
	p := printer{out: out, most: cfg.most, agreed: true}
	next := make(chan int)
	var wg sync.WaitGroup
	for w := range cfg.workers {
		wg.Go(func() {
			site := site{config: cfg, logs: logs, dir: filepath.Join(scratch, fmt.Sprint(w))}
			for i := range next {
				report, err := site.compare(i)
				p.print(i, report, err)
			}
		})
	}
	for i := range cfg.runs {
		next <- i
	}
	close(next)
	wg.Wait()
	return p.agreed, p.err
}

func logDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "oracle-logs-")
	}
	if err := os.MkdirAll(keep, 0o755); err != nil {
		return "", err
	}
	return filepath.Abs(keep)
}

// canonical returns the absolute path without symbolic links, as the kernel has it.
func canonical(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// printer prints the outcome of runs that end in any order.
type printer struct {
	mu     sync.Mutex
	out    io.Writer
	most   int
	agreed bool
	err    error // of any comparison that could not be made
}

func (p *printer) print(i int, r *outcome, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("run %d: %w", i, err))
		fmt.Fprintf(p.out, "run %d: %v\n", i, err)
		return
	}
	p.agreed = p.agreed && r.report.OK()
	fmt.Fprintf(p.out, "run %d: %s", i, r.status)
	if err := r.report.Write(p.out, p.most); err != nil {
		p.err = errors.Join(p.err, err)
	}
	for _, doubt := range r.trace.Doubts {
		fmt.Fprintf(p.out, "  doubt   strace %s\n", doubt)
	}
}

// outcome is what came of one comparison.
type outcome struct {
	report *oracle.Report
	trace  *oracle.Trace
	status string // what is worth knowing of the command, empty or a line
}
