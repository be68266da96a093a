package oracle

import "slices"

// span is an operation in time, for a check of order. Spans with equal labels are not told apart.
type span[L comparable] struct {
	label      L
	begin, end int
	optional   bool // may have no label in the list
}

// misplaced returns which of the labels stand where they cannot: behind one whose operation began after theirs had ended. Each label must have
// a span, and each span that is not optional a label. Operations that overlapped may stand in either order. It returns as few as it takes
// for the rest to be in order.
func misplaced[L comparable](spans []span[L], labels []L) []int {
	a := newAssignment(spans, labels)
	if a.search(labels, 0, 0) {
		return nil
	}
	return outside(longestInOrder(a.inTurn(labels)), len(labels))
}

// assignment puts labels on spans, one by one.
type assignment[L comparable] struct {
	spans   []span[L]   // by end
	byLabel map[L][]int // indexes in spans
	spare   map[L]int   // how many of the labels to come will stand for optional spans
	done    []bool
	steps   int // left for the search
}

// searchSteps bounds the search where spans are optional: without them the first choice is the best one.
const searchSteps = 200_000

func newAssignment[L comparable](spans []span[L], labels []L) *assignment[L] {
	a := &assignment[L]{
		spans: slices.Clone(spans), byLabel: map[L][]int{}, spare: map[L]int{}, done: make([]bool, len(spans)),
		steps: len(labels) + searchSteps,
	}
	slices.SortStableFunc(a.spans, func(x, y span[L]) int { return x.end - y.end })
	for _, label := range labels {
		a.spare[label]++
	}
	for i, s := range a.spans {
		a.byLabel[s.label] = append(a.byLabel[s.label], i)
		if !s.optional {
			a.spare[s.label]--
		}
	}
	return a
}

// search tells whether the labels can be put on the spans such that none begins after the end of one that is still to come, nor ends before
// the beginning of one that came. low is where to look for the first to end of those to come, begun when the last to begin did.
func (a *assignment[L]) search(labels []L, low, begun int) bool {
	if len(labels) == 0 {
		return true
	}
	if a.steps--; a.steps < 0 {
		return false
	}
	for low < len(a.spans) && (a.done[low] || a.spans[low].optional) {
		low++
	}
	// The one that ends first holds back the most.
	for _, i := range a.byLabel[labels[0]] {
		s := a.spans[i]
		fits := s.end >= begun && (low == len(a.spans) || s.begin <= a.spans[low].end)
		if !fits || !a.left(i) {
			continue
		}
		a.take(i, true)
		if a.search(labels[1:], low, max(begun, s.begin)) {
			return true
		}
		a.take(i, false)
	}
	return false
}

// left tells whether a span may still be taken.
func (a *assignment[L]) left(i int) bool {
	return !a.done[i] && (!a.spans[i].optional || a.spare[a.spans[i].label] > 0)
}

func (a *assignment[L]) take(i int, done bool) {
	a.done[i] = done
	switch {
	case a.spans[i].optional && done:
		a.spare[a.spans[i].label]--
	case a.spans[i].optional:
		a.spare[a.spans[i].label]++
	}
}

// inTurn puts each label on its first span, in whatever order that is.
func (a *assignment[L]) inTurn(labels []L) []span[L] {
	var assigned []span[L]
	for _, label := range labels {
		list := a.byLabel[label]
		i := list[max(0, slices.IndexFunc(list, a.left))]
		a.take(i, true)
		assigned = append(assigned, a.spans[i])
	}
	return assigned
}

// longestInOrder returns the indexes of a long part of the list that is in order: none ended before one that stands in front of it began. It
// is the longest one if spans do not overlap, and about that if they do.
func longestInOrder[L comparable](list []span[L]) []int {
	type chain struct{ length, before, begun int } // that ends here; begun is where the last of its spans to begin began
	chains := make([]chain, len(list))
	best := -1
	for i, s := range list {
		chains[i] = chain{1, -1, s.begin}
		for j, c := range chains[:i] {
			longer := chain{c.length + 1, j, max(c.begun, s.begin)}
			if c.begun <= s.end && (longer.length > chains[i].length || longer.length == chains[i].length && longer.begun < chains[i].begun) {
				chains[i] = longer
			}
		}
		if best < 0 || chains[i].length > chains[best].length {
			best = i
		}
	}
	var indexes []int
	for i := best; i >= 0; i = chains[i].before {
		indexes = append(indexes, i)
	}
	slices.Reverse(indexes)
	return indexes
}

// outside returns the indexes below n that an ascending list lacks.
func outside(list []int, n int) []int {
	var rest []int
	for i := range n {
		if len(list) > 0 && list[0] == i {
			list = list[1:]
			continue
		}
		rest = append(rest, i)
	}
	return rest
}

// placed is a record whose order is checked.
type placed struct {
	process instance
	Record
}

// timeline is what happened in one process, or to one path: all that strace saw of it, and the records that the log has.
type timeline struct {
	spans []span[placed]
	pairs []pair // of the records, in the order of the log; the spans begin with theirs
}

// timelines sorts the operations that both witnesses have by what they belong to, and adds the optional ones that the log lacks: which of
// several equal ones were done only their order can tell.
func timelines[K comparable](c *comparison, belongs func(instance, Record) []K) map[K]*timeline {
	lines := map[K]*timeline{}
	add := func(p placed, op Op) []*timeline {
		var at []*timeline
		for _, key := range belongs(p.process, p.Record) {
			if lines[key] == nil {
				lines[key] = &timeline{}
			}
			lines[key].spans = append(lines[key].spans, span[placed]{p, op.Begin, op.End, op.Optional})
			at = append(at, lines[key])
		}
		return at
	}
	for _, p := range c.pairs { // in the order of the log
		// The log's record, as strace may not have known the name.
		for _, line := range add(placed{p.process, c.log[p.log].Record}, c.trace[p.trace]) {
			line.pairs = append(line.pairs, p)
		}
	}
	for _, u := range c.undone {
		add(placed{u.process, c.trace[u.trace].Record}, c.trace[u.trace])
	}
	return lines
}

// processOrder checks the order of the records of each process.
func (c *comparison) processOrder() {
	for _, line := range timelines(c, func(p instance, _ Record) []instance { return []instance{p} }) {
		c.checkOrder(line, "its process did something else first")
	}
}

// pathOrder checks the order of what was done to each path: by all processes, or by each of its own.
func (c *comparison) pathOrder(allProcesses bool) {
	type place struct {
		process instance
		path    string
	}
	lines := timelines(c, func(p instance, r Record) []place {
		if allProcesses {
			p = instance{}
		}
		var at []place
		for _, path := range r.paths() {
			at = append(at, place{p, path})
		}
		return at
	})
	for at, line := range lines {
		c.checkOrder(line, "something else was done first to "+at.path)
	}
}

// readFirst checks that no open for both shows its W before its R. Calls that overlapped others have no order else.
func (c *comparison) readFirst() {
	type file struct {
		process instance
		path    string
	}
	ahead := map[file]int{} // how many W may still come before an R does
	for _, p := range c.pairs {
		if op := c.trace[p.trace]; op.Letter == 'W' && !op.AfterRead {
			ahead[file{p.process, c.log[p.log].Path}]++
		}
	}
	for _, p := range c.pairs {
		op := c.log[p.log]
		at := file{p.process, op.Path}
		switch op.Letter {
		case 'R':
			ahead[at]++
		case 'W':
			if ahead[at]--; ahead[at] < 0 {
				ahead[at] = 0
				d := Diff{Kind: Order, PID: op.PID, Record: op.Record, Log: op.Line, Strace: c.trace[p.trace].Line, Note: "its open has no R before it"}
				if !c.reported(d) {
					c.report.Diffs = append(c.report.Diffs, d)
				}
			}
		}
	}
}

// paths are the files that a record is about.
func (r Record) paths() []string {
	switch {
	case r.Letter == 'R' || r.Letter == 'W' || r.Letter == 'D':
		return []string{r.Path}
	case (r.Letter == 'M' || r.Letter == 'L') && r.Path == r.Target:
		return []string{r.Path}
	case r.Letter == 'M' || r.Letter == 'L':
		return []string{r.Path, r.Target}
	}
	return nil
}

// checkOrder reports which records of a timeline stand in the wrong place.
func (c *comparison) checkOrder(line *timeline, note string) {
	labels := make([]placed, len(line.pairs))
	for i := range labels {
		labels[i] = line.spans[i].label
	}
	for _, i := range misplaced(line.spans, labels) {
		op, seen := c.log[line.pairs[i].log], c.trace[line.pairs[i].trace]
		d := Diff{Kind: Order, PID: op.PID, Record: op.Record, Log: op.Line, Strace: seen.Line, Note: note}
		if !c.reported(d) {
			c.report.Diffs = append(c.report.Diffs, d)
		}
	}
}

// reported tells whether a record was found to be out of order already: its process and its paths are checked apart.
func (c *comparison) reported(d Diff) bool {
	return slices.ContainsFunc(c.report.Diffs, func(e Diff) bool { return e.Kind == Order && e.Log == d.Log })
}
