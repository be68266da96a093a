package screen

import (
	"fmt"
	"slices"
	"strings"

	"fanrec/output"
	"fanrec/top"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// Styles. Where there are no colours, or none are wanted (NO_COLOR), tcell leaves them out.
var (
	plain   = tcell.StyleDefault
	dim     = plain.Dim(true)
	bold    = plain.Bold(true)
	heading = plain.Reverse(true)
	marked  = plain.Reverse(true).Bold(true)
	alarm   = plain.Foreground(tcell.ColorRed).Bold(true)
	hint    = plain.Foreground(tcell.ColorTeal)
)

const (
	bothPanes   = 70 // columns from which on there is room for two panes
	sumsFrom    = 12 // rows from which on there is room for sums
	notesAtMost = 3
)

// leastNames are so many columns as are left for names.
var leastNames = [panes]int{processes: 20, files: 34}

// draw draws everything.
func (d *display) draw() {
	d.to.Clear()
	d.to.HideCursor()
	w, h := d.to.Size()
	if d.help {
		d.drawHelp(w, h)
	} else if w > 0 && h > 0 {
		y := d.drawHead(w, h)
		d.drawPanes(y, w, h-1)
		if h > 1 {
			d.drawFoot(h-1, w)
		}
	}
	d.to.Show()
}

// put writes a text into a row from x on, as far as to end, and returns where it ends.
// A character that is two columns wide is left out where there is one.
func (d *display) put(x, y, end int, text string, style tcell.Style) int {
	state := -1
	for text != "" {
		var cluster string
		var width int
		cluster, text, width, state = uniseg.FirstGraphemeClusterInString(text, state)
		if x+width > end {
			break
		}
		d.to.Put(x, y, cluster, style)
		x += width
	}
	return x
}

// fill fills a row with blanks.
func (d *display) fill(x, y, end int, style tcell.Style) {
	for ; x < end; x++ {
		d.to.Put(x, y, " ", style)
	}
}

// shorten takes from the middle of a text what is too wide: of a path the end tells most.
func shorten(text string, width int) string {
	all := uniseg.StringWidth(text)
	if all <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	head := (width - 1) / 3
	var b strings.Builder
	at, state, cut := 0, -1, false
	for rest := text; rest != ""; {
		var cluster string
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		switch {
		case at+w <= head && !cut:
			b.WriteString(cluster)
		case !cut:
			b.WriteString("…")
			cut = true
			fallthrough
		default:
			if all-at <= width-1-head {
				b.WriteString(cluster)
			}
		}
		at += w
	}
	return b.String()
}

// drawHead draws what is looked at, the sums and the notes, and returns the next row.
func (d *display) drawHead(w, h int) (y int) {
	state := "per second"
	if d.query.Total {
		state = "in all"
	}
	right := w
	if n := len(state); w > 40 {
		right = w - n
		d.put(right, 0, w, state, bold)
	}
	if d.frozen && w > 20 {
		right -= len(" FROZEN ") + 1
		d.put(right, 0, w, " FROZEN ", marked)
	}
	x := d.put(0, 0, right-1, "fanrec top ", bold)
	x = d.put(x, 0, right-1, d.view.At.Format("15:04:05  "), plain)
	where := output.Printable(d.options.Title)
	for _, l := range d.levels[1:] {
		where += " > " + l.label
	}
	d.put(x, 0, right-1, shorten(where, right-1-x), plain)
	y = 1
	if h >= sumsFrom {
		cols := top.Total + 1
		for c := range cols {
			d.put(int(c)*top.CellWidth, y, w, fmt.Sprintf("%*s", top.CellWidth, c), dim)
		}
		d.drawSums(y+1, w, &d.view.Sum, func(n uint64) string { return top.Rate(n, d.view.Interval) }, "per second")
		living := fmt.Sprintf("%d processes", d.view.Living)
		if d.view.Living == 1 {
			living = "1 process"
		}
		d.drawSums(y+2, w, &d.view.SumTotal, top.Amount, d.view.InAll()+", "+living)
		y += 3
	}
	notes := d.src.Notes()
	for i, n := range notes {
		if y >= h-3 && i > 0 || i == notesAtMost {
			break
		}
		if more := len(notes) - i - 1; more > 0 && (i == notesAtMost-1 || y+1 >= h-3) {
			n = fmt.Sprintf("%s (and %d more)", n, more)
		}
		d.put(0, y, w, shorten(output.Printable(n), w), alarm)
		y++
	}
	return y
}

func (d *display) drawSums(y, w int, c *top.Counts, cell func(uint64) string, name string) {
	x := 0
	for col := top.Reads; col <= top.Total; col++ {
		x = d.put(x, y, w, fmt.Sprintf("%*s", top.CellWidth, cell(c.Of(col))), plain)
	}
	d.put(x+2, y, w, name, dim)
}

// drawPanes draws the lists into rows from y on, up to bottom.
func (d *display) drawPanes(y, w, bottom int) {
	if w < bothPanes {
		d.drawPane(d.active, 0, y, w, bottom)
		return
	}
	middle := w * 2 / 5
	d.drawPane(processes, 0, y, middle, bottom)
	for row := y; row < bottom; row++ {
		d.to.Put(middle, row, string(tcell.RuneVLine), dim)
	}
	d.drawPane(files, middle+1, y, w, bottom)
}

// columns returns which columns a pane has room for, in their order: two at least.
func (d *display) columns(which, width int) []top.Column {
	n := max((width-leastNames[which])/top.CellWidth, min(2, width/top.CellWidth-1))
	var all []top.Column
	for _, c := range []top.Column{d.query.Sort, top.Total, top.Reads, top.Writes, top.Creations, top.Deletions, top.Renames, top.Others} {
		if c != top.Name && len(all) < n && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return all
}

func (d *display) drawPane(which, left, y, end, bottom int) {
	if y >= bottom {
		return
	}
	p := &d.panes[which]
	columns := d.columns(which, end-left)
	d.drawHeading(which, columns, left, y, end)
	y++
	p.height = bottom - y
	rows := d.rows(which)
	p.top = max(min(p.top, p.cursor), p.cursor-p.height+1, 0)
	for i := p.top; i < rows && y < bottom; i++ {
		style := plain
		var counts *top.Counts
		var name, before string
		if which == processes {
			one := &d.view.Processes[i]
			counts, name, before = &one.Counts, one.Label(), branch(one)
			if one.Ended || one.PID == 0 {
				style = dim
			}
		} else {
			counts, name = &d.view.Files[i].Counts, d.view.Files[i].Label()
			if f := &d.view.Files[i]; f.Others || f.Path == "" {
				style = dim
			}
		}
		numbers := style
		if i == p.cursor && which == d.active {
			style, numbers = marked, marked
			d.fill(left, y, end, marked)
		}
		x := left
		for _, c := range columns {
			n := counts.Of(c)
			s := numbers
			if n == 0 {
				s = s.Dim(true)
			}
			x = d.put(x, y, end, fmt.Sprintf("%*s", top.CellWidth, d.view.Cell(n)), s)
		}
		x = d.put(x+1, y, end, before, style.Dim(true))
		d.put(x, y, end, shorten(name, end-x), style)
		y++
	}
	if which == files && d.view.More > 0 && y < bottom {
		d.put(left+len(columns)*top.CellWidth+1, y, end, fmt.Sprintf("(and %d more: filter with /)", d.view.More), dim)
	}
	if rows == 0 && y < bottom {
		d.put(left+1, y, end, "nothing", dim)
	}
}

// branch draws the lines of the tree in front of a process.
func branch(p *top.Process) string {
	var b strings.Builder
	for depth := 1; depth <= p.Depth; depth++ {
		switch {
		case depth < p.Depth && p.Last[depth]:
			b.WriteString("  ")
		case depth < p.Depth:
			b.WriteString("│ ")
		case p.Last[depth]:
			b.WriteString("└─")
		default:
			b.WriteString("├─")
		}
	}
	return b.String()
}

func (d *display) drawHeading(which int, columns []top.Column, left, y, end int) {
	style := heading
	if which != d.active {
		style = plain.Underline(true)
	}
	d.fill(left, y, end, style)
	x := left
	for _, c := range columns {
		s := style
		if c == d.query.Sort {
			s = s.Bold(true)
		}
		mark := c.String()
		if c == d.query.Sort {
			mark = "*" + mark
		}
		x = d.put(x, y, end, fmt.Sprintf("%*s", top.CellWidth, mark), s)
	}
	name := "PROCESS"
	switch {
	case which == files && d.query.Directories:
		name = "DIRECTORY"
	case which == files:
		name = "FILE"
	}
	if d.query.Sort == top.Name {
		name = "*" + name
	}
	if f := d.panes[which].filter; f != "" {
		name += " /" + output.Printable(f)
	}
	d.put(x+1, y, end, name, style)
}

// drawFoot draws the last row: what is typed, what was said, or which keys there are.
func (d *display) drawFoot(y, w int) {
	if d.typing {
		what := "processes"
		if d.active == files {
			what = "files"
		}
		x := d.put(0, y, w, "only "+what+" /", bold)
		x = d.put(x, y, w, output.Printable(d.panes[d.active].filter), plain)
		d.to.ShowCursor(min(x, w-1), y)
		return
	}
	if d.message != "" {
		d.put(0, y, w, d.message, bold)
		return
	}
	d.put(0, y, w, "q quit  h help  enter into  esc back  tab other side  space freeze  / filter  s sort  r reverse  t totals  d directories", hint)
}

func (d *display) drawHelp(w, h int) {
	y := 0
	for line := range strings.Lines(helpText) {
		if y < h {
			d.put(0, y, w, strings.TrimRight(line, "\n"), plain)
		}
		y++
	}
}
