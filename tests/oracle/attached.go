package oracle

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// AttachArgs are the flags, but for -o FILE, -e and -p, whose output [ReadCalls] understands.
var AttachArgs = []string{"-f", "-y", "-ttt", "--quiet=attach,personality"}

// A Call is one that succeeded. Of a trace that begins in the midst of things there is no tree to replay: paths are what strace itself shows.
type Call struct {
	Thread int
	At     time.Time // when it began; of one that was cut, when strace wrote its end
	Name   string
	Opened string   // the file that was opened, empty if it has no name
	Paths  []string // its texts, absolute by the descriptors before them
	Flags  string   // the last argument
}

// ReadCalls reads what strace saw of processes that ran already. dir is what relative paths of calls without a descriptor are relative to. A
// call that strace was detached in is left out, and so is the end of one that it was attached in.
func ReadCalls(r io.Reader, dir string) ([]Call, error) {
	var calls []Call
	cut := map[int]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		thread, rest, _ := strings.Cut(lines.Text(), " ")
		at, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		micros, err := strconv.ParseInt(strings.Replace(at, ".", "", 1), 10, 64) // six digits behind the point
		if err != nil {
			return nil, fmt.Errorf("line %d: no time: %.80q", number, lines.Text())
		}
		ev, err := parseLine(number, thread+" "+rest)
		if err != nil {
			return nil, err
		}
		text := ev.text
		switch ev.kind {
		case evCall:
		case evEnter:
			cut[ev.tid] = text
			continue
		case evResume:
			head, ok := cut[ev.tid]
			if delete(cut, ev.tid); !ok {
				continue
			}
			text = head + text
		default:
			continue
		}
		c, err := parseCall(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if !c.result.ok {
			continue
		}
		out := Call{Thread: ev.tid, At: time.UnixMicro(micros), Name: c.name, Opened: c.result.file.path, Flags: c.arg(len(c.args) - 1)}
		base := dir
		for _, arg := range c.args {
			if f := parseFile(arg); f.known && !strings.HasPrefix(arg, `"`) {
				base = f.path
			} else if path, ok := parseString(arg); ok {
				if !filepath.IsAbs(path) {
					path = filepath.Join(base, path)
				}
				out.Paths, base = append(out.Paths, filepath.Clean(path)), dir
			}
		}
		calls = append(calls, out)
	}
	return calls, lines.Err()
}
