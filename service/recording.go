package service

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"time"

	"fanrec"
	"fanrec/output"
	"fanrec/output/logfile"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Service records for many clients through one recorder.
type Service struct {
	recorder *fanrec.Recorder
	log      zerolog.Logger

	mu   sync.Mutex
	open map[uint32]int // recordings of each user
}

// MaxRecordings is how many one user may have open at once, who is not root.
const MaxRecordings = 1024

// New returns a service whose recorder was made with Options.Serve and is
// served by somebody else.
func New(recorder *fanrec.Recorder, log zerolog.Logger) *Service {
	return &Service{recorder: recorder, log: log, open: map[uint32]int{}}
}

// Options of a recording.
type Options struct {
	Format  string   // of output.NewWriter; "": filemon
	Command []string // for the header
	Args    bool     // record the arguments of executed programs, where the format has them
	// Unfinished: until the end, a log that is a regular file ends with an
	// unfinished line, and its header is there at once.
	Unfinished bool
}

// FollowOptions say how a process is followed.
type FollowOptions struct {
	Children  bool // not the process, only what it forks from now on
	Exclusive bool // not if another recording follows it
}

// Result is what a recording had.
type Result = fanrec.Result

// Recording is one of a client. Its methods are for one goroutine, but for the
// function that Wait returns.
type Recording struct {
	s        *Service
	who      Client
	rec      *fanrec.Recording
	file     *os.File
	log      *logfile.Log
	head     output.Header
	begun    bool
	args     bool
	children bool // the first record is that of the command
}

// errOver is told to who asks a service that ends.
var errOver = fmt.Errorf("the service has stopped: %w", unix.ESHUTDOWN)

// do runs a function between two epochs and waits for it.
func (s *Service) do(fn func()) error {
	done := make(chan struct{})
	if !s.recorder.Do(func() { fn(); close(done) }) {
		return errOver
	}
	<-done
	return nil
}

// Open begins a recording into a file, of nobody yet. The file is the
// recording's from then on. Errors wrap unix.EBADF, unix.EINVAL or unix.EMFILE.
func (s *Service) Open(file *os.File, who Client, o Options) (*Recording, error) {
	if o.Format == "" {
		o.Format = "filemon"
	}
	f, err := acceptLog(file, who)
	if err != nil {
		file.Close()
		return nil, err
	}
	log, err := logfile.New(f, o.Format)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w", err, unix.EINVAL)
	}
	s.mu.Lock()
	if s.open[who.UID] >= MaxRecordings && !who.privileged() {
		err = fmt.Errorf("user %d has %d recordings: %w", who.UID, MaxRecordings, unix.EMFILE)
	} else {
		s.open[who.UID]++
	}
	s.mu.Unlock()
	if err != nil {
		file.Close()
		return nil, err
	}
	r := &Recording{
		s: s, who: who, file: file, log: log, args: o.Args,
		head: output.Header{Target: uint32(who.PID), Start: time.Now().UnixNano(), Command: o.Command, Origin: output.Here("")},
	}
	var oerr error
	err = s.do(func() {
		r.rec, oerr = s.recorder.Open(fanrec.Sink{
			Record: r.record, Comment: r.comment, Flush: log.Flush, Full: output.Full(o.Format),
		}, who.privileged())
		r.head.Notes = s.recorder.Notes()
	})
	if err = cmp.Or(err, oerr); err != nil {
		r.release()
		return nil, err
	}
	if o.Unfinished {
		err = s.do(func() {
			log.Unfinished()
			r.begin()
			log.Flush()
		})
	}
	return r, err
}

// Unfollow ends the following of all processes of the recording, when what they
// did is in the log.
func (r *Recording) Unfollow() error {
	if err := r.Drain(); err != nil {
		return err
	}
	return r.s.do(r.rec.Unfollow)
}

// record is called for each record, on the recorder's goroutine.
func (r *Recording) record(rec *output.Record) {
	if !r.begun && r.children {
		r.head.Target = rec.PID
	}
	r.begin()
	if !r.args {
		rec.Args = nil
	}
	r.log.Write(rec)
}

func (r *Recording) comment(text string) {
	r.begin()
	r.log.Comment(text)
}

func (r *Recording) begin() {
	if !r.begun {
		r.begun = true
		r.log.Begin(&r.head)
	}
}

// Follow makes a process part of the recording. When it returns, what the process
// does next is recorded. Errors wrap unix.EINVAL, unix.ESRCH, unix.EPERM or
// unix.EBUSY.
func (r *Recording) Follow(pidfd *os.File, o FollowOptions) error {
	return r.followFor(r.who, pidfd, o)
}

// followFor follows a process that somebody may record.
func (r *Recording) followFor(who Client, pidfd *os.File, o FollowOptions) error {
	pid, err := pidOf(pidfd)
	if err != nil {
		return err
	}
	if err := who.may(pid); err != nil {
		return err
	}
	if pid == os.Getpid() {
		return fmt.Errorf("the service does not record itself: %w", unix.EINVAL)
	}
	ferr := r.s.do(func() {
		r.children = r.children || o.Children
		// Asked again when it is followed: it may have gained privileges in
		// between, or the number may be another process's.
		err = r.rec.Follow(pid, fanrec.FollowOptions{Children: o.Children, Exclusive: o.Exclusive, Allowed: func() error {
			if again, err := pidOf(pidfd); err != nil || again != pid {
				return fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
			}
			return who.may(pid)
		}})
	})
	if ferr != nil {
		return ferr
	}
	return err
}

// Drain returns when every record of what was done before is in the log.
func (r *Recording) Drain() error {
	if err := r.handOut(); err != nil {
		return err
	}
	if err := r.log.Sync(); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// handOut returns when every record of what was done before was given to the
// log, whose reader may still be waited for.
func (r *Recording) handOut() error {
	done := make(chan error, 1)
	if !r.s.recorder.Do(func() {
		r.rec.Drain(func(err error) {
			r.begin()
			r.log.Flush()
			if err == nil {
				err = r.log.Err()
			}
			done <- err
		})
	}) {
		return errOver
	}
	if err := <-done; err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// Wait calls done, from another goroutine, when no process of the recording
// lives, unless stop was called before. That returns how many do.
func (r *Recording) Wait(done func(error)) (stop func() (live int), err error) {
	var cancel func()
	err = r.s.do(func() { cancel = r.rec.Wait(func(err error) { go done(err) }) })
	return func() (live int) {
		r.s.do(func() { cancel(); live = r.rec.Live() })
		return live
	}, err
}

// Live returns how many processes of the recording run.
func (r *Recording) Live() (n int) {
	r.handOut() // what has ended is known by then
	r.s.do(func() { n = r.rec.Live() })
	return n
}

// Close ends the recording: every record of what was done before is in the log,
// and the end of it. Each of why says that something is missing.
func (r *Recording) Close(why ...string) (*Result, error) {
	defer r.release()
	done := make(chan *Result, 1)
	stopping := !r.s.recorder.Do(func() {
		r.rec.Close(why, func(res *Result) { done <- res })
	})
	var res *Result
	if stopping {
		res = &Result{Incomplete: append(why, errOver.Error())}
	} else {
		res = <-done
	}
	r.begin()
	end := &output.Trailer{Stop: time.Now().UnixNano(), Incomplete: res.Incomplete}
	if err := r.log.End(end); err != nil {
		r.s.log.Debug().Err(err).Msg("the log was left as it is")
	}
	res.Incomplete = end.Incomplete
	return res, r.log.Err()
}

// release gives up the log. The recording counts until nothing is left of it.
func (r *Recording) release() {
	r.file.Close()
	r.log.Release(func() {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		if r.s.open[r.who.UID]--; r.s.open[r.who.UID] == 0 {
			delete(r.s.open, r.who.UID)
		}
	})
}
