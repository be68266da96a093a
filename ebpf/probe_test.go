package ebpf

import (
	"testing"

	"github.com/cilium/ebpf/asm"
)

// TestWithout: what an older kernel lacks, records do not.
func TestWithout(t *testing.T) {
	defer func() { without = nil }()
	for _, c := range []struct {
		kernel  string
		helpers []asm.BuiltinFunc
	}{
		{"5.15", []asm.BuiltinFunc{asm.FnFindVma}},
		{"5.10", []asm.BuiltinFunc{asm.FnFindVma, asm.FnGetCurrentTaskBtf}},
	} {
		without = c.helpers
		t.Run(c.kernel, func(t *testing.T) {
			t.Run("Calls", TestCalls)
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
