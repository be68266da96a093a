package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

func kernelBTF(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no BTF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// members are the members of a structure and of those in it, as what they are
// and where. Pointers are only pointers: an extract does not have all that they
// point to.
func members(t btf.Type, at btf.Bits, path string, into map[string]string) {
	switch u := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		composite(u.Members, at, path, into)
	case *btf.Union:
		composite(u.Members, at, path, into)
	case *btf.Array:
		members(u.Type, at, path+"[]", into)
	case *btf.Pointer:
		into[path] += fmt.Sprintf(" pointer at %d", at)
	default:
		into[path] += fmt.Sprintf(" %s at %d", u.TypeName(), at)
	}
}

func composite(list []btf.Member, at btf.Bits, path string, into map[string]string) {
	for _, m := range list {
		members(m.Type, at+m.Offset, path+"."+m.Name, into)
	}
}

// An extract says of a type what the kernel says of it.
func TestExtractTypes(t *testing.T) {
	of := kernelBTF(t)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	wanted := []typeName{
		{kindStruct, "task_struct"}, {kindStruct, "inode"}, {kindStruct, "mount"}, {kindStruct, "io_kiocb"}, {kindUnion, "bpf_attr"},
		tracepointType("sched_process_exec"), {kindFunc, "vfs_read"}, {kindStruct, "no_such"}, {kindFunc, "task_struct"},
	}
	raw, numbers, err := extractTypes(wanted, of, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 1<<20 {
		t.Errorf("%d bytes are no small part", len(raw))
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wanted[:5] {
		want, got := map[string]string{}, map[string]string{}
		members(one(t, kernel, w), 0, "", want)
		members(one(t, spec, w), 0, "", got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) < 5 {
			t.Errorf("%v: %d members (-want +got):\n%s", w, len(want), diff)
		}
	}
	for _, w := range wanted {
		var want []uint32
		types, _ := kernel.AnyTypesByName(w.name)
		for _, typ := range types {
			if kindOf(typ) == w.kind {
				id, err := kernel.TypeID(typ)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, uint32(id))
			}
		}
		if diff := cmp.Diff(want, numbers[w]); diff != "" {
			t.Errorf("numbers of %v (-want +got):\n%s", w, diff)
		}
	}
	var f *btf.Typedef
	if err := spec.TypeByName("btf_trace_sched_process_exec", &f); err != nil {
		t.Fatal(err)
	}
	params := f.Type.(*btf.Pointer).Target.(*btf.FuncProto).Params
	if s, ok := params[1].Type.(*btf.Pointer).Target.(*btf.Struct); len(params) != 4 || !ok || s.Name != "task_struct" {
		t.Errorf("the tracepoint has %v", params)
	}
	if p, ok := params[3].Type.(*btf.Pointer); !ok || p.Target != (*btf.Void)(nil) {
		t.Errorf("what was not asked for is there: %v", params[3])
	}
}

// one returns a type that there is one of.
func one(t *testing.T, s *btf.Spec, w typeName) btf.Type {
	t.Helper()
	types, err := s.AnyTypesByName(w.name)
	if err != nil {
		t.Fatalf("%v: %v", w, err)
	}
	types = slices.DeleteFunc(types, func(t btf.Type) bool { return kindOf(t) != w.kind })
	if len(types) != 1 {
		t.Fatalf("%v: there are %v", w, types)
	}
	return types[0]
}

func kindOf(t btf.Type) btfKind {
	switch t.(type) {
	case *btf.Struct:
		return kindStruct
	case *btf.Union:
		return kindUnion
	case *btf.Typedef:
		return kindTypedef
	case *btf.Func:
		return kindFunc
	}
	return 0
}

func built(t testing.TB, types ...btf.Type) []byte {
	t.Helper()
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// moduleBTF is what a module has that says struct btrfs_root { struct inode in; int id; } where
// the kernel says that inode is its second type and int its first.
func moduleBTF(base []byte) []byte {
	// Its strings go on where those of the kernel end.
	strings := "\x00btrfs_root\x00in\x00id\x00"
	from := u32(base[20:])
	put := func(b []byte, values ...uint32) []byte {
		for _, v := range values {
			b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
		return b
	}
	types := put(nil, from+1, uint32(kindStruct)<<btfKindShift|2, 16, from+12, 2, 0, from+15, 1, 64)
	raw := put(nil, btfMagic|1<<16, btfHeaderSize, 0, uint32(len(types)), uint32(len(types)), uint32(len(strings)))
	return append(append(raw, types...), strings...)
}

// What a module adds is based on what the kernel has.
func TestExtractTypesOfModule(t *testing.T) {
	integer := &btf.Int{Name: "int", Size: 4}
	inode := &btf.Struct{Name: "inode", Size: 8, Members: []btf.Member{{Name: "ino", Type: integer}}}
	kernel := built(t, integer, inode)
	raw, numbers, err := extractTypes([]typeName{{kindStruct, "btrfs_root"}}, kernel, moduleBTF(kernel))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[typeName][]uint32{{kindStruct, "btrfs_root"}: {3}}, numbers); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var root *btf.Struct
	if err := spec.TypeByName("btrfs_root", &root); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	members(root, 0, "", got)
	if diff := cmp.Diff([]string{".id", ".in.ino"}, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// Whatever is read, it is an extract or an error.
func FuzzExtractTypes(f *testing.F) {
	integer := &btf.Int{Name: "int", Size: 4}
	inode := &btf.Struct{Name: "inode", Size: 8, Members: []btf.Member{{Name: "ino", Type: &btf.Pointer{Target: integer}}}}
	kernel := built(f, integer, inode, &btf.Typedef{Name: "inode_t", Type: inode})
	f.Add(kernel, moduleBTF(kernel))
	f.Add(kernel, []byte(nil))
	f.Fuzz(func(t *testing.T, kernel, module []byte) {
		raw, _, err := extractTypes([]typeName{{kindStruct, "inode"}, {kindTypedef, "inode_t"}, {kindStruct, "btrfs_root"}}, kernel, module)
		if err == nil && len(raw) > btfHeaderSize+16*(len(kernel)+len(module)) {
			t.Errorf("%d bytes out of %d", len(raw), len(kernel)+len(module))
		}
	})
}

func BenchmarkExtractTypes(b *testing.B) {
	raw := kernelBTF(b)
	for b.Loop() {
		if _, _, err := extractTypes([]typeName{{kindStruct, "task_struct"}, {kindStruct, "inode"}}, raw, nil); err != nil {
			b.Fatal(err)
		}
	}
}
