package service

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"fanrec/output"

	"golang.org/x/sys/unix"
)

// Limits of a server.
const (
	MaxConnections = 2048             // of one user who is not root
	answerTime     = 10 * time.Second // for a client to take an answer
	perConnection  = 4                // descriptors, of what the process may have
)

// server has the connections.
type server struct {
	*Service
	mu     sync.Mutex
	users  map[uint32]int
	conns  map[*net.UnixConn]bool
	total  int // so many connections at most, but for root's
	over   bool
	active sync.WaitGroup
}

// Serve answers the clients of a socket of type SOCK_SEQPACKET until the
// listener is closed, and ends their recordings then.
func (s *Service) Serve(l *net.UnixListener) error {
	srv := &server{Service: s, users: map[uint32]int{}, conns: map[*net.UnixConn]bool{}, total: MaxConnections}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		srv.total = int(min(limit.Cur, 1<<20) / perConnection)
	}
	defer srv.stop()
	for {
		c, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM):
			s.log.Warn().Err(err).Msg("no room for a client")
			time.Sleep(100 * time.Millisecond) // until others leave
		case errors.Is(err, unix.ECONNABORTED):
		case err != nil:
			return fmt.Errorf("accept a client: %w", err)
		default:
			srv.admit(c)
		}
	}
}

// admit serves a client if there is room for it.
func (s *server) admit(c *net.UnixConn) {
	who, err := clientOf(c)
	s.mu.Lock()
	if err == nil && s.users[who.UID] >= MaxConnections && !who.privileged() {
		err = fmt.Errorf("user %d has %d connections: %w", who.UID, MaxConnections, unix.EMFILE)
	}
	if err == nil && len(s.conns) >= s.total && !who.privileged() {
		err = fmt.Errorf("the service has %d connections: %w", s.total, unix.EMFILE)
	}
	if err == nil && s.over {
		err = errOver
	}
	if err == nil {
		s.users[who.UID]++
		s.conns[c] = true
		s.active.Add(1)
	}
	s.mu.Unlock()
	if err != nil {
		if b, err := answer(nil, err); err == nil {
			c.SetWriteDeadline(time.Now().Add(time.Millisecond)) // it is empty: this does not wait
			c.Write(b)
		}
		c.Close()
		return
	}
	go func() {
		defer s.active.Done()
		defer c.Close()
		(&connection{server: s, conn: c, who: who}).serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if s.users[who.UID]--; s.users[who.UID] == 0 {
			delete(s.users, who.UID)
		}
	}()
}

// stopTime is how long the end of a recording may take when the service ends.
const stopTime = 5 * time.Second

// stop closes all connections, and waits for their recordings to end.
func (s *server) stop() {
	s.mu.Lock()
	s.over = true
	for c := range s.conns {
		c.CloseRead()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { s.active.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(stopTime): // somebody's log hangs
	}
}

// clientOf returns who connected.
func clientOf(c *net.UnixConn) (Client, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Client{}, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return Client{}, cerr
	}
	if err != nil {
		return Client{}, fmt.Errorf("ask who the client is: %w", err)
	}
	return Client{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid}, nil
}

// connection is a client and its recording.
type connection struct {
	*server
	conn *net.UnixConn
	who  Client
	rec  *Recording
	stop func() // ends a wait; nil if there is none
	send sync.Mutex
}

// buffers are for packets: an idle connection has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, MaxPacket+1); return &b }}

// receive reads a request and the descriptors that came along. After the last
// it returns io.EOF. Errors wrap unix.EPROTO if it cannot be understood.
func (c *connection) receive() (p *packet, files []*os.File, err error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var (
		oob            [256]byte // SCM_RIGHTS of some descriptors; the kernel drops what does not fit
		n, oobn, flags int
		b              *[]byte
	)
	rerr := raw.Read(func(fd uintptr) bool {
		b = buffers.Get().(*[]byte)
		for {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), *b, oob[:], unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			if err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			buffers.Put(b)
			return false
		}
		return true
	})
	if rerr != nil {
		return nil, nil, rerr
	}
	defer buffers.Put(b)
	if err != nil {
		return nil, nil, err
	}
	files, err = descriptors(oob[:oobn])
	switch {
	case err != nil:
		return nil, files, err
	case n == 0 && len(files) == 0:
		return nil, nil, io.EOF
	case n > MaxPacket || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return nil, files, fmt.Errorf("a packet of more than %d bytes, or too many descriptors: %w", MaxPacket, unix.EPROTO)
	}
	p, err = decode((*b)[:n])
	return p, files, err
}

// descriptors takes the descriptors out of the control messages of a packet.
func descriptors(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control messages of a packet: %w", unix.EPROTO)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // something else: no descriptors
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "descriptor"))
		}
	}
	return files, nil
}

// serve answers requests until the client leaves.
func (c *connection) serve() {
	defer c.leave()
	for {
		p, files, err := c.receive()
		c.endWait()
		last := false
		switch {
		case err == nil:
			p, last, err = c.do(p, files)
		case !errors.Is(err, unix.EPROTO):
			return
		}
		for _, f := range files {
			f.Close() // of what was kept there is a duplicate
		}
		if p == nil && err == nil {
			continue // the answer comes later
		}
		last = last || errors.Is(err, unix.EPROTO)
		if c.answer(p, err) != nil || last {
			return
		}
	}
}

// answer sends an answer. A client that does not take it is left.
func (c *connection) answer(p *packet, err error) error {
	b, err := answer(p, err)
	if err != nil {
		return err
	}
	c.send.Lock()
	defer c.send.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(answerTime))
	_, err = c.conn.Write(b)
	return err
}

// leave ends the recording of a client that did not close it. What its processes
// do from now on is missing.
func (c *connection) leave() {
	c.endWait()
	if c.rec == nil {
		return
	}
	var why []string
	if live := c.rec.Live(); live > 0 {
		why = append(why, fmt.Sprintf("the client left while %d of its processes were running", live))
	}
	c.rec.Close(why...)
}

func (c *connection) endWait() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// do does what a request wants, and returns the answer; nil if it comes later.
// last tells that no more requests are expected.
func (c *connection) do(p *packet, files []*os.File) (out *packet, last bool, err error) {
	if c.rec == nil && p.word != "open" && p.word != "hello" {
		return nil, false, fmt.Errorf("%.40q before open: %w", p.word, unix.EPROTO)
	}
	ok := &packet{word: "ok"}
	wanted := map[string]int{"open": 1, "follow": 1}[p.word]
	if len(files) != wanted {
		return nil, false, fmt.Errorf("%.40q came with %d descriptors, not %d: %w", p.word, len(files), wanted, unix.EBADF)
	}
	switch p.word {
	case "hello":
		ok.add("version", strconv.Itoa(Version))
		ok.add("mountns", strconv.FormatUint(mountNamespace(), 10))
		return ok, false, p.none()
	case "open":
		return ok, false, c.open(p, files[0])
	case "follow":
		var o FollowOptions
		if err := p.flags(map[string]*bool{"children": &o.Children}); err != nil {
			return nil, false, err
		}
		return ok, false, c.rec.Follow(files[0], o)
	case "drain":
		return ok, false, cmpErr(p.none(), c.rec.Drain)
	case "wait":
		if err := p.none(); err != nil {
			return nil, false, err
		}
		return nil, false, c.wait()
	case "close":
		out, err := c.close(p)
		return out, err == nil, err
	}
	return nil, false, fmt.Errorf("unknown request %.40q: %w", p.word, unix.EPROTO)
}

// wait answers when all processes are gone, or when the next request comes:
// once, so that each request has one answer.
func (c *connection) wait() error {
	var once sync.Once
	stop, err := c.rec.Wait(func(err error) {
		once.Do(func() { c.answer(&packet{word: "ok"}, err) })
	})
	if err != nil {
		return err // which is the answer
	}
	c.stop = func() {
		live := stop()
		once.Do(func() { c.answer(nil, &Error{unix.ECANCELED, fmt.Sprintf("%d of its processes were running", live)}) })
	}
	return nil
}

// cmpErr returns the first error, or what fn returns if there is none.
func cmpErr(err error, fn func() error) error {
	if err != nil {
		return err
	}
	return fn()
}

// none checks that a request has no keys.
func (p *packet) none() error { return p.flags(nil) }

// flags reads keys whose value is 1. Errors wrap unix.EINVAL.
func (p *packet) flags(known map[string]*bool) error {
	for _, v := range p.values {
		to := known[v.key]
		if to == nil || v.value != "1" {
			return unknown(p, v)
		}
		*to = true
	}
	return nil
}

func unknown(p *packet, v value) error {
	return fmt.Errorf("%s: unknown %.40q: %w", p.word, v.key+"="+v.value, unix.EINVAL)
}

func (c *connection) open(p *packet, log *os.File) error {
	if c.rec != nil {
		return fmt.Errorf("there is a log already: %w", unix.EEXIST)
	}
	var o Options
	version := ""
	for _, v := range p.values {
		switch {
		case v.key == "version":
			version = v.value
		case v.key == "format" && v.value != "":
			o.Format = v.value
		case v.key == "arg":
			o.Command = append(o.Command, v.value)
		case v.key == "args" && v.value == "1":
			o.Args = true
		default:
			return unknown(p, v)
		}
	}
	if version != strconv.Itoa(Version) {
		return fmt.Errorf("this service speaks version %d, not %.40q: %w", Version, version, unix.EPROTO)
	}
	// What serve closes is the client's descriptor, this the recording's own.
	file, err := duplicate(log)
	if err != nil {
		return err
	}
	c.rec, err = c.Service.Open(file, c.who, o)
	return err
}

// mountNamespace returns the number of this process's mount namespace, 0 if it is
// not known.
func mountNamespace() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/mnt", &st) != nil {
		return 0
	}
	return st.Ino
}

// duplicate returns another descriptor of an open file.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, fmt.Errorf("keep the log: %w", err)
	}
	return os.NewFile(uintptr(fd), "log"), nil
}

func (c *connection) close(p *packet) (*packet, error) {
	var why []string
	for _, v := range p.values {
		if v.key != "why" || v.value == "" {
			return nil, unknown(p, v)
		}
		why = append(why, v.value)
	}
	res, err := c.rec.Close(why...)
	c.rec = nil
	if err != nil {
		c.log.Info().Err(err).Int("client", c.who.PID).Msg("a log could not be written")
	}
	out := &packet{word: "ok"}
	if len(res.Incomplete) == 0 {
		out.add("complete", "1")
	}
	for i, reason := range res.Incomplete {
		if i == 32 {
			break // as many as a packet surely holds
		}
		out.add("incomplete", fmt.Sprintf("%.1000s", reason))
	}
	number := func(key string, n int) { out.add(key, strconv.Itoa(n)) }
	number("processes", res.Stats.Processes)
	number("events", res.Stats.Events)
	number("lost", res.Stats.Lost)
	for kind, n := range res.Stats.Records {
		if n > 0 {
			number(output.Kind(kind).String(), n)
		}
	}
	return out, nil
}
