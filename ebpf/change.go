package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// While a task is in a bpf(2) that looks an element of a map up or changes one, the
// kernel runs no program by perf on that processor, even if the task is preempted in
// it (bpf_disable_instrumentation). So a program does that for us while somebody is
// recorded, and a map is listed by its keys alone.

// A change of a map; mirrors struct change in perf.h.
type change struct {
	ID   identity
	What uint32
	Dev  uint32
	How  uint32
	_    uint32
}

// What is changed; enum in perf.h.
const (
	changeRetire uint32 = iota
	changeMark
	changeUnmark
)

// apply makes a change. That there is nothing to remove is no error.
func (t *Tracker) apply(c change) error {
	if t.changer != nil {
		ret, err := t.changer.Run(&ebpf.RunOptions{Context: &c})
		if err == nil && ret != 0 {
			err = fmt.Errorf("the program that changes maps returned %d", int32(ret))
		}
		return err
	}
	var err error
	switch c.What {
	case changeRetire:
		err = t.maps.Tracked.Delete(&c.ID)
		// If the number was given away meanwhile, its entry is the new process's:
		// only a report of yet another use would be missed.
		var start uint64
		if err := t.maps.Numbers.Lookup(c.ID.TGID, &start); err == nil && start == c.ID.Start {
			t.maps.Numbers.Delete(c.ID.TGID)
		}
	case changeMark:
		err = t.maps.Marked.Put(c.Dev, c.How)
	case changeUnmark:
		err = t.maps.Marked.Delete(c.Dev)
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// mapKeys lists the keys of a hash map.
func mapKeys[K comparable](m *ebpf.Map) ([]K, error) {
	var (
		keys []K
		at   any // nil: before the first
		seen = map[K]bool{}
	)
	for range 2 * m.MaxEntries() { // where one is removed meanwhile, the kernel begins anew
		var k K
		err := m.NextKey(at, &k)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		if !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
		at = &k
	}
	return nil, ebpf.ErrIterationAborted
}
