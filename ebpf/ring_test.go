package ebpf

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A fakeRing is a file in memory with the layout of a BPF ring buffer: the
// consumer's page, the producer's, the data. It writes as kernel/bpf/ringbuf.c
// does, and a ring reads it.
type fakeRing struct {
	*ring
	all      []byte // of the file
	consumer *uint64
	producer *uint64
	data     []byte
	head     [ringHeader]byte
}

func newFakeRing(t testing.TB, size int) *fakeRing {
	t.Helper()
	page := os.Getpagesize()
	fd, err := unix.MemfdCreate("ring", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(2*page+size)); err != nil {
		t.Fatal(err)
	}
	mapped := func(off int64, n, prot int) []byte {
		b, err := unix.Mmap(fd, off, n, prot, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := mapped(0, 2*page+size, unix.PROT_READ|unix.PROT_WRITE)
	f := &fakeRing{
		ring:     &ring{fd: fd, size: uint64(size), page: page},
		all:      all,
		consumer: (*uint64)(unsafe.Pointer(&all[0])),
		producer: (*uint64)(unsafe.Pointer(&all[page])),
		data:     all[2*page:],
	}
	f.control = [2][]byte{mapped(0, page, unix.PROT_READ|unix.PROT_WRITE), mapped(int64(page), page, unix.PROT_READ)}
	f.ring.consumer = (*uint64)(unsafe.Pointer(&f.control[0][0]))
	f.ring.producer = (*uint64)(unsafe.Pointer(&f.control[1][0]))
	t.Cleanup(func() {
		f.close()
		unix.Munmap(all)
		unix.Close(fd)
	})
	return f
}

// startAt moves an empty ring to a position.
func (f *fakeRing) startAt(pos uint64) {
	atomic.StoreUint64(f.consumer, pos)
	atomic.StoreUint64(f.producer, pos)
}

// reserve makes a record with the bits of its header and returns where it is,
// or false if there is no room.
func (f *fakeRing) reserve(b []byte, bits uint32) (uint64, bool) {
	pos := atomic.LoadUint64(f.producer)
	next := pos + (ringHeader+uint64(len(b))+7)&^7
	if next-atomic.LoadUint64(f.consumer) > f.size-1 {
		return 0, false
	}
	binary.LittleEndian.PutUint32(f.head[:], uint32(len(b))|bits)
	f.put(pos, f.head[:])
	f.put(pos+ringHeader, b)
	atomic.StoreUint64(f.producer, next)
	return pos, true
}

// put writes at a position, from the end of the ring on to its beginning.
func (f *fakeRing) put(pos uint64, b []byte) {
	n := copy(f.data[pos%f.size:], b)
	copy(f.data, b[n:])
}

// submit ends a record that was reserved busy.
func (f *fakeRing) submit(pos uint64, b []byte, bits uint32) {
	f.put(pos+ringHeader, b)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&f.data[pos%f.size])), uint32(len(b))|bits)
}

func (f *fakeRing) mustReserve(t *testing.T, b []byte, bits uint32) uint64 {
	t.Helper()
	pos, ok := f.reserve(b, bits)
	if !ok {
		t.Fatalf("no room for %d bytes", len(b))
	}
	return pos
}

// drained returns copies of the records.
func (f *fakeRing) drained(t require) [][]byte {
	var got [][]byte
	if err := f.drain(func(b []byte) {
		got = append(got, bytes.Clone(b))
	}); err != nil {
		t.Fatalf("drain: %v", err)
	}
	return got
}

// require is what *testing.T and *rapid.T have in common here.
type require interface {
	Helper()
	Fatalf(string, ...any)
}

func sameRecords(t require, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("record %d of %d has %d bytes, want %d, or others", i, len(want), len(got[i]), len(want[i]))
		}
	}
}

func TestRing(t *testing.T) {
	f := newFakeRing(t, 4096)
	if !f.empty() {
		t.Error("a new ring is not empty")
	}
	sameRecords(t, f.drained(t), nil)
	want := [][]byte{[]byte("1"), {}, []byte("12345678"), []byte("123456789"), bytes.Repeat([]byte("x"), 2000)}
	for _, b := range want {
		f.mustReserve(t, b, 0)
	}
	if f.empty() {
		t.Error("a ring with records is empty")
	}
	sameRecords(t, f.drained(t), want)
	if !f.empty() {
		t.Error("a drained ring is not empty")
	}
	if c, p := atomic.LoadUint64(f.consumer), atomic.LoadUint64(f.producer); c != p {
		t.Errorf("read up to %d, written up to %d", c, p)
	}
	sameRecords(t, f.drained(t), nil)
}

func TestRingDiscarded(t *testing.T) {
	f := newFakeRing(t, 4096)
	f.mustReserve(t, []byte("ticket"), ringDiscard)
	f.mustReserve(t, []byte("a"), 0)
	f.mustReserve(t, bytes.Repeat([]byte("x"), 1000), ringDiscard)
	f.mustReserve(t, []byte("b"), 0)
	f.mustReserve(t, []byte("last"), ringDiscard)
	sameRecords(t, f.drained(t), [][]byte{[]byte("a"), []byte("b")})
	if !f.empty() {
		t.Error("a discarded record is left")
	}
}

// A record across the end of a window, and one across the end of the ring, are
// put together; one that ends there is not.
func TestRingWrap(t *testing.T) {
	for _, size := range []uint64{4096, windowSize, 4 * windowSize} {
		for _, edge := range []uint64{windowSize, size, 5 * size} {
			for before := uint64(ringHeader); before <= 64; before += 8 {
				for n := before - ringHeader; n <= 80; n += 9 {
					f := newFakeRing(t, int(size))
					f.startAt(edge - before)
					want := [][]byte{bytes.Repeat([]byte{1}, int(n)), []byte("behind")}
					for _, b := range want {
						f.mustReserve(t, b, 0)
					}
					sameRecords(t, f.drained(t), want)
				}
			}
		}
	}
	// Longer than a window: the kernel side writes none such, but a ring may.
	f := newFakeRing(t, 4*windowSize)
	f.startAt(4*windowSize - 64)
	want := [][]byte{bytes.Repeat([]byte("0123456789"), windowSize/4), []byte("behind")}
	for _, b := range want {
		f.mustReserve(t, b, 0)
	}
	sameRecords(t, f.drained(t), want)
}

// TestRingModel writes and drains at random.
func TestRingModel(t *testing.T) {
	for name, c := range map[string]struct{ size, longest int }{
		"a page": {4096, 1500}, "a window": {windowSize, 100_000}, "two windows": {2 * windowSize, 500_000},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRing(t, c.size)
			rapid.Check(t, func(t *rapid.T) { ringModel(t, f, c.longest) })
		})
	}
}

func ringModel(t *rapid.T, f *fakeRing, longest int) {
	f.startAt(rapid.Uint64Range(0, 3*f.size).Draw(t, "start") &^ 7)
	var want [][]byte
	t.Repeat(map[string]func(*rapid.T){
		"write": func(t *rapid.T) {
			n := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, longest)).Draw(t, "length")
			b := bytes.Repeat([]byte{byte(len(want) + 1)}, n)
			bits := rapid.SampledFrom([]uint32{0, 0, 0, ringDiscard}).Draw(t, "bits")
			if _, ok := f.reserve(b, bits); ok && bits == 0 {
				want = append(want, b)
			}
		},
		"drain": func(t *rapid.T) {
			sameRecords(t, f.drained(t), want)
			if !f.empty() {
				t.Fatalf("not empty after a drain")
			}
			want = nil
		},
	})
	sameRecords(t, f.drained(t), want)
}

// A record that is still being written is waited for, and those behind it come
// after it.
func TestRingBusy(t *testing.T) {
	f := newFakeRing(t, 4096)
	f.mustReserve(t, []byte("first"), 0)
	busy := f.mustReserve(t, []byte("-----"), ringBusy)
	thrown := f.mustReserve(t, []byte("-----"), ringBusy)
	f.mustReserve(t, []byte("third"), 0)
	reached := make(chan struct{})
	go func() {
		<-reached
		// A drain that did not wait would by now have the dashes.
		f.submit(thrown, []byte("gone!"), ringDiscard)
		f.submit(busy, []byte("later"), 0)
	}()
	var got [][]byte
	if err := f.drain(func(b []byte) {
		if len(got) == 0 {
			close(reached)
		}
		got = append(got, bytes.Clone(b))
	}); err != nil {
		t.Fatal(err)
	}
	sameRecords(t, got, [][]byte{[]byte("first"), []byte("later"), []byte("third")})
}

// What comes while a drain runs is drained, too: the join counts on having all
// that precedes what it has.
func TestRingGrowsWhileDrained(t *testing.T) {
	f := newFakeRing(t, 4096)
	f.mustReserve(t, []byte{0}, 0)
	n := 0
	if err := f.drain(func(b []byte) {
		if b[0] != byte(n) {
			t.Errorf("record %d, want %d", b[0], n)
		}
		if n++; n < 100 {
			f.mustReserve(t, []byte{byte(n)}, 0)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n != 100 {
		t.Errorf("%d records, want 100", n)
	}
}

// During a long drain the writer gets room again: it need not wait for the end.
func TestRingGivesRoomBack(t *testing.T) {
	const records = 3000 // some 300 KiB
	f := newFakeRing(t, windowSize)
	for range records {
		f.mustReserve(t, make([]byte, 100), 0)
	}
	var told uint64
	if err := f.drain(func([]byte) { told = max(told, atomic.LoadUint64(f.consumer)) }); err != nil {
		t.Fatal(err)
	}
	if told == 0 {
		t.Error("no room was given back before the end")
	}
	if told >= atomic.LoadUint64(f.producer) {
		t.Error("room was given back before it was read")
	}
}

func TestRingCannotBeMapped(t *testing.T) {
	f := newFakeRing(t, 4096)
	f.mustReserve(t, []byte("a"), 0)
	fd := f.fd
	f.ring.fd = -1
	if err := f.drain(func([]byte) { t.Error("a record came") }); err == nil {
		t.Error("no error")
	}
	// Nothing is lost by it.
	f.ring.fd = fd
	sameRecords(t, f.drained(t), [][]byte{[]byte("a")})
}

// Tens of thousands of records come in a second.
func TestRingAllocs(t *testing.T) {
	f := newFakeRing(t, 2*windowSize)
	records := 0
	count := func([]byte) { records++ }
	fill := func() {
		for range 500 {
			f.reserve(f.data[:104], 0) // 112 bytes with the header: some lie across the ends
		}
	}
	fill()
	if err := f.drain(count); err != nil {
		t.Fatal(err)
	}
	f.startAt(windowSize - 8*112)
	fill()
	if err := f.drain(count); err != nil { // makes room for a record across an end
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		fill()
		if err := f.drain(count); err != nil {
			t.Fatal(err)
		}
	}); n > 0.01*500 { // a window mapped anew is kept in a table by x/sys/unix
		t.Errorf("%v allocations for 500 records", n)
	}
	if records < 100*500 {
		t.Errorf("%d records", records)
	}
}

func BenchmarkRing(b *testing.B) {
	f := newFakeRing(b, 2*windowSize)
	record := make([]byte, 104)
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	for range b.N {
		if _, ok := f.reserve(record, 0); !ok {
			if err := f.drain(func([]byte) {}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// FuzzRing is TestRingModel with what the fuzzer draws.
func FuzzRing(f *testing.F) {
	ring := newFakeRing(f, 4096)
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { ringModel(t, ring, 1500) }))
}
