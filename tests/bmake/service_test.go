package bmake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What a bmake may ask, to the byte.
const (
	open   = "open\x00version=1\x00"
	follow = "follow\x00"
	drain  = "drain\x00"
	shut   = "close\x00"
)

// The answers of a service that does its work. What dies has no answer.
const (
	ok       = "ok"
	complete = "ok\x00complete=1\x00processes=1\x00events=2\x00lost=0\x00E=1\x00R=1\x00X=1"
	dies     = ""
)

// A behaviour is the answer to a request, or dies.
type behaviour func(r *recording, request string) string

// obliging does what it is asked.
func obliging(_ *recording, request string) string {
	if request == shut {
		return complete
	}
	return ok
}

// but is obliging but for one request.
func but(request, answer string) behaviour {
	return func(r *recording, asked string) string {
		if asked == request {
			return answer
		}
		return obliging(r, asked)
	}
}

// recording is one connection.
type recording struct {
	service  *service
	client   int // process
	requests []string
	pids     []int  // that were followed
	log      []byte // what was written into it
	file     *os.File
}

// service is what bmake talks to: it records nothing, and says that every
// process has read one file.
type service struct {
	t        *testing.T
	listener *net.UnixListener
	answer   behaviour
	read     string // the file
	work     sync.WaitGroup

	mu         sync.Mutex
	recordings []*recording
}

// serve starts a service at a path.
func serve(t *testing.T, path, read string, answer behaviour) *service {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, listener: l, answer: answer, read: read}
	s.work.Go(s.accept)
	return s
}

// stop ends the service when all who are connected are gone, and returns what
// it did, in the order of the connections.
func (s *service) stop() []*recording {
	s.listener.Close() // perhaps again
	s.work.Wait()
	return s.recordings
}

func (s *service) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.t.Error(err)
			}
			return
		}
		r := &recording{service: s}
		if r.client, err = client(conn); err != nil {
			s.t.Error(err)
		}
		s.mu.Lock()
		s.recordings = append(s.recordings, r)
		s.mu.Unlock()
		s.work.Go(func() {
			defer conn.Close()
			if err := s.converse(conn, r); err != nil {
				s.t.Error(err)
			}
		})
	}
}

// converse answers one client until it, or the service, has enough.
func (s *service) converse(conn *net.UnixConn, r *recording) error {
	defer func() {
		if r.file != nil {
			r.file.Close()
		}
	}()
	for {
		request, files, err := receive(conn)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r.requests = append(r.requests, request)
		if err := s.take(r, request, files); err != nil {
			return fmt.Errorf("request %q: %w", request, err)
		}
		answer := s.answer(r, request)
		if answer == dies {
			return nil
		}
		if strings.HasPrefix(answer, ok) {
			if err := s.record(r, request); err != nil {
				return err
			}
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return err
		}
		if request == shut {
			return nil
		}
	}
}

// take checks what came with a request.
func (s *service) take(r *recording, request string, files []*os.File) error {
	want := map[string]int{open: 1, follow: 1, drain: 0, shut: 0}
	n, known := want[request]
	if !known {
		return errors.New("is none")
	}
	if len(files) != n {
		return fmt.Errorf("%d descriptors came along, want %d", len(files), n)
	}
	switch request {
	case open:
		r.file = files[0]
		flags, err := unix.FcntlInt(r.file.Fd(), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		if flags&unix.O_ACCMODE == unix.O_RDONLY {
			return errors.New("the log is not open for writing")
		}
		if st, err := r.file.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() != 0 {
			return fmt.Errorf("the log is no empty file: %v, %w", st, err)
		}
	case follow:
		defer files[0].Close()
		pid, err := pidOf(files[0])
		if err != nil {
			return err
		}
		r.pids = append(r.pids, pid)
	}
	return nil
}

// record writes what belongs into the log before the answer to a request.
func (s *service) record(r *recording, request string) error {
	var text bytes.Buffer
	switch request {
	case open:
		text.WriteString("# filemon version 5\n# Target pid 1\n# Start 1700000000.000001\nV 5\n")
	case drain:
		for _, pid := range r.pids {
			fmt.Fprintf(&text, "E %d /bin/sh\nR %d %s\nX %d 0 0\n", pid, pid, s.read, pid)
		}
	case shut:
		text.WriteString("# Stop 1700000001.000001\n# Bye bye\n")
	}
	r.log = append(r.log, text.Bytes()...)
	_, err := r.file.Write(text.Bytes())
	return err
}

// receive returns the next packet, and io.EOF at the end.
func receive(conn *net.UnixConn) (packet string, files []*os.File, err error) {
	text, control := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(8*4))
	n, c, flags, _, err := conn.ReadMsgUnix(text, control)
	if err != nil || n == 0 {
		return "", nil, errors.Join(err, io.EOF)
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return "", nil, errors.New("the packet was cut")
	}
	messages, err := unix.ParseSocketControlMessage(control[:c])
	if err != nil {
		return "", nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return "", nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return string(text[:n]), files, nil
}

// client returns the process that made a connection.
func client(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}

// pidOf returns the process of a pidfd, as /proc tells it.
func pidOf(pidfd *os.File) (int, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if number, found := strings.CutPrefix(line, "Pid:"); found {
			return strconv.Atoi(strings.TrimSpace(number))
		}
	}
	return 0, fmt.Errorf("the descriptor is no pidfd: %s", info)
}
