package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"fanrec"
)

// live is the recording of what runs already, whatever becomes of its records.
type live struct {
	rec    *fanrec.Recorder
	one    *fanrec.Recording // from begin on
	ended  bool              // one is closed; for the recorder's goroutine
	gone   chan struct{}     // closed when no process is left
	over   chan struct{}     // closed when the recorder has stopped,
	failed error             // and why, if it was not asked to
}

// startLive starts a recorder, which the caller closes. If it panics, crashed is
// called before the program ends.
func startLive(opts fanrec.Options, crashed func()) (*live, error) {
	rec, err := fanrec.New(opts)
	if err != nil {
		return nil, explain(err)
	}
	if err := goFirst(); err != nil {
		opts.Log.Debug().Err(err).Msg("the recorder waits for its turn among what it records")
	}
	l := &live{rec: rec, gone: make(chan struct{}), over: make(chan struct{})}
	go func() {
		returned := false
		defer func() {
			if !returned && crashed != nil {
				crashed()
			}
		}()
		l.failed = rec.Serve()
		returned = true
		close(l.over)
	}()
	return l, nil
}

// do runs a function on the recorder's goroutine. It fails if there is none any more.
func (l *live) do(fn func() error) error {
	done := make(chan error, 1)
	if !l.rec.Do(func() { done <- fn() }) {
		return fanrec.ErrStopped
	}
	return <-done
}

// begin attaches. Then, and before anything is handed to the sink, opened is called.
// With ends, gone tells when no process is left. If it fails, nothing is recorded.
func (l *live) begin(whom fanrec.Whom, to fanrec.Sink, ends bool, opened func() error) error {
	err := l.do(func() error {
		var err error
		if l.one, err = l.rec.Open(to, true); err != nil {
			return err
		}
		if err := l.one.Attach(whom); err != nil {
			if errors.Is(err, os.ErrProcessDone) {
				who := strings.TrimSuffix(err.Error(), ": "+os.ErrProcessDone.Error())
				err = fmt.Errorf("%s: it has ended, or there never was one of that number (fanrec's own is none)", who)
			}
			return err
		}
		if err := opened(); err != nil { // what was found comes later
			return err
		}
		if ends {
			l.one.Wait(func(error) { close(l.gone) })
		}
		return nil
	})
	if err != nil {
		l.rec.Quit()
		<-l.over
		return cmp.Or(l.failed, err)
	}
	return nil
}

// end ends the recording with all that was done until now, and the recorder.
func (l *live) end() *fanrec.Result {
	done := make(chan *fanrec.Result, 1)
	err := l.do(func() error {
		l.one.Close(nil, func(res *fanrec.Result) {
			l.ended = true
			done <- res
		})
		return nil
	})
	res := &fanrec.Result{}
	if err != nil {
		res.Incomplete = []string{err.Error()}
	} else {
		res = <-done
	}
	l.rec.Quit()
	<-l.over
	if l.failed != nil {
		res.Incomplete = append(res.Incomplete, fmt.Sprintf("the recorder failed: %v", l.failed))
	}
	return res
}
