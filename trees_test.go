package fanrec

import (
	"testing"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/proctree"
)

// TestFollowedAgain: a process that one recording gives up stays when another
// has asked for it meanwhile.
func TestFollowedAgain(t *testing.T) {
	for _, c := range []struct {
		what string
		give func(j *joiner) // one recording gives it up
	}{
		{"refused", func(j *joiner) { delete(j.trees.follows, 1) }},
		{"closed", func(j *joiner) { j.closeTree(1) }},
	} {
		m := newModel()
		j := m.join
		dropped := 0
		j.trees.dropped = func(*proctree.Process) { dropped++ }
		id := ebpf.ID{TGID: 4711, Start: 1}
		for n := uint32(1); n <= 2; n++ {
			j.trees.open[n] = &tree{outer: proctree.Nobody}
			j.trees.follows[n] = &follow{recording: n}
			j.addProcess(&ebpf.Process{Header: ebpf.Header{ID: id, TID: id.TGID, Time: int64(n)}, Kind: ebpf.Follow, Request: n})
		}
		c.give(j)
		j.seal(10, 10, 0)
		j.release(true)
		if p := j.tree.Find(id); p == nil || p.Recording != 2 || j.tree.In(1) != 0 || j.tree.In(2) != 1 || dropped != 0 {
			t.Errorf("%s: %+v, %d and %d in the recordings, dropped %d times", c.what, p, j.tree.In(1), j.tree.In(2), dropped)
		}
		j.unfollow(2)
		if j.tree.Find(id) != nil || dropped != 1 {
			t.Errorf("%s: it stays, dropped %d times", c.what, dropped)
		}
	}
}

// TestFollowedTwice: a process that its recording follows again is one process.
func TestFollowedTwice(t *testing.T) {
	j := newModel().join
	j.trees.open[1] = &tree{outer: proctree.Nobody}
	id := ebpf.ID{TGID: 4711, Start: 1}
	for n := uint32(1); n <= 2; n++ {
		j.trees.follows[n] = &follow{recording: 1}
		j.addProcess(&ebpf.Process{Header: ebpf.Header{ID: id, TID: id.TGID, Time: int64(n)}, Kind: ebpf.Follow, Request: n})
	}
	j.seal(10, 10, 0)
	j.release(true)
	if n := j.trees.open[1].processes; n != 1 || j.tree.In(1) != 1 {
		t.Errorf("%d processes, %d live", n, j.tree.In(1))
	}
}

// TestLostBounded: a service that runs for months does not remember every
// directory that was gone before it could be looked up.
func TestLostBounded(t *testing.T) {
	j := newModel().join
	for i := range uint64(2 * maxLost) {
		j.vanished(fan.Inode{Ino: 1<<20 + i, FS: 1})
		if i%100 == 0 {
			j.release(false)
		}
	}
	if n := len(j.lost); n == 0 || n > maxLost+100 {
		t.Errorf("%d directories are remembered", n)
	}
}
