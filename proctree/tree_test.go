package proctree_test

import (
	"slices"
	"testing"

	"fanrec/ebpf"
	"fanrec/proctree"

	"pgregory.net/rapid"
)

func id(pid uint32, start uint64) ebpf.ID { return ebpf.ID{TGID: pid, Start: start} }

// forked adds a process that was forked at a time, which is its start as well.
func forked(t *proctree.Tree, pid uint32, at int64) *proctree.Process {
	return t.Fork(&ebpf.Process{
		Header: ebpf.Header{Time: at, ID: id(pid, uint64(at)), TID: pid, UID: 7}, Kind: ebpf.Fork,
		Parent: id(1, 1), Comm: []byte("sh"),
	})
}

func reused(t *proctree.Tree, pid uint32, at int64) {
	t.Reuse(&ebpf.Process{Header: ebpf.Header{Time: at, ID: id(pid, uint64(at))}, Kind: ebpf.Reuse})
}

func had(t *proctree.Tree, pid uint32) bool {
	_, p := t.Since(pid)
	return p != nil
}

func TestFork(t *testing.T) {
	tree := proctree.New()
	r := ebpf.Process{
		Header: ebpf.Header{Time: 5, ID: id(10, 4), TID: 10, UID: 7}, Kind: ebpf.Fork,
		Parent: id(9, 3), Comm: []byte("sh"),
	}
	p := tree.Fork(&r)
	// The record is used again for the next one.
	copy(r.Comm, "XX")
	if p.ID != id(10, 4) || p.Parent != id(9, 3) || p.UID != 7 || p.Comm != "sh" || p.Forked != 5 || p.Last != 5 || !p.Alone || p.Exited {
		t.Errorf("forked: %+v", *p)
	}
	if got := tree.Find(id(10, 4)); got != p {
		t.Errorf("Find returned %v", got)
	}
	if got := tree.Find(id(10, 5)); got != nil {
		t.Errorf("Find returned a process with the same pid that started at another time: %+v", *got)
	}
	if !had(tree, 10) || had(tree, 9) {
		t.Error("Had: the child is in the tree, its parent is not")
	}
}

func TestBelow(t *testing.T) {
	tree := proctree.New()
	under := func(pid, parent uint32) *proctree.Process {
		return tree.Fork(&ebpf.Process{Header: ebpf.Header{Time: int64(pid), ID: id(pid, 1)}, Kind: ebpf.Fork, Parent: id(parent, 1)})
	}
	top, other := under(10, 1), under(20, 1)
	under(11, 10)
	gone := under(12, 11)
	under(13, 12)
	tree.Gone(gone, 30, 0)
	under(21, 20)
	var pids []uint32
	for _, p := range tree.Below(top) {
		pids = append(pids, p.ID.TGID)
	}
	slices.Sort(pids)
	if !slices.Equal(pids, []uint32{11, 12, 13}) {
		t.Errorf("below 10: %v", pids)
	}
	if n := len(tree.Below(other)); n != 1 {
		t.Errorf("below 20: %d processes", n)
	}
}

func TestGone(t *testing.T) {
	tree := proctree.New()
	p := forked(tree, 10, 5)
	if !tree.Gone(p, 8, 0x300) {
		t.Error("the first exit record was taken for a second one")
	}
	// Two threads that leave together may both report the end.
	if tree.Gone(p, 9, 9) {
		t.Error("a second exit record was taken for the first one")
	}
	if !p.Exited || p.Exit != 8 || p.Status != 0x300 {
		t.Errorf("after the exit: %+v", *p)
	}
	if tree.Live() != 0 || tree.Total() != 1 {
		t.Errorf("%d live, %d in all, want 0 and 1", tree.Live(), tree.Total())
	}
	if tree.Find(p.ID) != p {
		t.Error("an exited process is not found: its last events may still be unread")
	}
}

// A pid that goes through several hands: a from 10, an outsider from 20, b from
// 30, c from 40, an outsider from 50.
func TestOwner(t *testing.T) {
	tree := proctree.New()
	a := forked(tree, 7, 10)
	if p, shared := tree.Owner(7, 5); p != a || shared {
		t.Errorf("before its fork record a pid of one process is %v, shared %v", p, shared)
	}
	reused(tree, 7, 20)
	reused(tree, 7, 25) // the first is when it changed hands
	b := forked(tree, 7, 30)
	reused(tree, 7, 40) // the kernel cannot know that the new one joins
	c := forked(tree, 7, 40)
	reused(tree, 7, 50)

	check := func(what string, want map[int64]*proctree.Process, shared bool) {
		t.Helper()
		for at, p := range want {
			got, s := tree.Owner(7, at)
			if got != p {
				t.Errorf("%s: at %d the pid belongs to %v, want %v", what, at, got, p)
			}
			if s != shared {
				t.Errorf("%s: at %d shared is %v", what, at, s)
			}
		}
	}
	check("all", map[int64]*proctree.Process{
		5: a, 10: a, 19: a, 20: nil, 29: nil, 30: b, 39: b, 40: c, 49: c, 50: nil, 1000: nil,
	}, true)
	tree.Retire(b)
	check("without b", map[int64]*proctree.Process{5: a, 19: a, 20: nil, 39: nil, 40: c, 50: nil}, true)
	tree.Retire(c)
	check("without b and c", map[int64]*proctree.Process{5: a, 10: a, 19: a, 20: nil, 50: nil}, true)
	tree.Retire(a)
	check("empty", map[int64]*proctree.Process{10: nil, 50: nil}, false)
	if had(tree, 7) {
		t.Error("the pid of retired processes is still known")
	}
}

// A pid that was given from one process of the tree straight to the next,
// without a reuse record: user space retires nothing that the kernel did not.
func TestOwnerWithoutReuseRecord(t *testing.T) {
	tree := proctree.New()
	a := forked(tree, 7, 10)
	b := forked(tree, 7, 30)
	for at, want := range map[int64]*proctree.Process{5: a, 29: a, 30: b, 31: b} {
		if got, shared := tree.Owner(7, at); got != want || !shared {
			t.Errorf("at %d: %v, shared %v; want %v, true", at, got, shared, want)
		}
	}
}

func TestReuseOfAnUnknownPid(t *testing.T) {
	tree := proctree.New()
	reused(tree, 7, 10)
	if p, shared := tree.Owner(7, 20); p != nil || shared {
		t.Errorf("owner %v, shared %v", p, shared)
	}
}

func TestRetire(t *testing.T) {
	for name, order := range map[string][]int{
		"oldest first": {0, 1, 2}, "youngest first": {2, 1, 0}, "middle first": {1, 0, 2}, "middle, then youngest": {1, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tree := proctree.New()
			other := forked(tree, 8, 1)
			ps := []*proctree.Process{forked(tree, 7, 10), forked(tree, 7, 20), forked(tree, 7, 30)}
			left := []*proctree.Process{other, ps[0], ps[1], ps[2]}
			for _, i := range order {
				tree.Retire(ps[i])
				tree.Retire(ps[i]) // no harm
				left = slices.DeleteFunc(left, func(p *proctree.Process) bool { return p == ps[i] })
				for _, p := range ps {
					want := p
					if !slices.Contains(left, p) {
						want = nil
					}
					if got := tree.Find(p.ID); got != want {
						t.Errorf("the process of %d: found %v, want %v", p.Forked, got, want)
					}
				}
				all := map[*proctree.Process]int{}
				tree.All(func(p *proctree.Process) { all[p]++ })
				for _, p := range left {
					if all[p] != 1 {
						t.Errorf("All told of the process of %d %d times", p.Forked, all[p])
					}
				}
				if len(all) != len(left) {
					t.Errorf("All told of %d processes, want %d", len(all), len(left))
				}
			}
			if tree.Total() != 4 {
				t.Errorf("%d processes in all, want 4", tree.Total())
			}
		})
	}
}

// step is a record of a process, and what Saw says of it.
type step struct {
	at      int64
	tid     uint32
	alone   bool
	last    int64 // want
	replies int64 // want
}

// others are the steps of TestSaw since whose thread's last record another one
// had a record and then ended.
var others = map[string][]int{"threads end": {2}, "exec from another thread": {2}}

func TestSaw(t *testing.T) {
	for name, steps := range map[string][]step{
		"one thread": {{20, 7, true, 10, 20}, {30, 7, true, 20, 30}, {40, 7, true, 30, 40}},
		"a second thread": {
			{20, 7, true, 10, 20}, {30, 7, false, 20, 20}, {31, 8, false, 20, 20}, {40, 8, false, 31, 20}, {41, 7, false, 30, 20},
		},
		"threads at once": {{20, 8, false, 10, 0}, {30, 7, false, 10, 0}, {40, 8, false, 20, 0}},
		// What is left of the threads is alone; a new one may get an old number.
		"threads end": {
			{20, 7, false, 10, 0}, {21, 8, false, 10, 0}, {30, 7, true, 20, 30}, {40, 7, true, 30, 40}, {50, 8, false, 40, 40}, {60, 7, false, 40, 40},
		},
		// execve gives the thread that calls it the number of the leader.
		"exec from another thread": {{20, 7, false, 10, 0}, {30, 8, false, 10, 0}, {40, 7, true, 20, 40}, {50, 7, true, 40, 50}},
		"the leader ends": {
			{20, 7, true, 10, 20}, {30, 8, false, 20, 20}, {40, 8, true, 30, 40}, {50, 8, true, 40, 50}, {60, 9, false, 50, 50}, {70, 8, false, 50, 50},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := forked(proctree.New(), 7, 10)
			for i, s := range steps {
				h := ebpf.Header{Time: s.at, ID: p.ID, TID: s.tid}
				if s.alone {
					h.Flags = ebpf.Alone
				}
				got, sole := p.Saw(&h)
				if want := s.alone && !slices.Contains(others[name], i); sole != want {
					t.Errorf("step %d: the only thread: %v, want %v", i, sole, want)
				}
				if got != s.last {
					t.Errorf("step %d: the previous record of thread %d was at %d, want %d", i, s.tid, got, s.last)
				}
				if p.Last != s.at || p.Alone != s.alone || p.Replies != s.replies {
					t.Errorf("step %d: last %d, alone %v, replies %d; want %d, %v, %d", i, p.Last, p.Alone, p.Replies, s.at, s.alone, s.replies)
				}
			}
		})
	}
}

// A process with one thread is the rule: its records cost nothing.
func TestSawAllocs(t *testing.T) {
	p := forked(proctree.New(), 7, 10)
	h := ebpf.Header{Time: 20, ID: p.ID, TID: 7, Flags: ebpf.Alone}
	if n := testing.AllocsPerRun(100, func() { p.Saw(&h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// owned is a process of the model: which pid it had, from when to when.
type owned struct {
	p       *proctree.Process
	pid     uint32
	from    int64
	to      int64 // 0: still
	exited  bool
	retired bool
}

// TestTreeModel plays a kernel that hands out three pids, to the tree and to
// others, and retires only what has exited; the tree is asked for all of it.
func TestTreeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const pids = 3
		var (
			tree   = proctree.New()
			all    []*owned
			holder [pids]*owned // of the tree, nil: nobody or an outsider
			now    = int64(100)
		)
		// remembered are the processes with a pid that are not retired, oldest first.
		remembered := func(pid uint32) []*owned {
			var list []*owned
			for _, o := range all {
				if o.pid == pid && !o.retired {
					list = append(list, o)
				}
			}
			return list
		}
		// give ends the time of whoever has a pid; the kernel reports it if
		// somebody with that pid is remembered.
		give := func(pid uint32) bool {
			if h := holder[pid]; h != nil {
				if !h.exited {
					return false // the number is not free
				}
				h.to = now
				holder[pid] = nil
			}
			if len(remembered(pid)) > 0 {
				reused(tree, pid, now)
			}
			return true
		}
		pidOf := rapid.Uint32Range(0, pids-1)
		t.Repeat(map[string]func(*rapid.T){
			"fork": func(t *rapid.T) {
				pid := pidOf.Draw(t, "pid")
				if !give(pid) {
					t.Skip("taken")
				}
				o := &owned{pid: pid, from: now}
				o.p = forked(tree, pid, now)
				all = append(all, o)
				holder[pid] = o
				now++
			},
			"outsider": func(t *rapid.T) {
				if !give(pidOf.Draw(t, "pid")) {
					t.Skip("taken")
				}
				now++
			},
			"exit": func(t *rapid.T) {
				h := holder[pidOf.Draw(t, "pid")]
				if h == nil {
					t.Skip("nobody")
				}
				if first := tree.Gone(h.p, now, 0); first == h.exited {
					t.Fatalf("Gone returned %v, exited before: %v", first, h.exited)
				}
				h.exited = true
				now++
			},
			"retire": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("nobody")
				}
				o := rapid.SampledFrom(all).Draw(t, "process")
				if !o.exited {
					t.Skip("alive")
				}
				tree.Retire(o.p)
				o.retired = true
			},
			"": func(t *rapid.T) {
				live, listed := 0, map[*proctree.Process]bool{}
				for _, o := range all {
					if !o.exited {
						live++
					}
					want := o.p
					if o.retired {
						want = nil
					} else {
						listed[o.p] = true
					}
					if got := tree.Find(o.p.ID); got != want {
						t.Fatalf("Find of the process of %d: %v, want %v", o.from, got, want)
					}
				}
				if tree.Live() != live || tree.Total() != len(all) {
					t.Fatalf("%d live of %d, want %d of %d", tree.Live(), tree.Total(), live, len(all))
				}
				tree.All(func(p *proctree.Process) {
					if !listed[p] {
						t.Fatalf("All told of the process of %d, which is retired or was told before", p.Forked)
					}
					delete(listed, p)
				})
				if len(listed) > 0 {
					t.Fatalf("All left %d processes out", len(listed))
				}
				for pid := range uint32(pids) {
					known := remembered(pid)
					if had(tree, pid) != (len(known) > 0) {
						t.Fatalf("Had(%d) is %v with %d remembered", pid, had(tree, pid), len(known))
					}
					for at := int64(99); at <= now; at++ {
						var want *proctree.Process
						for i, o := range known {
							// Nothing precedes the oldest one: an event from
							// before its fork record is taken for its own.
							if (at >= o.from || i == 0) && (o.to == 0 || at < o.to) {
								want = o.p
							}
						}
						shared := len(known) > 1 || len(known) == 1 && known[0].to != 0
						got, s := tree.Owner(pid, at)
						if got != want || s != shared {
							t.Fatalf("pid %d at %d: %v, shared %v; want %v, %v", pid, at, got, s, want, shared)
						}
					}
				}
			},
		})
	})
}

// TestRecordings: a process is counted in the recording that it joined last, until
// it leaves; its records still go there.
func TestRecordings(t *testing.T) {
	tree := proctree.New()
	a, b := forked(tree, 10, 1), forked(tree, 11, 2)
	tree.Join(a, 1)
	tree.Join(b, 1)
	tree.Join(b, 2)
	if tree.In(1) != 1 || tree.In(2) != 1 || b.Recording != 2 {
		t.Errorf("%d in 1, %d in 2", tree.In(1), tree.In(2))
	}
	tree.Leave(b)
	tree.Leave(b)
	if tree.In(2) != 0 || b.Recording != 2 {
		t.Errorf("%d in 2, and its records go to %d", tree.In(2), b.Recording)
	}
}

// TestFollow: a process that was there before is nobody's until it joins, and
// since when it was there is not known.
func TestFollow(t *testing.T) {
	tree := proctree.New()
	r := &ebpf.Process{Header: ebpf.Header{Time: 5, ID: id(10, 4), TID: 10}, Kind: ebpf.Follow}
	p := tree.Follow(r)
	if !p.Met || p.Recording != proctree.Nobody || p.Heirs != proctree.Nobody || tree.Live() != 1 {
		t.Errorf("%+v", *p)
	}
	if since, who := tree.Since(10); since != 0 || who != p {
		t.Errorf("since %d: %v", since, who)
	}
	if tree.Follow(r) != p || tree.Live() != 1 {
		t.Error("followed again, it is another one")
	}
	tree.Drop(p)
	tree.Drop(p)
	if had(tree, 10) || tree.Live() != 0 {
		t.Errorf("dropped: %d live", tree.Live())
	}
}
