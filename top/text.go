package top

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"fanrec/output"
)

// CellWidth is the width of a column of numbers, with the blank in front of it.
const CellWidth = 8

// Rate returns so many in a time as text: so many a second.
func Rate(n uint64, in time.Duration) string {
	x := float64(n) / max(in, time.Millisecond).Seconds()
	switch {
	case n == 0:
		return "0"
	case x < 99_999:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return Amount(uint64(x))
}

// Amount returns a number as a text of at most 7 characters.
func Amount(n uint64) string {
	if n < 10_000_000 {
		return strconv.FormatUint(n, 10)
	}
	x, units := float64(n)/1e6, "MGTPE"
	for ; x >= 9_999 && len(units) > 1; units = units[1:] {
		x /= 1000
	}
	return fmt.Sprintf("%.1f%c", x, units[0])
}

// Cell returns a number of the rows as it is shown.
func (v *View) Cell(n uint64) string {
	if v.Total {
		return Amount(n)
	}
	return Rate(n, v.Interval)
}

// Label returns the name of a process as it is shown.
func (p *Process) Label() string {
	switch {
	case p.PID == 0:
		return p.Comm
	case p.Ended:
		return fmt.Sprintf("%s[%d] ended", output.Printable(p.Comm), p.PID)
	}
	return fmt.Sprintf("%s[%d]", output.Printable(p.Comm), p.PID)
}

// Label returns the name of a file as it is shown.
func (f *File) Label() string {
	switch {
	case f.Others:
		return strings.TrimSuffix(output.Printable(f.Path), "/") + "/ (others)"
	case f.Path == "":
		return "(no file)"
	}
	return output.Printable(f.Path)
}

// InAll says what SumTotal is.
func (v *View) InAll() string {
	if v.Recorded != v.SumTotal {
		return fmt.Sprintf("in all, of %d recorded", v.Recorded.Of(Total))
	}
	return "in all"
}

// Write writes a view as text: sums, then so many processes and files, 0 for all.
// notes are lines of their own.
func (v *View) Write(to io.Writer, title string, notes []string, rows int) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "fanrec top %s  %s  %s\n", v.At.Format("15:04:05"), v.Since.Round(100*time.Millisecond), output.Printable(title))
	for _, n := range notes {
		fmt.Fprintln(w, output.Printable(n))
	}
	heading(w, "")
	line(w, &v.Sum, func(n uint64) string { return Rate(n, v.Interval) }, "per second")
	line(w, &v.SumTotal, exact, v.InAll())
	fmt.Fprintln(w)
	heading(w, "PROCESS")
	cell := v.Cell
	if v.Total {
		cell = exact
	}
	cut := func(n int) int {
		if rows > 0 {
			return min(n, rows)
		}
		return n
	}
	for i := range v.Processes[:cut(len(v.Processes))] {
		p := &v.Processes[i]
		line(w, &p.Counts, cell, strings.Repeat("  ", p.Depth)+p.Label())
	}
	more(w, len(v.Processes)-cut(len(v.Processes)))
	fmt.Fprintln(w)
	if v.Directories {
		heading(w, "DIRECTORY")
	} else {
		heading(w, "FILE")
	}
	for i := range v.Files[:cut(len(v.Files))] {
		f := &v.Files[i]
		line(w, &f.Counts, cell, f.Label())
	}
	more(w, v.More+len(v.Files)-cut(len(v.Files)))
	fmt.Fprintln(w)
	return w.Flush()
}

func exact(n uint64) string { return strconv.FormatUint(n, 10) }

func heading(w io.Writer, name string) {
	for c := Reads; c <= Total; c++ {
		fmt.Fprintf(w, "%*s", CellWidth, c)
	}
	fmt.Fprintln(w, strings.TrimRight("  "+name, " "))
}

func line(w io.Writer, counts *Counts, cell func(uint64) string, name string) {
	for c := Reads; c <= Total; c++ {
		fmt.Fprintf(w, " %*s", CellWidth-1, cell(counts.Of(c)))
	}
	fmt.Fprintf(w, "  %s\n", name)
}

func more(w io.Writer, n int) {
	if n > 0 {
		fmt.Fprintf(w, "%*s  and %d more\n", CellWidth*(int(Total)+1), "", n)
	}
}
