package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"fanrec/tests/oracle"
	"fanrec/tests/oracle/programs"

	"golang.org/x/sys/unix"
)

// tally sums up comparisons of one program.
type tally struct {
	runs, processes, strace, log int
	counts                       map[oracle.DiffKind]int
	failed                       int // comparisons that could not be made
}

func (t *tally) add(r *oracle.Report) {
	t.runs++
	t.processes += r.Processes
	t.strace += r.Strace
	t.log += r.Log
	if t.counts == nil {
		t.counts = map[oracle.DiffKind]int{}
	}
	for _, d := range r.Diffs {
		t.counts[d.Kind]++
	}
}

func (t *tally) ok() bool { return len(t.counts) == 0 && t.failed == 0 }

// report is the sum as if it were one run.
func (t *tally) report() *oracle.Report {
	r := &oracle.Report{Processes: t.processes, Strace: t.strace, Log: t.log}
	for kind, n := range t.counts {
		for range n {
			r.Diffs = append(r.Diffs, oracle.Diff{Kind: kind})
		}
	}
	return r
}

// outcomes is what came of all comparisons of one program.
type outcomes struct {
	program   programs.Program
	same      tally // in one run
	free      tally // in runs of their own
	cannotRun error
}

// chosen are the programs that the flags choose.
func (cfg *config) chosen() []programs.Program {
	return slices.DeleteFunc(slices.Clone(programs.All), func(p programs.Program) bool {
		return cfg.programs != nil && !cfg.programs.MatchString(p.Name) || cfg.fast && !p.Fast
	})
}

// runTable compares the programs that the flags choose, and puts the outcome into the table.
func runTable(cfg *config, out io.Writer) (bool, error) {
	list := cfg.chosen()
	if len(list) == 0 {
		return false, errors.New("no program has such a name")
	}
	agreed := true
	for _, p := range list {
		all, ok, err := runPrograms(cfg, []programs.Program{p}, out)
		if err != nil {
			return false, err
		}
		agreed = agreed && ok
		if cfg.table != "" { // each time: it takes long, and may be stopped
			if err := updateTable(cfg.table, all); err != nil {
				return false, err
			}
		}
	}
	return agreed, nil
}

// updateTable puts outcomes into the table that is in a file, or makes it.
func updateTable(name string, all []outcomes) error {
	strace, err := exec.Command("strace", "-V").Output()
	if err != nil {
		return fmt.Errorf("strace: %w", err)
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b bytes.Buffer
	writeTable(&b, kernelVersion(unix.ByteSliceToString(uts.Release[:])), straceVersion(string(strace)), all, readRows(string(old)))
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// kernelVersion leaves out what only the machine's builder knows.
func kernelVersion(release string) string {
	version, _, _ := strings.Cut(release, "-")
	return version
}

// straceVersion is the last word of the first line.
func straceVersion(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line[strings.LastIndexByte(line, ' ')+1:]
}

// runPrograms compares each program of a list, and tells whether none found a difference. What differs is printed as it comes.
func runPrograms(cfg *config, list []programs.Program, out io.Writer) ([]outcomes, bool, error) {
	var all []outcomes
	agreed := true
	for _, p := range list {
		o, err := runProgram(cfg, p, out)
		if err != nil {
			return all, false, fmt.Errorf("%s: %w", p.Name, err)
		}
		all = append(all, o)
		agreed = agreed && o.same.ok() && o.free.ok()
	}
	return all, agreed, nil
}

func runProgram(cfg *config, p programs.Program, out io.Writer) (outcomes, error) {
	o := outcomes{program: p}
	logs, err := logDir(cfg.keep)
	if err != nil {
		return o, err
	}
	if cfg.keep == "" {
		defer os.RemoveAll(logs)
	}
	scratch, err := os.MkdirTemp(cmp.Or(p.Below, cfg.scratch), "oracle-scratch-")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(scratch)
	if scratch, err = canonical(scratch); err != nil {
		return o, err
	}
	if err := os.Chmod(scratch, 0o755); err != nil { // programs that are another user's get there, too
		return o, err
	}
	dir, source := filepath.Join(scratch, "run"), filepath.Join(scratch, "source")
	if err := p.PrepareIn(dir); err != nil {
		if errors.Is(err, programs.ErrCannotRun) {
			fmt.Fprintf(out, "%s: %v\n", p.Name, err)
			o.cannotRun = err
			return o, nil
		}
		return o, err
	}
	if err := os.Rename(dir, source); err != nil {
		return o, err
	}
	one := *cfg
	one.source, one.command = source, p.Command()
	for _, free := range []bool{false, true} {
		if free && (!p.Same || cfg.oneRun) {
			continue
		}
		one.free = free
		sum, kind := &o.same, "same"
		if free {
			sum, kind = &o.free, "free"
		}
		s := site{config: &one, logs: filepath.Join(logs, p.Name+"-"+kind), dir: dir}
		if err := os.MkdirAll(s.logs, 0o755); err != nil {
			return o, err
		}
		for i := range cfg.runs {
			s.judge(i, fmt.Sprintf("%s, %s run", p.Name, kind), sum, out)
		}
	}
	return o, nil
}

// judge makes one comparison, prints it and adds it to a sum. Logs of one that found nothing are not kept.
func (s *site) judge(i int, title string, sum *tally, out io.Writer) {
	r, err := s.compare(i)
	p := printer{out: out, most: s.most}
	fmt.Fprintf(out, "%s ", title)
	p.print(i, r, err)
	if err != nil || r.status != "" { // a program that failed did not do what it is for
		sum.failed++
		return
	}
	sum.add(r.report)
	if r.report.OK() && i > 0 {
		for _, kind := range []string{"fanrec", "strace", "out", "fanrec.out"} {
			os.Remove(s.file(i, kind))
		}
	}
}

// writeTable writes the outcomes as a page of Markdown. Programs that were not run keep the row that they had.
func writeTable(b *bytes.Buffer, kernel, strace string, all []outcomes, old map[string]string) {
	fmt.Fprintf(b, tableHead, kernel, strace)
	b.WriteString("\n| program | runs | processes | records | recall | precision | order, frame, loader | runs of their own: records | recall | precision | order, frame |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, p := range programs.All {
		row, ok := old[p.Name]
		for _, o := range all {
			if o.program.Name == p.Name {
				row, ok = o.row(), true
			}
		}
		if ok {
			b.WriteString(row + "\n")
		}
	}
	b.WriteString("\n| program | what it does |\n|---|---|\n")
	for _, p := range programs.All {
		fmt.Fprintf(b, "| `%s` | %s |\n", p.Name, p.About)
	}
}

// row is the outcomes as one of the table.
func (o *outcomes) row() string {
	if o.cannotRun != nil {
		return fmt.Sprintf("| `%s` | cannot run here | | | | | | | | | |", o.program.Name)
	}
	return fmt.Sprintf("| `%s` | %d | %d |%s%s", o.program.Name, o.same.runs+o.same.failed, o.same.processes, o.same.cells(true), o.free.cells(false))
}

// readRows returns the rows of a table that was written before, by program.
func readRows(page string) map[string]string {
	rows := map[string]string{}
	for line := range strings.SplitSeq(page, "\n") {
		if name, cells, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); ok && strings.Count(cells, "|") == 10 {
			rows[name] = line
		}
	}
	return rows
}

const tableHead = `# Beside strace

Made by ` + "`make oracle-all`" + `: each program runs under both at once, ` + "`fanrec -- strace -f … -- program`" + `, and each record is compared: process, kind,
path, and order. *Recall* is the share of what strace saw that the log has, *precision* the share of the log that strace saw, too. *Order* counts
records that stand before one that happened first, *frame* those outside of the F and X of their process, *loader* executions without the script
or ELF interpreter that the kernel opened. Programs that do the same each time were also run as often under each of the two alone; there processes are
matched by their place in the tree, names of temporaries are folded, and only the order on each path of a process counts.

Linux %s, strace %s.
`

// cells are the figures of a sum as cells of a row.
func (t *tally) cells(loader bool) string {
	if t.runs == 0 && t.failed == 0 {
		return " – | – | – | – |"
	}
	r := t.report()
	wrong := fmt.Sprintf("%d, %d", r.Count(oracle.Order), r.Count(oracle.Frame))
	if loader {
		wrong += fmt.Sprintf(", %d", r.Count(oracle.Loader))
	}
	if t.failed > 0 {
		wrong += fmt.Sprintf("; %d not compared", t.failed)
	}
	return fmt.Sprintf(" %d | %.2f %% | %.2f %% | %s |", t.strace, floor(r.Recall()), floor(r.Precision()), wrong)
}

// floor keeps what is nearly 100 from being rounded to it.
func floor(percent float64) float64 { return float64(int(percent*100)) / 100 }
