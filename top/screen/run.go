package screen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gdamore/tcell/v2"
)

// Open returns the terminal of this process, which is not touched yet. Its Fini
// restores it, from whatever goroutine, once Run has begun.
func Open() (tcell.Screen, error) {
	s, err := tcell.NewScreen()
	if err != nil { // it knows of the terminal by its name only
		return nil, fmt.Errorf("the terminal TERM=%q is not known, or has no cursor that moves; use --batch, or TERM=xterm", os.Getenv("TERM"))
	}
	return s, nil
}

// Run shows a source until somebody quits, or the context is done. The terminal is
// then as it was, also after a panic; begun is called once it is not.
func Run(ctx context.Context, s tcell.Screen, src Source, o Options, begun func()) error {
	switch err := s.Init(); {
	case errors.Is(err, tcell.ErrNoCharset):
		return errors.New("the character set of the locale is not known; use --batch, or LC_ALL=C.UTF-8")
	case err != nil:
		return fmt.Errorf("take the terminal: %w; use --batch", err)
	}
	defer s.Fini()
	begun()
	s.RegisterRuneFallback('…', "~")
	events, done := make(chan tcell.Event, 16), make(chan struct{})
	defer close(done)
	go s.ChannelEvents(events, done)
	jobs := newJobs()
	defer jobs.close()
	src.Tick(time.Now())
	d := newDisplay(s, src, o)
	ticks := time.NewTicker(o.Delay)
	defer ticks.Stop()
	for n := 0; ; {
		d.draw()
		what := nothing
		select {
		case <-ctx.Done():
			return nil
		case <-jobs.stopped:
			jobs.stop(s, os.Getpid())
		case <-jobs.continued: // it was stopped by force: who knows what became of the terminal
			jobs.again(s)
		case now := <-ticks.C:
			d.tick(now)
			if n++; n == o.Ticks {
				return nil
			}
		case ev := <-events:
			switch ev := ev.(type) {
			case nil: // no terminal any more
				return nil
			case *tcell.EventError:
				return fmt.Errorf("read from the terminal: %w", ev)
			case *tcell.EventResize:
				s.Sync()
			case *tcell.EventKey:
				what = d.key(ev)
			}
		}
		switch what {
		case quit:
			return nil
		case stop:
			jobs.stop(s, 0) // with all of the job, as the terminal would
		case redraw:
			s.Sync()
		}
	}
}
