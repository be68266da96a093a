package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every error of the decoders.
var ErrMalformed = errors.New("malformed tracker record")

// ID is a process for good: its number, and when it started. execve keeps it,
// from whichever thread it comes.
type ID struct {
	TGID  uint32 // in the initial pid namespace
	Start uint64 // start_boottime of the group leader, ns since boot
}

// Kind says what a process record tells of.
type Kind uint8

// The kinds of process records; enum kind in tracker.bpf.c.
const (
	Fork  Kind = iota + 1
	Exec       // after success; once for a chain of interpreters
	Exit       // the last thread is gone
	Free       // the kernel forgot the process, some time after it was reaped
	Reuse      // the number of a process of the tree was given to another one
	kindCall
	kindSubmit
	kindComplete
	Follow // a process that was there already is followed from now on
	Held   // a file that a process holds: see HeldFile
)

// Flags of a record.
type Flags uint8

// FLAG_ in tracker.bpf.c.
const (
	Alone    Flags = 1 << iota // the process had one thread
	Fault                      // a text could not be read from user memory
	Cut                        // a walked path is not whole
	Script                     // Exec: of a script; the image is its interpreter
	Interp                     // Exec: the image has an ELF interpreter
	Recorder                   // Fork: the parent is the recorder
	Compat                     // a 32-bit system call
	Secure                     // Exec: the program may do more than who executed it could
)

// Op is the operation of a call record.
type Op uint8

// enum op in calls.h.
const (
	OpOpen Op = iota + 1
	OpChdir
	OpChroot
	OpRename
	OpUnlink
	OpRmdir
	OpMkdir
	OpMknod
	OpLink
	OpSymlink
	OpTruncate
	OpBind
	OpMount  // of mounts: made, moved or gone; or the process is in another mount namespace
	OpRing   // the process made a ring of io_uring
	_        // OP_SOCKCALL, which is told as a bind
	OpAbsent // a path was looked for and not found
)

// Bits of Call.FMode; fs.h of the kernel.
const (
	FModeRead    = 1
	FModeWrite   = 2
	FModeCreated = 1 << 20 // this open made the file
)

// File is a file as the kernel held it in the moment of the record.
type File struct {
	Ino       uint64
	ParentIno uint64 // 0 where the name was not asked for
	Dev       uint32 // of the superblock, as MkDev makes it
	Gen       uint32
	ParentGen uint32
	Mode      uint16 // st_mode
	Subvol    uint32 // btrfs: id of the subvolume that the inode numbers are of
	// Walked tells that fanotify did not watch the superblock at that moment.
	Walked bool
	// Name is that of the dentry, Walk the whole path where the superblock is
	// not marked, or mounts have changed (see AppendPath). They point into the record.
	Name, Walk []byte
}

// Header is what every record begins with.
type Header struct {
	Time  int64 // CLOCK_MONOTONIC, ns
	ID    ID
	TID   uint32
	UID   uint32 // real, in the initial user namespace
	Flags Flags
}

// Process is a process record. Which fields count depends on Kind. Its slices
// point into the record.
type Process struct {
	Header
	Kind     Kind
	Parent   ID // Fork: the caller of fork, not always getppid(); Follow: of that moment
	GID      uint32
	Cgroup   uint64 // Fork, Exec, Follow: id in the cgroup2 hierarchy
	OwnPID   uint32 // Fork, Follow: its number in its own pid namespace, the innermost where it has one
	Status   uint32 // Exit: as wait(2) gives it
	Comm     []byte
	Request  uint32 // Follow: as given to Tracker.Follow
	MountNS  uint32 // Follow: inode number of its mount namespace
	Image    File   // Exec, Follow
	Root     File   // Follow: its root directory
	Cwd      File   // Follow: its working directory
	Interp   File   // Exec: the ELF interpreter, zero if there is none
	Base     File   // Exec of a script: the directory that Filename is relative to
	Filename []byte // Exec: the path as given
	Args     []byte // Exec: argv, each with a NUL, up to Options.ArgsMax bytes; of a script always some
}

// Stage tells which part of an operation a call record is of.
type Stage uint8

// A system call is one record. What a ring (io_uring) does is two: when it
// takes the request, and when that is completed.
const (
	Returned Stage = iota
	Submitted
	Completed
)

// Call is a call record: a system call that succeeded, told at its return, or
// a request to a ring; a call that failed is an OpAbsent. Its slices point into the record.
type Call struct {
	Header
	Stage   Stage
	Request uint64 // Submitted, Completed: the same number; it is used again later
	Result  int32  // Completed: as the request's owner sees it, below 0 if it failed
	Quiet   bool   // Submitted: no completion will be told of if it succeeds
	// Not set in a completion, which only says what was opened into a
	// descriptor: in File[0], with Flags and FMode.
	Op    Op
	Flags uint32 // open(2) flags, or those of renameat2, linkat, unlinkat
	FMode uint32 // OpOpen: FMode bits; OpMount: inode number of the process's mount namespace
	// OpOpen, OpChdir, OpChroot: File[0] is what was opened or entered.
	// Else, and of every request, File[i] is the directory that Text[i] is
	// relative to; that of an absolute path is the root directory of the process.
	// Of a descriptor, AT_EMPTY_PATH or /proc/self/fd/N, that linkat or truncate
	// was given for a path, Text[0] is empty, and the Walk of File[0] is the path
	// of the file.
	File [2]File
	// Of OpAbsent File[0] may also be a file, below which nothing can be, or a
	// directory that was removed: then only Walk is there.
	// Text[i] as the caller gave it; of OpSymlink Text[0] is the link's text.
	Text [2][]byte
}

const (
	headSize = 32
	fileSize = 40
	baseSize = 24
	callSize = 48 // and a file, or one base or two
	forkSize = 80
	execSize = 64 // and two files and a base
	exitSize = 40

	followSize = 88 // and three files
	heldSize   = 40 // and a file

	submitSize   = 56       // and two bases
	completeSize = 56       // and a file
	modeDir      = 0o040000 // S_IFDIR: what a path is relative to
)

// MkDev makes the kernel's number of a device out of the two numbers that
// stat(2) and mountinfo give.
func MkDev(major, minor uint32) uint32 { return major<<20 | minor&0xfffff }

func malformed(what string, b []byte) error {
	return fmt.Errorf("%w: %s in %d bytes", ErrMalformed, what, len(b))
}

// recordSize returns the size that the head of a record tells.
func recordSize(b []byte) int { return int(binary.LittleEndian.Uint16(b[28:])) }

// decodeHeader returns the kind and the record cut to its size.
func decodeHeader(b []byte, h *Header) (Kind, []byte, error) {
	if len(b) < headSize {
		return 0, nil, malformed("no header", b)
	}
	le := binary.LittleEndian
	size := recordSize(b)
	if size < headSize || size > len(b) {
		return 0, nil, malformed(fmt.Sprintf("size %d", size), b)
	}
	h.Time = int64(le.Uint64(b))
	h.ID = ID{TGID: le.Uint32(b[16:]), Start: le.Uint64(b[8:])}
	h.TID = le.Uint32(b[20:])
	h.UID = le.Uint32(b[24:])
	h.Flags = Flags(b[31])
	return Kind(b[30]), b[:size], nil
}

// decodeFile reads a file_ref; its name or path is taken from the data by take.
func decodeFile(b []byte, f *File) (nameLen, walkLen int) {
	le := binary.LittleEndian
	*f = File{
		Ino:       le.Uint64(b),
		ParentIno: le.Uint64(b[8:]),
		Dev:       le.Uint32(b[16:]),
		Gen:       le.Uint32(b[20:]),
		ParentGen: le.Uint32(b[24:]),
		Mode:      le.Uint16(b[28:]),
		Walked:    le.Uint16(b[34:]) != 0,
		Subvol:    le.Uint32(b[36:]),
	}
	return int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
}

// data is the variable part of a record, taken piece by piece.
type data struct {
	b   []byte
	bad bool
}

func (d *data) take(n int) []byte {
	if n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *data) file(f *File, nameLen, walkLen int) {
	f.Name = d.take(nameLen)
	f.Walk = d.take(walkLen)
}

// base reads a base_ref, and takes its path.
func (d *data) base(b []byte, f *File) {
	le := binary.LittleEndian
	*f = File{Ino: le.Uint64(b), Dev: le.Uint32(b[8:]), Gen: le.Uint32(b[12:]), Mode: modeDir}
	f.Walked, f.Subvol = le.Uint16(b[18:]) != 0, le.Uint32(b[20:])
	f.Walk = d.take(int(le.Uint16(b[16:])))
}

// decodeFork reads what a record of a fork has, and that of a follow begins with.
func decodeFork(b []byte, p *Process) {
	le := binary.LittleEndian
	p.Parent = ID{TGID: le.Uint32(b[48:]), Start: le.Uint64(b[32:])}
	p.Cgroup = le.Uint64(b[40:])
	p.GID = le.Uint32(b[52:])
	p.Comm = cString(b[56:72])
	p.OwnPID = le.Uint32(b[72:])
}

// DecodeProcess decodes a record of the process ring. Errors wrap ErrMalformed.
func DecodeProcess(b []byte, p *Process) error {
	*p = Process{}
	kind, b, err := decodeHeader(b, &p.Header)
	if err != nil {
		return err
	}
	p.Kind = kind
	le := binary.LittleEndian
	switch kind {
	case Fork:
		if len(b) < forkSize {
			return malformed("short fork", b)
		}
		decodeFork(b, p)
	case Exec:
		if len(b) < execSize+2*fileSize+baseSize {
			return malformed("short exec", b)
		}
		p.Cgroup = le.Uint64(b[32:])
		p.GID = le.Uint32(b[40:])
		p.Comm = cString(b[48:64])
		base := b[execSize+2*fileSize:]
		d := data{b: base[baseSize:]}
		n, w := decodeFile(b[execSize:], &p.Image)
		d.file(&p.Image, n, w)
		n, w = decodeFile(b[execSize+fileSize:], &p.Interp)
		d.file(&p.Interp, n, w)
		p.Filename = d.take(int(le.Uint16(b[44:])))
		p.Args = d.take(int(le.Uint16(b[46:])))
		d.base(base, &p.Base)
		if d.bad {
			return malformed("exec with lengths beyond its end", b)
		}
	case Follow:
		if len(b) < followSize+3*fileSize {
			return malformed("short follow", b)
		}
		decodeFork(b, p)
		p.Request, p.MountNS = le.Uint32(b[80:]), le.Uint32(b[84:])
		d := data{b: b[followSize+3*fileSize:]}
		for i, f := range []*File{&p.Image, &p.Root, &p.Cwd} {
			n, w := decodeFile(b[followSize+i*fileSize:], f)
			d.file(f, n, w)
		}
		if d.bad {
			return malformed("follow with lengths beyond its end", b)
		}
	case Exit:
		if len(b) < exitSize {
			return malformed("short exit", b)
		}
		p.Status = le.Uint32(b[32:])
	case Free, Reuse:
	default:
		return malformed(fmt.Sprintf("kind %d", kind), b)
	}
	return nil
}

// HeldFile is a file that a process holds.
type HeldFile struct {
	Header
	FD    int32  // -1: mapped
	FMode uint32 // FMode bits
	File  File
}

// DecodeHeld decodes what the program tells that is run over all files. Errors
// wrap ErrMalformed.
func DecodeHeld(b []byte, h *HeldFile) error {
	*h = HeldFile{}
	kind, b, err := decodeHeader(b, &h.Header)
	if err != nil {
		return err
	}
	if kind != Held || len(b) < heldSize+fileSize {
		return malformed(fmt.Sprintf("no file that is held but kind %d", kind), b)
	}
	le := binary.LittleEndian
	h.FD, h.FMode = int32(le.Uint32(b[32:])), le.Uint32(b[36:])
	d := data{b: b[heldSize+fileSize:]}
	n, w := decodeFile(b[heldSize:], &h.File)
	d.file(&h.File, n, w)
	if d.bad {
		return malformed("file that is held with lengths beyond its end", b)
	}
	return nil
}

// DecodeCall decodes a record of the call ring. Errors wrap ErrMalformed.
func DecodeCall(b []byte, c *Call) error {
	*c = Call{}
	kind, b, err := decodeHeader(b, &c.Header)
	if err != nil {
		return err
	}
	switch kind {
	case kindCall:
	case kindSubmit:
		return decodeSubmit(b, c)
	case kindComplete:
		return decodeComplete(b, c)
	default:
		return malformed(fmt.Sprintf("kind %d", kind), b)
	}
	if len(b) < callSize+baseSize {
		return malformed("short call", b)
	}
	le := binary.LittleEndian
	c.Op = Op(b[32])
	c.Flags = le.Uint32(b[36:])
	c.FMode = le.Uint32(b[40:])
	switch c.Op {
	case OpOpen, OpChdir, OpChroot, OpRing:
		if len(b) < callSize+fileSize {
			return malformed("short call of a file", b)
		}
		n, w := decodeFile(b[callSize:], &c.File[0])
		d := data{b: b[callSize+fileSize:]}
		d.file(&c.File[0], n, w)
		if d.bad {
			return malformed("call with lengths beyond its end", b)
		}
		return nil
	case OpUnlink, OpRmdir, OpMkdir, OpMknod, OpTruncate, OpBind, OpAbsent:
		return decodePaths(b, c, 1)
	case OpMount:
		return nil
	case OpRename, OpLink, OpSymlink:
		return decodePaths(b, c, 2)
	}
	return malformed(fmt.Sprintf("call %d", c.Op), b)
}

func decodeSubmit(b []byte, c *Call) error {
	if len(b) < submitSize+2*baseSize {
		return malformed("short submission", b)
	}
	le := binary.LittleEndian
	c.Stage = Submitted
	c.Request = le.Uint64(b[32:])
	c.Op = Op(b[40])
	c.Flags = le.Uint32(b[44:])
	c.Quiet = b[52] != 0
	switch c.Op {
	case OpOpen, OpUnlink, OpRmdir, OpMkdir, OpRename, OpLink, OpSymlink:
	default:
		return malformed(fmt.Sprintf("request %d", c.Op), b)
	}
	d := data{b: b[submitSize+2*baseSize:]}
	for i := range c.Text {
		c.Text[i] = d.take(int(le.Uint16(b[48+2*i:])))
		d.base(b[submitSize+i*baseSize:], &c.File[i])
	}
	if d.bad {
		return malformed("submission with lengths beyond its end", b)
	}
	return nil
}

func decodeComplete(b []byte, c *Call) error {
	if len(b) < completeSize+fileSize {
		return malformed("short completion", b)
	}
	le := binary.LittleEndian
	c.Stage = Completed
	c.Request = le.Uint64(b[32:])
	c.Result = int32(le.Uint32(b[40:]))
	c.Flags = le.Uint32(b[44:])
	c.FMode = le.Uint32(b[48:])
	n, w := decodeFile(b[completeSize:], &c.File[0])
	d := data{b: b[completeSize+fileSize:]}
	d.file(&c.File[0], n, w)
	if d.bad {
		return malformed("completion with lengths beyond its end", b)
	}
	return nil
}

// decodePaths reads the one or two paths of a call and what they are relative to.
func decodePaths(b []byte, c *Call, paths int) error {
	le := binary.LittleEndian
	end := callSize + paths*baseSize
	if len(b) < end {
		return malformed("short call with paths", b)
	}
	d := data{b: b[end:]}
	for i := range paths {
		c.Text[i] = d.take(int(le.Uint16(b[44+2*i:])))
	}
	for i := paths - 1; i >= 0; i-- {
		d.base(b[callSize+i*baseSize:], &c.File[i])
	}
	if d.bad {
		return malformed("call with lengths beyond its end", b)
	}
	return nil
}

// AppendPath appends the path that the kernel walked for a File: its Walk has
// the names leaf first, each with a NUL.
func AppendPath(dst, walk []byte) []byte {
	if len(walk) == 0 {
		return append(dst, '/')
	}
	end := len(walk) - 1
	for end >= 0 {
		begin := end
		for begin > 0 && walk[begin-1] != 0 {
			begin--
		}
		dst = append(dst, '/')
		dst = append(dst, walk[begin:end]...)
		end = begin - 1
	}
	return dst
}

func cString(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i:i]
		}
	}
	return b[:len(b):len(b)]
}
