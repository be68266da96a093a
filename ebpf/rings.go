package ebpf

import (
	"fmt"
	"path"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// withoutRings leaves out the programs that tell what is done by io_uring.
func withoutRings(spec *ebpf.CollectionSpec) {
	delete(spec.Programs, trackerProgOnSubmit)
	delete(spec.Programs, trackerProgOnComplete)
}

// The tracepoints that tell when a request to a ring is submitted and completed.
// The first was renamed in 6.5.
const (
	completeTracepoint  = "io_uring_complete"
	submitTracepoint    = "io_uring_submit_req"
	submitTracepointOld = "io_uring_submit_sqe"
)

var ringTracepoints = []string{completeTracepoint, submitTracepoint, submitTracepointOld}

// attachRings finds the tracepoints of a kernel. Both must name the request, as
// they do since 6.0.
func attachRings(spec *ebpf.CollectionSpec, types *kernelTypes) error {
	submit, ok := spec.Programs[trackerProgOnSubmit]
	if !ok {
		return ErrNotSupported
	}
	name, err := findSubmit(types)
	submit.AttachTo = path.Join(path.Dir(submit.AttachTo), name) // by perf it has a group
	return err
}

// findSubmit returns the name of the tracepoint that tells of a submission.
func findSubmit(types *kernelTypes) (string, error) {
	if p := types.argument(completeTracepoint, 1); p == nil {
		return "", fmt.Errorf("%w: %s does not name the request", ErrNotSupported, completeTracepoint)
	}
	for _, name := range []string{submitTracepoint, submitTracepointOld} {
		p := types.argument(name, 0)
		if p == nil {
			continue
		}
		if s, ok := p.Target.(*btf.Struct); ok && s.Name == "io_kiocb" {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: no tracepoint names the request that is submitted", ErrNotSupported)
}

// tracepointType names the type of a tracepoint's function.
func tracepointType(tracepoint string) typeName {
	return typeName{kindTypedef, "btf_trace_" + tracepoint}
}

// argument returns the type of a tracepoint's argument, if it is a pointer.
func (t *kernelTypes) argument(tracepoint string, n int) *btf.Pointer {
	var typ *btf.Typedef
	if t.spec.TypeByName(tracepointType(tracepoint).name, &typ) != nil {
		return nil
	}
	p, ok := typ.Type.(*btf.Pointer)
	if !ok {
		return nil
	}
	f, ok := p.Target.(*btf.FuncProto)
	if !ok || n+1 >= len(f.Params) { // the first is the tracepoint's own
		return nil
	}
	arg, _ := f.Params[n+1].Type.(*btf.Pointer)
	return arg
}
