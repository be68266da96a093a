package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fanrec/output"
	"fanrec/output/depfile"
	"fanrec/output/series"

	"github.com/spf13/cobra"
)

type depsFlags struct {
	target   string
	output   string
	format   string
	root     string
	user     string
	exclude  []string
	absent   bool
	noSystem bool
}

// kernelFiles are no files that anything could depend on.
var kernelFiles = []string{"/proc/**", "/sys/**", "/dev/**"}

// systemFiles are what a distribution installs.
var systemFiles = []string{"/usr/**", "/bin/**", "/sbin/**", "/lib/**", "/lib32/**", "/lib64/**", "/etc/**"}

func newDeps() *cobra.Command {
	var f depsFlags
	cmd := &cobra.Command{
		Use:   "deps -t TARGET [flags] (LOG | -- command [arguments])",
		Short: "Write the dependency file of a command",
		Long: `fanrec deps writes what a target depends on: the files that a command and all its
descendants read and did not make themselves, out of a filemon log, or of the
command while it runs. What the command removed, wrote to or replaced is left
out, and so are directories.

With --absent it also writes the paths that were looked for and not found, as a
header in the first directories of its search path: the target is made again when
one of them comes to be. That is each path whose look-up failed, but for what the
command itself made, removed or found at another time, and what is below a directory
that it removed. A log must have been recorded with --absent, too. What a program learns by
reading a directory, as a shell does for *.h, is not looked for.

GNU make then makes the target again when such a file is there, however old it is.
A depfile of ninja cannot have a file that is missing. In JSON it is the list "absent".

Of a log that is not complete, or a command that failed, nothing is written.`,
		Example: `  sudo fanrec deps -t out.o -o out.d -- cc -c in.c -o out.o
  sudo fanrec deps -t out.o -o out.d --absent --no-system --root . -- cc -Ia -Ib -c in.c -o out.o
  fanrec deps -t all --no-system --root . filemon.out
  fanrec deps -t x --format json - <filemon.out | jq .outputs`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch dash := cmd.ArgsLenAtDash(); {
			case f.target == "":
				return errors.New("what depends on the files? Name it with -t")
			case dash == 0 && len(args) > 0:
				return f.run(func() (io.ReadCloser, error) { return f.record(args) })
			case dash < 0 && len(args) == 1 && args[0] == "-":
				return f.run(func() (io.ReadCloser, error) { return os.Stdin, nil })
			case dash < 0 && len(args) == 1:
				return f.run(func() (io.ReadCloser, error) { return openInput(args[0]) })
			}
			return errors.New("want one log, or -- and a command; try fanrec deps --help")
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.target, "target", "t", "", "the `TARGET` that depends on the files")
	fl.StringVarP(&f.output, "output", "o", "-", "write to `FILE`, - for standard output")
	fl.StringVar(&f.format, "format", "make", "`FORMAT`: make, ninja or json (with the outputs, too)")
	fl.StringVar(&f.root, "root", "", "make paths below `DIR` relative to it")
	fl.StringVar(&f.user, "user", "", "run the command as user `NAME`")
	fl.StringArrayVar(&f.exclude, "exclude", nil, "leave out paths that match `GLOB` (** crosses directories; repeatable)")
	fl.BoolVar(&f.absent, "absent", false, "write, too, what was looked for and not found")
	fl.BoolVar(&f.noSystem, "no-system", false, "leave out what is below /usr, /bin, /sbin, /lib* and /etc")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"make", "ninja", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// record records a command and returns the log.
func (f *depsFlags) record(argv []string) (io.ReadCloser, error) {
	dir, err := os.MkdirTemp("", "fanrec-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	log := recordFlags{output: filepath.Join(dir, "log"), format: "jsonl", quiet: true, logLevel: "warn", user: f.user, absent: f.absent}
	if f.user != "" {
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			return nil, err
		}
	}
	if err := record(&log, argv); err != nil {
		return nil, err
	}
	return os.Open(log.output)
}

// run writes the dependency file of a log.
func (f *depsFlags) run(open func() (io.ReadCloser, error)) error {
	globs := append(append([]string{}, kernelFiles...), f.exclude...)
	if f.noSystem {
		globs = append(globs, systemFiles...)
	}
	exclude, err := newGlobs("exclude", globs)
	if err != nil {
		return err
	}
	root := f.root
	if root != "" {
		if root, err = filepath.Abs(root); err != nil {
			return err
		}
	}
	write := map[string]func(*depfile.Rule, io.Writer) error{
		"make": (*depfile.Rule).WriteMake, "ninja": (*depfile.Rule).WriteNinja, "json": (*depfile.Rule).WriteJSON,
	}[f.format]
	if write == nil {
		return fmt.Errorf("--format %s: want make, ninja or json", f.format)
	}
	if f.absent && f.format == "ninja" {
		return depfile.ErrAbsent
	}
	log, err := open()
	if err != nil {
		return err
	}
	defer log.Close()
	files, err := filesOf(log)
	if err != nil {
		return err
	}
	rule := depfile.Rule{Target: f.target, Inputs: shown(files.Inputs(), exclude, root), Outputs: shown(files.Outputs(), exclude, root)}
	if f.absent {
		if !files.Sought() {
			fmt.Fprintln(os.Stderr, "fanrec: warning: the log has no look-up that failed: record it with --absent, too")
		}
		absent, there := files.Absent(), []string(nil)
		if f.format == "make" {
			absent, there = notThere(absent)
		}
		rule.Absent = append([]string{}, shown(absent, exclude, root)...)
		rule.Inputs = append(rule.Inputs, shown(there, exclude, root)...)
	}
	var b bytes.Buffer
	if err := write(&rule, &b); err != nil {
		return err
	}
	if f.output == "-" {
		_, err := os.Stdout.Write(b.Bytes())
		return err
	}
	return replace(f.output, b.Bytes())
}

// filesOf reads a log to its end, which must be that of a complete one.
func filesOf(log io.Reader) (*depfile.Files, error) {
	plain, err := series.Reader(log)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	defer plain.Close()
	r, err := output.NewReader(plain)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	var files depfile.Files
	var rec output.Record
	for {
		switch err := r.Read(&rec); {
		case err == io.EOF && len(r.Trailer().Incomplete) > 0:
			return nil, fmt.Errorf("the log is incomplete: %s", strings.Join(r.Trailer().Incomplete, "; "))
		case err == io.EOF:
			return &files, nil
		case err != nil:
			return nil, fmt.Errorf("read the log: %w", err)
		}
		files.Add(&rec)
	}
}

// notThere divides paths that were looked for in vain by whether they are there now, as
// a script whose interpreter is missing, or what somebody else made meanwhile. A
// directory that is there is no prerequisite.
func notThere(paths []string) (absent, there []string) {
	for _, p := range paths {
		switch st, err := os.Stat(p); {
		case err != nil:
			absent = append(absent, p)
		case !st.IsDir():
			there = append(there, p)
		}
	}
	return absent, there
}

// shown returns the paths that are not excluded, relative to root if that is not
// empty and they are below it.
func shown(paths []string, exclude globs, root string) []string {
	var out []string
	for _, p := range paths {
		if exclude.match([]byte(p)) {
			continue
		}
		if rest, ok := strings.CutPrefix(p, strings.TrimSuffix(root, "/")+"/"); ok && root != "" {
			p = rest
		}
		out = append(out, p)
	}
	return out
}

// replace writes a file in one step: nobody reads half of it.
func replace(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".fanrec-")
	if err != nil {
		return notWritten(name, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return notWritten(name, err)
	}
	return nil
}

// notWritten says why a file could not be written, without the name that it has
// until it is whole.
func notWritten(name string, err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: its directory does not exist; choose another with -o", name)
	}
	return fmt.Errorf("write %s: %w; choose another place with -o", name, err)
}
