package screen

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/top"

	"github.com/gdamore/tcell/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 21, 13, 5, 41, 0, time.UTC)

// source is a model whose notes are told to it.
type source struct {
	*top.Model
	notes []string
}

func (s *source) Notes() []string { return s.notes }

func (*source) Match(text string) func(string) bool {
	return func(name string) bool { return strings.Contains(name, text) }
}

func (s *source) does(n int, pid uint32, comm string, kind output.Kind, op output.Op, path string) {
	for range n {
		s.Add(&output.Record{PID: pid, Start: uint64(pid), Comm: comm, Kind: kind, Op: op, Path: []byte(path)}, true)
	}
}

func (s *source) forks(pid, child uint32, comm string) {
	s.Add(&output.Record{PID: pid, Start: uint64(pid), Comm: comm, Kind: output.Fork, Child: child}, true)
}

// screen is a display on a screen that is none.
type screen struct {
	tcell.SimulationScreen
	*display
	src *source
	now time.Time
}

func newScreen(t fataler, w, h int) *screen {
	s := &screen{SimulationScreen: tcell.NewSimulationScreen("UTF-8"), src: &source{Model: top.New(top.DefaultLimits, start)}, now: start}
	if err := s.Init(); err != nil {
		t.Fatal(err)
	}
	s.SetSize(w, h)
	s.display = newDisplay(s.SimulationScreen, s.src, Options{Title: "unit web", Query: top.Query{Sort: top.Total}})
	return s
}

// build is two seconds of a make.
func build(t fataler, w, h int) *screen {
	s := newScreen(t, w, h)
	s.forks(10, 11, "make")
	s.forks(10, 12, "make")
	s.forks(11, 13, "sh")
	s.does(40, 13, "cc1", output.Read, output.Open, "/usr/include/stdio.h")
	s.does(2, 13, "cc1", output.Write, output.Create, "/src/prog.o")
	s.does(6, 12, "ld", output.Read, output.Open, "/src/prog.o")
	s.does(4, 10, "make", output.Read, output.Open, "/src/Makefile")
	s.does(1, 10, "make", output.Delete, output.Unlink, "/src/old")
	s.wait(2 * time.Second)
	return s
}

func (s *screen) does(n int, pid uint32, comm string, kind output.Kind, op output.Op, path string) {
	s.src.does(n, pid, comm, kind, op, path)
}
func (s *screen) forks(pid, child uint32, comm string) { s.src.forks(pid, child, comm) }

func (s *screen) wait(d time.Duration) {
	s.now = s.now.Add(d)
	s.tick(s.now)
}

// press presses keys: letters, or names in angle brackets.
func (s *screen) press(keys string) (last action) {
	for keys != "" {
		ev := tcell.NewEventKey(tcell.KeyRune, rune(keys[0]), tcell.ModNone)
		n := 1
		if keys[0] == '<' {
			name, _, _ := strings.Cut(keys[1:], ">")
			key, ok := map[string]tcell.Key{
				"enter": tcell.KeyEnter, "esc": tcell.KeyEscape, "tab": tcell.KeyTab, "up": tcell.KeyUp, "down": tcell.KeyDown, "left": tcell.KeyLeft,
				"right": tcell.KeyRight, "pgdn": tcell.KeyPgDn, "pgup": tcell.KeyPgUp, "home": tcell.KeyHome, "end": tcell.KeyEnd, "back": tcell.KeyBackspace2,
				"^u": tcell.KeyCtrlU, "^c": tcell.KeyCtrlC, "^z": tcell.KeyCtrlZ, "^l": tcell.KeyCtrlL, "f1": tcell.KeyF1, "f9": tcell.KeyF9,
			}[name]
			if !ok {
				panic(name)
			}
			ev, n = tcell.NewEventKey(key, 0, tcell.ModNone), len(name)+2
		}
		keys = keys[n:]
		last = s.key(ev)
	}
	return last
}

// text draws, and returns what is to be seen.
func (s *screen) text() string {
	s.draw()
	cells, w, h := s.GetContents()
	var b strings.Builder
	for y := range h {
		var line strings.Builder
		for x := 0; x < w; x++ {
			cell := string(cells[y*w+x].Runes)
			line.WriteString(cell)
			if uniseg.StringWidth(cell) == 2 {
				x++ // the other half
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func (s *screen) shows(t *testing.T, what, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), s.text()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// has checks that each text is on the screen, or with a ! in front of it that it is not.
func (s *screen) has(t *testing.T, what string, texts ...string) {
	t.Helper()
	got := s.text()
	for _, text := range texts {
		if text, not := strings.CutPrefix(text, "!"); strings.Contains(got, text) == not {
			t.Errorf("%s: want %q, or with ! not that, in\n%s", what, text, got)
		}
	}
}

func TestScreen(t *testing.T) {
	s := build(t, 100, 16)
	s.src.notes = []string{"INCOMPLETE: 3 call records were lost: the ring was full"}
	s.shows(t, "all", `
fanrec top 13:05:43  unit web                                                             per second
    READ   WRITE  CREATE  DELETE  RENAME   OTHER   TOTAL
    25.0       0     1.0     0.5       0     1.5    28.0  per second
      50       0       2       1       0       3      56  in all, 4 processes
INCOMPLETE: 3 call records were lost: the ring was full
    READ  *TOTAL PROCESS                │    READ   WRITE  *TOTAL FILE
     2.0     3.5 make[10]               │    20.0       0    20.0 /usr/include/stdio.h
       0     0.5 ├─sh[11]               │     3.0       0     4.0 /src/prog.o
    20.0    21.0 │ └─cc1[13]            │     2.0       0     2.0 /src/Makefile
     3.0     3.0 └─ld[12]               │       0       0     1.5 (no file)
                                        │       0       0     0.5 /src/old
                                        │
                                        │
                                        │
                                        │
q quit  h help  enter into  esc back  tab other side  space freeze  / filter  s sort  r reverse  t t
`)
	s.press("t<tab>d")
	s.SetSize(60, 10)
	s.shows(t, "one pane", `
fanrec top 13:05:43  unit web                         in all
INCOMPLETE: 3 call records were lost: the ring was full
    READ   WRITE  *TOTAL DIRECTORY
      40       0      40 /usr/include
      10       0      13 /src
       0       0       3 (no file)



q quit  h help  enter into  esc back  tab other side  space
`)
}

func TestKeys(t *testing.T) {
	s := build(t, 120, 20)
	s.press("ssssssss")
	s.has(t, "all columns around", "*TOTAL", "sorted by TOTAL")
	s.press("<down><up>") // any key takes the message away
	s.has(t, "the message is gone", "!sorted by", "q quit")
	s.press("ss")
	s.has(t, "by reads", "*READ", "sorted by READ")
	s.press("S")
	s.has(t, "by names", "*PROCESS", "*FILE")
	if f := s.view.Files; f[0].Path != "" || f[1].Path != "/src/Makefile" {
		t.Errorf("by names: %v", f)
	}
	s.press("Sr")
	s.has(t, "reversed", "*TOTAL")
	if f := s.view.Files; f[len(f)-1].Path != "/usr/include/stdio.h" {
		t.Errorf("the least first: %v", f)
	}
	s.press("rv")
	s.has(t, "no tree", "!└─", "cc1[13]")
	if s.view.Processes[0].Comm != "cc1" {
		t.Errorf("the busiest is %v", s.view.Processes[0])
	}
	s.press("v")
	s.wait(time.Second)
	s.has(t, "nothing is done", "sh[11]", "!/src/prog.o", "nothing")
	s.press("i")
	s.has(t, "nobody does anything", "!sh[11]")
	s.press("it")
	s.has(t, "in all", "in all", "/src/prog.o", "sh[11]")
	s.press("h")
	s.has(t, "help", "any key goes on", "!sh[11]")
	s.press("q")
	s.has(t, "after help", "sh[11]")
	for keys, want := range map[string]action{"q": quit, "<^c>": quit, "<^z>": stop, "<^l>": redraw, "<f9>": nothing, "x": nothing, "/q": nothing, "/<^c>": quit} {
		if got := build(t, 80, 24).press(keys); got != want {
			t.Errorf("%s: %v, want %v", keys, got, want)
		}
	}
}

func TestFilter(t *testing.T) {
	s := build(t, 120, 20)
	s.press("<tab>/src/")
	s.has(t, "while it is typed", "only files /src/", "/src/Makefile", "!stdio.h")
	s.press("<back><back><back>stdio<enter>")
	s.has(t, "afterwards", "FILE /sstdio", "!stdio.h")
	s.press("/<^u>stdio<enter>")
	s.has(t, "another", "FILE /stdio", "stdio.h", "!Makefile")
	s.press("/x<esc>")
	s.has(t, "not after all", "FILE /stdio", "stdio.h")
	s.press("<esc>")
	s.has(t, "none", "!FILE /", "Makefile")
	s.press("/x")
	s.key(tcell.NewEventKey(tcell.KeyRune, ' ', tcell.ModAlt))
	s.has(t, "escape and a blank at once", "!FILE /", "FROZEN")
	s.press(" <left>/ld<enter>")
	s.has(t, "who it descends from stays", "PROCESS /ld", "make[10]", "ld[12]", "!cc1")
}

// TestFreeze: what is shown stands still, all is counted, and then shown.
func TestFreeze(t *testing.T) {
	s := build(t, 120, 20)
	s.press(" ")
	before := s.text()
	s.does(5, 12, "ld", output.Read, output.Open, "/new")
	s.wait(time.Second)
	s.wait(time.Second)
	if diff := cmp.Diff(before, s.text()); diff != "" {
		t.Errorf("it moves (-before +after):\n%s", diff)
	}
	s.press("t")
	s.has(t, "other numbers of then", "FROZEN", "in all", "      56  in all", "!/new")
	s.press("<down><down>")
	s.press("t ")
	s.wait(time.Second)
	s.has(t, "after it", "!FROZEN", "/new", "      61  in all", "     1.7  per second") // 5 in 3 s
}

func TestInto(t *testing.T) {
	s := build(t, 120, 20)
	s.press("<down><enter>") // sh, and cc1 below it
	s.has(t, "into a process", "unit web > sh[11]", "cc1[13]", "!ld[12]", "stdio.h", "/src/prog.o", "!Makefile")
	if s.active != files {
		t.Error("the files of it are to be looked at next")
	}
	s.press("d<end>")
	s.has(t, "its directories", "/usr/include", "/src")
	for s.view.Files[s.panes[files].cursor].Path != "/src" {
		s.press("<up>")
	}
	s.press("<enter>")
	s.has(t, "into a directory of it", "unit web > sh[11] > /src", "/src/prog.o", "!stdio.h", "FILE")
	s.press("<enter>")
	s.has(t, "into a file", "> /src/prog.o", "cc1[13]")
	s.press("<esc><esc><esc>")
	s.has(t, "back", "!>", "ld[12]", "stdio.h")
	s.press("<esc>")
	s.has(t, "there is nothing above", "ld[12]")

	// It stays when it has ended, until it is left.
	s.press("<left><home><end><enter>")
	s.has(t, "ld", "> ld[12]")
	s.src.Add(&output.Record{PID: 12, Start: 12, Comm: "ld", Kind: output.Exit}, true)
	s.wait(time.Second)
	s.wait(time.Minute)
	s.press("t")
	s.has(t, "it has ended", "ld[12] ended", "/src/prog.o")
	s.press("<esc>")
	s.wait(time.Minute)
	s.has(t, "it is left", "!ld[12]", "/src/prog.o")
}

// TestCursor: it stays on what it was moved to, wherever that goes.
func TestCursor(t *testing.T) {
	s := build(t, 120, 20)
	s.press("<tab><down>")
	if got := s.view.Files[s.panes[files].cursor].Path; got != "/src/prog.o" {
		t.Fatalf("on %s", got)
	}
	s.does(100, 12, "ld", output.Read, output.Open, "/src/Makefile")
	s.does(1, 12, "ld", output.Read, output.Open, "/src/prog.o")
	s.wait(time.Second)
	if got := s.view.Files[s.panes[files].cursor].Path; got != "/src/prog.o" {
		t.Errorf("now on %s", got)
	}
	for i := range 200 {
		s.does(1, 12, "ld", output.Read, output.Open, fmt.Sprintf("/many/%03d", i))
	}
	s.wait(time.Second)
	s.press("<home><end>")
	s.has(t, "the last is seen", "/many/199", "!/many/000")
	s.press("<pgup><pgup>")
	s.has(t, "two pages above", "!/many/199", "/many/175")
	s.press("<home>")
	s.has(t, "the first", "/many/000")
}

// TestNames: no name acts on the terminal or shifts a column, whatever it is made of.
func TestNames(t *testing.T) {
	s := newScreen(t, 80, 24)
	for i, name := range []string{"\x1b[2J\x1b]0;x\x07", "new\nline", "日本語日本語日本語日本語日本語日本語日本語", "e\u0301\u0301\u0301", "\xff\xfe", "a\u202eb\u200d", "👩‍👩‍👧‍👦 family", strings.Repeat("long/", 1000)} {
		s.does(1, uint32(i+1), name, output.Read, output.Open, "/"+name)
	}
	s.wait(time.Second)
	for _, w := range []int{80, 79, 78, 77, 69, 40, 33, 32, 31} {
		s.SetSize(w, 24)
		for line := range strings.Lines(s.text()) {
			if n := uniseg.StringWidth(strings.TrimSuffix(line, "\n")); n > w {
				t.Errorf("%d columns of %d: %q", n, w, line)
			}
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
				t.Errorf("a terminal acts on %q", line)
			}
		}
	}
	s.SetSize(100, 24)
	s.has(t, "escaped", `\x1b[2J`, `new\x0aline`, "日本語", `\xff\xfe`, "…", `a\u202eb`)
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"/usr/include/stdio.h", 20, "/usr/include/stdio.h"}, {"/usr/include/stdio.h", 10, "/us…tdio.h"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"abc", -3, ""},
		{"日本語日本語", 5, "…語"}, {"日本語日本語", 6, "…本語"}, {"日本語日本語", 7, "日…本語"}, {"", 3, ""},
	} {
		if got := shorten(c.text, c.width); got != c.want || uniseg.StringWidth(got) > max(c.width, 0) {
			t.Errorf("shorten(%q, %d) is %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// TestAnything: whatever is pressed, at whatever size, what is drawn is a screen. It
// tries the same each time, -rapid.checks=N others.
func TestAnything(t *testing.T) {
	keys := strings.Fields("<enter> <esc> <tab> <up> <down> <pgup> <pgdn> <home> <end> <back> <^u> <f1> <f9> s S r t d v i / f h x * [ j k g G")
	flag.Set("rapid.nofailfile", "true")
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		seed := flag.Lookup("rapid.seed")
		seed.Value.Set("1")
		defer seed.Value.Set(seed.DefValue)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := build(t, 80, 24)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				s.SetSize(rapid.IntRange(0, 130).Draw(t, "width"), rapid.IntRange(0, 20).Draw(t, "height"))
			case 1:
				s.src.notes = make([]string, rapid.IntRange(0, 5).Draw(t, "notes"))
				s.wait(time.Duration(rapid.IntRange(0, 9).Draw(t, "seconds")) * time.Second)
			case 2:
				pid := rapid.Uint32Range(10, 14).Draw(t, "pid")
				s.does(1, pid, "p", output.Kind(rapid.IntRange(1, output.Kinds-1).Draw(t, "kind")), output.NoOp, rapid.SampledFrom([]string{"/a", "/a/b", ""}).Draw(t, "path"))
			default:
				s.press(rapid.SampledFrom(keys).Draw(t, "key"))
			}
			s.draw()
			for i, p := range s.panes {
				if p.cursor < 0 || p.cursor > max(s.rows(i)-1, 0) {
					t.Fatalf("cursor in row %d of %d", p.cursor, s.rows(i))
				}
			}
		}
	})
}

// fataler is what fails: a test, or one try of rapid.
type fataler interface{ Fatal(...any) }

// restored notes that the terminal was given back.
type restored struct {
	tcell.SimulationScreen
	done bool
}

func (r *restored) Fini() {
	r.done = true
	r.SimulationScreen.Fini()
}

// failing is a source that panics.
type failing struct{ *source }

func (failing) View(*top.Query) *top.View { panic("odd") }

func TestRun(t *testing.T) {
	o := Options{Delay: time.Millisecond, Ticks: 3}
	src := &source{Model: top.New(top.DefaultLimits, time.Now())}
	s := &restored{SimulationScreen: tcell.NewSimulationScreen("")}
	begun := false
	if err := Run(context.Background(), s, src, o, func() { begun = !s.done }); err != nil || !s.done || !begun {
		t.Errorf("after three ticks: %v, %+v", err, s.done)
	}
	s = &restored{SimulationScreen: tcell.NewSimulationScreen("")}
	o.Ticks = 0
	if err := Run(context.Background(), s, src, o, func() { s.InjectKey(tcell.KeyRune, 'q', tcell.ModNone) }); err != nil || !s.done {
		t.Errorf("after q: %v, %+v", err, s.done)
	}
	s = &restored{SimulationScreen: tcell.NewSimulationScreen("")}
	ctx, cancel := context.WithCancel(context.Background())
	if err := Run(ctx, s, src, o, cancel); err != nil || !s.done {
		t.Errorf("after the context: %v, %+v", err, s.done)
	}
	s = &restored{SimulationScreen: tcell.NewSimulationScreen("")}
	func() {
		defer func() {
			if p := recover(); p != "odd" || !s.done {
				t.Errorf("after a panic: %v, %v", p, s.done)
			}
		}()
		Run(context.Background(), s, failing{src}, o, func() {})
	}()
	s = &restored{SimulationScreen: tcell.NewSimulationScreen("")}
	if err := Run(context.Background(), s, src, o, func() { s.PostEvent(tcell.NewEventError(errors.New("gone"))) }); err == nil || err.Error() != "read from the terminal: gone" {
		t.Errorf("no terminal any more: %v", err)
	}
}
