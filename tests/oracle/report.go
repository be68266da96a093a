package oracle

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// DiffKind says how two witnesses differ.
type DiffKind string

// The kinds of differences.
const (
	Missing DiffKind = "missing" // strace saw it, the log lacks it: recall
	Extra   DiffKind = "extra"   // the log has it, strace did not see it: precision
	Order   DiffKind = "order"   // a record stands before one that happened first
	Frame   DiffKind = "frame"   // F is not before the child's records, X is not the last one
	Loader  DiffKind = "loader"  // an E lacks the R of a script or ELF interpreter, which the kernel opened
)

var diffKinds = []DiffKind{Missing, Extra, Order, Frame, Loader}

// Diff is one difference.
type Diff struct {
	Kind   DiffKind
	PID    int
	Record Record
	Log    int    // line of the log, 0 if it has none
	Strace int    // line of strace's output, or the nearest one that the process has, 0 if there is none
	Note   string // what is wrong, if the kind does not say it
}

// Report is the outcome of a comparison.
type Report struct {
	Processes int
	Strace    int // operations that strace saw, without those that may be missing
	Log       int // records of the traced processes, without those that strace cannot see
	Common    int // operations that both have
	Allowed   int // records that strace cannot see: opens by the kernel for an E
	Diffs     []Diff
}

// Count returns how many differences of a kind there are.
func (r *Report) Count(kind DiffKind) int {
	n := 0
	for _, d := range r.Diffs {
		if d.Kind == kind {
			n++
		}
	}
	return n
}

// OK tells whether the witnesses agree in everything.
func (r *Report) OK() bool { return len(r.Diffs) == 0 }

// Recall is the share of what strace saw that the log has, in percent.
func (r *Report) Recall() float64 { return percent(r.Strace-r.Count(Missing), r.Strace) }

// Precision is the share of the log that strace saw, too, in percent.
func (r *Report) Precision() float64 { return percent(r.Log-r.Count(Extra), r.Log) }

func percent(part, whole int) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// Summary is the report in one line.
func (r *Report) Summary() string {
	return fmt.Sprintf("processes %d strace %d log %d common %d allowed %d | recall %.3f%% precision %.3f%% order %d frame %d loader %d",
		r.Processes, r.Strace, r.Log, r.Common, r.Allowed, r.Recall(), r.Precision(), r.Count(Order), r.Count(Frame), r.Count(Loader))
}

// Write writes the summary and the differences, by kind and place in strace's output; no more than most of each kind if that is not 0.
func (r *Report) Write(w io.Writer, most int) error {
	if _, err := fmt.Fprintln(w, r.Summary()); err != nil {
		return err
	}
	for _, kind := range diffKinds {
		if err := r.writeKind(w, kind, most); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) writeKind(w io.Writer, kind DiffKind, most int) error {
	var diffs []Diff
	for _, d := range r.Diffs {
		if d.Kind == kind {
			diffs = append(diffs, d)
		}
	}
	slices.SortStableFunc(diffs, func(a, b Diff) int { return cmp.Or(cmp.Compare(a.Strace, b.Strace), cmp.Compare(a.Log, b.Log)) })
	for i, d := range diffs {
		if most > 0 && i == most {
			_, err := fmt.Fprintf(w, "  ... and %d more\n", len(diffs)-most)
			return err
		}
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
	}
	return nil
}

// String gives a difference on one line.
func (d Diff) String() string {
	s := fmt.Sprintf("  %-7s pid %d  %s  (log:%d strace:%d)", d.Kind, d.PID, d.Record, d.Log, d.Strace)
	if d.Note != "" {
		s += ": " + d.Note
	}
	return s
}
