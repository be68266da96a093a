package ebpf

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// withoutRings leaves out the programs that tell what is done by io_uring.
func withoutRings(spec *ebpf.CollectionSpec) {
	delete(spec.Programs, trackerProgOnSubmit)
	delete(spec.Programs, trackerProgOnComplete)
}

// attachRings finds the tracepoints that tell when a request to a ring is
// submitted and completed. Both must name the request, as they do since 6.0; the
// first was renamed in 6.5.
func attachRings(spec *ebpf.CollectionSpec, kernel *btf.Spec) error {
	submit, ok := spec.Programs[trackerProgOnSubmit]
	if !ok {
		return ErrNotSupported
	}
	name, err := findSubmit(kernel)
	submit.AttachTo = name
	return err
}

func haveRings(kernel *btf.Spec) error {
	if kernel == nil {
		return fmt.Errorf("%w: no BTF", ErrNotSupported)
	}
	_, err := findSubmit(kernel)
	return err
}

// findSubmit returns the name of the tracepoint that tells of a submission.
func findSubmit(kernel *btf.Spec) (string, error) {
	if p := argument(kernel, "io_uring_complete", 1); p == nil {
		return "", fmt.Errorf("%w: io_uring_complete does not name the request", ErrNotSupported)
	}
	for _, name := range []string{"io_uring_submit_req", "io_uring_submit_sqe"} {
		p := argument(kernel, name, 0)
		if p == nil {
			continue
		}
		if s, ok := p.Target.(*btf.Struct); ok && s.Name == "io_kiocb" {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: no tracepoint names the request that is submitted", ErrNotSupported)
}

// argument returns the type of a tracepoint's argument, if it is a pointer.
func argument(kernel *btf.Spec, tracepoint string, n int) *btf.Pointer {
	var t *btf.Typedef
	if kernel.TypeByName("btf_trace_"+tracepoint, &t) != nil {
		return nil
	}
	p, ok := t.Type.(*btf.Pointer)
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
