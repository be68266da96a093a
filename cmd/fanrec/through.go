package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"fanrec"
	"fanrec/output"
	"fanrec/output/logfile"
	"fanrec/service"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// service connects to the service that is to record, nil if the job is to be
// recorded without one.
func (j *job) service() *service.Conn {
	if j.noService || j.noCalls || j.absent || j.modify || j.attrib || j.epoch != 0 || j.processRing != 0 || j.callRing != 0 || j.limitedQueue || j.noRings {
		return nil
	}
	conn, err := service.Dial(socketPath(j.socket))
	here := false
	if err == nil {
		here, err = conn.Hello()
	}
	switch {
	case err == nil && here, err == nil && permitted(j.user != "") != nil:
		return conn
	case err == nil:
		err = errors.New("it is in another mount namespace, where paths are others")
	}
	if conn != nil {
		conn.Leave()
	}
	level := zerolog.DebugLevel
	if j.socket != "" || errors.Is(err, unix.EPROTO) {
		level = zerolog.WarnLevel
	}
	j.log.WithLevel(level).Err(err).Msg("recording without a service")
	return nil
}

// socketPath returns where a service is to be found, or named otherwise.
func socketPath(named string) string {
	return cmp.Or(named, os.Getenv("FANREC_SOCKET"), service.Socket)
}

// through records by a service.
func (j *job) through(conn *service.Conn) error {
	file, to, err := j.open(j.command.As)
	if err != nil {
		return err
	}
	defer file.Close()
	o := service.Options{Format: j.format, Command: j.command.Argv, Args: j.args}
	log := file.File
	var relay *relay
	if st, err := file.Stat(); j.output == "-" || j.relayed() || err == nil && !st.Mode().IsRegular() {
		if relay, log, err = j.newRelay(file, to); err != nil {
			return err
		}
		o.Format = relay.format
	}
	err = conn.Open(log, o)
	if relay != nil {
		log.Close()
	}
	if err != nil {
		return fmt.Errorf("the service: %w; --no-service records without it", err)
	}
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("open a pidfd of fanrec itself: %w", err)
	}
	err = conn.Follow(self, service.FollowOptions{Children: true})
	unix.Close(self)
	if err != nil {
		return fmt.Errorf("the service: %w; --no-service records without it", err)
	}
	signals := catch()
	begin := time.Now()
	child, err := j.command.Start()
	if err != nil {
		conn.Close("the command was not started")
		return err
	}
	t := &remote{conn: conn, child: child}
	go forward(t, signals)
	if _, err := child.Reap(true); err != nil {
		conn.Close(err.Error())
		return err
	}
	var why []string
	if j.waitAll {
		if err := conn.Wait(); errors.Is(err, unix.ECANCELED) {
			why = append(why, "stopped while "+err.Error())
		} else if err != nil {
			j.log.Debug().Err(err).Msg("wait for the descendants")
		}
	}
	res, err := conn.Close(why...)
	lost := err
	if lost != nil {
		res = &fanrec.Result{Incomplete: []string{err.Error()}}
	}
	if relay != nil {
		res.Incomplete = append(res.Incomplete, relay.end()...)
	} else if lost != nil {
		h := &output.Header{Target: uint32(child.PID()), Start: begin.UnixNano(), Command: j.command.Argv}
		if err := logfile.Abandon(log, j.format, h, &output.Trailer{Stop: time.Now().UnixNano(), Incomplete: res.Incomplete}); err != nil {
			j.log.Debug().Err(err).Msg("the log was left as it is")
		}
	}
	res.Status, res.Stats.Elapsed = child.Status(), time.Since(begin)
	return j.finish(res)
}

// relayed tells whether each record must come by here.
func (j *job) relayed() bool {
	return j.filter.some || j.counts || j.key != "" || j.format == "text" || slices.Contains(output.Schemas, j.format)
}

// remote is a recording by a service.
type remote struct {
	conn  *service.Conn
	child *fanrec.Child
}

func (r *remote) Signal(sig syscall.Signal) {
	if !r.child.Signal(sig) {
		r.Stop()
	}
}

func (r *remote) Stop() {
	if r.child.Ended(fanrec.StopAfter) {
		r.conn.Interrupt()
	}
}

// relay takes the log from the service through a pipe: to leave out what is
// filtered out, and to write where a service does not.
type relay struct {
	format string // that the service writes
	done   chan struct{}
	why    []string
}

// newRelay returns what the service is to write to.
func (j *job) newRelay(file *logfile.File, to *logfile.Log) (*relay, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe for the log: %w", err)
	}
	unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, 1<<20) // fewer turns
	re := &relay{format: j.format, done: make(chan struct{})}
	if !j.relayed() && !j.special {
		go func() {
			defer close(re.done)
			if _, err := io.Copy(file.File, r); err != nil {
				re.why = append(re.why, fmt.Sprintf("the log could not be written: %v", err))
			}
			r.Close()
		}()
		return re, w, nil
	}
	re.format = "jsonl" // which has all
	go func() {
		defer close(re.done)
		if err := re.filter(j, r, to); err != nil {
			re.why = append(re.why, err.Error())
		}
		r.Close()
	}()
	return re, w, nil
}

// filter copies a log without what is filtered out.
func (re *relay) filter(j *job, from io.Reader, to *logfile.Log) error {
	in, err := output.NewReader(flushed{from, to})
	if err != nil {
		return fmt.Errorf("the service wrote no log: %w", err)
	}
	head := in.Header()
	head.Key, head.Origin = j.key, output.Here(fullVersion())
	to.Begin(head)
	var r output.Record
	for {
		err := in.Read(&r)
		if err == io.EOF {
			break
		}
		if err != nil {
			in.Trailer().Incomplete = append(in.Trailer().Incomplete, fmt.Sprintf("the service wrote what is no record: %v", err))
			break
		}
		j.count(&r)
		if !j.filter.drops(&r) {
			to.Write(&r)
		}
	}
	end := in.Trailer()
	known := len(end.Incomplete)
	if end.Stop == 0 {
		end.Stop = time.Now().UnixNano()
	}
	if err := to.End(end); err != nil {
		j.log.Debug().Err(err).Msg("the log was left as it is")
	}
	re.why = append(re.why, end.Incomplete[known:]...)
	return nil
}

// flushed hands on what was written before it waits for more.
type flushed struct {
	io.Reader
	to *logfile.Log
}

func (f flushed) Read(p []byte) (int, error) {
	f.to.Flush()
	return f.Reader.Read(p)
}

// end waits for the end of the log, and returns what is missing in it.
func (re *relay) end() []string {
	<-re.done
	return re.why
}
