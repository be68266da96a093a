package ebpf

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestWithout: what an older kernel lacks, records do not.
func TestWithout(t *testing.T) {
	defer func() { without = nil }()
	for _, c := range []struct {
		kernel string
		lacks  []string
	}{
		{"6.1", []string{trackerVarHaveCast}},
		{"5.15", []string{trackerVarHaveCast, trackerVarHaveFindVma}},
		{"5.10", []string{trackerVarHaveCast, trackerVarHaveFindVma, trackerVarHaveTaskBtf}},
	} {
		without = c.lacks
		t.Run(c.kernel, func(t *testing.T) {
			t.Run("Calls", TestCalls)
			t.Run("Absent", TestAbsent)
			t.Run("OpenedFile", TestOpenedFile)
			t.Run("WalkedPaths", TestWalkedPaths)
			t.Run("WalkedPathCut", TestWalkedPathCut)
			t.Run("LongTexts", TestLongTexts)
			t.Run("LargestRecord", TestLargestRecord)
			t.Run("ArgsMax", TestArgsMax)
			t.Run("Processes", TestProcesses)
			t.Run("Threads", TestThreads)
			t.Run("Children", TestChildren)
			t.Run("Credentials", TestCredentials)
		})
	}
}

// What is missing is said in one line, with what to do.
func TestExplain(t *testing.T) {
	none := func(ebpf.MapType) error { return ebpf.ErrNotSupported }
	there := func(ebpf.MapType) error { return nil }
	for _, c := range []struct {
		err       error
		supported bool
		want      string
	}{
		{explainBTF(errors.New("not found")), false, "CONFIG_DEBUG_INFO_BTF"},
		{explainMap("calls", ebpf.RingBuf, unix.EINVAL, none), false, "5.8"},
		{explainMap("calls", ebpf.RingBuf, unix.EPERM, there), true, "make the map calls: "},
		{explainMap("spill", ebpf.ArrayOfMaps, unix.EINVAL, none), true, "make the map spill: "},
	} {
		if errors.Is(c.err, ErrNotSupported) == c.supported || !strings.Contains(c.err.Error(), c.want) || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%q, want %q in it", c.err, c.want)
		}
	}
}

// The callbacks are out, and nothing else is.
func TestWithoutCallbacks(t *testing.T) {
	spec, err := newSpec(Options{})
	if err != nil {
		t.Fatal(err)
	}
	symbols := func(insns asm.Instructions) (all map[string]bool, pointers int) {
		all = map[string]bool{}
		for _, ins := range insns {
			if ins.Symbol() != "" {
				all[ins.Symbol()] = true
			}
			if ins.IsLoadOfFunctionPointer() {
				pointers++
			}
		}
		return all, pointers
	}
	prog := spec.Programs[trackerProgOnExec].Instructions
	before, n := symbols(prog)
	after, left := symbols(withoutCallbacks(prog))
	if n != 1 || left != 0 {
		t.Errorf("%d function pointers, %d of them left; want 1 and 0", n, left)
	}
	delete(before, "take_vma")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("functions (-want +got):\n%s", diff)
	}
}
