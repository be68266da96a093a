package fanrec

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/proctree"

	"golang.org/x/sys/unix"
)

// A mount table is that of some time: what happened before it was changed has
// paths by the one before. A filesystem that is mounted while recording is watched
// from then on; what was done there before is told by call records, opens exactly
// and names by their texts, and so is what can no longer be looked up: nothing
// keeps a filesystem alive that can be unmounted, as whoever does that may want
// its device or its image.

// mountTables are the mount tables of the recording.
type mountTables struct {
	now    *fan.MountTable   // as of the last record that is out
	next   []tableSince      // what is behind it
	former []*fan.MountTable // newest last
	// Of processes in other mount namespaces, by the number of the namespace.
	others map[uint32]*fan.MountTable
}

type tableSince struct {
	at    int64
	table *fan.MountTable
}

// formerTables bounds how many mount tables are kept for a filesystem that is
// no longer mounted anywhere.
const formerTables = 16

// set adds the table that holds since a time.
func (m *mountTables) set(table *fan.MountTable, at int64) {
	m.next = append(m.next, tableSince{at, table})
}

// earlier tells that the newest table holds since an earlier time than thought.
func (m *mountTables) earlier(at int64) {
	if n := len(m.next); n > 0 && at < m.next[n-1].at && (n == 1 || at > m.next[n-2].at) {
		m.next[n-1].at = at
	}
}

// advance makes the tables those of a time.
func (m *mountTables) advance(at int64) {
	for len(m.next) > 0 && m.next[0].at <= at {
		if len(m.former) == formerTables {
			m.former = slices.Delete(m.former, 0, 1)
		}
		m.former = append(m.former, m.now)
		m.now, m.next = m.next[0].table, m.next[1:]
	}
}

// of returns the table by which a process had its paths at a time.
func (m *mountTables) of(p *proctree.Process, at int64) *fan.MountTable {
	if p.MountNS != 0 {
		if t := m.others[p.MountNS]; t != nil {
			return t
		}
	}
	table := m.now
	for _, n := range m.next {
		if n.at <= at {
			table = n.table
		}
	}
	return table
}

// append appends a path of this mount namespace: of now, or if it has none, of
// the nearest time at which it had.
func (m *mountTables) append(dst []byte, dev uint32, inside []byte) []byte {
	dst, _ = m.appendShown(dst, dev, inside)
	return dst
}

// appendShown does so, too, and reports false if it has none at any time: then the path
// inside the filesystem is appended.
func (m *mountTables) appendShown(dst []byte, dev uint32, inside []byte) ([]byte, bool) {
	n := len(dst)
	dst, ok := m.now.Append(dst, dev, inside)
	for i := 0; !ok && i < len(m.next); i++ {
		dst, ok = m.next[i].table.Append(dst[:n], dev, inside)
	}
	for i := len(m.former) - 1; !ok && i >= 0; i-- {
		dst, ok = m.former[i].Append(dst[:n], dev, inside)
	}
	return dst, ok
}

// steady tells whether a path inside a filesystem is named by one mount now and
// by every table that follows, though there may have been others between.
func (m *mountTables) steady(dev uint32, inside []byte) bool {
	by, ok := m.now.Shows(dev, inside)
	for i := 0; ok && i < len(m.next); i++ {
		next, _ := m.next[i].table.Shows(dev, inside)
		ok = next == by
	}
	return ok
}

// walked tells whether the path that a record walked counts, and not that of
// the mount table: mounts had changed, and the table of its time is not known;
// or the directory could not be looked up.
func (j *joiner) walked(f *file, dir fan.Inode) bool {
	if f.walk.n == 0 {
		return false
	}
	fs := j.fs.Get(dir.FS)
	inside, ok := j.graph.Path(dir)
	return fs == nil || !ok || !j.mounts.steady(fs.Mount.Dev, inside)
}

// remounted returns the path that a text of a call means, if the mount table of
// its time is not known, or the directory of its event. path is what that says.
func (j *joiner) remounted(c *call, side int, dir fan.Inode, path []byte, ok bool) ([]byte, bool) {
	if c == nil || c.over > 0 {
		return path, ok
	}
	if !ok && !j.fs.Kept(dir.FS) { // it could not be looked up in time
		j.rec.Inferred = true
		return j.appendText(path[:0], c, side)
	}
	if c.file[side].self.FS == 0 || !j.walked(&c.file[side], dir) {
		return path, ok
	}
	if ok && c.file[side].self.FS == dir.FS && j.confirms(&c.file[side]) {
		return path, ok
	}
	j.rec.Inferred = true
	if _, known := j.graph.Path(dir); ok && !known {
		return path, ok // where it was seen last
	}
	return j.appendText(path[:0], c, side)
}

// confirms tells whether the directory that a call was relative to had the path
// that the mount table says.
func (j *joiner) confirms(base *file) bool {
	inside, ok := j.graph.Path(base.self)
	if !ok {
		return false
	}
	fs := j.fs.Get(base.self.FS)
	path := j.mounts.append(j.path[2][:0], fs.Mount.Dev, inside)
	n := len(path)
	path = ebpf.AppendPath(path, j.now.get(base.walk))
	j.path[2] = path
	return bytes.Equal(path[:n], path[n:])
}

// glimpse remembers the path of a directory that a record walked: it may be
// unmounted before it can be looked up.
func (j *joiner) glimpse(f *file) {
	if f.walk.n == 0 || f.self.FS == 0 {
		return
	}
	dir, path := f.self, ebpf.AppendPath(nil, j.now.get(f.walk))
	if f.mode&unix.S_IFMT != unix.S_IFDIR {
		dir = f.parent
		path = path[:max(bytes.LastIndexByte(path, '/'), 1)]
	}
	if len(j.glimpses) > maxGlimpses || j.glimpses == nil {
		j.glimpses = map[fan.Inode]string{}
	}
	j.glimpses[dir] = string(path)
}

// maxGlimpses bounds how many are kept.
const maxGlimpses = 1 << 14

// enter follows which processes are in other mount namespaces: in the order of
// time, through calls that enter one and through forks.
func (j *joiner) enter(calls []call) {
	if !j.foreign {
		return
	}
	k := 0
	forks := func(until int64) {
		for ; k < len(j.now.procs) && j.now.procs[k].Time <= until; k++ {
			// Once: while the fork waits to be handed out, the child may enter another.
			if p := &j.now.procs[k]; p.kind == ebpf.Fork && p.parent != nil && !p.placed {
				p.proc.MountNS, p.placed = p.parent.MountNS, true
			}
		}
	}
	for i := range calls {
		c := &calls[i]
		if c.op != ebpf.OpMount || c.ready {
			continue
		}
		forks(c.Time)
		if c.proc.MountNS = c.fmode; c.fmode == j.mountNS {
			c.proc.MountNS = 0
		}
	}
	forks(j.after)
}

// mounted notes that a call changed mounts, or the mount namespace.
func (j *joiner) mounted(p *proctree.Process, ns uint32, at int64) {
	if ns == j.mountNS || ns == 0 {
		j.remounts = append(j.remounts, at)
		return
	}
	j.foreign = true
	if j.strangers == nil {
		j.strangers = map[uint32]*stranger{}
	}
	j.strangers[ns] = &stranger{p, strangerTries}
}

// mountNamespace returns the inode number of the mount namespace of a process.
func mountNamespace(pid string) uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/"+pid+"/ns/mnt", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

// watchMounts begins to notice changes of the mount table. It must come before
// the table is read.
func (r *Recorder) watchMounts() error {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the mount table: %w", err)
	}
	r.mountsFD = fd
	r.remountedNow()
	return nil
}

// remountedNow tells whether the mount table changed since it was asked before.
func (r *Recorder) remountedNow() bool {
	p := []unix.PollFd{{Fd: int32(r.mountsFD), Events: unix.POLLPRI}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// remount takes notice of what was mounted and unmounted until now. It returns
// the filesystems that are gone.
func (r *Recorder) remount() ([]uint32, error) {
	j := r.join
	r.leaveNamespaces()
	if len(j.strangers) > 0 {
		if err := r.meet(); err != nil {
			return nil, err
		}
	}
	changed := r.remountedNow() || r.changed
	r.changed = false
	if !changed && len(j.remounts) == 0 {
		return nil, nil
	}
	at := monotonic()
	count, err := r.tracker.Remounts()
	if err != nil {
		return nil, err
	}
	if n := len(j.remounts); n > 0 {
		at = j.remounts[n-1]
	}
	j.remounts = j.remounts[:0]
	mounts, err := fan.Mounts()
	if err != nil {
		return nil, err
	}
	if err := r.tracker.SawRemounts(count); err != nil {
		return nil, err
	}
	if slices.Equal(mounts, r.mounts) {
		j.mounts.earlier(at) // the table was read before the record of the call
		return nil, nil
	}
	r.mounts = mounts
	r.table = fan.NewMountTable(mounts)
	j.mounts.set(r.table, at)
	r.doom(mounts, at)
	if _, err := r.overlaysOf("", 0, mounts); err != nil {
		return nil, err
	}
	var gone []uint32
	for _, index := range r.group.Filesystems.All() {
		dev := r.group.Filesystems.Get(index).Mount.Dev
		if !slices.ContainsFunc(mounts, func(m fan.Mount) bool { return m.Dev == dev }) {
			gone = append(gone, index)
		}
	}
	return gone, r.watchLate()
}

// watchLate watches what was mounted meanwhile.
func (r *Recorder) watchLate() error {
	before := r.asides
	r.asides = map[uint32]bool{}
	late := func(m fan.Mount) {
		if r.opts.NoCalls {
			r.missing = append(r.missing, fmt.Sprintf("%s (%s) was mounted while recording: what was done there at once is not known", m.Mountpoint, m.Type))
		}
	}
	for _, shown := range r.table.Superblocks() {
		m := shown[0]
		if fan.Pseudo(m.Type) {
			if r.watchAside(m) && !before[m.Dev] {
				late(m)
			}
			continue
		}
		if m.Type == "overlay" && !r.opts.NoCalls {
			continue
		}
		if index := r.group.Filesystems.ByDev(m.Dev); index != 0 {
			if r.group.Filesystems.Kept(index) || r.group.WatchAgain(index, m) {
				continue
			}
			// The number of its device is that of another one now.
			if err := r.leave([]uint32{index}); err != nil {
				return err
			}
		}
		// In this order: the mark is what tells the tracker that there are events.
		if err := r.tracker.Mark(m.Dev, howMarked(m.Type)|ebpf.WalkToo); err != nil {
			return err
		}
		index, err := r.group.WatchLoosely(m)
		if err == nil && r.unfit(r.group.Filesystems.Get(index)) != "" {
			err = r.group.Unwatch(index)
			index = 0
		}
		if err != nil {
			r.opts.Log.Debug().Err(err).Msg("a new mount is not watched")
			if r.watchAside(m) && !before[m.Dev] {
				late(m)
			}
		}
		if err != nil || index == 0 {
			if err := r.tracker.Unmark(m.Dev); err != nil {
				return err
			}
			continue
		}
		r.root(index, r.join.graph)
		late(m)
	}
	return nil
}

// leave stops watching filesystems that are no longer mounted: what keeps them
// is closed.
func (r *Recorder) leave(gone []uint32) error {
	for _, index := range gone {
		dev := r.group.Filesystems.Get(index).Mount.Dev
		// In this order: while there is a mark there are events.
		if err := r.group.Unwatch(index); err != nil {
			r.opts.Log.Debug().Err(err).Msg("unmounted")
		}
		if err := r.tracker.Unmark(dev); err != nil {
			return err
		}
	}
	return nil
}

// stranger is a process that changed mounts in another mount namespace, of which no
// table is known yet. It may be that of one of its threads, which is gone: then nobody
// is ever found in it.
type stranger struct {
	proc  *proctree.Process
	tries int // epochs in which it is still looked for
}

// strangerTries is a second or two of epochs.
const strangerTries = 40

// meet reads the mount tables of processes that changed theirs in a mount
// namespace of their own.
func (r *Recorder) meet() error {
	j := r.join
	for ns, s := range j.strangers {
		p := s.proc
		// The one that called mount(2) may be gone: its parent is there as well. Or it
		// entered the namespace of a container, left a child there, and went.
		found := false
		for q := p; q != nil && !found; q = j.tree.Find(q.Parent) {
			var err error
			if found, err = r.meetIn(ns, q); err != nil {
				return err
			}
		}
		if found || j.mounts.others[ns] != nil {
			delete(j.strangers, ns)
			continue
		}
		for _, q := range j.tree.Below(p) {
			found, err := r.meetIn(ns, q)
			if err != nil {
				return err
			}
			if found {
				break
			}
		}
		// The record of that child may still come.
		if s.tries--; s.tries == 0 || j.mounts.others[ns] != nil || j.tree.Find(p.ID) == nil {
			delete(j.strangers, ns)
		}
	}
	return nil
}

// meetIn reads the mount table of a process, if it is in a namespace. It reports
// whether all that is in the table could be looked into.
func (r *Recorder) meetIn(ns uint32, p *proctree.Process) (bool, error) {
	j := r.join
	pid := int(p.ID.TGID)
	if mountNamespace(strconv.Itoa(pid)) != ns {
		return false, nil
	}
	mounts, err := fan.MountsOf(pid)
	if err != nil {
		return false, nil // it has just gone
	}
	if j.mounts.others == nil || len(j.mounts.others) > maxNamespaces {
		j.mounts.others = map[uint32]*fan.MountTable{}
	}
	j.mounts.others[ns] = fan.NewMountTable(mounts)
	return r.overlaysOf(fmt.Sprintf("/proc/%d/root", pid), ns, mounts)
}

// maxNamespaces bounds how many mount tables of other namespaces are kept.
const maxNamespaces = 1000

// shownOverlay is an overlay in a mount table.
type shownOverlay struct {
	options string
	ns      uint32 // the mount namespace, 0 for the recorder's
}

// doomed is the device of an overlay that was gone at a time.
type doomed struct {
	dev uint32
	at  int64
}

// doom notes which overlays are no longer mounted: the number of their device
// will be another filesystem's.
func (r *Recorder) doom(mounts []fan.Mount, at int64) {
	for dev, o := range r.overlay {
		here := slices.IndexFunc(mounts, func(m fan.Mount) bool { return m.Dev == dev })
		if here < 0 && o.ns == 0 || here >= 0 && mounts[here].Type != "overlay" {
			r.doomed = append(r.doomed, doomed{dev, at})
			delete(r.overlay, dev)
		}
	}
}

// leaveNamespaces forgets what was mounted in namespaces in which no process of
// a tree is any more.
func (r *Recorder) leaveNamespaces() {
	others := r.join.mounts.others
	if len(others) == 0 {
		return
	}
	used := map[uint32]bool{}
	r.join.tree.All(func(p *proctree.Process) { used[p.MountNS] = true })
	for i := range r.join.now.calls { // who enters one by a call that is still to be looked at
		if c := &r.join.now.calls[i]; c.op == ebpf.OpMount {
			used[c.fmode] = true
		}
	}
	for ns := range others {
		if used[ns] || r.join.strangers[ns] != nil {
			continue
		}
		delete(others, ns)
		for dev, o := range r.overlay {
			if o.ns == ns {
				r.doomed = append(r.doomed, doomed{dev, 0})
				delete(r.overlay, dev)
			}
		}
	}
}

// forgetOverlays forgets overlays of which everything is handed out.
func (r *Recorder) forgetOverlays() {
	r.doomed = slices.DeleteFunc(r.doomed, func(d doomed) bool {
		if min(r.join.stop, r.join.gates.least) <= d.at {
			return false
		}
		if _, again := r.overlay[d.dev]; !again {
			r.join.overlays.forget(d.dev)
		}
		return true
	})
}

// overlaysOf learns of the overlays in a mount table that are not known; root is
// where its paths begin. It reports whether all of them could be looked into.
func (r *Recorder) overlaysOf(root string, ns uint32, mounts []fan.Mount) (all bool, err error) {
	all = true
	if r.opts.NoCalls {
		return all, nil
	}
	for _, m := range mounts {
		if m.Type != "overlay" {
			continue
		}
		// The number of the device may have been that of another before.
		if known := r.overlay[m.Dev]; known.options == m.Options {
			continue
		}
		j := r.join
		j.opened = j.opened[:0]
		if err := r.group.Reveal(root, m); err != nil {
			r.opts.Log.Debug().Err(err).Msg("an overlay")
			all = false
			continue
		}
		if _, _, _, err := r.take(); err != nil {
			return all, err
		}
		r.overlay[m.Dev] = shownOverlay{m.Options, ns}
		r.addOverlay(r.group.Layers(root, m, r.table, j.opened), m)
	}
	return all, nil
}

// addOverlay tells the join of an overlay.
func (r *Recorder) addOverlay(o *fan.Overlay, m fan.Mount) {
	for i, layer := range o.Layers() {
		if r.group.Hidden(layer) {
			r.join.graph.AddRoot(layer, fmt.Sprintf("/layer %d of %s", i, m.Mountpoint))
		}
	}
	r.join.overlays.add(o)
}
