package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// kernelTypes is what the kernel says of the types that are asked for.
type kernelTypes struct {
	spec    *btf.Spec // numbered anew
	numbers map[typeName][]uint32
	subvols bool // it tells of btrfs, or there is none
}

// castName is the function that gives a pointer a type.
var castName = typeName{kindFunc, "bpf_rdonly_cast"}

// mappingsName is what stands for a program that is run over all mappings: since 5.12.
var mappingsName = typeName{kindFunc, "bpf_iter_task_vma"}

// taskNames are the functions that find a task by its number.
var taskNames = []typeName{{kindFunc, "bpf_task_from_pid"}, {kindFunc, "bpf_task_release"}}

// wantedTypes are the structures of the tracker's object, and what it attaches to.
func wantedTypes(spec *btf.Spec) ([]typeName, error) {
	wanted := append([]typeName{castName, mappingsName}, taskNames...)
	for _, name := range ringTracepoints {
		wanted = append(wanted, tracepointType(name))
	}
	for t, err := range spec.All() {
		if err != nil {
			return nil, fmt.Errorf("types of the tracker object: %w", err)
		}
		name, _, _ := bytes.Cut([]byte(t.TypeName()), []byte("___")) // the rest is ours, not the kernel's
		switch t.(type) {
		case *btf.Struct:
			wanted = append(wanted, typeName{kindStruct, string(name)})
		case *btf.Union:
			wanted = append(wanted, typeName{kindUnion, string(name)})
		}
	}
	return wanted, nil
}

// readTypes reads types of the kernel by their names.
func readTypes(wanted []typeName) (*kernelTypes, error) {
	kernel, unmap, err := mapBTF("vmlinux")
	if err != nil {
		return nil, explainBTF(err)
	}
	defer unmap()
	// What is not loaded is not mounted.
	btrfs, unmap, err := mapBTF("btrfs")
	switch {
	case err == nil:
		defer unmap()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	t := &kernelTypes{subvols: btrfs != nil || !loaded("btrfs")}
	raw, numbers, err := extractTypes(wanted, kernel, btrfs)
	if err == nil {
		t.spec, err = btf.LoadSpecFromReader(bytes.NewReader(raw))
	}
	if err != nil {
		return nil, explainBTF(err)
	}
	t.numbers = numbers
	return t, nil
}

// mapBTF maps what the kernel says of itself (vmlinux) or of a module.
func mapBTF(name string) (raw []byte, unmap func(), err error) {
	f, err := os.Open(filepath.Join("/sys/kernel/btf", name))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	raw, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err == nil {
		return raw, func() { unix.Munmap(raw) }, nil
	}
	raw, err = os.ReadFile(f.Name()) // before 6.16 it cannot be mapped
	return raw, func() {}, err
}

// loaded tells whether a module is loaded.
func loaded(module string) bool {
	modules, err := os.ReadFile("/proc/modules")
	return err == nil && bytes.Contains(append([]byte{'\n'}, modules...), []byte("\n"+module+" "))
}

// number returns the kernel's number of a type, 0 if there is none or more than one.
func (t *kernelTypes) number(n typeName) uint32 {
	if ids := t.numbers[n]; len(ids) == 1 {
		return ids[0]
	}
	return 0
}

// numberTypes tells the tracker the kernel's numbers of the types that it casts
// pointers to, and of the function that does so. If one of them has none, the
// tracker is to do without casts.
func numberTypes(spec *ebpf.CollectionSpec, types *kernelTypes) error {
	v := spec.Variables[trackerVarTypes]
	s, ok := btf.UnderlyingType(v.Type.Type).(*btf.Struct)
	if !ok {
		return fmt.Errorf("types of the tracker object: %s is no struct but %v", v.Name, v.Type.Type)
	}
	cast := types.number(castName)
	numbers := make([]uint32, len(s.Members))
	for i, m := range s.Members {
		if numbers[i] = types.number(typeName{kindStruct, m.Name}); numbers[i] == 0 {
			cast = 0
		}
	}
	if err := v.Set(numbers); err != nil {
		return fmt.Errorf("set the tracker's %s: %w", v.Name, err)
	}
	functions := map[string]uint32{castName.name: cast}
	for _, n := range taskNames {
		functions[n.name] = types.number(n)
	}
	for _, prog := range spec.Programs {
		prog.Instructions = callByNumber(prog.Instructions, functions)
	}
	if cast == 0 {
		return doWithout(spec, []string{trackerVarHaveCast})
	}
	return nil
}

// callByNumber returns a program that calls the functions of the kernel by the
// numbers of their types. For what is called by name the library would decode all
// of the kernel's types. One that the kernel has not is never reached: there any
// helper will do.
func callByNumber(insns asm.Instructions, functions map[string]uint32) asm.Instructions {
	insns = slices.Clone(insns)
	for i := range insns {
		if !insns[i].IsKfuncCall() {
			continue
		}
		if number := functions[insns[i].Reference()]; number != 0 {
			insns[i].Constant = int64(number)
			insns[i].Metadata = asm.Metadata{}
		} else {
			insns[i] = asm.FnMapLookupElem.Call()
		}
	}
	return insns
}
