package storm

import (
	"fmt"
	"strings"
)

// Root is the actor number of the storm's first process. Its children are numbered from 0 in the order they were
// forked.
const Root = -1

// A Step is a record and who has to make it. The record's pid and child pid are left zero: they are not known
// beforehand.
type Step struct {
	Actor int
	Record
}

// Want is what a storm must leave. An F in it stands for the fork of the next child.
type Want struct {
	Dir      string // nothing but what is said here happens in this directory
	Image    string // the program
	Root     []Record
	Children [][]Record
	Orders   [][]Step // records of several processes which happened one after the other

	// Scope tells in which of Orders a path of Dir belongs, if in any.
	Scope func(path string) (order int, ok bool)

	// Blur, if there is one, takes from a record what cannot be known beforehand. What is here is blurred.
	Blur func(Record) Record
	// Lane tells which of a process's records must stand in their order: those of one lane. Without it all must.
	Lane func(Record) string
	// Replay asks that all the records, as they are, can be done one after the other.
	Replay bool
}

func (w Want) blur(r Record) Record {
	if w.Blur != nil {
		return w.Blur(anonymous(r))
	}
	return anonymous(r)
}

// Check compares records with what they should be, and returns all that is wrong with them: each process must have made
// exactly its records, in their order, none before its F and none after its X, and the records of each of want.Orders
// must stand in that order. Records of paths outside of want.Dir are passed over. No errors means that the log is
// right.
func Check(want Want, records []Record) []error {
	l := split(want.Image, records)
	errs := l.errs
	if len(l.processes) == 0 {
		return append(errs, fmt.Errorf("no process executes %s", want.Image))
	}

	if got := len(l.processes) - 1; got != len(want.Children) {
		errs = append(errs, fmt.Errorf("%d children, want %d", got, len(want.Children)))
	}
	streams := make([][]Record, len(want.Children))
	orders := make([][]Step, len(want.Orders))
	var root []Record
	for _, s := range l.steps {
		if !concerns(want.Dir, s.Record) {
			continue
		}
		switch {
		case s.Actor == Root:
			root = append(root, s.Record)
		case s.Actor < len(streams):
			streams[s.Actor] = append(streams[s.Actor], s.Record)
		}
		if path, ok := inside(want.Dir, s.Record); ok && want.Scope != nil {
			if order, ok := want.Scope(path); ok && order < len(orders) {
				orders[order] = append(orders[order], s)
			}
		}
	}

	// The first process waits for all others.
	if last := l.steps[len(l.steps)-1]; last.Actor != Root && len(root) > 0 && root[len(root)-1].Kind == 'X' {
		errs = append(errs, fmt.Errorf("%s: comes after the X of the first process", last.Record))
	}
	errs = append(errs, want.compare(l.name(Root), want.Root, root)...)
	for i := range streams {
		errs = append(errs, want.compare(l.name(i), want.Children[i], streams[i])...)
	}
	if want.Replay {
		_, impossible := Replay(want.Dir, records)
		errs = append(errs, impossible...)
	}
	for i := range orders {
		// What is missing or too much has been said with the processes; here it is only the order that matters.
		if at, ok := outOfOrder(want.Orders[i], orders[i]); ok {
			s := orders[i][at]
			errs = append(errs, fmt.Errorf("%s: %s is out of order with the other processes", l.name(s.Actor), s.Record))
		}
	}
	return errs
}

// Plausible returns an error for every record in want.Dir that no process of the storm should have made, whoever made
// it and wherever it stands. It is what can be asked of a log that says itself that it is not complete.
func Plausible(want Want, records []Record) []error {
	known := make(map[Record]bool)
	for _, stream := range append([][]Record{want.Root}, want.Children...) {
		for _, r := range stream {
			known[r] = true
		}
	}
	var errs []error
	for _, r := range records {
		if _, ok := inside(want.Dir, r); ok && !known[anonymous(r)] {
			errs = append(errs, fmt.Errorf("nobody should have made %s", r))
		}
	}
	return errs
}

// anonymous returns the record without what only the log can know.
func anonymous(r Record) Record {
	r.Pid, r.Child = 0, 0
	return r
}

// inside returns the path of a file record below dir. A symbolic link counts by its own name, not by its text.
func inside(dir string, r Record) (string, bool) {
	switch r.Kind {
	case 'C', 'D', 'R', 'W':
		return r.Path, strings.HasPrefix(r.Path, dir+"/")
	case 'L', 'M':
		for _, path := range []string{r.To, r.Path} {
			if strings.HasPrefix(path, dir+"/") {
				return path, true
			}
		}
	}
	return "", false
}

// concerns says whether a record has to be as the storm wants it.
func concerns(dir string, r Record) bool {
	if r.Kind == 'E' || r.Kind == 'F' || r.Kind == 'X' {
		return true
	}
	_, ok := inside(dir, r)
	return ok
}

// maxFindings keeps a log that is wrong from end to end readable.
const maxFindings = 5

// compare returns what is wrong with the records that the process `who` made.
func (w Want) compare(who string, want, got []Record) []error {
	count := make(map[Record]int)
	for _, r := range want {
		count[r]++
	}
	for _, r := range got {
		count[w.blur(r)]--
	}
	var errs []error
	say := func(verdict string, r Record) {
		errs = append(errs, fmt.Errorf("%s: %s: %s", who, verdict, r))
	}
	for _, r := range want {
		if count[r] > 0 {
			count[r]--
			say("missing", r)
		}
	}
	// Of several equal ones, the last are too many.
	for i := len(got) - 1; i >= 0; i-- {
		if a := w.blur(got[i]); count[a] < 0 {
			count[a]++
			say("too many", got[i])
		}
	}
	if len(errs) == 0 {
		if g, r, ok := w.misplaced(want, got); ok {
			errs = append(errs, fmt.Errorf("%s: out of order: %s where %s should be", who, g, r))
		}
	}
	if more := len(errs) - maxFindings; more > 0 {
		errs = append(errs[:maxFindings], fmt.Errorf("%s: and %d more", who, more))
	}
	return errs
}

// misplaced returns the first record that is not where it should be in its lane, and what should be there.
func (w Want) misplaced(want, got []Record) (is, should Record, found bool) {
	lane := func(r Record) string {
		if w.Lane == nil {
			return ""
		}
		return w.Lane(r)
	}
	lanes := make(map[string][]Record)
	for _, r := range want {
		lanes[lane(r)] = append(lanes[lane(r)], r)
	}
	for _, r := range got {
		b := w.blur(r)
		l := lane(b)
		if lanes[l][0] != b {
			return r, lanes[l][0], true
		}
		lanes[l] = lanes[l][1:]
	}
	return Record{}, Record{}, false
}

// outOfOrder returns the index of the first of got that comes too late: one that stands, in want, before the one in
// front of it. Steps that are not in want are passed over.
func outOfOrder(want, got []Step) (int, bool) {
	// A step can occur more than once (a walker that opens the same path again): the k-th of its like is the k-th in
	// want.
	places := make(map[Step][]int)
	for i, s := range want {
		places[s] = append(places[s], i)
	}
	last := -1
	for i, s := range got {
		s.Record = anonymous(s.Record)
		at := places[s]
		if len(at) == 0 {
			continue
		}
		places[s] = at[1:]
		if at[0] < last {
			return i, true
		}
		last = at[0]
	}
	return 0, false
}
