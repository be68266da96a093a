package ebpf

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The header of a ring record; include/uapi/linux/bpf.h.
const (
	ringHeader  = 8
	ringBusy    = 1 << 31
	ringDiscard = 1 << 30
)

// windowSize is how much of a ring is mapped at a time. A whole ring mapped
// would count as resident memory, and map slowly, however little of it is used.
const windowSize = 1 << 20

// ring reads a BPF ring buffer. Reading is only copying: there is no system
// call but two for every windowSize bytes.
type ring struct {
	fd       int
	size     uint64
	page     int
	consumer *uint64 // shared with the kernel
	producer *uint64
	control  [2][]byte
	window   []byte
	at       uint64 // offset of the window in the ring
	split    []byte // a record that lies across the end of a window
}

func newRing(m *ebpf.Map) (*ring, error) {
	r := &ring{fd: m.FD(), size: uint64(m.MaxEntries()), page: os.Getpagesize()}
	var err error
	if r.control[0], err = unix.Mmap(r.fd, 0, r.page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map the consumer page of a ring: %w", err)
	}
	if r.control[1], err = unix.Mmap(r.fd, int64(r.page), r.page, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		r.close()
		return nil, fmt.Errorf("map the producer page of a ring: %w", err)
	}
	r.consumer = (*uint64)(unsafe.Pointer(&r.control[0][0]))
	r.producer = (*uint64)(unsafe.Pointer(&r.control[1][0]))
	return r, nil
}

func (r *ring) close() {
	for _, b := range [][]byte{r.control[0], r.control[1], r.window} {
		if b != nil {
			unix.Munmap(b)
		}
	}
	r.control, r.window = [2][]byte{}, nil
}

// empty tells whether all that was reserved has been read.
func (r *ring) empty() bool {
	return atomic.LoadUint64(r.consumer) >= atomic.LoadUint64(r.producer)
}

// used returns how many bytes were reserved and not read.
func (r *ring) used() int {
	read := atomic.LoadUint64(r.consumer)
	return int(atomic.LoadUint64(r.producer) - read)
}

// drain hands every record that was reserved before the call to fn, and those
// that came meanwhile. A record still being written is waited for: its writer
// runs with preemption off. The bytes are valid until fn returns.
func (r *ring) drain(fn func([]byte)) error {
	pos := atomic.LoadUint64(r.consumer)
	told := pos
	for pos < atomic.LoadUint64(r.producer) {
		head, err := r.bytes(pos, ringHeader)
		if err != nil {
			return err
		}
		length := (*uint32)(unsafe.Pointer(&head[0]))
		n := atomic.LoadUint32(length)
		for n&ringBusy != 0 {
			runtime.Gosched()
			n = atomic.LoadUint32(length)
		}
		size := uint64(n &^ (ringBusy | ringDiscard))
		if n&ringDiscard == 0 {
			b, err := r.bytes(pos+ringHeader, size)
			if err != nil {
				return err
			}
			fn(b)
		}
		pos += (ringHeader + size + 7) &^ 7
		// Let the kernel have the room back now and then, not at each record:
		// the page is shared with the writers.
		if pos-told > 64<<10 {
			atomic.StoreUint64(r.consumer, pos)
			told = pos
		}
	}
	atomic.StoreUint64(r.consumer, pos)
	return nil
}

// bytes returns n bytes at a position, from the window if they lie within one.
func (r *ring) bytes(pos, n uint64) ([]byte, error) {
	off := pos % r.size
	if err := r.show(off); err != nil {
		return nil, err
	}
	if begin := off - r.at; begin+n <= uint64(len(r.window)) {
		return r.window[begin : begin+n : begin+n], nil
	}
	r.split = r.split[:0]
	for n > 0 {
		if err := r.show(off); err != nil {
			return nil, err
		}
		part := r.window[off-r.at:]
		if uint64(len(part)) > n {
			part = part[:n]
		}
		r.split = append(r.split, part...)
		n -= uint64(len(part))
		off = (off + uint64(len(part))) % r.size
	}
	return r.split, nil
}

// show maps the window that holds an offset.
func (r *ring) show(off uint64) error {
	if r.window != nil && off >= r.at && off < r.at+uint64(len(r.window)) {
		return nil
	}
	if r.window != nil {
		unix.Munmap(r.window)
		r.window = nil
	}
	size := min(windowSize, r.size)
	at := off / size * size
	w, err := unix.Mmap(r.fd, int64(2*uint64(r.page)+at), int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map a window of a ring: %w", err)
	}
	r.window, r.at = w, at
	return nil
}
