package fanrec

import (
	"encoding/binary"
	"fmt"
	"testing"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/output"

	"golang.org/x/sys/unix"
)

// An epoch of a build again and again: one process that opens, makes, renames
// and removes files. Events and calls come in, records go out; nothing is
// allocated for any of them.
func BenchmarkJoin(b *testing.B) {
	const files = 500
	mount := fan.Mount{Dev: simDev, Root: "/", Mountpoint: "/", Type: "ext4"}
	fs := fan.NewFilesystems()
	graph := fan.NewGraph(1 << 16)
	root := fs.Define(mount, simFSID, 2, 0)
	graph.AddRoot(root, "")
	dir := fan.Inode{Ino: 3, FS: root.FS}
	graph.Set(dir, root, []byte("src"))
	j := newJoiner(fs, graph, fan.NewMountTable([]fan.Mount{mount}))
	records := 0
	j.emit = func(*output.Record) { records++ }
	id := ebpf.ID{TGID: 100, Start: 1}
	j.addProcess(&ebpf.Process{Header: ebpf.Header{Time: 1, ID: id, TID: 100, Flags: ebpf.Alone | ebpf.Recorder}, Kind: ebpf.Fork})

	handle := func(ino uint64) fan.Handle {
		h := make([]byte, 8)
		binary.NativeEndian.PutUint32(h, uint32(ino))
		return fan.Handle{FSID: simFSID, Type: 1, Bytes: h}
	}
	var events []fan.Event
	var calls []ebpf.Call
	for i := range files {
		old, name, ino := fmt.Appendf(nil, "file%d.c", i), fmt.Appendf(nil, "file%d.o", i), uint64(10+i)
		events = append(events,
			fan.Event{Mask: unix.FAN_CREATE | unix.FAN_OPEN, PID: 100, Dir: handle(3), Name: old, Target: handle(ino)},
			fan.Event{Mask: unix.FAN_RENAME, PID: 100, Dir: handle(3), Name: old, NewDir: handle(3), NewName: name, Target: handle(ino)},
			fan.Event{Mask: unix.FAN_DELETE, PID: 100, Dir: handle(3), Name: name, Target: handle(ino)})
		head := ebpf.Header{ID: id, TID: 100, Flags: ebpf.Alone}
		base := ebpf.File{Ino: 3, Dev: simDev, Mode: unix.S_IFDIR}
		calls = append(calls,
			ebpf.Call{Header: head, Op: ebpf.OpOpen, FMode: ebpf.FModeWrite | ebpf.FModeCreated,
				File: [2]ebpf.File{{Ino: ino, ParentIno: 3, Dev: simDev, Mode: unix.S_IFREG, Name: old}}},
			ebpf.Call{Header: head, Op: ebpf.OpRename, File: [2]ebpf.File{base, base}, Text: [2][]byte{old, name}},
			ebpf.Call{Header: head, Op: ebpf.OpUnlink, File: [2]ebpf.File{base}, Text: [2][]byte{name}})
	}
	now, gen := int64(1000), uint32(0)
	epoch := func() {
		before := now
		gen++ // the inode numbers are used again, as ext4 does
		for i := range events {
			binary.NativeEndian.PutUint32(events[i].Target.Bytes[4:], gen)
			calls[i/3*3].File[0].Gen = gen
		}
		for i := range calls {
			now += 10
			calls[i].Time = now
		}
		begin := now + 10
		now += 30
		j.raised(before)
		for i := range events {
			j.addEvent(&events[i], begin, now)
		}
		for i := range calls {
			j.addCall(&calls[i])
		}
		j.seal(now, now+1, len(j.now.events))
		j.release(false)
		now += 10
	}
	for range 3 {
		epoch() // until the slices have their size
	}
	records = 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		epoch()
	}
	b.StopTimer()
	if want := b.N * len(calls); records != want {
		b.Fatalf("%d records, want %d", records, want)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
