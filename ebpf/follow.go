package ebpf

import (
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// follower makes processes members of the monitored set that are there
// already: a program that the kernel runs over all tasks.
type follower struct {
	iter    *link.Iter
	tgid    *ebpf.Variable
	request *ebpf.Variable
}

// newFollower loads the program beside those of a collection. Only for who needs
// it: its target is found among all of the kernel's types, which takes longer
// than everything else together.
func newFollower(spec *ebpf.CollectionSpec, prog *ebpf.ProgramSpec, coll *ebpf.Collection, opts ebpf.CollectionOptions) (*follower, error) {
	alone := *spec
	alone.Programs = map[string]*ebpf.ProgramSpec{trackerProgOnFollow: prog}
	opts.MapReplacements = maps.Clone(coll.Maps)
	loaded, err := ebpf.NewCollectionWithOptions(&alone, opts)
	if err != nil {
		return nil, notSupported("load the program that follows processes", err)
	}
	defer loaded.Close()
	iter, err := link.AttachIter(link.IterOptions{Program: loaded.Programs[trackerProgOnFollow]})
	if err != nil {
		return nil, notSupported("attach the program that follows processes", err)
	}
	return &follower{iter: iter, tgid: coll.Variables[trackerVarFollowTgid], request: coll.Variables[trackerVarFollowRequest]}, nil
}

// Follow makes a process that runs the root of a monitored tree: what it does
// from now on is recorded, and what it forks from now on joins it. A Follow
// record with the number of the request tells from when on; there is none if
// the process has ended. If it is monitored already there is a record, too.
func (t *Tracker) Follow(tgid, request uint32) error {
	if t.follow == nil {
		return errors.New("follow a process: the tracker was made without that")
	}
	if err := errors.Join(t.follow.tgid.Set(tgid), t.follow.request.Set(request)); err != nil {
		return fmt.Errorf("tell the tracker whom to follow: %w", err)
	}
	run, err := t.follow.iter.Open()
	if err != nil {
		return fmt.Errorf("look for process %d among all: %w", tgid, err)
	}
	defer run.Close()
	if _, err := io.Copy(io.Discard, run); err != nil {
		return fmt.Errorf("look for process %d among all: %w", tgid, err)
	}
	return nil
}

func (f *follower) close() error { return f.iter.Close() }
