package top

import (
	"strings"

	"fanrec/output"
)

// Column is what is counted, and by what rows are sorted.
type Column int

// The columns. Each record counts in one of the first, Counted, and in Total.
const (
	Reads     Column = iota // opened for reading
	Writes                  // opened for writing, truncated by name, written to (with modify)
	Creations               // names that came to be: by open, mkdir, mknod, bind, link
	Deletions
	Renames
	Others // fork, exec, exit, chdir; what was not found, changes of attributes

	Total   // all of these
	Name    // for sorting only
	Counted = int(Others + 1)
	Columns = int(Name + 1)
)

var columns = [Columns]string{"READ", "WRITE", "CREATE", "DELETE", "RENAME", "OTHER", "TOTAL", "NAME"}

// String returns the heading of a column.
func (c Column) String() string { return columns[c] }

// columnOf returns in which column a record counts.
func columnOf(r *output.Record) Column {
	switch r.Kind {
	case output.Read:
		return Reads
	case output.Write:
		switch r.Op {
		case output.Create, output.Mkdir, output.Mknod, output.Bind:
			return Creations
		}
		return Writes
	case output.Modify:
		return Writes
	case output.Link:
		return Creations
	case output.Delete:
		return Deletions
	case output.Rename:
		return Renames
	}
	return Others
}

// Counts are numbers of records by column.
type Counts [Counted]uint64

// Of returns the number in a column.
func (c *Counts) Of(col Column) uint64 {
	if int(col) < Counted {
		return c[col]
	}
	var sum uint64
	for _, n := range c {
		sum += n
	}
	return sum
}

// Add adds other counts.
func (c *Counts) Add(o *Counts) {
	for i, n := range o {
		c[i] += n
	}
}

func (c *Counts) zero() bool { return *c == Counts{} }

// ParseColumn returns the column of a name, in whatever case.
func ParseColumn(name string) (Column, bool) {
	for c, n := range columns {
		if strings.EqualFold(n, name) {
			return Column(c), true
		}
	}
	return 0, false
}

// ColumnNames returns the names that ParseColumn knows.
func ColumnNames() []string {
	var all []string
	for _, n := range columns {
		all = append(all, strings.ToLower(n))
	}
	return all
}
