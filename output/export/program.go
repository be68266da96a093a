package export

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fanrec/output"
	"fanrec/output/spool"

	"golang.org/x/sys/unix"
)

// program is a process that is given lines, and says what it has done with them:
//
//	ready              its arguments are understood
//	sent N             the first N lines that it was given are dealt with
//	refused N REASON   of these so many records are lost for good
//	waits REASON       nothing is taken now
//
// Its methods are for one goroutine, but for Abandon.
type program struct {
	argv []string
	head output.Header

	cmd    *exec.Cmd // nil: it does not run
	pid    atomic.Int32
	in     *os.File
	out    *bufio.Reader
	stderr bytes.Buffer
	window int // so many bytes fit into the pipe for certain
	given  int // bytes of what is offered that it was given and has not dealt with
	own    int // lines that it was given before: a header
	lines  int // that it has dealt with

	again   bool // it has run before
	log     func(error)
	refused atomic.Int64 // records
	why     string       // the last refusal

	mu    sync.Mutex
	lives map[int]life // of its processes, by number
}

// life is when a process had its number, in ns since 1970.
type life struct{ from, to int64 }

// remembered is how long it is known which numbers the program's processes had: records
// of what they did come later.
const remembered = 10 * time.Minute

// born notes a process that began at a time.
func (p *program) born(pid int, from time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pid, l := range p.lives {
		if time.Duration(from.UnixNano()-l.to) > remembered {
			delete(p.lives, pid)
		}
	}
	p.lives[pid] = life{from.UnixNano(), math.MaxInt64}
}

// reap waits for the process, whose number may then be another's.
func (p *program) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	pid := p.cmd.Process.Pid
	p.lives[pid] = life{p.lives[pid].from, time.Now().UnixNano()}
	p.pid.Store(0)
	p.cmd = nil
	return err
}

// pipeBytes is how large the pipe to the program is if the system allows it. What is
// sent at once is at most about half of it.
const pipeBytes = 1 << 20

// readyTime is how long the program may take to be ready.
const readyTime = 10 * time.Second

// start starts the program, and returns when it is ready. before is what it is given
// first.
func (p *program) start(before []byte) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeBytes)
	if err != nil {
		size, err = unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	}
	// The last page of what was written before may not be full.
	p.window = size / 2
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals of a terminal are for the recorder
	cmd.Stdin = r
	p.stderr.Reset()
	cmd.Stderr = &p.stderr
	out, perr := cmd.StdoutPipe()
	if err = errors.Join(err, perr); err == nil {
		begin := time.Now()
		if err = cmd.Start(); err == nil {
			p.born(cmd.Process.Pid, begin)
		}
	}
	if err != nil {
		w.Close()
		return fmt.Errorf("start %s: %w", p.argv[0], err)
	}
	p.cmd, p.in, p.out = cmd, w, bufio.NewReader(out)
	p.pid.Store(int32(cmd.Process.Pid))
	late := time.AfterFunc(readyTime, func() { cmd.Process.Kill() })
	defer late.Stop()
	p.given, p.own, p.lines = 0, 0, 0
	if line, err := p.out.ReadString('\n'); err != nil {
		return p.ended(err)
	} else if line != "ready\n" {
		return p.ended(fmt.Errorf("it says %q", line))
	}
	if !p.again {
		p.again = true
		return nil
	}
	if bytes.HasPrefix(before, headerLine) {
		return nil
	}
	// It knows nothing of the recording any more.
	var head bytes.Buffer
	spool.Begin(format, &p.head, &head, time.Now(), []string{"goes on in another process: some of what follows may have been sent before"}).Flush()
	p.own = bytes.Count(head.Bytes(), []byte{'\n'})
	return p.hand(head.Bytes())
}

// headerLine begins the line with which a log begins.
var headerLine = []byte(`{"kind":"header"`)

// ended returns why the program has ended, or ends it if it says what nobody expects.
func (p *program) ended(err error) error {
	p.in.Close()
	p.cmd.Process.Kill()
	if werr := p.reap(); werr != nil && (err == io.EOF || errors.Is(err, unix.EPIPE)) {
		err = werr
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		return errors.New(strings.ReplaceAll(text, "\n", "; "))
	}
	return fmt.Errorf("%s has ended: %w", p.argv[0], err)
}

func (p *program) hand(b []byte) error {
	if _, err := p.in.Write(b); err != nil {
		return p.ended(err)
	}
	return nil
}

// Write implements spool.Store: what is taken is dealt with. While the program says
// that it waits this returns errors, and may be called again.
func (p *program) Write(b []byte) (int, error) {
	if p.cmd == nil {
		if err := p.start(b); err != nil {
			return 0, err
		}
	}
	if p.given == 0 {
		// Whole lines: of half of one nothing would ever be said.
		p.given = bytes.LastIndexByte(b[:min(len(b), p.window)], '\n') + 1
		if p.given == 0 {
			p.given = bytes.IndexByte(b, '\n') + 1
		}
		if err := p.hand(b[:p.given]); err != nil {
			return 0, err
		}
	}
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			return 0, p.ended(err)
		}
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var n int
		switch word {
		case "sent":
			if _, err := fmt.Sscan(rest, &n); err != nil || n < p.lines {
				return 0, p.ended(fmt.Errorf("it says %q", line))
			}
			if taken := p.took(b, n); taken > 0 {
				return taken, nil
			}
		case "refused":
			number, why, _ := strings.Cut(rest, " ")
			fmt.Sscan(number, &n)
			p.why = why
			if p.refused.Add(int64(n)) == int64(n) {
				p.log(fmt.Errorf("the collector refuses records, which are lost: %s", why))
			}
		case "waits":
			return 0, fmt.Errorf("send to the collector: %s", rest)
		default:
			return 0, p.ended(fmt.Errorf("it says %q", line))
		}
	}
}

// took returns how many bytes are dealt with when n lines are.
func (p *program) took(b []byte, n int) int {
	fresh := n - p.lines
	p.lines = n
	skip := min(fresh, p.own)
	p.own -= skip
	at := 0
	for fresh -= skip; fresh > 0 && at < p.given; fresh-- {
		at += bytes.IndexByte(b[at:p.given], '\n') + 1
	}
	p.given -= at
	return at
}

// Turn implements spool.Store: one log follows the other.
func (p *program) Turn() error { return nil }

// Abandon ends the program, whatever it does.
func (p *program) Abandon() {
	if pid := p.pid.Load(); pid != 0 {
		unix.Kill(int(pid), unix.SIGKILL)
	}
}

// Close ends the program. It returns an error if records were refused.
func (p *program) Close() error {
	if p.cmd != nil {
		if p.given > 0 {
			p.Abandon() // they were given up
		}
		p.in.Close()
		io.Copy(io.Discard, p.out)
		p.reap()
	}
	if n := p.refused.Load(); n > 0 {
		return fmt.Errorf("the collector has refused %d records: %s", n, p.why)
	}
	return nil
}
