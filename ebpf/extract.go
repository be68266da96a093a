package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// BTF as linux/btf.h has it, in the byte order of the machine.
const (
	btfMagic      = 0xeb9f
	btfHeaderSize = 24
	btfTypeSize   = 12 // of what every type begins with: name, info, size or type
	btfKindShift  = 24
	btfKindMask   = 0x1f
	btfVlenMask   = 0xffff
)

type btfKind uint8

const (
	kindInt btfKind = 1 + iota
	kindPtr
	kindArray
	kindStruct
	kindUnion
	kindEnum
	kindFwd
	kindTypedef
	kindVolatile
	kindConst
	kindRestrict
	kindFunc
	kindFuncProto
	kindVar
	kindDatasec
	kindFloat
	kindDeclTag
	kindTypeTag
	kindEnum64
)

// btfKinds tells what a type consists of: what every type begins with, some
// bytes more, and so many for each of its vlen members.
var btfKinds = [...]struct {
	more, member int
	types        []int // where numbers of other types are
	memberNamed  bool  // each member begins with a name,
	memberTyped  int   // and here has the number of a type, if not 0
}{
	kindInt:       {more: 4},
	kindPtr:       {types: []int{8}},
	kindArray:     {more: 12, types: []int{12, 16}},
	kindStruct:    {member: 12, memberNamed: true, memberTyped: 4},
	kindUnion:     {member: 12, memberNamed: true, memberTyped: 4},
	kindEnum:      {member: 8, memberNamed: true},
	kindFwd:       {},
	kindTypedef:   {types: []int{8}},
	kindVolatile:  {types: []int{8}},
	kindConst:     {types: []int{8}},
	kindRestrict:  {types: []int{8}},
	kindFunc:      {types: []int{8}},
	kindFuncProto: {types: []int{8}, member: 8, memberNamed: true, memberTyped: 4},
	kindVar:       {more: 4, types: []int{8}},
	kindDatasec:   {member: 12}, // no type has one in it
	kindFloat:     {},
	kindDeclTag:   {more: 4, types: []int{8}},
	kindTypeTag:   {types: []int{8}},
	kindEnum64:    {member: 12, memberNamed: true},
}

// A typeName names a type: a struct and a function may have one name.
type typeName struct {
	kind btfKind
	name string
}

// extractTypes takes out of the kernel's BTF, and out of that of a module (nil:
// of none), the types that have these names and all that these have in them, as
// BTF of its own. Pointers are only followed to function prototypes; what
// points to anything else that is not in the extract points to void. The
// numbers are those that each name has in the kernel.
//
// The kernel has more than 100,000 types. To decode all of them, and what is
// reached from a task_struct by pointers, takes longer than to load the tracker.
func extractTypes(wanted []typeName, kernel, module []byte) (raw []byte, numbers map[typeName][]uint32, err error) {
	e := extractor{
		numbers: make(map[typeName][]uint32, len(wanted)), begins: map[uint16]bool{},
		kept: map[uint32]uint32{}, strings: []byte{0}, texts: map[string]uint32{"": 0},
	}
	for _, w := range wanted {
		e.numbers[w] = nil
		e.begins[binary.NativeEndian.Uint16([]byte(w.name+"\x00\x00"))] = true
	}
	if err := e.index(kernel); err != nil {
		return nil, nil, fmt.Errorf("the kernel's types: %w", err)
	}
	if module != nil {
		if err := e.index(module); err != nil {
			return nil, nil, fmt.Errorf("the types of a module: %w", err)
		}
	}
	for _, ids := range e.numbers {
		for _, id := range ids {
			e.keep(id)
		}
	}
	if err := e.keepParts(); err != nil {
		return nil, nil, err
	}
	return e.write(), e.numbers, nil
}

type extractor struct {
	numbers map[typeName][]uint32
	begins  map[uint16]bool // first two bytes of the names

	types   []byte   // of the kernel and of the module
	offsets []uint32 // in types, of number 1 and on
	sources []source // of the names

	order   []uint32          // what is kept, by its number in the kernel
	kept    map[uint32]uint32 // its number in the extract
	strings []byte
	texts   map[string]uint32 // where in strings
}

// A source is where the types from a number on have their names.
type source struct {
	from    uint32
	base    int // names before that are those of the kernel
	strings []byte
}

var errBTF = errors.New("not BTF as linux/btf.h has it")

func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// index finds where each type is, and the numbers of those that are wanted.
func (e *extractor) index(raw []byte) error {
	if len(raw) < btfHeaderSize || binary.NativeEndian.Uint16(raw) != btfMagic {
		return errBTF
	}
	section := func(at int) ([]byte, error) {
		begin := uint64(u32(raw[4:])) + uint64(u32(raw[at:]))
		end := begin + uint64(u32(raw[at+4:]))
		if end > uint64(len(raw)) {
			return nil, fmt.Errorf("%w: a section ends at %d of %d bytes", errBTF, end, len(raw))
		}
		return raw[begin:end], nil
	}
	types, err := section(8)
	if err != nil {
		return err
	}
	strings, err := section(16)
	if err != nil {
		return err
	}
	s := source{from: uint32(len(e.offsets)) + 1, strings: strings}
	if len(e.sources) > 0 {
		s.base = len(e.sources[0].strings)
	}
	e.sources = append(e.sources, s)
	if e.types == nil {
		e.types = types // usually the only ones
		e.offsets = make([]uint32, 0, len(types)/24)
	} else {
		e.types = append(e.types[:len(e.types):len(e.types)], types...)
	}
	for at := len(e.types) - len(types); at < len(e.types); {
		size, kind := typeSize(e.types[at:])
		if size == 0 {
			return fmt.Errorf("%w: at byte %d of the types", errBTF, at)
		}
		e.offsets = append(e.offsets, uint32(at))
		name := int(u32(e.types[at:])) - s.base
		if name > 0 && name+2 <= len(strings) && e.begins[binary.NativeEndian.Uint16(strings[name:])] {
			if ids, ok := e.numbers[typeName{kind, string(text(strings[name:]))}]; ok {
				e.numbers[typeName{kind, string(text(strings[name:]))}] = append(ids, uint32(len(e.offsets)))
			}
		}
		at += size
	}
	return nil
}

// typeSize returns the size of the type that b begins with; 0 if it has no
// known kind, or ends behind b.
func typeSize(b []byte) (int, btfKind) {
	if len(b) < btfTypeSize {
		return 0, 0
	}
	info := u32(b[4:])
	kind := btfKind(info >> btfKindShift & btfKindMask)
	if kind == 0 || int(kind) >= len(btfKinds) {
		return 0, 0
	}
	size := btfTypeSize + btfKinds[kind].more + btfKinds[kind].member*int(info&btfVlenMask)
	if size > len(b) {
		return 0, 0
	}
	return size, kind
}

// text returns what b begins with, up to a NUL.
func text(b []byte) []byte {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		return b[:end]
	}
	return b
}

// at returns a type; ok is false if there is none of the number.
func (e *extractor) at(id uint32) (b []byte, kind btfKind, ok bool) {
	if id == 0 || int(id) > len(e.offsets) {
		return nil, 0, false
	}
	b = e.types[e.offsets[id-1]:]
	size, kind := typeSize(b)
	return b[:size], kind, true
}

func (e *extractor) keep(id uint32) {
	if _, ok := e.kept[id]; ok || id == 0 {
		return
	}
	e.order = append(e.order, id)
	e.kept[id] = uint32(len(e.order))
}

// keepParts keeps all that what is kept consists of.
func (e *extractor) keepParts() error {
	for i := 0; i < len(e.order); i++ { // it grows meanwhile
		b, kind, ok := e.at(e.order[i])
		if !ok {
			return fmt.Errorf("%w: there is no type %d", errBTF, e.order[i])
		}
		if kind == kindPtr {
			if _, to, _ := e.at(u32(b[8:])); to != kindFuncProto {
				continue
			}
		}
		references(b, kind, func(at int) { e.keep(u32(b[at:])) })
	}
	return nil
}

// references calls fn with each place of the number of another type.
func references(b []byte, kind btfKind, fn func(at int)) {
	k := &btfKinds[kind]
	for _, at := range k.types {
		fn(at)
	}
	if k.memberTyped == 0 {
		return
	}
	for at := btfTypeSize + k.more; at < len(b); at += k.member {
		fn(at + k.memberTyped)
	}
}

// write returns what is kept as BTF.
func (e *extractor) write() []byte {
	put := binary.NativeEndian.PutUint32
	out := make([]byte, btfHeaderSize, 1<<16)
	for _, id := range e.order {
		old, kind, _ := e.at(id)
		begin := len(out)
		out = append(out, old...)
		b := out[begin:]
		put(b, e.name(id, u32(b)))
		references(b, kind, func(at int) { put(b[at:], e.kept[u32(b[at:])]) })
		if k := &btfKinds[kind]; k.memberNamed {
			for at := btfTypeSize + k.more; at < len(b); at += k.member {
				put(b[at:], e.name(id, u32(b[at:])))
			}
		}
	}
	types := len(out) - btfHeaderSize
	out = append(out, e.strings...)
	binary.NativeEndian.PutUint16(out, btfMagic)
	out[2] = 1 // version
	put(out[4:], btfHeaderSize)
	put(out[12:], uint32(types))
	put(out[16:], uint32(types))
	put(out[20:], uint32(len(e.strings)))
	return out
}

// name returns where in the extract's strings a name of a type is.
func (e *extractor) name(id, at uint32) uint32 {
	s := e.sources[0]
	if last := e.sources[len(e.sources)-1]; id >= last.from && int(at) >= last.base {
		s = last
	}
	if int(at)-s.base >= len(s.strings) {
		return 0
	}
	name := text(s.strings[int(at)-s.base:])
	if at, ok := e.texts[string(name)]; ok {
		return at
	}
	place := uint32(len(e.strings))
	e.texts[string(name)] = place
	e.strings = append(append(e.strings, name...), 0)
	return place
}
