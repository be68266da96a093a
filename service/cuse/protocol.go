package cuse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// opcode is enum fuse_opcode. Those that a character device does not get have
// no name here.
type opcode uint32

const (
	opForget      opcode = 2
	opOpen        opcode = 14
	opRead        opcode = 15
	opWrite       opcode = 16
	opRelease     opcode = 18
	opInterrupt   opcode = 36
	opIoctl       opcode = 39
	opNotifyReply opcode = 41
	opBatchForget opcode = 42
	opInit        opcode = 4096 // CUSE_INIT
)

// silent: the kernel waits for no reply, and takes none.
func (o opcode) silent() bool {
	return o == opForget || o == opInterrupt || o == opNotifyReply || o == opBatchForget
}

// The protocol's version. What changed between minMinor, when CUSE came, and
// ours is not used here.
const (
	major    = 7
	minor    = 38
	minMinor = 11
)

// Sizes of structs of linux/fuse.h.
const (
	inHeaderSize  = 40
	outHeaderSize = 16
	initInSize    = 16
	openInSize    = 8
	releaseInSize = 24
	ioctlInSize   = 32
	interruptSize = 8
)

// argsSize is how many bytes of arguments are looked at.
var argsSize = map[opcode]int{
	opInit: initInSize, opOpen: openInSize, opRelease: releaseInSize, opIoctl: ioctlInSize, opInterrupt: interruptSize,
}

const (
	// bufferSize is more than any request needs: the data of an ioctl are at most
	// 16 KiB (_IOC_SIZEBITS), those of a write maxTransfer. The kernel asks for
	// 8 KiB at least.
	bufferSize = 32 << 10
	// maxTransfer is the least that the kernel allows for a read and a write,
	// which are refused anyhow.
	maxTransfer = 4096
	// maxInfo is CUSE_INIT_INFO_MAX.
	maxInfo = 4096
)

// request is a struct fuse_in_header and what follows it.
type request struct {
	op     opcode
	unique uint64
	by     Caller
	handle uint64 // of the open file: release, ioctl

	target  uint64 // interrupt: unique of the request that is interrupted
	command uint32 // ioctl
	data    []byte // ioctl: what the caller hands in. Part of the packet
	major   uint32 // init
	minor   uint32 // init
}

var errShort = errors.New("packet is too short")

// decode takes a packet apart. Where ok, the header was read, and the sender
// can be told of the error.
func decode(packet []byte) (r request, ok bool, err error) {
	if len(packet) < inHeaderSize {
		return r, false, fmt.Errorf("header of a request: %w: %d bytes", errShort, len(packet))
	}
	n := binary.NativeEndian
	length := n.Uint32(packet)
	r.op = opcode(n.Uint32(packet[4:]))
	r.unique = n.Uint64(packet[8:])
	// Not the node, which a device does not have.
	r.by = Caller{UID: n.Uint32(packet[24:]), GID: n.Uint32(packet[28:]), Thread: int(n.Uint32(packet[32:]))}
	// Extensions of the request are behind its arguments, in units of 8 bytes.
	end := int64(length) - 8*int64(n.Uint16(packet[36:]))
	if int64(length) != int64(len(packet)) || end < inHeaderSize {
		return r, true, fmt.Errorf("request %d: says %d bytes and has %d: %w", r.op, length, len(packet), errShort)
	}
	args := packet[inHeaderSize:end]
	if len(args) < argsSize[r.op] {
		return r, true, fmt.Errorf("request %d: %d bytes of arguments: %w", r.op, len(args), errShort)
	}
	switch r.op {
	case opInit:
		r.major, r.minor = n.Uint32(args), n.Uint32(args[4:])
	case opRelease:
		r.handle = n.Uint64(args)
	case opInterrupt:
		r.target = n.Uint64(args)
	case opIoctl:
		r.handle, r.command = n.Uint64(args), n.Uint32(args[12:])
		size := uint64(n.Uint32(args[24:]))
		if rest := uint64(len(args) - ioctlInSize); size > rest {
			return r, true, fmt.Errorf("ioctl with %d bytes of data, has %d: %w", size, rest, errShort)
		}
		r.data = args[ioctlInSize:][:size]
	}
	return r, true, nil
}

// reply encodes a struct fuse_out_header and what follows it, which is nothing
// if there is an error.
func reply(unique uint64, errno unix.Errno, body ...any) []byte {
	var b bytes.Buffer
	b.Write(make([]byte, outHeaderSize))
	if errno == 0 {
		for _, v := range body {
			binary.Write(&b, binary.NativeEndian, v)
		}
	}
	packet := b.Bytes()
	n := binary.NativeEndian
	n.PutUint32(packet, uint32(len(packet)))
	n.PutUint32(packet[4:], uint32(-int32(errno)))
	n.PutUint64(packet[8:], unique)
	return packet
}

// initOut is struct cuse_init_out. No flags: with CUSE_UNRESTRICTED_IOCTL the
// kernel would not copy an ioctl's data by the number of the ioctl.
type initOut struct {
	Major, Minor, _, Flags uint32
	MaxRead, MaxWrite      uint32
	DevMajor, DevMinor     uint32 // 0: the kernel chooses
	_                      [10]uint32
}

// openOut is struct fuse_open_out.
type openOut struct {
	Handle   uint64
	Flags, _ uint32
}

// ioctlOut is struct fuse_ioctl_out.
type ioctlOut struct {
	Result          int32
	Flags           uint32
	InIovs, OutIovs uint32
}

// replyInit answers CUSE_INIT, which makes the device.
func replyInit(r request, name string) ([]byte, error) {
	if r.op != opInit || r.major != major || r.minor < minMinor {
		return nil, fmt.Errorf("%w: the kernel begins with request %d of protocol %d.%d, want %d of %d.%d or later",
			ErrNotSupported, r.op, r.major, r.minor, opInit, major, minMinor)
	}
	info := "DEVNAME=" + name + "\x00"
	if name == "" || strings.ContainsAny(name, "\x00/") || len(info) > maxInfo {
		return nil, fmt.Errorf("%q cannot be the name of a device", name)
	}
	return reply(r.unique, 0, initOut{Major: major, Minor: min(r.minor, minor), MaxRead: maxTransfer, MaxWrite: maxTransfer}, []byte(info)), nil
}
