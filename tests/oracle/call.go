package oracle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// call is one system call of one thread.
type call struct {
	tid        int
	begin, end int // lines where strace saw it enter and return
	name       string
	args       []string // as strace wrote them
	result     result
}

// result is what a call returned.
type result struct {
	unknown bool // the thread ended in the call, which may or may not have been done
	ok      bool
	value   int  // a process id is the one in strace's own PID namespace
	file    file // the descriptor that was returned
	lost    bool // strace took the next call of the thread for the end of this one, and does not show it
}

// failed tells whether the call is known to have done nothing.
func (r *result) failed() bool { return !r.ok && !r.unknown }

// file is what strace -y writes behind a descriptor.
type file struct {
	path  string // resolved; empty if strace could not tell
	known bool
}

// parseCall reads `name(args) = result`; of a call that never returned only `name(args` is there.
func parseCall(text string) (call, error) {
	name, rest, found := strings.Cut(text, "(")
	if !found {
		return call{}, errors.New("neither a call nor anything else known")
	}
	args, tail, err := splitArgs(rest)
	if err != nil {
		return call{}, fmt.Errorf("arguments of %s: %w", name, err)
	}
	c := call{name: name, args: args}
	if c.result, err = parseResult(tail); err != nil {
		return call{}, fmt.Errorf("result of %s: %w", name, err)
	}
	return c, nil
}

// splitArgs splits at the commas of the outermost level, up to the closing parenthesis. What follows that is the tail.
func splitArgs(text string) (args []string, tail string, err error) {
	depth, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			n := stringEnd(text[i:])
			if n < 0 {
				return nil, "", errors.New("string without end")
			}
			i += n - 1
		case c == '<' && i > 0 && isWord(text[i-1]): // 3</path>: anything but '>' may be inside
			n := strings.IndexByte(text[i:], '>')
			if n < 0 {
				return nil, "", errors.New("path without end")
			}
			i += n
		case strings.HasPrefix(text[i:], "/*"):
			n := strings.Index(text[i:], "*/")
			if n < 0 {
				return nil, "", errors.New("comment without end")
			}
			i += n + 1
		case c == '{' || c == '[' || c == '(':
			depth++
		case c == ')' && depth == 0:
			return appendArg(args, text[start:i]), text[i+1:], nil
		case c == '}' || c == ']' || c == ')':
			depth--
		case c == ',' && depth == 0:
			args = appendArg(args, text[start:i])
			start = i + 1
		}
	}
	return appendArg(args, text[start:]), "", nil
}

// appendArg leaves out the emptiness of a call without arguments.
func appendArg(args []string, arg string) []string {
	if arg = strings.TrimSpace(arg); arg == "" {
		return args
	}
	return append(args, arg)
}

// stringEnd returns the length of the quoted string at the start of text, quotes included, or -1.
func stringEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// parseResult reads what follows the closing parenthesis; nothing does if the call never returned.
func parseResult(tail string) (result, error) {
	text := strings.TrimSpace(tail)
	if text == "" {
		return result{unknown: true}, nil
	}
	text, found := strings.CutPrefix(text, "= ")
	if !found {
		return result{}, fmt.Errorf("%.40q", tail)
	}
	if text == "?" || text == "? <unavailable>" { // the latter of a thread that an execve ended
		return result{unknown: true}, nil
	}
	if strings.HasPrefix(text, "? ") || strings.HasPrefix(text, "-1 ") { // interrupted and to be called again, or failed
		return result{}, nil
	}
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	value, err := strconv.Atoi(text[:digits])
	if err != nil {
		return result{}, fmt.Errorf("%.40q", tail)
	}
	// --decode-pids=pidns: 2 /* 7616 in strace's PID NS */
	if _, comment, found := strings.Cut(text[digits:], "/* "); found {
		if number, rest, _ := strings.Cut(comment, " "); strings.HasPrefix(rest, "in strace's PID NS") {
			if value, err = strconv.Atoi(number); err != nil {
				return result{}, fmt.Errorf("process id %.40q: %w", comment, err)
			}
		}
	}
	return result{ok: true, value: value, file: parseFile(text)}, nil
}

// parseFile reads the path of `3</path>`, `3</path>(deleted)` or `AT_FDCWD</path>`. What is no name in a file system (pipe:[1],
// socket:[1], anon_inode:x, a memfd) is known and has no path.
func parseFile(arg string) file {
	start := strings.IndexByte(arg, '<')
	if start < 0 {
		return file{}
	}
	end := strings.IndexByte(arg[start:], '>')
	if end < 0 {
		return file{}
	}
	path, ok := unescape(arg[start+1 : start+end])
	if !ok {
		return file{}
	}
	deleted := strings.HasPrefix(arg[start+end+1:], "(deleted)")
	if !strings.HasPrefix(path, "/") || deleted && strings.HasPrefix(path, "/memfd:") {
		return file{known: true}
	}
	return file{path: path, known: true}
}

// parseString reads a quoted string. It is false for anything else, an address that strace could not read for one.
func parseString(arg string) (string, bool) {
	if !strings.HasPrefix(arg, `"`) || stringEnd(arg) != len(arg) { // "abc"... was cut short
		return "", false
	}
	return unescape(arg[1 : len(arg)-1])
}

// unescape undoes the escapes of strace, those of C with octal numbers.
func unescape(text string) (string, bool) {
	if !strings.Contains(text, `\`) {
		return text, true
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return "", false
		}
		if n := strings.IndexByte(`tnvfr"\`, text[i]); n >= 0 {
			out.WriteByte("\t\n\v\f\r\"\\"[n])
			continue
		}
		digits := 0
		for digits < 3 && i+digits < len(text) && '0' <= text[i+digits] && text[i+digits] <= '7' {
			digits++
		}
		value, err := strconv.ParseUint(text[i:i+digits], 8, 8)
		if err != nil {
			return "", false
		}
		out.WriteByte(byte(value))
		i += digits - 1
	}
	return out.String(), true
}

// arg returns the n-th argument, empty if strace showed fewer.
func (c *call) arg(n int) string {
	if n < 0 || n >= len(c.args) {
		return ""
	}
	return c.args[n]
}

// has tells whether the n-th argument has a flag.
func (c *call) has(n int, flag string) bool {
	text := c.arg(n)
	for text != "" {
		word := text
		if cut := strings.IndexAny(text, "|{},= "); cut >= 0 {
			word, text = text[:cut], text[cut+1:]
		} else {
			text = ""
		}
		if word == flag {
			return true
		}
	}
	return false
}

// cloneFlag tells whether a call that makes a thread or process has a flag. strace names the flags of clone, `flags=CLONE_VM|...`, and
// has those of clone3 in a struct.
func (c *call) cloneFlag(flag string) bool {
	for n := range c.args {
		if c.has(n, flag) {
			return true
		}
	}
	return false
}
