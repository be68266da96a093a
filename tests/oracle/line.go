package oracle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// eventKind says what a line of strace's output tells.
type eventKind int

const (
	evNone       eventKind = iota // a signal, a personality: nothing that matters here
	evCall                        // a whole call
	evEnter                       // the beginning of a call, cut by another thread's line
	evResume                      // the rest of it
	evExit                        // the end of a thread, by exit or signal
	evSwitch                      // the beginning of an execve, whose end comes under another id
	evSuperseded                  // this thread group leader is gone, the execve of the other thread takes its id
)

// event is one line of strace's output.
type event struct {
	line int
	tid  int
	kind eventKind
	text string // the call or the part of it that the line has

	other        int // evSwitch: the id that the thread will have; evSuperseded: the id that it had
	code, signal int // evExit
}

// The marks that strace puts where it cuts a call. No name can forge them: `>` is escaped in paths, and other strings are quoted.
const (
	unfinished = " <unfinished ...>"
	pidChanged = " <pid changed to "
	resumed    = "<... "
)

// parseLine reads one line, `PID TEXT`.
func parseLine(number int, line string) (event, error) {
	first, text, found := strings.Cut(line, " ")
	tid, err := strconv.Atoi(first)
	if !found || err != nil {
		return event{}, fmt.Errorf("line %d: no process id: %.80q", number, line)
	}
	ev := event{line: number, tid: tid, text: strings.TrimLeft(text, " ")}
	if err := ev.classify(); err != nil {
		return event{}, fmt.Errorf("line %d: %w: %.80q", number, err, line)
	}
	return ev, nil
}

// classify sets the kind of the event and what belongs to it.
func (ev *event) classify() error {
	text := ev.text
	switch {
	case strings.HasPrefix(text, "+++ "):
		return ev.classifyEnd(strings.TrimSuffix(strings.TrimPrefix(text, "+++ "), " +++"))
	case strings.HasPrefix(text, "--- "), strings.HasPrefix(text, "[ "), strings.HasPrefix(text, "strace: "):
		ev.kind = evNone
	case strings.HasPrefix(text, resumed):
		_, rest, found := strings.Cut(text, " resumed>")
		if !found {
			return errors.New("resumed call without its mark")
		}
		ev.kind, ev.text = evResume, rest
		if strings.HasSuffix(rest, unfinished) {
			ev.kind = evNone // cut again before its end: the end is still to come
		}
	case strings.HasSuffix(text, unfinished):
		ev.kind, ev.text = evEnter, strings.TrimSuffix(text, unfinished)
	case strings.HasSuffix(text, " ...>") && strings.Contains(text, pidChanged):
		cut := strings.LastIndex(text, pidChanged)
		number := strings.TrimSuffix(text[cut+len(pidChanged):], " ...>")
		other, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("id of a changed pid: %w", err)
		}
		ev.kind, ev.text, ev.other = evSwitch, text[:cut], other
	case strings.HasPrefix(text, "<detached ...>"):
		return errors.New("strace let go of a process")
	default:
		ev.kind = evCall
	}
	return nil
}

// classifyEnd reads what stands between the plus signs.
func (ev *event) classifyEnd(text string) error {
	words := strings.Fields(text)
	switch {
	case len(words) == 3 && words[0] == "exited":
		code, err := strconv.Atoi(words[2])
		if err != nil {
			return fmt.Errorf("exit status: %w", err)
		}
		ev.kind, ev.code = evExit, code
	case len(words) >= 3 && words[0] == "killed":
		number, err := signalNumber(words[2])
		if err != nil {
			return err
		}
		ev.kind, ev.signal = evExit, number
	case len(words) == 6 && words[0] == "superseded":
		other, err := strconv.Atoi(words[5])
		if err != nil {
			return fmt.Errorf("superseding thread: %w", err)
		}
		ev.kind, ev.other = evSuperseded, other
	default:
		return errors.New("unknown end of a process")
	}
	return nil
}

// signals that have the same number on all architectures that strace and Go share (signal(7)).
var signals = map[string]int{
	"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGILL": 4, "SIGTRAP": 5, "SIGABRT": 6, "SIGBUS": 7, "SIGFPE": 8, "SIGKILL": 9,
	"SIGUSR1": 10, "SIGSEGV": 11, "SIGUSR2": 12, "SIGPIPE": 13, "SIGALRM": 14, "SIGTERM": 15, "SIGSTKFLT": 16, "SIGCHLD": 17,
	"SIGCONT": 18, "SIGSTOP": 19, "SIGTSTP": 20, "SIGTTIN": 21, "SIGTTOU": 22, "SIGURG": 23, "SIGXCPU": 24, "SIGXFSZ": 25,
	"SIGVTALRM": 26, "SIGPROF": 27, "SIGWINCH": 28, "SIGIO": 29, "SIGPWR": 30, "SIGSYS": 31, "SIGRTMIN": 32,
}

// signalNumber turns strace's name of a signal into its number.
func signalNumber(name string) (int, error) {
	if n, ok := signals[name]; ok {
		return n, nil
	}
	if rt, ok := strings.CutPrefix(name, "SIGRT_"); ok { // strace counts from the kernel's SIGRTMIN, 32
		if n, err := strconv.Atoi(rt); err == nil {
			return 32 + n, nil
		}
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}
