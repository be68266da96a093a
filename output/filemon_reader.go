package output

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrMalformed is wrapped by every error of a reader that is about what a log
// says, and not about reading it.
var ErrMalformed = errors.New("malformed log")

// FilemonReader reads a log of filemon(4), version 4 or 5, as Filemon writes
// it, N included, and as FreeBSD and NetBSD do. It is strict: a line that none of them
// writes is an error with its number. Comments are passed over, and so are A and
// S of others, which tell nothing that has a Kind.
//
// Names come back as they were, but for one thing that the format cannot tell:
// \012 in a name is read as the newline that Filemon writes so. Op, and all that
// the format has not, is zero.
type FilemonReader struct {
	in    *bufio.Reader
	ahead [3][]byte // lines: those of the last record, then those looked at
	n     int       // how many there are
	used  int       // how many of them the last record took
	line  int       // number of ahead[0]
	cut   error     // why there are no more lines
	err   error     // what Read returned last

	version  int
	header   Header
	trailer  Trailer
	poisoned bool // an R without a path
	stopped  bool // # Stop
	ended    bool // # Bye bye
	attached bool // what was there already
}

// NewFilemonReader reads the header of a log, and the comments behind it.
func NewFilemonReader(r io.Reader) (*FilemonReader, error) {
	f := &FilemonReader{in: bufio.NewReaderSize(r, 64<<10), line: 1}
	if err := f.head(); err != nil {
		return nil, err
	}
	return f, nil
}

// Version returns 4 or 5.
func (f *FilemonReader) Version() int { return f.version }

// Header returns how the log begins. It has no command: the format has none.
func (f *FilemonReader) Header() *Header { return &f.header }

// Trailer returns how the log ended, once Read has returned io.EOF. Incomplete
// is not empty if the log says that something is missing, or has no "# Bye bye".
func (f *FilemonReader) Trailer() *Trailer { return &f.trailer }

// Line returns the number of the line on which the last record begins, from 1.
func (f *FilemonReader) Line() int { return f.line }

// Read fills in the next record, whose slices are valid until the next Read.
// After the last one it returns io.EOF. An error is final.
func (f *FilemonReader) Read(r *Record) error {
	for f.err == nil {
		var found bool
		if found, f.err = f.next(r); found {
			r.Attached = f.attached
			return nil
		}
	}
	return f.err
}

// next reads one line, or those that are one record.
func (f *FilemonReader) next(r *Record) (found bool, err error) {
	f.drop()
	line, err := f.peek(0)
	if err == io.EOF {
		f.finish()
		return false, err
	}
	if err != nil {
		return false, err
	}
	f.used = 1
	switch {
	case f.ended:
		err = errors.New("after # Bye bye")
	case string(line) == bye:
		if f.ended = true; f.poisoned || len(f.trailer.Incomplete) > 0 {
			err = errors.New("# Bye bye in a log that says it is incomplete")
		}
	case f.stopped:
		err = errors.New("after # Stop")
	case line[0] == '#':
		found, err = f.comment(line, r)
	default:
		found, err = f.record(line, r)
	}
	if err != nil {
		return false, f.malformed(0, err)
	}
	return found, nil
}

// finish makes the trailer.
func (f *FilemonReader) finish() {
	switch t := &f.trailer; {
	case len(t.Incomplete) > 0 || f.ended:
	case f.poisoned:
		t.Incomplete = []string{"a record without a path"}
	default:
		t.Incomplete = []string{"no # Bye bye"}
	}
}

//
// Lines
//

// drop forgets the lines of the last record.
func (f *FilemonReader) drop() {
	for ; f.used > 0; f.used-- {
		first := f.ahead[0]
		copy(f.ahead[:], f.ahead[1:])
		f.ahead[len(f.ahead)-1] = first
		f.n--
		f.line++
	}
}

// peek returns the i-th line that was not dropped, without its newline. It has
// at least one byte.
func (f *FilemonReader) peek(i int) ([]byte, error) {
	for f.n <= i && f.cut == nil {
		var line []byte
		if line, f.cut = f.readLine(f.ahead[f.n][:0]); f.cut == nil {
			f.ahead[f.n] = line
			f.n++
		}
	}
	if f.n <= i {
		return nil, f.cut
	}
	return f.ahead[i], nil
}

func (f *FilemonReader) readLine(line []byte) ([]byte, error) {
	for {
		part, err := f.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0:
			return nil, f.malformed(f.n, errors.New("the last line has no newline"))
		case err != nil:
			return nil, err
		}
		line = line[:len(line)-1]
		switch {
		case len(line) == 0:
			return nil, f.malformed(f.n, errors.New("an empty line"))
		case bytes.IndexByte(line, 0) >= 0:
			return nil, f.malformed(f.n, errors.New("a NUL"))
		}
		return line, nil
	}
}

// malformed says what is wrong with a line.
func (f *FilemonReader) malformed(i int, what error) error {
	err := fmt.Errorf("line %d: %w: %w", f.line+i, ErrMalformed, what)
	if i < f.n {
		err = fmt.Errorf("%w: %.200q", err, f.ahead[i])
	}
	return err
}

//
// Header and comments
//

func (f *FilemonReader) head() error {
	for _, part := range []struct {
		prefix string
		read   func(rest []byte) error
		option bool
	}{
		{versionPrefix, f.headVersion, false},
		{"# Target pid ", f.headTarget, false},
		{"# Start ", f.headStart, true},
		{"V ", f.headV, false},
	} {
		line, err := f.peek(0)
		if err == io.EOF {
			return f.malformed(0, fmt.Errorf("no line %q", part.prefix))
		}
		if err != nil {
			return err
		}
		rest, ok := bytes.CutPrefix(line, []byte(part.prefix))
		switch {
		case ok:
			f.used = 1
			err = part.read(rest)
		case !part.option:
			err = fmt.Errorf("not a line %q", part.prefix)
		}
		if err != nil {
			return f.malformed(0, err)
		}
		f.drop()
	}
	for {
		line, err := f.peek(0)
		if err != nil || !isNote(line) {
			return nil // Read tells
		}
		if key, ok := bytes.CutPrefix(line, []byte(keyPrefix)); ok && f.header.Key == "" {
			f.header.Key = string(unescape(key))
		} else {
			f.header.Notes = append(f.header.Notes, string(unescape(line[2:])))
		}
		f.used = 1
		f.drop()
	}
}

func (f *FilemonReader) headVersion(text []byte) error {
	switch string(text) {
	case "4", "5":
		f.version = int(text[0] - '0')
		return nil
	}
	return errors.New("neither version 4 nor 5")
}

func (f *FilemonReader) headTarget(text []byte) (err error) {
	f.header.Target, err = number(text)
	return err
}

func (f *FilemonReader) headStart(text []byte) (err error) {
	f.header.Start, err = unstamp(text)
	return err
}

func (f *FilemonReader) headV(text []byte) error {
	if string(text) != strconv.Itoa(f.version) {
		return errors.New("another version than in the first line")
	}
	return nil
}

// Comments that mean something.
const (
	stopPrefix       = "# Stop "
	incompletePrefix = "# INCOMPLETE: "
	linkPrefix       = "# L "
	keyPrefix        = "# Key "
	attachedPrefix   = "# attached: "
	versionPrefix    = "# filemon version "
	bye              = "# Bye bye"
)

// isNote tells whether a line is a comment and no more than that.
func isNote(line []byte) bool {
	for _, prefix := range []string{stopPrefix, incompletePrefix, linkPrefix, attachedPrefix, bye} {
		if bytes.HasPrefix(line, []byte(prefix)) {
			return false
		}
	}
	return bytes.HasPrefix(line, []byte("# "))
}

func (f *FilemonReader) comment(line []byte, r *Record) (found bool, err error) {
	if text, ok := bytes.CutPrefix(line, []byte(stopPrefix)); ok {
		f.stopped = true
		f.trailer.Stop, err = unstamp(text)
		return false, err
	}
	if why, ok := bytes.CutPrefix(line, []byte(incompletePrefix)); ok {
		f.trailer.Incomplete = append(f.trailer.Incomplete, string(unescape(why)))
		return false, nil
	}
	switch string(line) {
	case "# " + attachedBegin:
		f.attached = true
	case "# " + attachedEnd:
		f.attached = false
	}
	if link, ok := bytes.CutPrefix(line, []byte(linkPrefix)); ok {
		pid, names, _ := bytes.Cut(link, []byte{' '})
		if n, err := number(pid); err == nil && len(names) > 0 && names[0] == '\'' {
			return true, f.hiddenLink(n, names, r)
		}
	}
	return false, nil
}

// unstamp is the inverse of stamp.
func unstamp(text []byte) (ns int64, err error) {
	seconds, micros, _ := strings.Cut(string(text), ".")
	s, err1 := strconv.ParseUint(seconds, 10, 33)
	us, err2 := strconv.ParseUint(micros, 10, 32)
	if err1 != nil || err2 != nil || len(micros) != 6 {
		return 0, errors.New("not a time of seconds and microseconds")
	}
	return int64(s)*1e9 + int64(us)*1e3, nil
}

// number reads a process id.
func number(text []byte) (uint32, error) {
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil || n == 0 {
		return 0, errors.New("no process id")
	}
	return uint32(n), nil
}

//
// Records
//

// splitRecord splits a line into letter, process id and the rest.
func splitRecord(line []byte) (letter byte, pid uint32, rest []byte, err error) {
	if len(line) < 3 || line[1] != ' ' {
		return 0, 0, nil, errors.New("not a record")
	}
	text, rest, _ := bytes.Cut(line[2:], []byte{' '})
	pid, err = number(text)
	return line[0], pid, rest, err
}

func (f *FilemonReader) record(line []byte, r *Record) (found bool, err error) {
	letter, pid, rest, err := splitRecord(line)
	if err != nil {
		return false, err
	}
	switch letter {
	case 'A', 'S':
		return false, nil
	case 'R':
		if len(rest) == 0 {
			f.poisoned = true
			return false, nil
		}
	}
	*r = Record{Kind: kindOf(letter), PID: pid}
	switch {
	case r.Kind == 0:
		err = errors.New("unknown letter")
	case len(rest) == 0:
		err = errors.New("nothing after the process id")
	case r.Kind == Fork:
		r.Child, err = number(rest)
	case r.Kind == Exit:
		err = f.exit(rest, r)
	case r.Kind == Rename || r.Kind == Link:
		r.Path, r.Target, err = f.pair(r, rest)
	default:
		r.Path = unescape(rest)
	}
	return true, err
}

// kindOf returns the kind of a letter, 0 if there is none.
func kindOf(letter byte) Kind {
	for k := Fork; k <= Absent; k++ {
		if k.Letter() == letter {
			return k
		}
	}
	return 0
}

// exit reads the end of an X: version 4 has no signal.
func (f *FilemonReader) exit(rest []byte, r *Record) (err error) {
	code, signal, two := strings.Cut(string(rest), " ")
	if two != (f.version >= 5) {
		return fmt.Errorf("exit status of another version than %d", f.version)
	}
	if r.Code, err = status(code); err == nil && two {
		r.Signal, err = status(signal)
	}
	return err
}

func status(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, errors.New("no exit status")
	}
	return int(n), nil
}

var betweenNames = []byte("' '")

// pair reads the names of an M or L. An M of names that the quotes do not hold
// is followed by a D and a W, which say the names and are no records of their
// own.
func (f *FilemonReader) pair(r *Record, rest []byte) (path, target []byte, err error) {
	inner := len(rest) - 1
	if inner < len(betweenNames) || rest[0] != '\'' || rest[inner] != '\'' {
		return nil, nil, errors.New("not two names in quotes")
	}
	if !plain(rest) && r.Kind == Rename {
		from, to := f.companion(1, Delete, r.PID), f.companion(2, Write, r.PID)
		if from != nil && to != nil && isPair(rest, from, to) {
			f.used = 3
			return unescape(from), unescape(to), nil
		}
	}
	// Others do not write companions: take what can be read in one way only.
	at := bytes.Index(rest[:inner], betweenNames)
	switch {
	case at < 1:
		return nil, nil, errors.New("not two names in quotes")
	case at != bytes.LastIndex(rest[:inner], betweenNames):
		return nil, nil, errors.New("names that cannot be told apart")
	}
	path, target = rest[1:at], rest[at+len(betweenNames):inner]
	if len(path) == 0 || len(target) == 0 {
		return nil, nil, errors.New("an empty name")
	}
	return unescape(path), unescape(target), nil
}

// plain tells whether the names of an M or L have neither blank nor quote.
func plain(pair []byte) bool {
	return bytes.Count(pair, []byte{' '}) == 1 && bytes.Count(pair, []byte{'\''}) == 4
}

// isPair tells whether a pair is of these names.
func isPair(pair, path, target []byte) bool {
	rest := pair
	for _, part := range [][]byte{{'\''}, path, betweenNames, target, {'\''}} {
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, part); !ok {
			return false
		}
	}
	return len(rest) == 0
}

// companion returns the name in a line that follows, nil if that is none of this
// kind and process.
func (f *FilemonReader) companion(i int, kind Kind, pid uint32) []byte {
	line, err := f.peek(i)
	if err != nil {
		return nil
	}
	letter, who, name, err := splitRecord(line)
	if err != nil || letter != kind.Letter() || who != pid || len(name) == 0 {
		return nil
	}
	return name
}

// hiddenLink reads an L that stands in a comment, as the quotes do not hold its
// names. The W that follows tells the second one.
func (f *FilemonReader) hiddenLink(pid uint32, names []byte, r *Record) error {
	target := f.companion(1, Write, pid)
	path := len(names) - len(target) - len("'' ''")
	if target == nil || path < 1 || !isPair(names, names[1:1+path], target) {
		return errors.New("a link in a comment, and no W of it in the next line")
	}
	f.used = 2
	*r = Record{Kind: Link, PID: pid, Path: unescape(names[1 : 1+path]), Target: unescape(target)}
	return nil
}

var newline = []byte(`\012`)

// unescape is the inverse of appendName, in place.
func unescape(name []byte) []byte {
	at := bytes.Index(name, newline)
	if at < 0 {
		return name[:len(name):len(name)]
	}
	out := name[:at]
	for rest := name[at:]; len(rest) > 0; {
		if bytes.HasPrefix(rest, newline) {
			out, rest = append(out, '\n'), rest[len(newline):]
			continue
		}
		out, rest = append(out, rest[0]), rest[1:]
	}
	return out[:len(out):len(out)]
}
