package oracle

import (
	"errors"
	"strings"
)

// A program that does what strace sees no call of, as io_uring does, can tell of it itself: by a symbolic link to the name "", which fails, and whose
// text is a record without process id, `W /path` or `M '/from' '/to'`. It has been done since the thread's process did something else, or with a plus sign
// in front of it, since what was told before.

// told takes down the operation that a failed call tells of. An ordinary call tells nothing.
func (r *replay) told(t *thread, c *call) {
	if to, ok := parseString(c.arg(1)); c.name != "symlink" || !ok || to != "" {
		return
	}
	text, ok := parseString(c.arg(0))
	if !ok {
		return
	}
	text, together := strings.CutPrefix(text, "+")
	rec, err := parseTold(text)
	if err != nil {
		return
	}
	if !together {
		t.told = lastInstant(t.entered.since)
	}
	op := Op{PID: t.proc.pid, Record: rec, Line: c.end, Begin: t.told, End: firstInstant(c.begin)}
	r.trace.Ops = append(r.trace.Ops, op)
}

func parseTold(text string) (Record, error) {
	letter, names, found := strings.Cut(text, " ")
	if !found || len(letter) != 1 || names == "" {
		return Record{}, errors.New("not a record")
	}
	rec := Record{Letter: letter[0], Path: Spell(names)}
	switch rec.Letter {
	case 'R', 'W', 'D':
		return rec, nil
	case 'M', 'L':
		var err error
		rec.Path, rec.Target, err = plainPair(rec.Path)
		return rec, err
	}
	return Record{}, errors.New("unknown letter")
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
