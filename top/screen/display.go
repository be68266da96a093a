package screen

import (
	"time"

	"fanrec/top"

	"github.com/gdamore/tcell/v2"
)

// Source is what is shown. Its methods are called on one goroutine, while records are
// counted on another, and should keep neither waiting.
type Source interface {
	Tick(now time.Time)                  // top.Model.Tick
	View(q *top.Query) *top.View         // top.Model.View
	Keep(id uint64)                      // top.Model.Keep
	Notes() []string                     // what is to be said, INCOMPLETE for one
	Match(text string) func(string) bool // understands a filter
}

// Options of a screen.
type Options struct {
	Title string        // what is recorded
	Delay time.Duration // between two ticks
	Ticks int           // ends after so many; 0: never
	Query top.Query     // what is shown at first
}

// maxFiles is how many files can be seen: who wants others filters.
const maxFiles = 1000

// Panes.
const (
	processes = iota
	files
	panes
)

// level is what is looked at: everything, and then a part of that each time.
type level struct {
	process uint64
	path    string
	label   string // of the last step
	// How it was left for a part of it, and is found again.
	panes       [panes]pane
	active      int
	directories bool
}

// pane is one of the two lists.
type pane struct {
	cursor   int // the row
	top      int // the first row that is seen
	height   int // how many were seen
	held     any // the process or file under the cursor, once it was moved; else nil
	filter   string
	match    func(string) bool
	previous string // filter, while another is typed
}

// display is all that there is to be seen, and who looks where.
type display struct {
	to      tcell.Screen
	src     Source
	options Options
	query   top.Query // but for what levels and filters say
	levels  []level   // the last one is shown; the first is everything
	view    *top.View
	panes   [panes]pane
	active  int
	frozen  bool
	help    bool
	typing  bool   // a filter
	message string // until the next key
}

func newDisplay(to tcell.Screen, src Source, o Options) *display {
	d := &display{to: to, src: src, options: o, query: o.Query, levels: []level{{}}}
	d.query.Limit = maxFiles
	d.look()
	return d
}

// tick ends an interval, unless the display is frozen: all is counted all the same.
func (d *display) tick(now time.Time) {
	if !d.frozen {
		d.src.Tick(now)
		d.look()
	}
}

// look asks for what is to be shown.
func (d *display) look() {
	for {
		at := d.levels[len(d.levels)-1]
		q := d.query
		q.Process, q.Path = at.process, at.path
		q.Comm, q.File = d.panes[processes].match, d.panes[files].match
		d.view = d.src.View(&q)
		if !d.view.Gone {
			d.view.Sort(&q)
			break
		}
		d.out()
		d.message = at.label + " is not there any more"
	}
	for i := range d.panes {
		d.panes[i].find(d, i)
	}
}

// rows returns how many rows a pane has.
func (d *display) rows(pane int) int {
	if pane == processes {
		return len(d.view.Processes)
	}
	return len(d.view.Files)
}

// identity returns what is in a row, as far as it is the same one the next time.
func (d *display) identity(pane, row int) any {
	if row < 0 || row >= d.rows(pane) {
		return nil
	}
	if pane == processes {
		return d.view.Processes[row].ID
	}
	f := &d.view.Files[row]
	return [2]any{f.Path, f.Others}
}

// find puts the cursor where what it was on is now.
func (p *pane) find(d *display, which int) {
	n := d.rows(which)
	if p.held != nil {
		for i := range n {
			if d.identity(which, i) == p.held {
				p.cursor = i
				return
			}
		}
	}
	p.cursor = max(min(p.cursor, n-1), 0)
}

// move moves the cursor of the active pane.
func (d *display) move(by int) {
	p := &d.panes[d.active]
	p.cursor = max(min(p.cursor+by, d.rows(d.active)-1), 0)
	p.held = d.identity(d.active, p.cursor)
	if p.cursor == 0 {
		p.held = nil // whoever comes first
	}
}

// enter goes into what is under the cursor.
func (d *display) enter() {
	at := d.levels[len(d.levels)-1]
	row := d.panes[d.active].cursor
	if d.identity(d.active, row) == nil {
		return
	}
	if d.active == processes {
		p := &d.view.Processes[row]
		at.process, at.label = p.ID, p.Label()
	} else {
		f := &d.view.Files[row]
		if f.Path == "" {
			d.message = "what has no file: processes that begin and end"
			return
		}
		at.path, at.label = f.Path, f.Label()
		if f.Others {
			at.label = f.Path
		}
	}
	last := &d.levels[len(d.levels)-1]
	last.panes, last.active, last.directories = d.panes, d.active, d.query.Directories
	d.levels = append(d.levels, at)
	d.panes = [panes]pane{{height: d.panes[processes].height}, {height: d.panes[files].height}}
	switch {
	case d.active == processes:
		d.active = files
	case d.query.Directories:
		d.query.Directories = false // now for what is in it
	default:
		d.active = processes // who uses it
	}
	d.keep()
	d.look()
}

// out goes back to what was looked at before.
func (d *display) out() {
	d.levels = d.levels[:len(d.levels)-1]
	at := &d.levels[len(d.levels)-1]
	d.panes, d.active, d.query.Directories = at.panes, at.active, at.directories
	d.keep()
}

// leave goes back to what was looked at before, or takes the filter away.
func (d *display) leave() {
	p := &d.panes[d.active]
	switch {
	case p.filter != "":
		d.filter(d.active, "")
	case len(d.levels) > 1:
		d.out()
	}
	d.look()
}

// keep has the process that is looked at stay.
func (d *display) keep() { d.src.Keep(d.levels[len(d.levels)-1].process) }

func (p *pane) home() { p.cursor, p.top, p.held = 0, 0, nil }

// filter chooses rows by their names.
func (d *display) filter(which int, text string) {
	p := &d.panes[which]
	p.filter, p.match = text, nil
	if text != "" {
		p.match = d.src.Match(text)
	}
	p.home()
}
