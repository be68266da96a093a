package fanrec

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"fanrec/cgroup"
	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"
	"fanrec/proctree"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Options of a Recorder. The zero value records names and opens, with calls.
type Options struct {
	NoCalls bool          // no call records: kind and order are then inferred
	Epoch   time.Duration // how long to gather before a barrier; 0: 50 ms, 5 ms without calls
	ArgsMax int           // bytes of argv kept of an exec; 0: none
	Handles bool          // fill Record.Handle
	Seen    bool          // fill Record.Seen and SeenTarget
	// Containers: fill Record.Container and ContainerName, where the unified hierarchy of
	// cgroups is mounted. What a runtime wrote of a container is read once.
	Containers bool
	Modify     bool // also record writes through descriptors
	Absent     bool // also record paths that were looked for and not found; not with NoCalls
	Attrib     bool // also record changes of mode, owner, times and extended attributes
	WaitAll    bool // go on until the last process of the tree is gone
	Serve      bool // for Serve: no command is run
	Attach     bool // for Recording.Attach
	Log        zerolog.Logger

	// For tests: small rings, and the kernel's limit of queued events.
	ProcessRing, CallRing int
	LimitedQueue          bool
	NoRings               bool // as on a kernel that does not tell what rings do
}

// Stats counts what a recording had.
type Stats struct {
	Processes int
	Events    int // fanotify events of the tree
	Records   [output.Kinds]int
	Lost      int // sum of what the reasons of Result.Incomplete count
	Epochs    int
	Lookups   int
	Elapsed   time.Duration
}

// Result is the outcome of a recording.
type Result struct {
	Status     syscall.WaitStatus // of the command
	Stats      Stats
	Incomplete []string // what is missing, one reason a line; empty: nothing
}

// A Recorder records one command. Its methods are for one goroutine, but for
// Signal.
type Recorder struct {
	opts     Options
	group    *fan.Group
	aside    *fan.Descriptors // without call records: of filesystems that group cannot watch; else nil
	asideAt  int64            // when it was read last
	asides   map[uint32]bool  // the devices that it watches
	tracker  *ebpf.Tracker
	join     *joiner
	buf      []byte
	notes    []string
	mounts   []fan.Mount // the mount table as it was read last
	table    *fan.MountTable
	mountsFD int                     // tells when it changes
	changed  bool                    // it did
	overlay  map[uint32]shownOverlay // overlays that are known, by device
	doomed   []doomed                // overlays that are not mounted any more
	child    atomic.Pointer[Child]   // the command, if there is one
	ending   int                     // readable when it has ended, -1 when that is known
	wake     wake                    // after Stop, Do
	started  time.Time
	grown    bool
	doubtful bool // records of ends may be lost
	stopped  bool
	lost     uint64        // process records, when that was last looked at
	resting  bool          // nothing is watched nor tracked
	idle     time.Time     // since when nothing is recorded
	failed   error         // of what was posted
	busy     int           // items of the last epoch
	took     time.Duration // to join them
	slept    time.Duration // before it
	epochs   int
	missing  []string // by every recording that was open then
	lookups  int
	retire   error
	// containers is nil if none are told of.
	containers *cgroup.Containers
	wide       error // why the events of rings cannot be had

	recordings map[uint32]*Recording
	numbers    uint32 // the last that was given to a recording
	requests   uint32 // the last Follow
	do         posted
	deadline   time.Time // the epoch that began ends then, unless somebody waits for it
	waiting    []waiting
}

// bufSize is room for thousands of events; the largest has less than 1 KiB.
const bufSize = 256 << 10

// absentRing is the size of the ring of call records with Absent: nothing comes as
// fast as look-ups that fail, a million in a second.
const absentRing = 16 << 20

// graphSize bounds the directories that are remembered: some 200 bytes each.
const graphSize = 64 << 10

// New prepares a recording: it loads the tracker and watches every filesystem
// of the mount namespace. Errors wrap fan.ErrNotSupported,
// ebpf.ErrNotSupported or unix.EPERM.
func New(opts Options) (*Recorder, error) {
	if opts.Epoch == 0 {
		opts.Epoch = 50 * time.Millisecond
		if opts.NoCalls {
			opts.Epoch = 5 * time.Millisecond
		}
	}
	r := &Recorder{opts: opts, buf: make([]byte, bufSize), ending: -1, wake: -1, mountsFD: -1, slept: opts.Epoch,
		recordings: map[uint32]*Recording{}}
	type loaded struct {
		tracker *ebpf.Tracker
		err     error
	}
	tracker := make(chan loaded, 1)
	callRing := opts.CallRing
	if opts.Absent && callRing == 0 {
		callRing = absentRing
	}
	go func() {
		t, err := ebpf.New(ebpf.Options{
			NoCalls: opts.NoCalls, NoRings: opts.NoRings, Absent: opts.Absent, Free: opts.NoCalls, ArgsMax: opts.ArgsMax,
			ProcessRing: opts.ProcessRing, CallRing: callRing, Follow: opts.Serve, Attach: opts.Attach,
		})
		tracker <- loaded{t, err}
	}()
	var err error
	if opts.Containers {
		if r.containers, err = cgroup.NewContainers(); err != nil {
			opts.Log.Debug().Err(err).Msg("no containers are told of")
		}
	}
	err = r.watch()
	if err == nil {
		r.wake, err = newWake()
	}
	l := <-tracker
	r.tracker = l.tracker
	if err = cmp.Or(err, l.err); err == nil {
		err = r.tellAll()
	}
	if err == nil && opts.Attach && !r.tracker.Mapped() {
		r.note("what processes have in memory only is not told as attached: Linux 5.12 would")
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// tellAll tells the tracker of everything that watch has marked.
func (r *Recorder) tellAll() error {
	for _, index := range r.group.Filesystems.All() {
		if err := r.tell(index); err != nil {
			return err
		}
	}
	return nil
}

// unwatch takes back what watch did.
func (r *Recorder) unwatch() error {
	var errs []error
	if r.group != nil {
		errs = append(errs, r.group.Close())
	}
	if r.aside != nil {
		errs = append(errs, r.aside.Close())
	}
	if r.mountsFD >= 0 {
		errs = append(errs, unix.Close(r.mountsFD))
	}
	r.group, r.aside, r.mountsFD = nil, nil, -1
	return errors.Join(errs...)
}

// tell tells the tracker that a filesystem is watched.
func (r *Recorder) tell(index uint32) error {
	fs := r.group.Filesystems.Get(index)
	if why := r.unfit(fs); why != "" {
		r.note("%s (%s) is not watched by fanotify: %s", fs.Mount.Mountpoint, fs.Mount.Type, why)
		return r.group.Unwatch(index)
	}
	how := howMarked(fs.Mount.Type)
	if !r.group.Filesystems.Kept(index) {
		how |= ebpf.WalkToo
	}
	return r.tracker.Mark(fs.Mount.Dev, how)
}

// unfit returns why events of a filesystem cannot be joined with calls, which
// tell inode numbers: these must be in the events' handles as well.
func (r *Recorder) unfit(fs *fan.Filesystem) string {
	switch {
	case r.opts.NoCalls:
	case !fs.Decodes():
		return "its file handles are not known to say inode numbers"
	case fs.Subvolumes() && !r.tracker.Subvolumes():
		return "the kernel does not describe its types, which tell subvolumes apart"
	}
	return ""
}

// howMarked returns what the tracker must know of a type of filesystem.
func howMarked(fstype string) uint32 {
	if fstype == "btrfs" {
		return ebpf.Subvolumes
	}
	return 0
}

// watch makes the fanotify group and marks every filesystem that can be.
func (r *Recorder) watch() error {
	r.notes, r.overlay, r.doomed, r.asides = nil, map[uint32]shownOverlay{}, nil, map[uint32]bool{}
	mask := uint64(fan.Names | fan.Opens)
	var err error
	if r.opts.NoCalls {
		mask |= fan.Writes
		if r.aside, err = fan.NewDescriptors(); err != nil {
			return err
		}
	}
	var notes uint32
	if r.opts.Modify {
		notes |= bitModify
	}
	if r.opts.Attrib {
		notes |= bitAttrib
	}
	mask |= uint64(notes)
	if r.group, err = fan.NewGroup(fan.Options{Mask: mask, Limited: r.opts.LimitedQueue}); err != nil {
		return err
	}
	if err := r.watchMounts(); err != nil {
		return err
	}
	if r.mounts, err = fan.Mounts(); err != nil {
		return err
	}
	r.table = fan.NewMountTable(r.mounts)
	graph := fan.NewGraph(graphSize)
	busy := busyDevices(r.table)
	var overlays []fan.Mount
	for _, shown := range r.table.Superblocks() {
		m := shown[0]
		if fan.Pseudo(m.Type) {
			r.watchAside(m)
			continue
		}
		if m.Type == "overlay" && !r.opts.NoCalls {
			overlays = append(overlays, m)
			continue
		}
		watch := r.group.WatchLoosely
		if busy[m.Dev] {
			watch = r.group.Watch
		}
		index, err := watch(m)
		if err == nil {
			r.root(index, graph)
		} else {
			if errors.Is(err, unix.EPERM) {
				return err
			}
			if !r.watchAside(m) {
				r.note("%s (%s) is not watched by fanotify: %s", m.Mountpoint, m.Type, fan.Reason(m, err))
			}
		}
	}
	if r.opts.NoCalls {
		r.notes = append(r.notes, "recorded without call records: kinds and order are inferred, and working directories, link texts and what is not watched are missing")
		if !r.aside.Exact {
			r.notes = append(r.notes, "files without handles (/proc, network filesystems) that are gone when they are looked at are missing: Linux 6.13 would tell")
		}
	}
	r.join = newJoiner(r.group.Filesystems, graph, r.table)
	r.join.self, r.join.mountNS = int32(unix.Getpid()), mountNamespace("self")
	for _, m := range overlays {
		o, err := r.group.Overlay(m, r.table)
		if err != nil {
			r.opts.Log.Debug().Err(err).Msg("an overlay")
			o = r.group.Described("", m, r.table)
		}
		r.overlay[m.Dev] = shownOverlay{options: m.Options}
		r.addOverlay(o, m)
	}
	r.join.ring = func() {
		if !r.tracker.Rings() && !r.join.guess && r.wide == nil {
			r.join.guess, r.wide = true, r.group.Widen(unix.FAN_MODIFY)
		}
	}
	r.join.calls = !r.opts.NoCalls
	r.join.handles, r.join.seen = r.opts.Handles, r.opts.Seen
	r.join.containers = r.containers
	r.join.notes = notes
	r.join.args = r.opts.ArgsMax > 0
	r.join.disk = realDisk{}
	r.join.lead = r.lead
	r.join.retired = func(p *proctree.Process) {
		if err := r.tracker.Retire(p.ID); err != nil && r.retire == nil {
			r.retire = err
		}
	}
	r.join.emit = func(rec *output.Record) {
		if to := r.recordings[r.join.who.Recording]; to != nil {
			to.put(rec)
		}
	}
	if r.opts.Serve {
		r.join.trees.orphans = proctree.Nobody
	}
	r.join.trees.dropped = r.join.retired
	r.join.trees.comment = func(recording uint32, text string) {
		if to := r.recordings[recording]; to != nil && to.comment != nil {
			to.comment(text)
		}
	}
	return nil
}

// watchAside watches what has no file handles, for opens and writes only. With
// call records these tell more, and of an overlay its layers do.
func (r *Recorder) watchAside(m fan.Mount) bool {
	if r.aside == nil || m.Type == "overlay" {
		return false
	}
	err := r.aside.Watch(m)
	if err != nil {
		r.opts.Log.Debug().Err(err).Msg("not watched")
		return false
	}
	r.asides[m.Dev] = true
	return true
}

// sight takes what was opened and written where there are no file handles.
func (r *Recorder) sight() error {
	if r.aside == nil {
		return nil
	}
	since, begin := r.asideAt, monotonic()
	r.asideAt = begin
	var seen []fan.Sighting
	err := r.aside.Read(func(s *fan.Sighting) { seen = append(seen, *s) })
	if err == nil && len(seen) > 0 {
		err = r.tracker.DrainProcesses(r.join.addProcess) // who they are
	}
	for i := range seen {
		r.join.sight(&seen[i], since, begin)
	}
	return r.malformed(err)
}

// busyDevices returns the superblocks that nobody can unmount. Those are kept,
// to be looked up at any time; of others records have the whole path.
func busyDevices(table *fan.MountTable) map[uint32]bool {
	busy := map[uint32]bool{}
	for _, path := range []string{"/", "/usr", "/proc/self/cwd", "/proc/self/exe"} {
		if real, err := os.Readlink(path); err == nil {
			path = real
		}
		if m, ok := table.On([]byte(path)); ok {
			busy[m.Dev] = true
		}
	}
	return busy
}

// root tells the graph the root directory of a filesystem.
func (r *Recorder) root(index uint32, graph *fan.Graph) {
	fs := r.group.Filesystems.Get(index)
	graph.AddRoot(fs.Root, strings.TrimSuffix(fs.Mount.Root, "/"))
}

func (r *Recorder) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	r.opts.Log.Warn().Msg(n)
	r.notes = append(r.notes, n)
}

// Notes returns what this recording cannot have, for the header of the log.
func (r *Recorder) Notes() []string { return r.notes }

// IgnoreWrites keeps the writes to an open file, the log, from being recorded.
func (r *Recorder) IgnoreWrites(fd int) error {
	if !r.opts.NoCalls && r.join.notes == 0 {
		return nil // writes make no events
	}
	return r.group.Ignore(fd)
}

// sleep sleeps until something happened, and then for an epoch, or until the
// command ends: then an epoch is due. It returns before that if it is woken,
// and goes on with the same epoch the next time. An idle tree costs no
// wake-ups, but for one after so many milliseconds; never: -1.
func (r *Recorder) sleep(patience int) (due bool, err error) {
	rings := r.tracker.FDs()
	fds := [...]unix.PollFd{
		{Fd: int32(r.wake), Events: unix.POLLIN},
		{Fd: int32(r.ending), Events: unix.POLLIN},
		{Fd: int32(r.mountsFD), Events: unix.POLLPRI},
		{Fd: int32(r.tracker.Alarm()), Events: unix.POLLIN},
		{Fd: int32(r.group.FD()), Events: unix.POLLIN},
		{Fd: int32(rings[0]), Events: unix.POLLIN},
		{Fd: int32(rings[1]), Events: unix.POLLIN},
		{Fd: -1, Events: unix.POLLIN},
	}
	if r.aside != nil {
		fds[7].Fd = int32(r.aside.FD())
	}
	woken, mounts, alarm := &fds[0], &fds[2], &fds[3]
	if r.deadline.IsZero() {
		if err := poll(fds[:], patience); err != nil {
			return false, err
		}
		only := woken.Revents != 0
		for i := range fds[1:] {
			only = only && fds[1+i].Revents == 0
		}
		if only {
			return false, nil
		}
		r.deadline = time.Now().Add(r.pause())
	}
	// Who unmounted a filesystem may want its device, and who mounted one may be
	// gone soon: that does not wait.
	hurry := func() bool {
		r.changed = r.changed || mounts.Revents != 0
		return mounts.Revents != 0 || alarm.Revents != 0
	}
	if !hurry() {
		left := time.Until(r.deadline)
		if patience >= 0 {
			left = min(left, time.Duration(patience)*time.Millisecond)
		}
		if err := poll(fds[:4], int(max(left, 0)/time.Millisecond)); err != nil {
			return false, err
		}
		if !hurry() && woken.Revents != 0 && time.Now().Before(r.deadline) {
			return false, nil
		}
	}
	r.deadline = time.Time{}
	return true, r.tracker.Calm()
}

// epochItems is how many events and calls an epoch should have at most: what is
// pending then fits into the cache and a few megabytes.
const epochItems = 8 << 10

// pause returns how long to gather: a whole epoch, or less if in the last one
// so much happened.
func (r *Recorder) pause() time.Duration {
	last := r.slept
	if r.busy > epochItems {
		r.slept = max(last*epochItems/time.Duration(r.busy), time.Millisecond)
	} else {
		r.slept = min(2*last, r.opts.Epoch)
	}
	return r.slept
}

func poll(fds []unix.PollFd, timeout int) error {
	_, err := unix.Poll(fds, timeout)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}

// busyTime returns what the thread has used of its processor.
func busyTime() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// monotonic returns the time by the clock of the tracker.
func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// epoch takes all that happened until now and hands out what is certain.
func (r *Recorder) epoch() error {
	r.epochs++
	r.join.clock = time.Now().UnixNano() - monotonic()
	if err := r.sight(); err != nil {
		return err
	}
	before, after, sealed, err := r.take()
	if err != nil {
		return err
	}
	if err := r.takeCalls(); err != nil {
		return err
	}
	r.busy = len(r.join.now.events) + len(r.join.now.calls)
	begin := busyTime()
	r.relieve()
	gone, err := r.remount()
	if err != nil {
		return err
	}
	r.join.seal(before, after, sealed)
	if err := r.lookUp(); err != nil {
		return err
	}
	if err := r.leave(gone); err != nil {
		return err
	}
	r.join.release(false)
	r.forgetOverlays()
	r.took = busyTime() - begin
	return errors.Join(r.retire, r.wide)
}

// malformed counts a record that could not be decoded and goes on; any other
// error stays one.
func (r *Recorder) malformed(err error) error {
	if errors.Is(err, ebpf.ErrMalformed) || errors.Is(err, fan.ErrMalformed) {
		r.opts.Log.Error().Err(err).Msg("a record of the kernel is not understood; please report this")
		r.join.faults.Malformed++
		return nil
	}
	return err
}

// take raises a barrier and reads the queue up to it. What lies behind it in
// the same buffer belongs to the next epoch. The process records that precede
// the events are drained before these are looked at.
func (r *Recorder) take() (before, after int64, sealed int, err error) {
	overflows := r.join.faults.Overflow
	before = monotonic()
	mark, err := r.group.Barrier.Raise()
	if err != nil {
		return 0, 0, 0, err
	}
	after = monotonic()
	for found := false; !found; {
		begin := monotonic()
		n, err := r.group.Read(r.buf)
		if err != nil {
			return 0, 0, 0, err
		}
		end := monotonic()
		if err := r.tracker.DrainProcesses(r.join.addProcess); err != nil {
			if err = r.malformed(err); err != nil {
				return 0, 0, 0, err
			}
		}
		if n == 0 {
			// Only an overflow can have taken the mark.
			if r.join.faults.Overflow == overflows {
				return 0, 0, 0, errors.New("a barrier was lost")
			}
			return before, after, len(r.join.now.events), nil
		}
		for b := r.buf[:n]; len(b) > 0; {
			var ev fan.Event
			size, err := fan.Decode(b, &ev)
			if err != nil {
				if err = r.malformed(err); err != nil {
					return 0, 0, 0, err
				}
				break // nothing says where the next one begins
			}
			b = b[size:]
			switch r.group.Barrier.Mark(&ev) {
			case 0:
				r.join.addEvent(&ev, begin, end)
			case mark:
				found, sealed = true, len(r.join.now.events)
				r.join.raised(before)
			}
		}
	}
	return before, after, sealed, nil
}

// takeCalls drains the call records. One may be of a process that was forked
// since the process records were drained.
func (r *Recorder) takeCalls() error {
	var bad error
	err := r.tracker.DrainCalls(func(c *ebpf.Call) {
		if r.join.addCall(c) {
			return
		}
		if err := r.tracker.DrainProcesses(r.join.addProcess); err != nil {
			bad = err
		}
		r.join.addCall(c) // else its fork record was lost, which is counted
	})
	if err = errors.Join(err, bad); err != nil {
		return r.malformed(err)
	}
	return nil
}

// lookUp finds the directories that the join does not know. One more barrier
// after each round brings every change that the lookups may have seen.
func (r *Recorder) lookUp() error {
	const rounds = 100 // each finds a level of parents at least
	for range rounds {
		unknown := r.join.unknown()
		if len(unknown) == 0 {
			return nil
		}
		type found struct {
			links []fan.Link
			dir   fan.Inode
			err   error
		}
		results := make([]found, 0, len(unknown))
		r.group.Filesystems.Hold(true)
		for n, dir := range unknown {
			if n%256 == 255 { // who unmounted it may wait
				r.group.Filesystems.Hold(true)
			}
			r.lookups++
			links, err := r.group.Filesystems.Lookup(dir, r.join.graph.Known)
			results = append(results, found{links, dir, err})
		}
		r.group.Filesystems.Hold(false)
		if _, _, _, err := r.take(); err != nil {
			return err
		}
		for _, f := range results {
			switch {
			case f.err == nil:
				r.join.learn(f.links)
			case errors.Is(f.err, fan.ErrGone):
				r.join.vanished(f.dir)
			default:
				r.opts.Log.Debug().Err(f.err).Msg("lookup")
				r.join.vanished(f.dir)
			}
		}
	}
	return nil
}

// openIn opens a path in which symbolic links begin at a root directory, if
// that is not empty and the path is below it.
func openIn(root, path []byte, resolve uint64) (fd int, ok bool) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
	dir := unix.AT_FDCWD
	if inside, ok := bytes.CutPrefix(path, append(root[:len(root):len(root)], '/')); ok && len(root) > 1 {
		var err error
		if dir, err = unix.Open(string(root), unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return -1, false
		}
		defer unix.Close(dir)
		if how.Resolve&unix.RESOLVE_NO_XDEV == 0 {
			how.Resolve |= unix.RESOLVE_IN_ROOT
		}
		path = append([]byte("./"), inside...)
	}
	fd, err := unix.Openat2(dir, string(path), &how)
	return fd, err == nil
}

// resolveCached is RESOLVE_CACHED of linux/openat2.h (5.12): fail where it would
// wait, or would have to note a time of access.
const resolveCached = 0x20

// hangs tells whether a filesystem answers when somebody else likes.
func hangs(fstype string) bool {
	for _, prefix := range []string{"fuse", "nfs", "cifs", "smb", "9p", "ceph", "afs", "autofs", "virtiofs", "lustre", "glusterfs"} {
		if strings.HasPrefix(fstype, prefix) {
			return true
		}
	}
	return false
}

// lead returns the directory that a path leads to now.
func (r *Recorder) lead(root, path []byte) (fan.Inode, bool) {
	resolve := uint64(0)
	if r.opts.Serve {
		resolve = resolveCached
	}
	fd, ok := openIn(root, path, resolve)
	if !ok && r.opts.Serve {
		// A filesystem that hangs is to keep nobody else: within one that does not.
		m, known := r.table.On(path)
		if !known || hangs(m.Type) {
			return fan.Inode{}, false
		}
		fd, ok = openIn([]byte(m.Mountpoint), path, unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
	}
	if !ok {
		return fan.Inode{}, false
	}
	defer unix.Close(fd)
	i, err := r.group.Filesystems.Opened(fd)
	return i, err == nil && i.FS != 0
}

// Close frees everything.
func (r *Recorder) Close() error {
	var errs []error
	if r.tracker != nil {
		errs = append(errs, r.tracker.Close())
	}
	errs = append(errs, r.unwatch())
	r.containers.Close()
	if child := r.child.Load(); child != nil {
		errs = append(errs, child.Close())
	}
	if r.wake >= 0 {
		errs = append(errs, unix.Close(int(r.wake)))
	}
	return errors.Join(errs...)
}
