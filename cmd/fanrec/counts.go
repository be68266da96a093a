package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"fanrec/output"
)

// counts are what -c prints: records by the name of the process and by kind.
type counts struct {
	by map[string]*row
}

type row struct {
	comm      string
	records   [output.Kinds]int
	total     int
	processes map[uint32]bool // by number: one that is used twice counts once
}

func (c *counts) add(r *output.Record) {
	if c.by == nil {
		c.by = map[string]*row{}
	}
	comm := r.Comm
	w := c.by[comm]
	if w == nil && len(c.by) >= maxRows { // a process can call itself what it likes
		comm = "(others)"
		w = c.by[comm]
	}
	if w == nil {
		w = &row{comm: comm, processes: map[uint32]bool{}}
		c.by[comm] = w
	}
	w.records[r.Kind]++
	w.total++
	w.processes[r.PID] = true
}

// maxRows is how many names have a row of their own.
const maxRows = 1000

// counted are the kinds that have a column.
var counted = []output.Kind{output.Read, output.Write, output.Delete, output.Rename, output.Link, output.Exec, output.Fork}

// print writes the table, the busiest first.
func (c *counts) print(to io.Writer) error {
	rows := slices.SortedFunc(maps.Values(c.by), func(a, b *row) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.comm, b.comm))
	})
	// A kind that is only there on request has a column if there is any.
	columns := slices.Clone(counted)
	for _, k := range []output.Kind{output.Absent, output.Modify, output.Attrib} {
		if slices.ContainsFunc(rows, func(w *row) bool { return w.records[k] > 0 }) {
			columns = append(columns, k)
		}
	}
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "records\tprocesses\t")
	for _, k := range columns {
		fmt.Fprintf(t, "%s\t", k)
	}
	fmt.Fprint(t, "  name\n")
	line := func(w *row, processes int) {
		fmt.Fprintf(t, "%d\t%d\t", w.total, processes)
		for _, k := range columns {
			fmt.Fprintf(t, "%d\t", w.records[k])
		}
		fmt.Fprintf(t, "  %s\n", output.Printable(w.comm))
	}
	sum := &row{comm: "total"}
	all := map[uint32]bool{}
	for _, w := range rows {
		line(w, len(w.processes))
		sum.total += w.total
		for k, n := range w.records {
			sum.records[k] += n
		}
		maps.Copy(all, w.processes)
	}
	line(sum, len(all))
	return t.Flush()
}
