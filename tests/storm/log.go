package storm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Record is one line of a filemon log. Which fields are set depends on Kind.
type Record struct {
	Kind         byte   // one of C D E F L M R W X
	Pid          int    // thread group id
	Path         string // C D E R W: the path; L M: the first name
	To           string // L M: the second name
	Child        int    // F: pid of the child
	Code, Signal int    // X: exit code and terminating signal
}

// String returns the line of the log.
func (r Record) String() string {
	switch r.Kind {
	case 'F':
		return fmt.Sprintf("F %d %d", r.Pid, r.Child)
	case 'X':
		return fmt.Sprintf("X %d %d %d", r.Pid, r.Code, r.Signal)
	case 'L', 'M':
		return fmt.Sprintf("%c %d '%s' '%s'", r.Kind, r.Pid, r.Path, r.To)
	default:
		return fmt.Sprintf("%c %d %s", r.Kind, r.Pid, r.Path)
	}
}

// A Log is a filemon log, version 5.
type Log struct {
	Target   int // pid in the header
	Records  []Record
	Complete bool // the log ends with "# Stop" and "# Bye bye"
	Poisoned bool // a record "R pid" without a path says that records are missing
}

// Parse reads a log. It is an error if a line is none of the format's, or if the header or anything after the footer is
// not as it must be; a missing footer and poison are not errors but facts about the log. Names with a quote or a
// newline, which the format cannot tell from its own, do not occur in storms.
func Parse(from io.Reader) (Log, error) {
	var log Log
	lines := bufio.NewReader(from)
	footer := 0
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil && err != io.EOF {
			return log, err
		}
		text, terminated := bytes.CutSuffix(line, []byte("\n"))
		if !terminated {
			return log, fmt.Errorf("line %d: %q has no newline", number, line)
		}
		switch {
		case number <= 4:
			err = log.header(number, string(text))
		case footer == 0 && bytes.HasPrefix(text, []byte("# Stop ")):
			footer, err = 1, timestamp(string(text[len("# Stop "):]))
		case footer == 1 && string(text) == "# Bye bye":
			footer, err = 2, nil
		case footer != 0:
			err = fmt.Errorf("%q in or after the footer", text)
		case len(text) > 0 && text[0] == '#':
			err = nil // a remark
		default:
			err = log.record(string(text))
		}
		if err != nil {
			return log, fmt.Errorf("line %d: %w", number, err)
		}
	}
	log.Complete = footer == 2
	return log, nil
}

func (l *Log) header(number int, text string) error {
	switch number {
	case 1:
		if text != "# filemon version 5" {
			return fmt.Errorf("%q where the version should be", text)
		}
	case 2:
		pid, err := strconv.Atoi(strings.TrimPrefix(text, "# Target pid "))
		if err != nil {
			return fmt.Errorf("%q where the target should be", text)
		}
		l.Target = pid
	case 3:
		return timestamp(strings.TrimPrefix(text, "# Start "))
	case 4:
		if text != "V 5" {
			return fmt.Errorf("%q where V 5 should be", text)
		}
	}
	return nil
}

// timestamp says whether text is seconds, a point and six digits.
func timestamp(text string) error {
	seconds, micros, ok := strings.Cut(text, ".")
	if _, err := strconv.ParseUint(seconds, 10, 63); !ok || err != nil || len(micros) != 6 {
		return fmt.Errorf("%q is not seconds.microseconds", text)
	}
	if _, err := strconv.ParseUint(micros, 10, 32); err != nil {
		return fmt.Errorf("%q is not seconds.microseconds", text)
	}
	return nil
}

func (l *Log) record(text string) error {
	kind, rest, _ := strings.Cut(text, " ")
	first, rest, more := strings.Cut(rest, " ")
	pid, err := strconv.Atoi(first)
	if len(kind) != 1 || err != nil {
		return fmt.Errorf("%q is not a record", text)
	}
	r := Record{Kind: kind[0], Pid: pid}
	if !more {
		if r.Kind != 'R' {
			return fmt.Errorf("%q ends early", text)
		}
		l.Poisoned = true
		return nil
	}
	switch r.Kind {
	case 'C', 'D', 'E', 'R', 'W':
		r.Path = rest
		if rest == "" {
			err = fmt.Errorf("%q has no path", text)
		}
	case 'L', 'M':
		from, to, ok := strings.Cut(rest, "' '")
		if !ok || !strings.HasPrefix(from, "'") || !strings.HasSuffix(to, "'") {
			return fmt.Errorf("%q has not two quoted names", text)
		}
		r.Path, r.To = from[1:], to[:len(to)-1]
	case 'F':
		r.Child, err = strconv.Atoi(rest)
	case 'X':
		code, signal, _ := strings.Cut(rest, " ")
		if r.Code, err = strconv.Atoi(code); err == nil {
			r.Signal, err = strconv.Atoi(signal)
		}
	default:
		err = fmt.Errorf("%q is of an unknown kind", text)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	l.Records = append(l.Records, r)
	return nil
}
