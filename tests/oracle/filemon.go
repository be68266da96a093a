package oracle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrIncomplete says that a log ends without `# Bye bye`: the recorder lost something or did not finish.
var ErrIncomplete = errors.New("log is incomplete: no # Bye bye")

const (
	logHeader = "# filemon version 5"
	logFooter = "# Bye bye"
)

// ReadFilemon reads a log of version 5. It is strict: a line that filemon(4) would not have written, nor fanrec for a name that the format cannot
// hold, is an error.
func ReadFilemon(r io.Reader) ([]Op, error) {
	lines, err := readLines(r)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	if len(lines) == 0 || lines[0] != logHeader {
		return nil, fmt.Errorf("log does not begin with %q", logHeader)
	}
	if lines[len(lines)-1] != logFooter {
		return nil, fmt.Errorf("%w%s", ErrIncomplete, reasons(lines))
	}
	p := logParser{lines: lines}
	for p.next < len(lines) {
		if err := p.record(); err != nil {
			return nil, fmt.Errorf("log line %d: %w: %.200q", p.line, err, lines[p.line-1])
		}
	}
	return p.ops, nil
}

// reasons are what the log itself says of why it is incomplete.
func reasons(lines []string) string {
	var why strings.Builder
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "# INCOMPLETE: "); ok {
			why.WriteString("; " + text)
		}
	}
	return why.String()
}

func readLines(r io.Reader) ([]string, error) {
	in := bufio.NewReader(r)
	var lines []string
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return lines, nil
		}
		if err == io.EOF {
			return nil, errors.New("last line without newline")
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

type logParser struct {
	lines []string
	next  int // index of the line to read
	line  int // number of the line on which the record at hand began
	ops   []Op
}

// record reads one record, which can take more than one line.
func (p *logParser) record() error {
	text := p.lines[p.next]
	p.next++
	p.line = p.next
	if link, comment := strings.CutPrefix(text, "# L "); comment {
		if pid, names, ok := cutPID(link); ok { // names that would break a reader of L
			return p.hiddenLink(pid, names)
		}
	}
	switch {
	case strings.HasPrefix(text, "# "), text == "V 5":
		return nil
	}
	letter, pid, rest, err := splitRecord(text)
	if err != nil {
		return err
	}
	op := Op{PID: pid, Record: Record{Letter: letter}, Line: p.line}
	switch letter {
	case 'R', 'W', 'D', 'C', 'E':
		op.Path = rest
	case 'M':
		op.Path, op.Target, err = p.renamed(pid, rest)
	case 'L':
		op.Path, op.Target, err = plainPair(rest)
	case 'F':
		op.Child, err = strconv.Atoi(rest)
	case 'X':
		op.Code, op.Signal, err = exitStatus(rest)
	default:
		err = errors.New("unknown letter")
	}
	if err != nil {
		return err
	}
	p.ops = append(p.ops, op)
	return nil
}

// splitRecord splits `LETTER PID REST`.
func splitRecord(text string) (letter byte, pid int, rest string, err error) {
	if len(text) < 3 || text[1] != ' ' {
		return 0, 0, "", errors.New("not a record")
	}
	pid, rest, ok := cutPID(text[2:])
	if !ok {
		return 0, 0, "", errors.New("no process id")
	}
	if rest == "" {
		return 0, 0, "", errors.New("nothing after the process id")
	}
	return text[0], pid, rest, nil
}

// cutPID splits `PID REST`.
func cutPID(text string) (pid int, rest string, ok bool) {
	number, rest, _ := strings.Cut(text, " ")
	pid, err := strconv.Atoi(number)
	return pid, rest, err == nil
}

func exitStatus(rest string) (code, signal int, err error) {
	first, second, _ := strings.Cut(rest, " ")
	if code, err = strconv.Atoi(first); err != nil {
		return 0, 0, fmt.Errorf("exit code: %w", err)
	}
	if signal, err = strconv.Atoi(second); err != nil {
		return 0, 0, fmt.Errorf("signal: %w", err)
	}
	return code, signal, nil
}

// plainPair reads `'a' 'b'` with names that have neither blank nor quote.
func plainPair(rest string) (a, b string, err error) {
	a, b, found := strings.Cut(rest, " ")
	if !found || !quoted(a) || !quoted(b) {
		return "", "", errors.New("not two plain names in quotes")
	}
	a, b = a[1:len(a)-1], b[1:len(b)-1]
	if strings.ContainsAny(a+b, "' ") {
		return "", "", errors.New("blank or quote in a name")
	}
	return a, b, nil
}

func quoted(s string) bool { return len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' }

// renamed reads the names of an M. Readers split those with a blank or quote at the wrong place, so a D of the old name and a W of the new one must
// follow, which are no operations of their own.
func (p *logParser) renamed(pid int, rest string) (from, to string, err error) {
	from, to, err = p.companions(pid)
	if err == nil && rest == "'"+from+"' '"+to+"'" && strings.ContainsAny(from+to, "' ") {
		p.next += 2
		return from, to, nil
	}
	return plainPair(rest)
}

// companions reads a D and a W of one process from the next two lines, and leaves them there.
func (p *logParser) companions(pid int) (from, to string, err error) {
	if from, err = p.peek(0, 'D', pid); err != nil {
		return "", "", err
	}
	if to, err = p.peek(1, 'W', pid); err != nil {
		return "", "", err
	}
	return from, to, nil
}

// peek reads the path of a line that must have a letter and process id.
func (p *logParser) peek(ahead int, letter byte, pid int) (string, error) {
	if p.next+ahead >= len(p.lines) {
		return "", errors.New("end of the log")
	}
	l, n, path, err := splitRecord(p.lines[p.next+ahead])
	if err == nil && (l != letter || n != pid) {
		err = fmt.Errorf("no %c of %d follows", letter, pid)
	}
	return path, err
}

// hiddenLink reads the names of an L that stands in a comment. A W of the new name must follow, which is no operation of its own.
func (p *logParser) hiddenLink(pid int, names string) error {
	to, err := p.peek(0, 'W', pid)
	if err != nil {
		return fmt.Errorf("link in a comment: %w", err)
	}
	from, found := strings.CutSuffix(names, "' '"+to+"'")
	if !found || !strings.HasPrefix(from, "'") {
		return errors.New("link in a comment: the W that follows is of another name")
	}
	p.next++
	p.ops = append(p.ops, Op{PID: pid, Record: Record{Letter: 'L', Path: from[1:], Target: to}, Line: p.line})
	return nil
}
