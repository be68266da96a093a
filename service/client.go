package service

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"fanrec/output"

	"golang.org/x/sys/unix"
)

// Conn is a client's connection to a service: one recording. Its methods are
// for one goroutine, but for Interrupt.
type Conn struct {
	c *net.UnixConn

	mu      sync.Mutex
	waiting bool // in Wait
	ended   bool // by Interrupt, which sent a request besides
}

// Dial connects to the service at a socket.
func Dial(socket string) (*Conn, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the address, which is said here
		}
		return nil, fmt.Errorf("connect to the service at %s: %w", socket, err)
	}
	return &Conn{c: c}, nil
}

// request sends a request, with a descriptor if fd is not negative.
func (c *Conn) request(p *packet, fd int) error {
	b, err := p.encode()
	if err != nil {
		return err
	}
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	if _, _, err := c.c.WriteMsgUnix(b, oob, nil); err != nil {
		return gone(err)
	}
	return nil
}

// gone says that a service went away while it was asked.
func gone(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Errorf("the service is gone: %w", err)
}

// receive returns the next answer.
func (c *Conn) receive() (*packet, error) {
	b := make([]byte, MaxPacket)
	n, err := c.c.Read(b)
	if n == 0 && (err == nil || errors.Is(err, io.EOF)) || errors.Is(err, unix.ECONNRESET) {
		return nil, errors.New("the service is gone")
	}
	if err != nil {
		return nil, gone(err)
	}
	return decodeAnswer(b[:n])
}

func (c *Conn) ask(p *packet, fd int) (*packet, error) {
	if err := c.request(p, fd); err != nil {
		return nil, err
	}
	return c.receive()
}

// Hello asks who the service is. here tells whether it is in the mount namespace
// of this process: the paths in a log are those of the service. Errors wrap
// unix.EPROTO if it speaks another version.
func (c *Conn) Hello() (here bool, err error) {
	a, err := c.ask(&packet{word: "hello"}, -1)
	if err != nil {
		return false, err
	}
	version := ""
	for _, v := range a.values {
		switch v.key {
		case "version":
			version = v.value
		case "mountns":
			here = v.value == strconv.FormatUint(mountNamespace(), 10)
		}
	}
	if version != strconv.Itoa(Version) {
		return false, fmt.Errorf("the service speaks version %.10q, not %d: %w", version, Version, unix.EPROTO)
	}
	return here, nil
}

// Open begins the recording, into a file that the service shares from then on.
// An error of the service is an *Error.
func (c *Conn) Open(log *os.File, o Options) error {
	p := &packet{word: "open"}
	p.add("version", strconv.Itoa(Version))
	if o.Format != "" {
		p.add("format", o.Format)
	}
	if o.Args {
		p.add("args", "1")
	}
	size := 0
	for _, arg := range o.Command {
		if size += len(arg) + 5; size > MaxPacket/2 {
			break // it is for people
		}
		p.add("arg", arg)
	}
	_, err := c.ask(p, int(log.Fd()))
	return err
}

// Follow makes a process part of the recording. When it returns, what the
// process does next is recorded.
func (c *Conn) Follow(pidfd int, o FollowOptions) error {
	p := &packet{word: "follow"}
	for key, set := range map[string]bool{"children": o.Children} {
		if set {
			p.add(key, "1")
		}
	}
	_, err := c.ask(p, pidfd)
	return err
}

// Drain returns when every record of what was done before is in the log.
func (c *Conn) Drain() error {
	_, err := c.ask(&packet{word: "drain"}, -1)
	return err
}

// Wait returns when no process of the recording lives. After Interrupt the error
// wraps unix.ECANCELED and says how many there are.
func (c *Conn) Wait() error {
	c.mu.Lock()
	err := c.request(&packet{word: "wait"}, -1)
	c.waiting, c.ended = err == nil, false
	c.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = c.receive()
	c.mu.Lock()
	c.waiting = false
	ended := c.ended
	c.mu.Unlock()
	if ended {
		if _, err := c.receive(); err != nil { // of the request that ended it
			return err
		}
	}
	return err
}

// Interrupt ends a Wait that another goroutine is in.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && !c.ended {
		c.ended = c.request(&packet{word: "drain"}, -1) == nil
	}
}

// Leave ends a connection without a recording.
func (c *Conn) Leave() { c.c.Close() }

// Close ends the recording. Each of why says that something is missing.
func (c *Conn) Close(why ...string) (*Result, error) {
	defer c.c.Close()
	p := &packet{word: "close"}
	for _, w := range why {
		p.add("why", w)
	}
	a, err := c.ask(p, -1)
	if err != nil {
		return nil, err
	}
	return a.result(), nil
}

// result reads what a recording had.
func (p *packet) result() *Result {
	res := &Result{}
	complete := false
	kinds := map[string]output.Kind{}
	for k := output.Kind(1); int(k) < output.Kinds; k++ {
		kinds[k.String()] = k
	}
	for _, v := range p.values {
		n, _ := strconv.Atoi(v.value)
		switch kind, known := kinds[v.key]; {
		case known:
			res.Stats.Records[kind] = n
		case v.key == "complete":
			complete = v.value == "1"
		case v.key == "incomplete":
			res.Incomplete = append(res.Incomplete, v.value)
		case v.key == "processes":
			res.Stats.Processes = n
		case v.key == "events":
			res.Stats.Events = n
		case v.key == "lost":
			res.Stats.Lost = n
		}
	}
	if !complete && len(res.Incomplete) == 0 {
		res.Incomplete = []string{"the service does not say that the log is complete"}
	}
	return res
}

// Listen makes the socket of a service, in a directory that is made if it is
// not there. What an earlier service left is removed. mode is who may connect.
func Listen(socket string, mode os.FileMode) (*net.UnixListener, error) {
	if i := strings.LastIndexByte(socket, '/'); i > 0 {
		if err := os.MkdirAll(socket[:i], 0o755); err != nil {
			return nil, fmt.Errorf("make the directory of the socket: %w", err)
		}
	}
	if c, err := Dial(socket); err == nil {
		c.c.Close()
		return nil, fmt.Errorf("a service listens at %s already; stop it, or choose another --socket", socket)
	}
	if st, err := os.Lstat(socket); err == nil && st.Mode()&os.ModeSocket != 0 {
		os.Remove(socket)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("listen at %s: %w; choose another --socket", socket, err)
	}
	if err := os.Chmod(socket, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen at %s: %w", socket, err)
	}
	return l, nil
}
