package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"fanrec/output"
	"fanrec/output/claim"
	"fanrec/output/logfile"
	"fanrec/output/series"

	"github.com/spf13/cobra"
)

type searchFlags struct {
	filterFlags
	key     []string
	start   string
	end     string
	subtree []uint
	format  string
	schema  schemaFlag
	output  string
	counts  bool
}

// exitNone is the status of a search that finds nothing, as of grep(1).
const exitNone = 1

func newSearch() *cobra.Command {
	var f searchFlags
	cmd := &cobra.Command{
		Use:   "search [flags] LOG...",
		Short: "Print the records of logs that match",
		Long: `fanrec search reads logs, - for standard input, one after the other as they are
named, and prints the records that match everything that is asked for: kinds, paths,
names and numbers of processes, users, times, and the key that a recording was given.
Of a log that was rotated the earlier files are read first, compressed or not.

A TIME is '10 minutes ago', 'yesterday', 13:05, '2026-11-20 13:05:30', 90s (so long
ago), or as in RFC 3339; a time of day that is still to come is that of yesterday,
but not with --end. Records of filemon logs have no times of their own: to search
by time, record with -f jsonl. Of a number that several processes had in a log,
--subtree takes each of them that the number named is forked as.

The exit status is 0 if something was found, 1 if nothing was, and 125 if a log could
not be read, or is not complete: what is missing is said on standard error.`,
		Example: `  fanrec search --only W,D,M --path '/etc/**' filemon.out
  fanrec search --key nightly --start '2 hours ago' --comm 'postgres' logs/*.jsonl
  fanrec search --subtree 4711 -f filemon -o sub.log build.jsonl`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("search what? Name logs, - for standard input")
			}
			if err := f.schema.choose(cmd.Flags(), &f.format); err != nil {
				return err
			}
			return f.run(args)
		},
	}
	fl := cmd.Flags()
	f.filterFlags.add(fl)
	fl.StringArrayVar(&f.key, "key", nil, "of recordings that were given this `NAME` only (repeatable)")
	fl.StringVar(&f.start, "start", "", "from `TIME` on")
	fl.StringVar(&f.end, "end", "", "until `TIME`")
	fl.UintSliceVar(&f.subtree, "subtree", nil, "of these `PIDS` and all that they and their descendants fork")
	fl.StringVarP(&f.format, "format", "f", "text", "`FORMAT` to print: text, jsonl, filemon (version 5) or filemon4")
	f.schema.add(fl)
	fl.StringVarP(&f.output, "output", "o", "-", "write to `FILE`, - for standard output")
	fl.BoolVarP(&f.counts, "count", "c", false, "print a table only: records by name of the process and by kind")
	completeFormat(cmd)
	return cmd
}

// search is what is asked for, and what was found.
type search struct {
	filter     *filter
	keys       map[string]bool // nil: all
	start, end int64           // ns since 1970; 0: none
	roots      map[uint32]bool // nil: all
	members    map[uint32]bool // of their trees, in the log that is read
	glance     *glance         // nil: every record is read
	to         *logfile.Log
	begun      bool
	counted    *counts // nil: records are printed
	found      int
	missing    []string // what could not be read, or is not complete
}

// logFile is a file to read.
type logFile struct {
	name string
	goes bool     // on where the one before it ended
	last *os.File // it is open already: that which is written, whatever it is called by now
}

// whole returns logs with the earlier files of each in front of it, each once. What is
// rotated from now on is not taken for earlier.
func whole(logs []string) []logFile {
	var all []logFile
	known := map[string]bool{}
	for _, name := range logs {
		last, opened := openLast(name)
		earlier, _ := series.Earlier(name) // that there is no directory is said of the log
		if last != nil {
			earlier = slices.DeleteFunc(earlier, func(n string) bool { return isLater(n, last, opened) })
		}
		for i, n := range append(earlier, name) {
			if known[n] {
				continue
			}
			known[n] = true
			l := logFile{name: n, goes: i > 0}
			if i == len(earlier) {
				l.last, last = last, nil
			}
			all = append(all, l)
		}
		if last != nil {
			last.Close()
		}
	}
	return all
}

// openLast opens the file of a log that is still written, and tells when. It is nil if
// nobody writes one.
func openLast(name string) (*os.File, time.Time) {
	if name == "-" {
		return nil, time.Time{}
	}
	for range 5 {
		opened := time.Now()
		f, err := openInput(name)
		if err == nil {
			if claim.Taken(f) {
				return f, opened
			}
			mine, _ := f.Stat()
			f.Close()
			if now, err := os.Stat(name); err == nil && os.SameFile(mine, now) {
				break // nobody rotates it
			}
		} else if earlier, _ := series.Earlier(name); len(earlier) == 0 || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		time.Sleep(20 * time.Millisecond) // it is being rotated just now
	}
	return nil, time.Time{}
}

// isLater tells whether a file is the last one, or was begun after that was opened.
func isLater(name string, last *os.File, opened time.Time) bool {
	st, err := os.Stat(name)
	if err != nil {
		return false
	}
	now, err := last.Stat()
	return err == nil && os.SameFile(st, now) || st.ModTime().After(opened)
}

// apart sees to it that no log is read that is written.
func apart(logs []string, to string) error {
	out, err := os.Stat(to)
	if err != nil || to == "-" || !out.Mode().IsRegular() {
		return nil
	}
	for _, l := range whole(logs) {
		name := l.name
		if l.last != nil {
			defer l.last.Close()
		}
		if st, err := os.Stat(name); err == nil && os.SameFile(st, out) {
			return fmt.Errorf("%s is to be read and to be written; choose another place with -o", name)
		}
	}
	return nil
}

func (f *searchFlags) run(logs []string) error {
	filter, err := f.filterFlags.compile()
	if err != nil {
		return err
	}
	s := &search{filter: filter}
	now := time.Now()
	for _, bound := range []struct {
		flag, text string
		to         *int64
	}{{"start", f.start, &s.start}, {"end", f.end, &s.end}} {
		if bound.text == "" {
			continue
		}
		t, err := when(bound.text, now, bound.flag == "end")
		if err != nil {
			return fmt.Errorf("--%s: %w", bound.flag, err)
		}
		*bound.to = t.UnixNano()
	}
	if f.start != "" && f.end != "" { // from 22:00 to 23:00, asked in the morning, is all of yesterday
		start, err := when(f.start, now, true)
		end, eerr := when(f.end, now, false)
		if err == nil && eerr == nil && start.UnixNano() != s.start && end.UnixNano() >= s.start {
			s.end = end.UnixNano()
		}
	}
	if s.start != 0 && s.end != 0 && s.start > s.end {
		return fmt.Errorf("--start %s is after --end %s: %s, %s", f.start, f.end, time.Unix(0, s.start).Format(time.DateTime), time.Unix(0, s.end).Format(time.DateTime))
	}
	if len(f.key) > 0 {
		s.keys = map[string]bool{}
		for _, k := range f.key {
			s.keys[k] = true
		}
	}
	if s.roots, err = pids("subtree", f.subtree); err != nil {
		return err
	}
	if _, err := output.NewWriter(f.format, io.Discard); err != nil {
		return err
	}
	if err := apart(logs, f.output); err != nil {
		return err
	}
	j := &job{recordFlags: &recordFlags{format: f.format, output: f.output}, dated: true}
	file, to, err := j.openLog(nil)
	if err != nil {
		return err
	}
	defer file.Close()
	s.to = to
	if f.counts {
		s.counted = &counts{}
	}
	s.glance = newGlance(s)
	for _, l := range whole(logs) {
		if !l.goes {
			s.members = maps.Clone(s.roots)
		}
		name := l.name
		if err := s.file(name, l.last); err != nil { // the others are searched all the same
			fmt.Fprintf(os.Stderr, "fanrec: %s: %v\n", name, err)
			s.missing = append(s.missing, fmt.Sprintf("%s: %v", name, err))
		}
		if err := to.Err(); err != nil {
			return f.unwritten(err)
		}
	}
	if s.counted != nil {
		err = s.counted.print(file)
	} else if s.begun {
		to.End(&output.Trailer{Stop: now.UnixNano(), Incomplete: s.missing})
		err = to.Err()
	}
	if err != nil {
		return f.unwritten(err)
	}
	switch {
	case len(s.missing) > 0:
		return exitStatus(exitUsage)
	case s.found == 0:
		return exitStatus(exitNone)
	}
	return nil
}

// unwritten says that what was found could not be written.
func (f *searchFlags) unwritten(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if f.output == "-" {
		return fmt.Errorf("write standard output: %w", err)
	}
	return fmt.Errorf("write %s: %w", f.output, err)
}

func (s *search) file(name string, in *os.File) error {
	began := in != nil // it was written when the search began
	if name == "-" {
		in = os.Stdin
	} else {
		var err error
		if in == nil {
			in, err = openInput(name)
		}
		if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(name, series.Compressed) { // just now
			if z, zerr := openInput(name + series.Compressed); zerr == nil {
				in, err = z, nil
			}
		}
		if err != nil {
			return errors.Unwrap(err)
		}
		defer in.Close()
		// (But who is of a subtree is told by older ones.)
		if st, err := in.Stat(); err == nil && s.start != 0 && s.roots == nil && st.Mode().IsRegular() && st.ModTime().UnixNano() < s.start {
			return nil // all of it is older
		}
	}
	// What is written still ends anywhere.
	var from io.Reader = bufio.NewReaderSize(in, 256<<10)
	live := began || claim.Taken(in)
	lines := &wholeLines{from: from}
	if live {
		from = lines
	}
	plain, err := series.Reader(from)
	if err != nil {
		return err
	}
	defer plain.Close()
	r, err := output.NewReader(plain)
	if err != nil && live && !lines.any {
		return nil // it has only just begun
	}
	if err != nil {
		return err
	}
	head := r.Header()
	if s.keys != nil && !s.keys[head.Key] || s.end != 0 && head.Start > s.end {
		return nil
	}
	if _, untimed := r.(*output.FilemonReader); untimed && (s.start != 0 || s.end != 0) {
		return errors.New("records of a filemon log have no times; search without --start and --end, or record with -f jsonl")
	}
	if lines, ok := r.(*output.JSONLReader); ok && s.glance != nil {
		lines.Pass(s.glance.drops)
	}
	var rec output.Record
	for {
		err := r.Read(&rec)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !s.matches(&rec) {
			continue
		}
		s.found++
		if s.counted != nil {
			s.counted.add(&rec)
			continue
		}
		if !s.begun {
			s.begun = true
			part := &output.Header{Target: head.Target, Start: head.Start, Command: head.Command, Key: head.Key, Origin: head.Origin}
			for pid := range s.roots {
				part.Target = pid
			}
			s.to.Begin(part)
		}
		s.to.Write(&rec)
	}
	if live {
		fmt.Fprintf(os.Stderr, "fanrec: %s is still written: there may be more\n", name)
		if r.Trailer().Stop == 0 { // that nothing was lost is known at its end only
			return nil
		}
	}
	for _, why := range r.Trailer().Incomplete {
		fmt.Fprintf(os.Stderr, "fanrec: %s is INCOMPLETE: %s\n", name, why)
		s.missing = append(s.missing, fmt.Sprintf("%s: %s", name, why))
	}
	return nil
}

// matches tells whether a record is what is searched for. It must be asked about all.
func (s *search) matches(r *output.Record) bool {
	if s.roots != nil {
		in := s.members[r.PID]
		switch {
		case r.Kind == output.Fork && (in || s.roots[r.Child]):
			s.members[r.Child] = true
		case r.Kind == output.Fork:
			delete(s.members, r.Child) // the number is another process's now
		case r.Kind == output.Exit:
			delete(s.members, r.PID)
		}
		if !in {
			return false
		}
	}
	if s.start != 0 && r.Time < s.start || s.end != 0 && r.Time > s.end {
		return false
	}
	return !s.filter.drops(r)
}
