package oracle

import (
	"fmt"
	"strings"
)

// Record is what one line of a log says, less the pid. Two witnesses agree on an operation if their records are equal.
type Record struct {
	Letter byte   // filemon(4): R W D M L C E F X
	Path   string // spelled as in a log ([Spell]); of M and L the first name; empty for F and X
	Target string // second name of M and L
	Child  int    // F: process id of the new process
	Code   int    // X: exit status, 0 to 255
	Signal int    // X: number of the terminating signal, 0 if none
}

// Op is one operation as one witness told it. The fields from Begin on are set for strace's operations only.
type Op struct {
	PID int // thread group id
	Record
	Line int // 1-based line of the witness's output on which the operation was complete

	// The operation happened at some instant in [Begin, End]. Instants are positions in strace's output, four to a line; those of
	// operations that did not overlap are in the true order, as strace let each thread start and finish a call by itself.
	Begin, End int

	// Optional operations may be missing in the other log: strace cannot tell whether they were done.
	Optional bool
	// AnyName is set if strace could not tell the names: a record with the same letter is as good.
	AnyName bool
	// AfterRead marks the W of an open for both: its R comes first.
	AfterRead bool
	// Alts are other records that are as true, as a directory was renamed while the call ran.
	Alts []Record
	// Exec is what an E needs beyond its record, nil for all others.
	Exec *Exec
}

// Exec is what is known of a successful execve(2) but is no operation of the process.
type Exec struct {
	Asked  string   // the file given to execve, resolved: a script or the image itself
	Opens  []string // files that the kernel opens by itself: scripts, then the ELF interpreter
	Unsure bool     // the file was gone or changed when it was looked at, so that Opens and the image are not known
}

// Spell returns a name as a log has it: a newline would forge a record and is written as \012.
func Spell(name string) string { return strings.ReplaceAll(name, "\n", `\012`) }

// String gives the record as a log line without pid.
func (r Record) String() string {
	switch r.Letter {
	case 'M', 'L':
		return fmt.Sprintf("%c '%s' '%s'", r.Letter, r.Path, r.Target)
	case 'F':
		return fmt.Sprintf("F %d", r.Child)
	case 'X':
		return fmt.Sprintf("X %d %d", r.Code, r.Signal)
	}
	return fmt.Sprintf("%c %s", r.Letter, r.Path)
}

// instance is one life of a process id. Numbers are used again, and each use ends with an X.
type instance struct{ pid, life int }

// instances returns which life of its process id each operation belongs to.
func instances(ops []Op) []instance {
	lives := map[int]int{}
	of := make([]instance, len(ops))
	for i, op := range ops {
		of[i] = instance{op.PID, lives[op.PID]}
		if op.Letter == 'X' {
			lives[op.PID]++
		}
	}
	return of
}
