package bench

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestVmHWM(t *testing.T) {
	if got := vmHWM([]byte("Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   12 kB\nVmRSS:\t 8 kB\n")); got != 12<<10 {
		t.Errorf("got %d", got)
	}
	// A process that has no memory any more has no such line.
	if got := vmHWM([]byte("Name:\tx\nState:\tZ (zombie)\n")); got != 0 {
		t.Errorf("of a zombie: %d", got)
	}
}

func emptyJob(command ...string) Job {
	return Job{Name: "test", Command: command, Prepare: func(dir string) error { return os.Mkdir(dir, 0o755) }}
}

func TestMeasureBare(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	// The loop is in a child: its time must count too.
	m, err := Measure(emptyJob("sh", "-c", `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; sleep 0.2`), Tool{Name: Bare}, run)
	if err != nil {
		t.Fatal(err)
	}
	if m.Wall < 200*time.Millisecond || m.CPU < 20*time.Millisecond || m.PeakRSS != 0 || m.LogLines != 0 {
		t.Errorf("got %+v", m)
	}
	if _, err := os.Stat(run); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the run is still there: %v", err)
	}
}

func TestMeasureWrapped(t *testing.T) {
	wrap := func(log string, command []string) []string {
		return append([]string{"sh", "-c", `echo one >"$0"; echo two >>"$0"; "$@"; sleep 0.2; exit`, log}, command...)
	}
	m, err := Measure(emptyJob("true"), Tool{Name: "wrapper", Wrap: wrap}, filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	if m.LogLines != 2 || m.PeakRSS < 100<<10 || m.PeakRSS > 100<<20 {
		t.Errorf("got %+v", m)
	}
}

func TestMeasureBeside(t *testing.T) {
	beside := func(log string) *exec.Cmd {
		return exec.Command("sh", "-c", `i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready >"$0"; exec sleep 60`, log)
	}
	m, err := Measure(emptyJob("sleep", "0.2"), Tool{Name: "companion", Beside: beside}, filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Wall > 5*time.Second || m.CPU < 10*time.Millisecond || m.LogLines != 1 || m.PeakRSS == 0 {
		t.Errorf("got %+v", m)
	}
}

func TestMeasureTellsOfFailure(t *testing.T) {
	if _, err := Measure(emptyJob("false"), Tool{Name: Bare}, filepath.Join(t.TempDir(), "run")); err == nil {
		t.Error("a failed command was measured")
	}
}
