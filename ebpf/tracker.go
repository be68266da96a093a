package ebpf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"fanrec/later"
)

// ErrNotSupported is wrapped when the kernel lacks what the tracker needs.
var ErrNotSupported = errors.New("not supported by this kernel")

// Options of a Tracker. The zero value follows processes and their calls.
type Options struct {
	NoCalls     bool // process records only
	NoRings     bool // only tell that there is a ring, not what it does
	Absent      bool // tell of paths that were looked for and not found
	Free        bool // tell when the kernel forgets a process
	Follow      bool // Follow will be called
	Attach      bool // FollowTree, FollowCgroup or Held, too
	ArgsMax     int  // bytes of argv in an exec record, at most 8192
	ProcessRing int  // bytes, a power of two; 0: 4 MiB
	CallRing    int  // bytes, a power of two; 0: 4 MiB, and Grow adds to it

	without []string // for tests: constants of the tracker that are 0, as where the kernel lacks something
	byPerf  bool     // for tests: programs attach by perf, as on kernels that preempt the others
}

// Lost counts what the kernel side could not deliver.
type Lost struct {
	Processes uint64 // process records: the ring was full
	Calls     uint64 // call records: the ring was full
	Untracked uint64 // children that could not join the monitored set
}

// identity mirrors struct identity in tracker.bpf.c.
type identity struct {
	Start uint64
	TGID  uint32
	_     uint32
}

// A Tracker follows the monitored set. Its methods are for one goroutine.
type Tracker struct {
	maps      trackerMaps
	programs  map[string]program
	links     []io.Closer       // a link that nobody holds is closed by the garbage collector
	ids       map[string]uint64 // numbers of the tracepoints of programs that attach by perf
	byPerf    bool              // programs attach by perf
	changer   *ebpf.Program     // changes maps; nil unless byPerf
	processes *ring
	calls     *ring
	alarm     *ring
	spilled   *ring // nil before Grow
	spill     *ebpf.Map
	subvols   bool
	recorder  *ebpf.Variable
	lost      *ebpf.Variable
	follow    *follower // nil without Options.Follow
	remounts  *ebpf.Variable
	seen      *ebpf.Variable
	rings     bool     // requests to rings are told of
	without   []string // constants that tell what the kernel lacks
	process   Process
	call      Call
}

// A program of a tracepoint.
type program struct {
	*ebpf.Program
	tracepoint string
}

// New loads the tracker and attaches it. Nothing is monitored yet. Errors wrap
// ErrNotSupported, unix.EPERM, or what the verifier says.
func New(opts Options) (*Tracker, error) {
	if err := checkPIDNamespace(); err != nil {
		return nil, err
	}
	defer raiseMemlock()()
	t := &Tracker{without: opts.without}
	opts.byPerf = opts.byPerf || preemptsPrograms()
	t.byPerf = opts.byPerf
	spec, err := newSpec(opts)
	if err != nil {
		return nil, err
	}
	wanted, err := wantedTypes(spec.Types)
	if err != nil {
		return nil, err
	}
	type result struct {
		types *kernelTypes
		err   error
	}
	types := make(chan result, 1)
	go func() {
		t, err := readTypes(wanted)
		types <- result{t, err}
	}()
	err = t.makeMaps(spec)
	kernel := <-types
	if err = cmp.Or(err, kernel.err); err == nil {
		err = t.load(spec, kernel.types)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// newSpec returns the tracker's maps and programs as the options want them.
func newSpec(opts Options) (*ebpf.CollectionSpec, error) {
	load := loadTracker
	if opts.byPerf {
		load = loadPerfTracker // its programs and maps have the same names
	}
	spec, err := load()
	if err != nil {
		return nil, fmt.Errorf("read the tracker object: %w", err)
	}
	if opts.ProcessRing > 0 {
		spec.Maps[trackerMapProcesses].MaxEntries = uint32(opts.ProcessRing)
	}
	if opts.CallRing > 0 {
		spec.Maps[trackerMapCalls].MaxEntries = uint32(opts.CallRing)
	}
	if opts.NoCalls {
		spec.Maps[trackerMapCalls].MaxEntries = uint32(unix.Getpagesize())
		delete(spec.Programs, trackerProgOnSysExit)
		withoutRings(spec)
	}
	if opts.NoRings {
		withoutRings(spec)
	}
	if !opts.Free {
		delete(spec.Programs, trackerProgOnFree)
	}
	if !opts.Follow && !opts.Attach {
		delete(spec.Programs, trackerProgOnFollow)
	}
	if !opts.Attach {
		for _, name := range attachPrograms {
			delete(spec.Programs, name)
		}
	}
	constants := map[string]any{trackerVarArgsMax: uint32(min(opts.ArgsMax, 8192))}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/mnt", &ns); err == nil {
		constants[trackerVarMountNs] = uint32(ns.Ino)
	}
	if opts.Free {
		constants[trackerVarWantFree] = uint8(1)
	}
	if opts.Follow || opts.Attach {
		constants[trackerVarFollower] = uint32(unix.Getpid())
	} else {
		spec.Maps[trackerMapScratch].MaxEntries = 1
	}
	if opts.Absent {
		constants[trackerVarWantAbsent] = uint8(1)
	}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set the tracker's %s: %w", name, err)
		}
	}
	if len(opts.without) > 0 {
		if err := doWithout(spec, opts.without); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// makeMaps makes the maps that take time: the pages of the rings, the buckets
// of the tables.
func (t *Tracker) makeMaps(spec *ebpf.CollectionSpec) error {
	for name, to := range map[string]**ebpf.Map{
		trackerMapProcesses: &t.maps.Processes, trackerMapCalls: &t.maps.Calls, trackerMapTracked: &t.maps.Tracked,
		trackerMapNumbers: &t.maps.Numbers, trackerMapMarked: &t.maps.Marked, trackerMapSpill: &t.maps.Spill,
		trackerMapAlarm: &t.maps.Alarm,
	} {
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			return explainMap(name, spec.Maps[name].Type, err, features.HaveMapType)
		}
		*to = m
	}
	var err error
	if t.processes, err = newRing(t.maps.Processes); err != nil {
		return err
	}
	if t.calls, err = newRing(t.maps.Calls); err != nil {
		return err
	}
	t.alarm, err = newRing(t.maps.Alarm)
	return err
}

// explainBTF says what to do about a kernel whose types cannot be read.
func explainBTF(err error) error {
	return fmt.Errorf("%w: it does not tell its types (BTF, /sys/kernel/btf/vmlinux): boot one that was built with CONFIG_DEBUG_INFO_BTF: %w",
		ErrNotSupported, err)
}

// explainMap says what to do about a map that could not be made. have asks
// whether the kernel has such maps at all.
func explainMap(name string, typ ebpf.MapType, err error, have func(ebpf.MapType) error) error {
	if typ == ebpf.RingBuf && errors.Is(have(typ), ebpf.ErrNotSupported) {
		return fmt.Errorf("%w: it has no BPF ring buffers: boot Linux 5.8 or later: %w", ErrNotSupported, err)
	}
	return notSupported("make the map "+name, err)
}

// raiseMemlock raises the limit of locked memory, of which maps are before
// 5.11, and returns what puts it back: the command is to have its own.
func raiseMemlock() (restore func()) {
	var old unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old) != nil {
		return func() {}
	}
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited) != nil {
		return func() {} // without CAP_SYS_RESOURCE; newer kernels do not mind
	}
	return func() { unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old) }
}

func notSupported(what string, err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("%s: %w: %w", what, ErrNotSupported, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// load loads the programs and attaches them.
func (t *Tracker) load(spec *ebpf.CollectionSpec, types *kernelTypes) error {
	opts := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{
		trackerMapProcesses: t.maps.Processes, trackerMapCalls: t.maps.Calls, trackerMapTracked: t.maps.Tracked,
		trackerMapNumbers: t.maps.Numbers, trackerMapMarked: t.maps.Marked, trackerMapSpill: t.maps.Spill,
		trackerMapAlarm: t.maps.Alarm,
	}}
	opts.Programs.KernelTypes = types.spec
	t.subvols = types.subvols
	if t.rings = attachRings(spec, types) == nil; !t.rings {
		withoutRings(spec)
	}
	if err := numberTypes(spec, types); err != nil {
		return err
	}
	iterators := takeIterators(spec)
	if types.number(mappingsName) == 0 {
		delete(iterators, trackerProgOnMapped)
	}
	coll, err := t.loadHalves(spec, opts)
	if err != nil && t.without == nil {
		if t.without = lacking(); len(t.without) > 0 {
			if err := doWithout(spec, t.without); err != nil {
				return err
			}
			coll, err = t.loadHalves(spec, opts)
		}
	}
	if err != nil {
		return notSupported("load the tracker", err)
	}
	defer coll.Close()
	if len(iterators) > 0 {
		if t.follow, err = newFollower(spec, iterators, coll, opts); err != nil {
			return err
		}
	}
	t.recorder, t.lost = coll.Variables[trackerVarRecorder], coll.Variables[trackerVarLost]
	t.remounts, t.seen = coll.Variables[trackerVarRemounts], coll.Variables[trackerVarRemountsSeen]
	t.changer = coll.DetachProgram(perfTrackerProgChange)
	t.programs = map[string]program{}
	for name := range coll.Programs {
		t.programs[name] = program{coll.DetachProgram(name), spec.Programs[name].AttachTo}
	}
	return t.Attach()
}

// Attach begins to track again after Detach.
func (t *Tracker) Attach() error {
	var names []string
	for name := range t.programs {
		if !slices.Contains(cgroupPrograms, name) {
			names = append(names, name)
		}
	}
	return t.attach(names...)
}

func (t *Tracker) attach(names ...string) error {
	if err := t.findIDs(); err != nil {
		return err
	}
	for _, name := range names {
		p := t.programs[name]
		var l io.Closer
		var err error
		if p.Type() == ebpf.TracePoint {
			l, err = attachPerf(t.ids[p.tracepoint], p.Program)
		} else {
			l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: p.tracepoint, Program: p.Program})
		}
		if err != nil {
			return notSupported("attach to "+p.tracepoint, err)
		}
		t.links = append(t.links, l)
	}
	return nil
}

// findIDs fills ids once.
func (t *Tracker) findIDs() error {
	var wanted []string
	for _, p := range t.programs {
		if p.Type() == ebpf.TracePoint {
			wanted = append(wanted, p.tracepoint)
		}
	}
	if len(wanted) == 0 || t.ids != nil {
		return nil
	}
	var err error
	t.ids, err = tracepointIDs(wanted)
	return err
}

// Detach stops tracking, at no cost to the machine until Attach: all processes
// leave the monitored set, no superblock is marked any more, and what was not
// drained is dropped.
func (t *Tracker) Detach() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	t.links = nil
	drop := func([]byte) {}
	for _, r := range []*ring{t.processes, t.calls, t.alarm, t.spilled} {
		if r != nil {
			errs = append(errs, r.drain(drop))
		}
	}
	ids, err := t.Tracked()
	errs = append(errs, err)
	for _, id := range ids {
		errs = append(errs, t.Retire(id))
	}
	return errors.Join(append(errs, t.urgently(func() error {
		return errors.Join(clearMap[uint32](t.maps.Numbers), clearMap[uint32](t.maps.Marked))
	}))...)
}

// clearMap removes all elements of a hash map.
func clearMap[K comparable](m *ebpf.Map) error {
	keys, err := mapKeys[K](m)
	if err != nil {
		return fmt.Errorf("clear %s: %w", m, err)
	}
	for _, k := range keys {
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("clear %s: %w", m, err)
		}
	}
	return nil
}

// loadHalves loads the maps and then the programs, on two processors: most of
// the time that a recording takes to start is that of the verifier.
func (t *Tracker) loadHalves(spec *ebpf.CollectionSpec, opts ebpf.CollectionOptions) (all *ebpf.Collection, err error) {
	half := *spec
	half.Programs = nil
	if err := t.urgently(func() error { // it fills those of constants
		all, err = ebpf.NewCollectionWithOptions(&half, opts)
		return err
	}); err != nil {
		return nil, err
	}
	opts.MapReplacements = all.Maps
	// The two that take longest are apart.
	first := map[string]bool{trackerProgOnSysExit: true, trackerProgOnSubmit: true, trackerProgOnExit: true}
	var halves [2]*ebpf.Collection
	var errs [2]error
	var wait sync.WaitGroup
	for i := range halves {
		half := *spec
		half.Programs = map[string]*ebpf.ProgramSpec{}
		for name, prog := range spec.Programs {
			if first[name] == (i == 0) {
				half.Programs[name] = prog
			}
		}
		wait.Go(func() { halves[i], errs[i] = ebpf.NewCollectionWithOptions(&half, opts) })
	}
	wait.Wait()
	all.Programs = map[string]*ebpf.Program{}
	for _, half := range halves {
		if half == nil {
			continue
		}
		for name := range half.Programs {
			all.Programs[name] = half.DetachProgram(name)
		}
		half.Close()
	}
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		all.Close()
		return nil, err
	}
	return all, nil
}

// Rings tells whether there are records of what is done by io_uring.
func (t *Tracker) Rings() bool { return t.rings }

// Subvolumes tells whether records can have File.Subvol.
func (t *Tracker) Subvolumes() bool { return t.subvols }

// AdoptChildren makes every child that the calling process forks from now on
// the root of a monitored tree, until it is called with false.
func (t *Tracker) AdoptChildren(yes bool) error {
	var tgid uint32
	if yes {
		tgid = uint32(unix.Getpid())
	}
	if err := t.recorder.Set(tgid); err != nil {
		return fmt.Errorf("tell the tracker who records: %w", err)
	}
	return nil
}

// How a superblock is marked; MARKED_ in tracker.bpf.c.
const (
	Subvolumes = 2 // fill File.Subvol
	WalkToo    = 4 // fill File.Walk, as where there is no mark
)

// Mark tells that the events of a superblock are reported otherwise, so that
// call records need no path there while fanotify has a mark on it. dev is as
// MkDev makes it; how is 0 or a sum of the constants above.
func (t *Tracker) Mark(dev, how uint32) error {
	if err := t.apply(change{What: changeMark, Dev: dev, How: 1 | how}); err != nil {
		return fmt.Errorf("mark device %#x: %w", dev, err)
	}
	return nil
}

// Unmark takes Mark back. The device may be that of another superblock now.
func (t *Tracker) Unmark(dev uint32) error {
	if err := t.apply(change{What: changeUnmark, Dev: dev}); err != nil {
		return fmt.Errorf("unmark device %#x: %w", dev, err)
	}
	return nil
}

// DrainProcesses hands every process record so far to fn, in order. The record
// and its slices are valid until fn returns.
func (t *Tracker) DrainProcesses(fn func(*Process)) error {
	var bad error
	err := t.processes.drain(func(b []byte) {
		if err := DecodeProcess(b, &t.process); err != nil {
			bad = err
			return
		}
		fn(&t.process)
	})
	return errors.Join(err, bad)
}

// Grow adds a second ring to that of the call records, for what does not fit
// into the first while nobody drains it. To get its pages takes time, so it is
// for recordings that last. Records of the two rings are drained one ring after
// the other.
func (t *Tracker) Grow(bytes int) error {
	defer raiseMemlock()()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "spilled", Type: ebpf.RingBuf, MaxEntries: uint32(bytes)})
	if err != nil {
		return notSupported("make a larger ring", err)
	}
	if t.spilled, err = newRing(m); err != nil {
		return errors.Join(err, m.Close())
	}
	t.spill = m
	if err := t.urgently(func() error { return t.maps.Spill.Put(uint32(0), m) }); err != nil {
		return fmt.Errorf("add a larger ring: %w", err)
	}
	return nil
}

// DrainCalls hands every call record so far to fn: in order, but for those
// that went into the ring of Grow, which come last. The record and its slices
// are valid until fn returns.
func (t *Tracker) DrainCalls(fn func(*Call)) error {
	var bad error
	take := func(b []byte) {
		if err := DecodeCall(b, &t.call); err != nil {
			bad = err
			return
		}
		fn(&t.call)
	}
	err := t.calls.drain(take)
	if t.spilled != nil {
		err = errors.Join(err, t.spilled.drain(take))
	}
	return errors.Join(err, bad)
}

// Empty tells whether every record so far was drained.
func (t *Tracker) Empty() bool {
	return t.processes.empty() && t.calls.empty() && (t.spilled == nil || t.spilled.empty())
}

// Fill is how full a ring is.
type Fill struct {
	Ring       string // "process", "call", or "spill": where calls go when their ring is full
	Used, Size int    // bytes
}

// Fills returns how full the rings are.
func (t *Tracker) Fills() []Fill {
	all := []Fill{{"process", t.processes.used(), int(t.processes.size)}, {"call", t.calls.used(), int(t.calls.size)}}
	if t.spilled != nil {
		all = append(all, Fill{"spill", t.spilled.used(), int(t.spilled.size)})
	}
	return all
}

// FDs returns the descriptors that become readable with the first record
// after a drain.
func (t *Tracker) FDs() [2]int { return [2]int{t.processes.fd, t.calls.fd} }

// Alarm returns a descriptor that is readable after an OpMount call, until Calm.
// To look at the mounts of a process it must be there still.
func (t *Tracker) Alarm() int { return t.alarm.fd }

// Calm makes Alarm's descriptor wait for the next call.
func (t *Tracker) Calm() error { return t.alarm.drain(func([]byte) {}) }

// Remounts counts the calls that changed mounts in this mount namespace. Until
// SawRemounts is told of all of them, every File has a Walk.
func (t *Tracker) Remounts() (n uint64, err error) {
	if err := t.remounts.Get(&n); err != nil {
		return 0, fmt.Errorf("read the tracker's counters: %w", err)
	}
	return n, nil
}

// SawRemounts tells that the mount table was read after so many changes.
func (t *Tracker) SawRemounts(n uint64) error {
	if err := t.seen.Set(n); err != nil {
		return fmt.Errorf("tell the tracker of the mount table: %w", err)
	}
	return nil
}

// Retire takes a process out of the monitored set. The caller knows that
// nothing of it can come any more.
func (t *Tracker) Retire(id ID) error {
	if err := t.apply(change{What: changeRetire, ID: identity{TGID: id.TGID, Start: id.Start}}); err != nil {
		return fmt.Errorf("retire process %d: %w", id.TGID, err)
	}
	return nil
}

// Tracked returns the processes of the monitored set, those included that
// exited and were not retired. It is the kernel's own word, whatever was lost.
func (t *Tracker) Tracked() ([]ID, error) {
	keys, err := mapKeys[identity](t.maps.Tracked)
	if err != nil {
		return nil, fmt.Errorf("list the monitored set: %w", err)
	}
	ids := make([]ID, len(keys))
	for i, k := range keys {
		ids[i] = ID{TGID: k.TGID, Start: k.Start}
	}
	return ids, nil
}

// Lost returns what was lost so far.
func (t *Tracker) Lost() (Lost, error) {
	n, err := t.counters()
	return Lost{Processes: n[0], Calls: n[1], Untracked: n[2]}, err
}

// counters reads what is counted by the tracker; enum lost in tracker.bpf.c.
func (t *Tracker) counters() (n [4]uint64, err error) {
	if err := t.lost.Get(&n); err != nil {
		return n, fmt.Errorf("read the tracker's counters: %w", err)
	}
	return n, nil
}

// Missed returns how often the kernel did not run a program of the tracker. By perf
// (Linux 7.0 and later) that is so while a task is preempted on that processor in a
// bpf(2) that looks into a map or changes one, whosesoever; else never. Who was it that
// nothing is told of is not known: it may have been nobody of the monitored set.
func (t *Tracker) Missed() (uint64, error) {
	n, err := t.counters()
	if err != nil {
		return 0, err
	}
	missed := n[3] // execs of the monitored set
	for name, p := range t.programs {
		if name == perfTrackerProgBeforeExec || name == perfTrackerProgBeforeExecAgain {
			continue // one stands in for the other
		}
		stats, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("ask what %s missed: %w", name, err)
		}
		missed += stats.RecursionMisses // 0 before 5.12
	}
	return missed, nil
}

// Close detaches and frees everything.
func (t *Tracker) Close() error {
	var errs []error
	var events []int
	for _, l := range t.links {
		if e, ok := l.(perfEvent); ok {
			events = append(events, int(e)) // they take long
		} else {
			errs = append(errs, l.Close())
		}
	}
	if len(events) > 0 {
		errs = append(errs, later.Close(events...))
	}
	t.links = nil
	for _, p := range t.programs {
		errs = append(errs, p.Close())
	}
	if t.changer != nil {
		errs = append(errs, t.changer.Close())
	}
	if t.follow != nil {
		errs = append(errs, t.follow.close())
	}
	for _, r := range []*ring{t.processes, t.calls, t.alarm, t.spilled} {
		if r != nil {
			r.close()
		}
	}
	if t.spill != nil {
		errs = append(errs, t.spill.Close())
	}
	errs = append(errs, t.maps.Close())
	return errors.Join(errs...)
}
