package oracle

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// forest is the processes of a run: one tree, and beside it those whose fork is missing.
type forest struct {
	ops   []Op
	of    []*member       // the process of each operation
	child map[int]*member // of each F, by its index
	root  *member
}

// member is a process of a forest.
type member struct {
	pid      int
	number   int             // what stands for the process id: the same for matched processes of two runs, for no others
	images   []string        // of its E, with what may differ from run to run masked; empty if strace does not know
	did      map[string]bool // its other records, masked
	family   uint64          // hash of what it and its descendants did
	children []*member
}

// loadersOf returns the files that the kernel opens for an E. Their R may be in the log only.
func loadersOf(trace []Op) map[string]bool {
	loaders := map[string]bool{}
	for _, op := range trace {
		if op.Exec != nil {
			for _, path := range op.Exec.Opens {
				loaders[path] = true
			}
		}
	}
	return loaders
}

func newForest(ops []Op, only, loaders map[string]bool) *forest {
	f := &forest{ops: ops, of: make([]*member, len(ops)), child: map[int]*member{}}
	lives := map[instance]*member{}
	for i, in := range instances(ops) {
		if lives[in] == nil {
			lives[in] = &member{pid: in.pid, did: map[string]bool{}}
		}
		f.of[i] = lives[in]
		f.of[i].note(ops[i], only, loaders)
	}
	f.adopt(lives)
	if len(f.of) > 0 {
		f.root = f.of[0]
		f.root.hash()
	}
	return f
}

// note takes in what a process did, as far as it is the same in each run.
func (m *member) note(op Op, only, loaders map[string]bool) {
	switch {
	case op.Letter == 'E' && (op.AnyName || op.Exec != nil && op.Exec.Unsure):
		m.images = append(m.images, "")
	case op.Letter == 'E':
		m.images = append(m.images, maskPath(op.Path, only))
	case op.Letter == 'F', op.Letter == 'R' && loaders[op.Path], op.Optional, op.AnyName:
	default:
		op.Path, op.Target = maskPath(op.Path, only), maskPath(op.Target, only)
		m.did[op.String()] = true
	}
}

// adopt finds the children. The n-th F of a process id is of its n-th life.
func (f *forest) adopt(lives map[instance]*member) {
	forks := map[int]int{}
	for i, op := range f.ops {
		if op.Letter != 'F' {
			continue
		}
		if child := lives[instance{op.Child, forks[op.Child]}]; child != nil {
			f.child[i] = child
			f.of[i].children = append(f.of[i].children, child)
		}
		forks[op.Child]++
	}
}

var seed = maphash.MakeSeed()

// hash sums up what a process and its descendants did, in whatever order.
func (m *member) hash() uint64 {
	var parts []string
	for record := range m.did {
		parts = append(parts, record)
	}
	for _, child := range m.children {
		parts = append(parts, fmt.Sprint(child.hash()))
	}
	slices.Sort(parts)
	m.family = maphash.String(seed, strings.Join(parts, "\n"))
	return m.family
}

// number gives matched processes of two forests the same number and all others one of their own.
func number(trace, log *forest) {
	last := 0
	next := func() int { last++; return last }
	if trace.root != nil && log.root != nil {
		numberPair(trace.root, log.root, next)
	}
	for _, m := range slices.Concat(trace.of, log.of) {
		if m.number == 0 {
			m.number = next()
		}
	}
}

func numberPair(trace, log *member, next func() int) {
	trace.number = next()
	log.number = trace.number
	for _, pair := range matchChildren(trace.children, log.children) {
		numberPair(pair[0], pair[1], next)
	}
}

// matchChildren finds out which children of two matched processes match. Those that did the same come first, as make -j does not fork in the same order each
// time; then those that are most alike, each where it stands among the rest.
func matchChildren(trace, log []*member) (pairs [][2]*member) {
	byFamily := map[uint64][]*member{}
	for _, m := range log {
		byFamily[m.family] = append(byFamily[m.family], m)
	}
	matched := map[*member]bool{}
	match := func(a, b *member) {
		pairs = append(pairs, [2]*member{a, b})
		matched[a], matched[b] = true, true
	}
	for _, a := range trace {
		for _, b := range byFamily[a.family] {
			if !matched[b] && sameImages(a, b) {
				match(a, b)
				break
			}
		}
	}
	isMatched := func(m *member) bool { return matched[m] }
	trace, log = slices.DeleteFunc(slices.Clone(trace), isMatched), slices.DeleteFunc(slices.Clone(log), isMatched)
	for _, p := range align(trace, log, worth(closeEnough)) {
		match(trace[p[0]], log[p[1]])
	}
	trace, log = slices.DeleteFunc(trace, isMatched), slices.DeleteFunc(log, isMatched)
	for _, p := range align(trace, log, worth(sameImages)) {
		match(trace[p[0]], log[p[1]])
	}
	return pairs
}

// sameImages tells whether two processes ran the same images, as far as strace knows them.
func sameImages(trace, log *member) bool {
	return slices.EqualFunc(trace.images, log.images, func(a, b string) bool { return a == "" || a == b })
}

// closeEnough tells whether two processes ran the same images and most of what either did the other one did, too.
func closeEnough(trace, log *member) bool {
	if !sameImages(trace, log) {
		return false
	}
	both := 0
	for record := range trace.did {
		if log.did[record] {
			both++
		}
	}
	return 3*both >= 2*max(len(trace.did), len(log.did))
}
