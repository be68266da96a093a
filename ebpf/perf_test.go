package ebpf

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// TestByPerf: programs that attach by perf, as from Linux 7.0 on, tell the same.
func TestByPerf(t *testing.T) {
	needPerf(t)
	for _, test := range []func(*testing.T){
		TestCalls, TestAbsent, TestOpenedFile, TestOpenedFileOfAnotherSuperblock, TestMountCalls, TestWalkedAfterRemount, TestWalkedPaths,
		TestWalkedPathCut, TestLongTexts, TestLargestRecord, TestNoCalls,
		TestFollow, TestFollowNobody, TestSecure, TestFollowTree, TestHeld, TestFollowCgroup,
		TestProcesses, TestExec, TestExec32, TestArgsMax, TestThreads, TestKilled, TestChildren, TestCredentials, TestTracked, TestRetireAlive,
		TestFree, TestReuse, TestAdoptChildren, TestLost, TestGrow, TestTextNotInMemory, TestCloseLeavesNothing,
		TestRings,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], test)
	}
}

// needPerf skips a test where programs cannot attach by perf, and has them do so in it.
func needPerf(t *testing.T) {
	t.Helper()
	if err := haveTaskFromPID(); errors.Is(err, ErrNotSupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	byPerf = true
	t.Cleanup(func() { byPerf = false })
}

// An exec of which nothing was left for the program by perf is known to be missing.
func TestExecLeftOut(t *testing.T) {
	needPerf(t)
	w := newWitness(t, Options{})
	run := func() {
		w.t.Helper()
		if status := waitFor(t, w.adopt(&command{argv: []string{"/bin/true"}})); status != 0 {
			t.Fatalf("status %#x", status)
		}
		w.drain()
	}
	want := func(execs int, missed uint64) {
		t.Helper()
		run()
		if n := len(w.of(Exec, 0)); n != execs {
			t.Errorf("%d exec records, want %d", n, execs)
		}
		if n, err := w.Missed(); err != nil || n != missed {
			t.Errorf("%d are said to be missing, %v; want %d", n, err, missed)
		}
	}
	want(1, 0)
	left := 2
	for i, l := range w.links {
		if _, ok := l.(perfEvent); !ok && left == 2 { // one of the two will do
			do(t, l.Close())
			w.links[i] = io.NopCloser(nil)
			left--
		}
	}
	want(2, 0)
	for i, l := range w.links {
		if raw, ok := l.(link.Link); ok {
			do(t, raw.Close())
			w.links[i] = io.NopCloser(nil)
			left--
		}
	}
	if left != 0 {
		t.Fatalf("%d more programs of raw tracepoints than expected", left)
	}
	want(2, 1)
}

// haveTaskFromPID asks whether a program that attaches by perf may find a task by its
// number, by loading one that does: since 6.12.
func haveTaskFromPID() error {
	types, err := readTypes(taskNames)
	if err != nil {
		return err
	}
	var calls []asm.Instruction
	for _, n := range taskNames {
		number := types.number(n)
		if number == 0 {
			return ErrNotSupported
		}
		calls = append(calls, asm.Instruction{
			OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(number),
		})
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.TracePoint, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R1, 1), calls[0],
		asm.JEq.Imm(asm.R0, 0, "none"), asm.Mov.Reg(asm.R1, asm.R0), calls[1],
		asm.Mov.Imm(asm.R0, 0).WithSymbol("none"), asm.Return(),
	}})
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	if err != nil {
		return err
	}
	return prog.Close()
}
