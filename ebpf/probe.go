package ebpf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// A Feature is something that the tracker uses and a kernel may lack.
type Feature struct {
	Name    string
	Use     string // what it is used for
	Err     error  // nil: it is there
	Without string // what a recording is like without it; empty: there is none, or not a complete one
}

// Probe tries out, one by one, what the tracker needs.
func Probe() []Feature {
	wanted := []typeName{castName, {kindStruct, "io_kiocb"}}
	for _, name := range slices.Concat(tracepoints, ringTracepoints) {
		wanted = append(wanted, tracepointType(name))
	}
	types, err := readTypes(wanted)
	features := []Feature{
		{Name: "pid namespace", Use: "the initial one", Err: checkPIDNamespace()},
		{Name: "BTF", Use: "the kernel's types are readable", Err: err},
		{Name: "ring buffer", Use: "records come in order", Err: haveRing()},
	}
	if err != nil {
		return append(features, Feature{Name: "tracker", Use: "loads and attaches", Err: err})
	}
	_, rings := findSubmit(types)
	return append(features,
		Feature{Name: "tracepoints", Use: strings.Join(tracepoints, ", "), Err: haveTracepoints(types)},
		Feature{
			Name: "bpf_get_current_task_btf", Use: "fields of the caller are plain loads",
			Err: haveHelper(asm.FnGetCurrentTaskBtf), Without: "each call record costs more time",
		},
		Feature{
			Name: "bpf_find_vma", Use: "tells the ELF interpreter of an executed program",
			Err: haveHelper(asm.FnFindVma), Without: "the list of mappings does",
		},
		Feature{
			Name: "bpf_rdonly_cast", Use: "fields of the kernel are plain loads",
			Err: haveCast(types), Without: "each call record costs twice the time",
		},
		Feature{
			Name: "io_uring", Use: "tracepoints that tell what is done by a ring",
			Err: rings, Without: "what is done by a ring is told by its events only, and its kind inferred from writes",
		},
		Feature{Name: "tracker", Use: "loads and attaches", Err: tryTracker()},
	)
}

// tracepoints are those that the tracker's programs attach to.
var tracepoints = []string{"sched_process_fork", "sched_process_exec", "sched_process_exit", "sched_process_free", "sys_exit"}

func haveTracepoints(types *kernelTypes) error {
	var missing []string
	for _, name := range tracepoints {
		if types.number(tracepointType(name)) == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrNotSupported, strings.Join(missing, ", "))
	}
	return nil
}

func haveCast(types *kernelTypes) error {
	if types.number(castName) == 0 {
		return ErrNotSupported
	}
	return nil
}

// haveHelper asks for a helper by loading a program that calls it.
func haveHelper(helper asm.BuiltinFunc) error {
	err := features.HaveProgramHelper(ebpf.RawTracepoint, helper)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return ErrNotSupported
	}
	return err
}

func haveRing() error {
	err := features.HaveMapType(ebpf.RingBuf)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return ErrNotSupported
	}
	return err
}

func tryTracker() error {
	t, err := New(Options{Free: true})
	if err != nil {
		return err
	}
	return t.Close()
}

// optional are the helpers that the tracker can do without, and its constants
// that tell it to.
var optional = []struct {
	helper   asm.BuiltinFunc
	constant string
}{
	{asm.FnFindVma, trackerVarHaveFindVma},
	{asm.FnGetCurrentTaskBtf, trackerVarHaveTaskBtf},
}

// lacking returns the constants of optional helpers that the kernel lacks. It is
// asked when the tracker did not load: to ask first would cost every start the
// time to load a program for each.
func lacking() []string {
	var lacks []string
	for _, o := range optional {
		if errors.Is(haveHelper(o.helper), ErrNotSupported) {
			lacks = append(lacks, o.constant)
		}
	}
	return lacks
}

// doWithout tells the tracker, by its constants, what the kernel lacks.
func doWithout(spec *ebpf.CollectionSpec, constants []string) error {
	for _, name := range constants {
		if err := spec.Variables[name].Set(uint8(0)); err != nil {
			return fmt.Errorf("set the tracker's %s: %w", name, err)
		}
		for _, prog := range spec.Programs {
			switch name {
			case trackerVarHaveFindVma:
				prog.Instructions = withoutCallbacks(prog.Instructions)
			case trackerVarHaveCast:
				prog.Instructions = withoutCasts(prog.Instructions)
			}
		}
	}
	return nil
}

// withoutCasts returns a program that does not call bpf_rdonly_cast: where the
// call is never reached, any helper will do.
func withoutCasts(insns asm.Instructions) asm.Instructions {
	insns = slices.Clone(insns)
	for i := range insns {
		if insns[i].IsKfuncCall() && insns[i].Reference() == castName.name {
			insns[i] = asm.FnMapLookupElem.Call()
		}
	}
	return insns
}

// withoutCallbacks returns a program that passes no functions to helpers: a
// kernel that does not know such a helper refuses them even where they are
// never reached.
func withoutCallbacks(insns asm.Instructions) asm.Instructions {
	called := map[string]bool{insns[0].Symbol(): true}
	for i := range insns {
		if ins := &insns[i]; ins.IsFunctionCall() {
			called[ins.Reference()] = true
		} else if ins.IsLoadOfFunctionPointer() {
			*ins = asm.LoadImm(ins.Dst, 0, asm.DWord).WithMetadata(ins.WithReference("").Metadata)
		}
	}
	// A function that nobody calls is not let in either.
	var out asm.Instructions
	keep := false
	for _, ins := range insns {
		if name := ins.Symbol(); name != "" {
			keep = called[name]
		}
		if keep {
			out = append(out, ins)
		}
	}
	return out
}

// initialPIDNamespace is the inode number of the initial pid namespace on every
// kernel: PROC_PID_INIT_INO of include/linux/proc_ns.h.
const initialPIDNamespace = 0xeffffffc

// ErrNamespace is wrapped when the caller is in another pid namespace.
var ErrNamespace = errors.New("not in the initial pid namespace")

// checkPIDNamespace refuses any other pid namespace than the initial one: the
// tracker's pids are of that one, those of fanotify are of its reader's.
func checkPIDNamespace() error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return fmt.Errorf("find the pid namespace: /proc/self/ns/pid: %w", err)
	}
	if st.Ino != initialPIDNamespace {
		return fmt.Errorf("%w, the only one whose pids the tracker sees: run fanrec on the host, or the container with --pid=host", ErrNamespace)
	}
	return nil
}
