package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// encodeProcess and encodeCall write records as tracker.bpf.c does.

func encodeHead(h *Header, kind Kind) []byte {
	le := binary.LittleEndian
	b := make([]byte, headSize)
	le.PutUint64(b, uint64(h.Time))
	le.PutUint64(b[8:], h.ID.Start)
	le.PutUint32(b[16:], h.ID.TGID)
	le.PutUint32(b[20:], h.TID)
	le.PutUint32(b[24:], h.UID)
	b[30], b[31] = byte(kind), byte(h.Flags)
	return b
}

// sized fills in the length, and adds what the ring's class leaves unused.
func sized(b []byte, unused int) []byte {
	binary.LittleEndian.PutUint16(b[28:], uint16(len(b)))
	return append(b, bytes.Repeat([]byte{0xaa}, unused)...)
}

func appendFile(b []byte, f *File) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, f.Ino)
	b = le.AppendUint64(b, f.ParentIno)
	b = le.AppendUint32(b, f.Dev)
	b = le.AppendUint32(b, f.Gen)
	b = le.AppendUint32(b, f.ParentGen)
	b = le.AppendUint16(b, f.Mode)
	b = le.AppendUint16(b, uint16(len(f.Name)))
	return appendWhere(b, f)
}

func appendFork(b []byte, p *Process) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, p.Parent.Start)
	b = le.AppendUint64(b, p.Cgroup)
	b = le.AppendUint32(b, p.Parent.TGID)
	b = le.AppendUint32(b, p.GID)
	b = appendComm(b, p.Comm)
	return le.AppendUint32(le.AppendUint32(b, p.OwnPID), 0)
}

// appendWhere is what file_ref and base_ref end with.
func appendWhere(b []byte, f *File) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(len(f.Walk)))
	walked := uint16(0)
	if f.Walked {
		walked = 1
	}
	b = le.AppendUint16(b, walked)
	return le.AppendUint32(b, f.Subvol)
}

func appendBase(b []byte, f *File) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, f.Ino)
	b = le.AppendUint32(b, f.Dev)
	b = le.AppendUint32(b, f.Gen)
	return appendWhere(b, f)
}

func appendComm(b, comm []byte) []byte {
	return append(append(b, comm...), make([]byte, 16-len(comm))...)
}

func encodeProcess(p *Process, unused int) []byte {
	le := binary.LittleEndian
	b := encodeHead(&p.Header, p.Kind)
	switch p.Kind {
	case Fork:
		b = appendFork(b, p)
	case Exec:
		b = le.AppendUint64(b, p.Cgroup)
		b = le.AppendUint32(b, p.GID)
		b = le.AppendUint16(b, uint16(len(p.Filename)))
		b = le.AppendUint16(b, uint16(len(p.Args)))
		b = appendComm(b, p.Comm)
		b = appendBase(appendFile(appendFile(b, &p.Image), &p.Interp), &p.Base)
		for _, text := range [][]byte{p.Image.Name, p.Image.Walk, p.Interp.Name, p.Interp.Walk, p.Filename, p.Args, p.Base.Walk} {
			b = append(b, text...)
		}
	case Follow:
		b = appendFork(b, p)
		b = le.AppendUint32(le.AppendUint32(b, p.Request), p.MountNS)
		files := []*File{&p.Image, &p.Root, &p.Cwd}
		for _, f := range files {
			b = appendFile(b, f)
		}
		for _, f := range files {
			b = append(append(b, f.Name...), f.Walk...)
		}
	case Exit:
		b = le.AppendUint32(b, p.Status)
		b = append(b, 0, 0, 0, 0)
	}
	return sized(b, unused)
}

func encodeCall(c *Call, unused int) []byte {
	le := binary.LittleEndian
	switch c.Stage {
	case Submitted:
		b := le.AppendUint64(encodeHead(&c.Header, kindSubmit), c.Request)
		b = le.AppendUint32(b, uint32(c.Op))
		b = le.AppendUint32(b, c.Flags)
		b = le.AppendUint16(b, uint16(len(c.Text[0])))
		b = le.AppendUint16(b, uint16(len(c.Text[1])))
		quiet := uint32(0)
		if c.Quiet {
			quiet = 1
		}
		b = appendBase(appendBase(le.AppendUint32(b, quiet), &c.File[0]), &c.File[1])
		for _, part := range [][]byte{c.Text[0], c.File[0].Walk, c.Text[1], c.File[1].Walk} {
			b = append(b, part...)
		}
		return sized(b, unused)
	case Completed:
		b := le.AppendUint64(encodeHead(&c.Header, kindComplete), c.Request)
		b = le.AppendUint32(b, uint32(c.Result))
		b = le.AppendUint32(b, c.Flags)
		b = le.AppendUint64(b, uint64(c.FMode))
		b = appendFile(b, &c.File[0])
		return sized(append(append(b, c.File[0].Name...), c.File[0].Walk...), unused)
	}
	b := encodeHead(&c.Header, kindCall)
	b = le.AppendUint32(b, uint32(c.Op))
	b = le.AppendUint32(b, c.Flags)
	b = le.AppendUint32(b, c.FMode)
	b = le.AppendUint16(b, uint16(len(c.Text[0])))
	b = le.AppendUint16(b, uint16(len(c.Text[1])))
	paths := 1
	switch c.Op {
	case OpOpen, OpChdir, OpChroot, OpRing:
		b = appendFile(b, &c.File[0])
		return sized(append(append(b, c.File[0].Name...), c.File[0].Walk...), unused)
	case OpRename, OpLink, OpSymlink:
		paths = 2
	}
	for i := range paths {
		b = appendBase(b, &c.File[i])
	}
	for i := range paths {
		b = append(b, c.Text[i]...)
	}
	// The second base is found first.
	for i := paths - 1; i >= 0; i-- {
		b = append(b, c.File[i].Walk...)
	}
	return sized(b, unused)
}

var (
	someHeader = Header{Time: 0x0102030405060708, ID: ID{TGID: 0x11121314, Start: 0x2122232425262728}, TID: 0x31323334, UID: 0x41424344, Flags: Alone | Compat}
	someFile   = File{Subvol: 256, Ino: 1 << 40, ParentIno: 1<<41 | 1, Dev: 0x00800001, Gen: 3, ParentGen: 4, Mode: 0o100644, Name: []byte("name")}
	walkedFile = File{Walked: true, Ino: 5, Dev: 6, Gen: 7, Mode: 0o120777, Walk: []byte("c\x00b\x00a\x00")}
	someBase   = File{Subvol: 1 << 31, Ino: 8, Dev: 9, Gen: 10, Mode: modeDir}
	walkedBase = File{Walked: true, Ino: 11, Dev: 12, Gen: 13, Mode: modeDir, Walk: []byte("d\x00")}
)

var processes = map[string]Process{
	"fork": {Header: someHeader, Kind: Fork, Parent: ID{TGID: 9, Start: 1 << 50}, GID: 100, Cgroup: 1 << 51, OwnPID: 1 << 20, Comm: []byte("sh")},
	// The kernel's comm always ends in a NUL; a record need not.
	"follow": {Header: someHeader, Kind: Follow, Parent: ID{TGID: 9, Start: 1 << 50}, GID: 100, Cgroup: 1 << 33, OwnPID: 7, Comm: []byte("sh"), Request: 3, MountNS: 1 << 31,
		Image: File{Ino: 1, Dev: 2, Name: []byte("sh"), ParentIno: 3, Mode: 0o100755, Walk: []byte("sh\x00bin\x00")}, Root: File{Ino: 2, Walked: true}, Cwd: walkedFile},
	"fork, long comm": {Header: someHeader, Kind: Fork, Comm: []byte("sixteen letters!")},
	"exec": {
		Header: someHeader, Kind: Exec, GID: 100, Cgroup: 1 << 51, Comm: []byte("cc"), Image: someFile, Interp: walkedFile, Base: walkedBase,
		Filename: []byte("./cc"), Args: []byte("cc\x00-c\x00\x00"),
	},
	"exec of a static program": {Header: someHeader, Kind: Exec, Comm: []byte("cc"), Image: walkedFile, Base: someBase, Filename: []byte("/cc")},
	"exec with nothing":        {Header: someHeader, Kind: Exec, Base: File{Mode: modeDir}},
	"exit":                     {Header: someHeader, Kind: Exit, Status: 0x8b},
	"free":                     {Header: someHeader, Kind: Free},
	"reuse":                    {Header: someHeader, Kind: Reuse},
}

var calls = map[string]Call{
	"open":         {Header: someHeader, Op: OpOpen, Flags: 0o2001, FMode: FModeWrite | FModeCreated, File: [2]File{someFile}},
	"open, walked": {Header: someHeader, Op: OpOpen, FMode: FModeRead, File: [2]File{walkedFile}},
	"chdir":        {Header: someHeader, Op: OpChdir, File: [2]File{someFile}},
	"ring":         {Header: someHeader, Op: OpRing},
	"chroot":       {Header: someHeader, Op: OpChroot, File: [2]File{walkedFile}},
	"rename": {
		Header: someHeader, Op: OpRename, Flags: 2, File: [2]File{someBase, walkedBase}, Text: [2][]byte{[]byte("from"), []byte("../to")},
	},
	"link":     {Header: someHeader, Op: OpLink, Flags: 0x400, File: [2]File{walkedBase, walkedBase}, Text: [2][]byte{[]byte("a"), []byte("b")}},
	"symlink":  {Header: someHeader, Op: OpSymlink, File: [2]File{{Mode: modeDir}, someBase}, Text: [2][]byte{[]byte("text"), []byte("b")}},
	"unlink":   {Header: someHeader, Op: OpUnlink, File: [2]File{walkedBase}, Text: [2][]byte{[]byte("a")}},
	"rmdir":    {Header: someHeader, Op: OpRmdir, Flags: 0x200, File: [2]File{someBase}, Text: [2][]byte{[]byte("a")}},
	"mkdir":    {Header: someHeader, Op: OpMkdir, File: [2]File{someBase}, Text: [2][]byte{bytes.Repeat([]byte("a"), 4095)}},
	"mknod":    {Header: someHeader, Op: OpMknod, File: [2]File{someBase}, Text: [2][]byte{[]byte("a")}},
	"truncate": {Header: someHeader, Op: OpTruncate, File: [2]File{someBase}, Text: [2][]byte{[]byte("a")}},
	"bind":     {Header: someHeader, Op: OpBind, File: [2]File{someBase}, Text: [2][]byte{[]byte("a")}},
	"mount":    {Header: someHeader, Op: OpMount},
	"no text":  {Header: Header{Flags: Fault}, Op: OpMkdir, File: [2]File{{Mode: modeDir}}},
	"submitted": {
		Header: someHeader, Stage: Submitted, Request: 1<<63 | 5, Op: OpLink, Flags: 0x400, Quiet: true, File: [2]File{walkedBase, someBase},
		Text: [2][]byte{[]byte("a"), []byte("bc")},
	},
	"submitted open": {
		Header: someHeader, Stage: Submitted, Request: 1, Op: OpOpen, Flags: 0o101, File: [2]File{someBase, {Mode: modeDir}}, Text: [2][]byte{[]byte("a")},
	},
	"completed":         {Header: someHeader, Stage: Completed, Request: 1, Flags: 0o101, FMode: FModeWrite, File: [2]File{someFile}},
	"completed, walked": {Header: someHeader, Stage: Completed, Request: 1, Flags: 0o101, FMode: FModeRead, File: [2]File{walkedFile}},
	"failed":            {Header: someHeader, Stage: Completed, Request: 1 << 63, Result: -2},
}

func TestDecodeProcess(t *testing.T) {
	for name, want := range processes {
		t.Run(name, func(t *testing.T) {
			for _, unused := range []int{0, 1, 100} {
				got := Process{Kind: 99, Status: 99, Args: []byte("of the record before"), Image: someFile}
				if err := DecodeProcess(encodeProcess(&want, unused), &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("record (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestDecodeCall(t *testing.T) {
	for name, want := range calls {
		t.Run(name, func(t *testing.T) {
			for _, unused := range []int{0, 1, 100} {
				got := Call{Op: 99, Flags: 99, Text: [2][]byte{[]byte("of the record before"), []byte("x")}, File: [2]File{someFile, someFile}}
				if err := DecodeCall(encodeCall(&want, unused), &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("record (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// with returns a copy of a record in which the bytes at an offset are others.
func with(b []byte, at int, to ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], to)
	return b
}

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }

// shortened returns a record that says to be shorter than it is, by its size.
func shortened(b []byte, to int) []byte { return with(b, 28, u16(uint16(to))...) }

func TestDecodeNonsense(t *testing.T) {
	process := func(name string) []byte { p := processes[name]; return encodeProcess(&p, 0) }
	call := func(name string) []byte { c := calls[name]; return encodeCall(&c, 0) }
	asProcess := func(b []byte) error { return DecodeProcess(b, new(Process)) }
	asCall := func(b []byte) error { return DecodeCall(b, new(Call)) }
	for name, c := range map[string]struct {
		decode func([]byte) error
		b      []byte
		want   string
	}{
		"nothing":                        {asProcess, nil, "no header in 0 bytes"},
		"half a header":                  {asProcess, make([]byte, headSize-1), "no header in 31 bytes"},
		"size 0":                         {asProcess, shortened(process("free"), 0), "size 0 in 32 bytes"},
		"size of half a header":          {asProcess, shortened(process("free"), 31), "size 31"},
		"size beyond the end":            {asProcess, shortened(process("free"), 33), "size 33 in 32 bytes"},
		"kind 0":                         {asProcess, with(process("free"), 30, 0), "kind 0"},
		"a call among processes":         {asProcess, call("open"), "kind 6"},
		"short fork":                     {asProcess, shortened(process("fork"), forkSize-1), "short fork in 79 bytes"},
		"short exec":                     {asProcess, shortened(process("exec"), execSize+2*fileSize+baseSize-1), "short exec in 167 bytes"},
		"exec, cut":                      {asProcess, shortened(process("exec"), len(process("exec"))-1), "lengths beyond its end"},
		"exec, image's name too long":    {asProcess, with(process("exec"), execSize+30, u16(0xffff)...), "lengths beyond its end"},
		"exec, interpreter's path":       {asProcess, with(process("exec"), execSize+fileSize+32, u16(0xffff)...), "lengths beyond its end"},
		"exec, file name too long":       {asProcess, with(process("exec"), 44, u16(14)...), "lengths beyond its end"},
		"exec, arguments too long":       {asProcess, with(process("exec"), 46, u16(10)...), "lengths beyond its end"},
		"short exit":                     {asProcess, shortened(process("exit"), exitSize-1), "short exit in 39 bytes"},
		"a process among calls":          {asCall, process("exec"), "kind 2"},
		"call of nothing":                {asCall, nil, "no header in 0 bytes"},
		"short call":                     {asCall, shortened(call("open"), callSize+baseSize-1), "short call in 71 bytes"},
		"call 0":                         {asCall, with(call("open"), 32, 0), "call 0"},
		"call that is not known":         {asCall, with(call("open"), 32, byte(OpRing)+1), "call 15"},
		"short open":                     {asCall, shortened(call("open"), callSize+fileSize-1), "short call of a file in 87 bytes"},
		"open, cut":                      {asCall, shortened(call("open"), callSize+fileSize+3), "lengths beyond its end"},
		"open, path too long":            {asCall, with(call("open"), callSize+32, u16(1)...), "lengths beyond its end"},
		"short rename":                   {asCall, shortened(call("rename"), callSize+2*baseSize-1), "short call with paths in 95 bytes"},
		"rename, first text too long":    {asCall, with(call("rename"), 44, u16(0xffff)...), "lengths beyond its end"},
		"rename, second text too long":   {asCall, with(call("rename"), 46, u16(0xffff)...), "lengths beyond its end"},
		"rename, first path too long":    {asCall, with(call("rename"), callSize+16, u16(1)...), "lengths beyond its end"},
		"rename, second path too long":   {asCall, with(call("rename"), callSize+baseSize+16, u16(4)...), "lengths beyond its end"},
		"rename, cut":                    {asCall, shortened(call("rename"), len(call("rename"))-1), "lengths beyond its end"},
		"short submission":               {asCall, shortened(call("submitted"), submitSize+2*baseSize-1), "short submission in 103 bytes"},
		"submission of nothing":          {asCall, with(call("submitted"), 40, 0), "request 0"},
		"submission of what none can do": {asCall, with(call("submitted"), 40, byte(OpChdir)), "request 2"},
		"submission, text too long":      {asCall, with(call("submitted"), 48, u16(0xffff)...), "lengths beyond its end"},
		"submission, cut":                {asCall, shortened(call("submitted"), len(call("submitted"))-1), "lengths beyond its end"},
		"short completion":               {asCall, shortened(call("completed"), completeSize+fileSize-1), "short completion in 95 bytes"},
		"completion, cut":                {asCall, shortened(call("completed"), len(call("completed"))-1), "lengths beyond its end"},
		"unlink, a byte beyond the size": {asCall, shortened(call("unlink"), len(call("unlink"))-1), "lengths beyond its end"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.decode(c.b)
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	text := rapid.SliceOfN(rapid.Byte(), 0, 300)
	header := rapid.Custom(func(t *rapid.T) Header {
		return Header{
			Time: rapid.Int64().Draw(t, "time"), ID: ID{TGID: rapid.Uint32().Draw(t, "tgid"), Start: rapid.Uint64().Draw(t, "start")},
			TID: rapid.Uint32().Draw(t, "tid"), UID: rapid.Uint32().Draw(t, "uid"), Flags: Flags(rapid.Uint8().Draw(t, "flags")),
		}
	})
	file := rapid.Custom(func(t *rapid.T) File {
		return File{
			Ino: rapid.Uint64().Draw(t, "ino"), ParentIno: rapid.Uint64().Draw(t, "parent"), Dev: rapid.Uint32().Draw(t, "dev"),
			Gen: rapid.Uint32().Draw(t, "gen"), ParentGen: rapid.Uint32().Draw(t, "parent gen"), Mode: rapid.Uint16().Draw(t, "mode"),
			Name: text.Draw(t, "name"), Walk: text.Draw(t, "walk"),
			Walked: rapid.Bool().Draw(t, "walked"), Subvol: rapid.Uint32().Draw(t, "subvolume"),
		}
	})
	base := rapid.Custom(func(t *rapid.T) File {
		return File{
			Ino: rapid.Uint64().Draw(t, "ino"), Dev: rapid.Uint32().Draw(t, "dev"), Gen: rapid.Uint32().Draw(t, "gen"),
			Mode: modeDir, Walk: text.Draw(t, "walk"),
			Walked: rapid.Bool().Draw(t, "walked"), Subvol: rapid.Uint32().Draw(t, "subvolume"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		p := Process{Header: header.Draw(t, "header"), Kind: Kind(rapid.Uint8Range(uint8(Fork), uint8(Reuse)).Draw(t, "kind"))}
		comm := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 16)
		switch p.Kind {
		case Fork:
			p.Parent, p.OwnPID = header.Draw(t, "parent").ID, rapid.Uint32().Draw(t, "own pid")
			p.GID, p.Cgroup, p.Comm = rapid.Uint32().Draw(t, "gid"), rapid.Uint64().Draw(t, "cgroup"), comm.Draw(t, "comm")
		case Exec:
			p.GID, p.Cgroup, p.Comm = rapid.Uint32().Draw(t, "gid"), rapid.Uint64().Draw(t, "cgroup"), comm.Draw(t, "comm")
			p.Image, p.Interp = file.Draw(t, "image"), file.Draw(t, "interpreter")
			p.Base = base.Draw(t, "base")
			p.Filename, p.Args = text.Draw(t, "filename"), text.Draw(t, "args")
		case Exit:
			p.Status = rapid.Uint32().Draw(t, "status")
		}
		roundTripProcess(t, &p)
	})
	rapid.Check(t, func(t *rapid.T) {
		c := Call{
			Header: header.Draw(t, "header"), Op: Op(rapid.Uint8Range(uint8(OpOpen), uint8(OpRing)).Draw(t, "op")),
			Flags: rapid.Uint32().Draw(t, "flags"), FMode: rapid.Uint32().Draw(t, "fmode"),
		}
		switch rapid.SampledFrom([]Stage{Returned, Returned, Submitted, Completed}).Draw(t, "stage") {
		case Submitted:
			c = Call{
				Header: c.Header, Stage: Submitted, Op: rapid.SampledFrom([]Op{OpOpen, OpUnlink, OpRmdir, OpMkdir, OpRename, OpLink, OpSymlink}).Draw(t, "op"),
				Flags: c.Flags, Request: rapid.Uint64().Draw(t, "request"), Quiet: rapid.Bool().Draw(t, "quiet"),
				File: [2]File{base.Draw(t, "base"), base.Draw(t, "second base")}, Text: [2][]byte{text.Draw(t, "text"), text.Draw(t, "second text")},
			}
			roundTripCall(t, &c)
			return
		case Completed:
			c = Call{
				Header: c.Header, Stage: Completed, Flags: c.Flags, FMode: c.FMode, Request: rapid.Uint64().Draw(t, "request"),
				Result: rapid.Int32().Draw(t, "result"), File: [2]File{file.Draw(t, "file")},
			}
			roundTripCall(t, &c)
			return
		}
		switch c.Op {
		case OpMount, OpRing:
		case OpOpen, OpChdir, OpChroot:
			c.File[0] = file.Draw(t, "file")
		case OpRename, OpLink, OpSymlink:
			c.File[1], c.Text[1] = base.Draw(t, "second base"), text.Draw(t, "second text")
			fallthrough
		default:
			c.File[0], c.Text[0] = base.Draw(t, "base"), text.Draw(t, "text")
		}
		roundTripCall(t, &c)
	})
}

func roundTripProcess(t require, p *Process) {
	t.Helper()
	var again Process
	if err := DecodeProcess(encodeProcess(p, 3), &again); err != nil {
		t.Fatalf("encoded and decoded: %v", err)
	}
	if diff := cmp.Diff(*p, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("encoded and decoded (-before +after):\n%s", diff)
	}
}

func roundTripCall(t require, c *Call) {
	t.Helper()
	var again Call
	if err := DecodeCall(encodeCall(c, 3), &again); err != nil {
		t.Fatalf("encoded and decoded: %v", err)
	}
	if diff := cmp.Diff(*c, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("encoded and decoded (-before +after):\n%s", diff)
	}
}

// inside asserts that a text is a part of the record, with no room to grow.
func inside(t *testing.T, b []byte, what string, p []byte) {
	t.Helper()
	if cap(p) == 0 {
		return
	}
	begin, at := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if at < begin || at+uintptr(cap(p)) > begin+uintptr(len(b)) {
		t.Errorf("the %s is not inside of the record", what)
	}
	if cap(p) != len(p) {
		t.Errorf("the %s has length %d and capacity %d", what, len(p), cap(p))
	}
}

func insideFile(t *testing.T, b []byte, what string, f *File) {
	t.Helper()
	inside(t, b, what+"'s name", f.Name)
	inside(t, b, what+"'s path", f.Walk)
	AppendPath(nil, f.Walk) // of any bytes
}

// FuzzDecodeProcess and FuzzDecodeCall have real records as their seeds, in
// testdata/fuzz, written by go test . -run 'TestCalls|TestProcesses' -update.
func FuzzDecodeProcess(f *testing.F) {
	for _, p := range processes {
		f.Add(encodeProcess(&p, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Process
		if err := DecodeProcess(b, &p); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		inside(t, b, "comm", p.Comm)
		inside(t, b, "file name", p.Filename)
		inside(t, b, "argument area", p.Args)
		insideFile(t, b, "image", &p.Image)
		insideFile(t, b, "interpreter", &p.Interp)
		roundTripProcess(t, &p)
	})
}

func FuzzDecodeCall(f *testing.F) {
	for _, c := range calls {
		f.Add(encodeCall(&c, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Call
		if err := DecodeCall(b, &c); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		for i := range c.File {
			inside(t, b, "text", c.Text[i])
			insideFile(t, b, "file", &c.File[i])
		}
		switch c.Op {
		case OpOpen, OpChdir, OpChroot: // have room for the length of texts, and no texts
			c.Text = [2][]byte{}
		}
		roundTripCall(t, &c)
	})
}

func encodeHeld(h *HeldFile) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(le.AppendUint32(encodeHead(&h.Header, Held), uint32(h.FD)), h.FMode)
	return sized(append(append(appendFile(b, &h.File), h.File.Name...), h.File.Walk...), 0)
}

var helds = map[string]HeldFile{
	"descriptor": {Header: someHeader, FD: 3, FMode: FModeWrite, File: someFile},
	"mapped":     {Header: someHeader, FD: -1, FMode: FModeRead, File: walkedFile},
}

func TestDecodeHeld(t *testing.T) {
	for name, want := range helds {
		got := HeldFile{FD: 99, File: walkedFile}
		if err := DecodeHeld(encodeHeld(&want), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for n := range heldSize + fileSize {
			if err := DecodeHeld(encodeHeld(&want)[:n], &got); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %d bytes of it: %v", name, n, err)
			}
		}
	}
}

func FuzzDecodeHeld(f *testing.F) {
	for _, h := range helds {
		f.Add(encodeHeld(&h))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h HeldFile
		if err := DecodeHeld(b, &h); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		insideFile(t, b, "file", &h.File)
		var again HeldFile
		if err := DecodeHeld(encodeHeld(&h), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

func TestDecodeAllocs(t *testing.T) {
	var p Process
	for name, want := range processes {
		b := encodeProcess(&want, 0)
		if n := testing.AllocsPerRun(100, func() {
			if err := DecodeProcess(b, &p); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	var c Call
	for name, want := range calls {
		b := encodeCall(&want, 0)
		if n := testing.AllocsPerRun(100, func() {
			if err := DecodeCall(b, &c); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestAppendPath(t *testing.T) {
	for _, c := range []struct{ walk, want string }{
		{"", "/"},
		{"a\x00", "/a"},
		{"c\x00b\x00a\x00", "/a/b/c"},
		{"long name\x00\n\xff\x00x\x00", "/x/\n\xff/long name"},
		// What the kernel side does not write.
		{"a", "/"},
		{"\x00", "/"},
		{"\x00\x00", "//"},
	} {
		if got := string(AppendPath([]byte("before:"), []byte(c.walk))); got != "before:"+c.want {
			t.Errorf("%q: %q, want %q", c.walk, got, "before:"+c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[^/\x00]{1,20}`), 1, 20).Draw(t, "names")
		var walk strings.Builder
		for _, name := range slices.Backward(names) {
			fmt.Fprintf(&walk, "%s\x00", name)
		}
		if got, want := string(AppendPath(nil, []byte(walk.String()))), "/"+strings.Join(names, "/"); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
	dst, walk := make([]byte, 0, 64), []byte("c\x00b\x00a\x00")
	if n := testing.AllocsPerRun(100, func() { AppendPath(dst, walk) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMkDev(t *testing.T) {
	for _, c := range []struct{ major, minor, want uint32 }{
		{0, 0, 0}, {8, 1, 0x00800001}, {0, 21, 21}, {254, 0, 0xfe00000}, {4095, 0xfffff, 0xffffffff}, {259, 256, 259<<20 | 256},
	} {
		if got := MkDev(c.major, c.minor); got != c.want {
			t.Errorf("%d:%d: %#x, want %#x", c.major, c.minor, got, c.want)
		}
	}
}

func BenchmarkDecodeCall(b *testing.B) {
	c := calls["open"]
	record := encodeCall(&c, 0)
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		if err := DecodeCall(record, &c); err != nil {
			b.Fatal(err)
		}
	}
}
