package meta

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Head is what make wrote into a .meta file before the job ran, and whether there
// is a section of filemon.
type Head struct {
	Commands []Command // those that are run, in order
	Section  bool
}

// Command is a line of a target.
type Command struct {
	Text   string // without the @, + and - in front
	Ignore bool   // -: its failure is no failure of the target
}

// The lines that a section begins with.
const (
	marker   = "-- filemon acquired metadata --\n"
	heading  = "# filemon version "
	buildmon = "# buildmon version " // of an older recorder; bmake knows it, too
)

// ErrNoMeta is returned for a file that make did not write as its .meta file.
var ErrNoMeta = errors.New("not a .meta file of make")

// ReadHead reads a .meta file, which must be the one that calls itself by a name.
func ReadHead(r io.Reader, name string) (*Head, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	line, err := in.ReadString('\n')
	if err != nil && err != io.EOF {
		return nil, err
	}
	if line != "# Meta data file "+name+"\n" {
		return nil, ErrNoMeta
	}
	var h Head
	var commands []string
	for err == nil {
		if line, err = in.ReadString('\n'); line == "" {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "CMD "); ok {
			commands = append(commands, rest)
		} else if n := len(commands); n == 0 || strings.HasPrefix(line, "CWD ") {
			break
		} else {
			commands[n-1] += line // a command of several lines
		}
	}
	h.commands(commands)
	for after := false; err == nil; {
		var part []byte
		part, err = in.ReadSlice('\n') // of what is longer than the buffer, parts: none is a marker
		if err == bufio.ErrBufferFull {
			err = nil
		}
		text := string(part[:min(len(part), len(marker))])
		if after && (strings.HasPrefix(text, heading) || strings.HasPrefix(text, buildmon)) {
			h.Section = true
		}
		after = text == marker
	}
	if err != io.EOF {
		return nil, err
	}
	return &h, nil
}

// commands takes what make runs of the lines of a target.
func (h *Head) commands(lines []string) {
	for _, line := range lines {
		line = strings.TrimSuffix(line, "\n")
		if line == "..." {
			return // what follows is run when all targets are made
		}
		text := strings.TrimLeft(line, "@-+")
		c := Command{Ignore: strings.Contains(line[:len(line)-len(text)], "-"), Text: strings.TrimLeft(text, " \t\n\v\f\r")}
		if c.Text != "" {
			h.Commands = append(h.Commands, c)
		}
	}
}

// argsShown is from where on the arguments of a program may be cut off.
const argsShown = 4096

// ran tells whether a program was run for the command, by its arguments: those of
// a shell, or, if it takes no shell, its words.
func (c *Command) ran(args string) bool {
	argv := strings.Split(strings.TrimSuffix(args, "\x00"), "\x00")
	same := func(shown, whole string) bool {
		return shown == whole || len(args) > argsShown && strings.HasPrefix(whole, shown)
	}
	if n := len(argv); n > 2 && strings.HasPrefix(argv[n-2], "-") && strings.HasSuffix(argv[n-2], "c") && same(argv[n-1], c.Text) {
		return true
	}
	return args != "" && same(strings.Join(argv, " "), strings.Join(strings.Fields(c.Text), " "))
}
