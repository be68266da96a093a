package screen

import (
	"unicode"
	"unicode/utf8"

	"fanrec/top"

	"github.com/gdamore/tcell/v2"
)

// action is what a key asks of who runs the display.
type action int

const (
	nothing action = iota
	quit
	stop // as ^Z does
	redraw
)

// key does what a key says.
func (d *display) key(ev *tcell.EventKey) action {
	d.message = ""
	switch ev.Key() {
	case tcell.KeyCtrlC, tcell.KeyCtrlBackslash:
		return quit
	case tcell.KeyCtrlZ:
		return stop
	case tcell.KeyCtrlL:
		return redraw
	}
	switch {
	case ev.Key() == tcell.KeyRune && ev.Modifiers()&tcell.ModAlt != 0:
		// That is what escape and a letter soon after it look like.
		d.key(tcell.NewEventKey(tcell.KeyEscape, 0, tcell.ModNone))
		return d.key(tcell.NewEventKey(tcell.KeyRune, ev.Rune(), tcell.ModNone))
	case d.help:
		d.help = false
		return nothing
	case d.typing:
		d.typed(ev)
		return nothing
	}
	page := max(d.panes[d.active].height-1, 1)
	switch ev.Key() {
	case tcell.KeyUp:
		d.move(-1)
	case tcell.KeyDown:
		d.move(1)
	case tcell.KeyPgUp, tcell.KeyCtrlB:
		d.move(-page)
	case tcell.KeyPgDn, tcell.KeyCtrlF:
		d.move(page)
	case tcell.KeyHome:
		d.move(-d.rows(d.active))
	case tcell.KeyEnd:
		d.move(d.rows(d.active))
	case tcell.KeyTab, tcell.KeyBacktab:
		d.active = panes - 1 - d.active
	case tcell.KeyLeft:
		d.active = processes
	case tcell.KeyRight:
		d.active = files
	case tcell.KeyEnter, tcell.KeyCtrlJ:
		d.enter()
	case tcell.KeyEscape, tcell.KeyBackspace, tcell.KeyBackspace2:
		d.leave()
	case tcell.KeyF1:
		d.help = true
	case tcell.KeyRune:
		return d.letter(ev.Rune())
	}
	return nothing
}

func (d *display) letter(r rune) action {
	switch r {
	case 'q':
		return quit
	case 'h', '?':
		d.help = true
	case 'j':
		d.move(1)
	case 'k':
		d.move(-1)
	case 'g':
		d.move(-d.rows(d.active))
	case 'G':
		d.move(d.rows(d.active))
	case '>', 's':
		d.sort(1)
	case '<', 'S':
		d.sort(-1)
	case 'r':
		d.query.Reverse = !d.query.Reverse
		d.look()
	case '/':
		p := &d.panes[d.active]
		d.typing, p.previous = true, p.filter
	case ' ', 'f':
		d.frozen = !d.frozen
	case 't':
		d.query.Total = !d.query.Total
		d.look()
	case 'd':
		d.query.Directories = !d.query.Directories
		d.panes[files].home()
		d.look()
	case 'v':
		d.query.Flat = !d.query.Flat
		d.look()
	case 'i':
		d.query.Busy = !d.query.Busy
		d.look()
	}
	return nothing
}

// sort sorts by another column.
func (d *display) sort(by int) {
	d.query.Sort = top.Column((int(d.query.Sort) + by + top.Columns) % top.Columns)
	d.message = "sorted by " + d.query.Sort.String()
	d.look()
}

// typed takes a key of a filter; what it leaves is shown at once.
func (d *display) typed(ev *tcell.EventKey) {
	p := &d.panes[d.active]
	text := p.filter
	switch ev.Key() {
	case tcell.KeyEnter, tcell.KeyCtrlJ:
		d.typing = false
		return
	case tcell.KeyEscape:
		d.typing, text = false, p.previous
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	case tcell.KeyCtrlU:
		text = ""
	case tcell.KeyRune:
		if r := ev.Rune(); unicode.IsPrint(r) && len(text) < 200 {
			text += string(r)
		}
	default:
		return
	}
	d.filter(d.active, text)
	d.look()
}
