package ebpf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// The programs that only who attaches to what runs needs: the first are run over
// what all processes hold, the others when somebody comes into a cgroup.
var (
	cgroupPrograms = []string{trackerProgOnForkInCgroup, trackerProgOnCgroupAttach, trackerProgOnCgroupMkdir, trackerProgOnCgroupRmdir}
	attachPrograms = append([]string{trackerProgOnHeld, trackerProgOnMapped}, cgroupPrograms...)
)

// How to choose whom on_follow follows; enum follow_how in follow.h.
const (
	followOne uint32 = iota + 1
	followTree
	followCgroups
)

// follower makes processes members of the monitored set that are there
// already, and tells what they hold: programs that the kernel runs over all tasks.
type follower struct {
	tasks *link.Iter
	files *link.Iter // nil without Options.Attach
	maps  *link.Iter // so, too, or before 5.12

	cgroups, cgroupPaths *ebpf.Map // nil without Options.Attach
	hooked               bool      // the programs of cgroups are attached

	how, tgid, request, count, cgroupRequest *ebpf.Variable
}

// takeIterators takes the programs out of a collection that are run over tasks.
func takeIterators(spec *ebpf.CollectionSpec) map[string]*ebpf.ProgramSpec {
	iterators := map[string]*ebpf.ProgramSpec{}
	for _, name := range []string{trackerProgOnFollow, trackerProgOnHeld, trackerProgOnMapped} {
		if prog := spec.Programs[name]; prog != nil {
			iterators[name] = prog
			delete(spec.Programs, name)
		}
	}
	return iterators
}

// newFollower loads the programs beside those of a collection. Only for who needs
// it: their targets are found among all of the kernel's types, which takes longer
// than everything else together.
func newFollower(spec *ebpf.CollectionSpec, programs map[string]*ebpf.ProgramSpec, coll *ebpf.Collection, opts ebpf.CollectionOptions) (*follower, error) {
	f := &follower{
		how: coll.Variables[trackerVarFollowHow], tgid: coll.Variables[trackerVarFollowTgid], request: coll.Variables[trackerVarFollowRequest],
		count: coll.Variables[trackerVarFollowed], cgroupRequest: coll.Variables[trackerVarCgroupRequest],
	}
	opts.MapReplacements = maps.Clone(coll.Maps)
	for name, to := range map[string]**link.Iter{trackerProgOnFollow: &f.tasks, trackerProgOnHeld: &f.files, trackerProgOnMapped: &f.maps} {
		prog := programs[name]
		if prog == nil {
			continue
		}
		iter, err := loadIterator(spec, name, prog, opts)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		*to = iter
	}
	if f.files != nil {
		var err error
		if f.cgroups, err = coll.Maps[trackerMapCgroups].Clone(); err == nil {
			f.cgroupPaths, err = coll.Maps[trackerMapCgroupPaths].Clone()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("keep the map of cgroups: %w", err), f.close())
		}
	}
	return f, nil
}

func loadIterator(spec *ebpf.CollectionSpec, name string, prog *ebpf.ProgramSpec, opts ebpf.CollectionOptions) (*link.Iter, error) {
	alone := *spec
	alone.Programs = map[string]*ebpf.ProgramSpec{name: prog}
	loaded, err := ebpf.NewCollectionWithOptions(&alone, opts)
	if err != nil {
		return nil, notSupported("load the program that is run over each "+prog.AttachTo, err)
	}
	defer loaded.Close()
	iter, err := link.AttachIter(link.IterOptions{Program: loaded.Programs[name]})
	if err != nil {
		return nil, notSupported("attach the program that is run over each "+prog.AttachTo, err)
	}
	return iter, nil
}

// Follow makes a process that runs the root of a monitored tree: what it does
// from now on is recorded, and what it forks from now on joins it. A Follow
// record with the number of the request tells from when on; there is none if
// the process has ended. If it is monitored already there is a record, too.
func (t *Tracker) Follow(tgid, request uint32) error {
	_, err := t.run(followOne, tgid, request)
	if err != nil {
		return fmt.Errorf("look for process %d among all: %w", tgid, err)
	}
	return nil
}

// FollowTree follows a process and all its descendants that live, by the parents
// that they have now. There is a Follow record of each that was not monitored. An error
// wraps os.ErrProcessDone if there is no such process. Nobody else may be monitored
// whose descendants are not all. The caller is never followed.
func (t *Tracker) FollowTree(tgid, request uint32) error {
	// Each round goes up the numbers, which mostly is down the tree. Who is followed
	// passes it on to what it forks, so no more are left with each round.
	found := uint64(0)
	for {
		n, err := t.run(followTree, tgid, request)
		if err != nil {
			return fmt.Errorf("look for process %d and its descendants: %w", tgid, err)
		}
		if n == 0 {
			break
		}
		found += n
	}
	var start uint64
	if found == 0 && t.urgently(func() error { return t.maps.Numbers.Lookup(tgid, &start) }) != nil {
		return fmt.Errorf("process %d: %w", tgid, os.ErrProcessDone)
	}
	return nil
}

// FollowCgroup follows everybody who is in a cgroup of the unified hierarchy or
// below it, and everybody who comes into it, by a fork or moved there. Who leaves it
// stays. path, unless it is empty, is that within the hierarchy: one that is made there
// later is followed as well. find returns the number of the one that is there, 0 if
// there is none; it is asked when a new one would be noticed.
// Kernel threads and the caller are nobody. There is a Follow record of each.
func (t *Tracker) FollowCgroup(path string, find func() (uint64, error), request uint32) error {
	f := t.follow
	if f == nil || f.cgroups == nil {
		return errors.New("follow a cgroup: the tracker was made without that")
	}
	if path != "" {
		var key [cgroupPath]byte
		if copy(key[:cgroupPath-1], path) < len(path) {
			return fmt.Errorf("cgroup %s: its path has more than %d bytes", path, cgroupPath-1)
		}
		if err := t.urgently(func() error { return f.cgroupPaths.Put(&key, uint8(1)) }); err != nil {
			return fmt.Errorf("tell the tracker of cgroup %s: %w", path, err)
		}
	}
	if err := f.cgroupRequest.Set(request); err != nil {
		return fmt.Errorf("tell the tracker of cgroups: %w", err)
	}
	if !f.hooked {
		if err := t.attach(cgroupPrograms...); err != nil {
			return err
		}
		f.hooked = true
	}
	id, err := find()
	if err != nil {
		return err
	}
	if id != 0 {
		if err := t.urgently(func() error { return f.cgroups.Put(id, uint8(1)) }); err != nil {
			return fmt.Errorf("tell the tracker of cgroup %d: %w", id, err)
		}
	}
	if _, err := t.run(followCgroups, 0, request); err != nil {
		return fmt.Errorf("look for who is in cgroup %s: %w", path, err)
	}
	return nil
}

// cgroupPath is CGROUP_PATH of follow.h.
const cgroupPath = 256

// run runs on_follow once and returns how many it followed.
func (t *Tracker) run(how, tgid, request uint32) (n uint64, err error) {
	f := t.follow
	if f == nil {
		return 0, errors.New("the tracker was made without that")
	}
	if err := errors.Join(f.how.Set(how), f.tgid.Set(tgid), f.request.Set(request), f.count.Set(uint64(0))); err != nil {
		return 0, fmt.Errorf("tell the tracker whom to follow: %w", err)
	}
	tasks, err := f.tasks.Open()
	if err != nil {
		return 0, err
	}
	defer tasks.Close()
	if _, err := io.Copy(io.Discard, patient{tasks}); err != nil {
		return 0, err
	}
	return n, f.count.Get(&n)
}

// Held tells of every file that a process of the monitored set holds: one for each
// descriptor and each mapping, so some more than once. What has no name, as a
// socket, is left out, and so is what was opened as a path only. The record and its
// slices are valid until fn returns.
func (t *Tracker) Held(fn func(*HeldFile)) error {
	f := t.follow
	if f == nil || f.files == nil {
		return errors.New("look what processes hold: the tracker was made without that")
	}
	for _, iter := range []*link.Iter{f.files, f.maps} {
		if iter == nil {
			continue
		}
		if err := readHeld(iter, fn); err != nil {
			return fmt.Errorf("look what processes hold: %w", err)
		}
	}
	return nil
}

// patient reads an iterator: after a million things of which its program told
// nothing, the kernel says EAGAIN, and goes on with the next read.
type patient struct{ io.Reader }

func (p patient) Read(b []byte) (int, error) {
	for {
		n, err := p.Reader.Read(b)
		if n > 0 || !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
	}
}

func readHeld(iter *link.Iter, fn func(*HeldFile)) error {
	from, err := iter.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	r := bufio.NewReaderSize(patient{from}, 64<<10)
	var held HeldFile
	for {
		head, err := r.Peek(headSize)
		if err == io.EOF && len(head) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := r.Peek(max(recordSize(head), headSize))
		if err != nil {
			return err
		}
		if err := DecodeHeld(b, &held); err != nil {
			return err
		}
		fn(&held)
		if _, err := r.Discard(len(b)); err != nil {
			return err
		}
	}
}

// Mapped tells whether Held knows of what is mapped.
func (t *Tracker) Mapped() bool { return t.follow != nil && t.follow.maps != nil }

func (f *follower) close() error {
	var errs []error
	for _, iter := range []*link.Iter{f.tasks, f.files, f.maps} {
		if iter != nil {
			errs = append(errs, iter.Close())
		}
	}
	for _, m := range []*ebpf.Map{f.cgroups, f.cgroupPaths} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}
