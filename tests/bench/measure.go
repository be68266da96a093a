package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Measurement is what one run of a job took.
type Measurement struct {
	Wall     time.Duration // from the start of the tool, or of the command if the tool runs beside it, to its end
	CPU      time.Duration // user and system time of the command, its descendants that were waited for, and the tool
	PeakRSS  int64         // of the tool alone, in bytes; 0 without a tool, or if the tool was gone too soon
	LogLines int           // what the tool wrote
}

// Measure runs a job once. The job's directory is made before and removed after, outside of what is measured. The log
// of the tool is in a directory of its own.
func Measure(job Job, tool Tool, run string) (Measurement, error) {
	m, err := measure(job, tool, run)
	if err != nil {
		err = fmt.Errorf("%s under %s: %w", job.Name, tool.Name, err)
	}
	return m, errors.Join(err, os.RemoveAll(run))
}

func measure(job Job, tool Tool, run string) (Measurement, error) {
	var m Measurement
	if err := job.Prepare(run); err != nil {
		return m, err
	}
	out, err := os.MkdirTemp("", "bench")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(out)
	log := filepath.Join(out, "log")

	command := job.Command
	if tool.Wrap != nil {
		command = tool.Wrap(log, command)
	}
	// What was written to make the directory must not be written back in the time that is measured.
	unix.Sync()

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = run
	// A file and not a pipe: reading a pipe would take time of one of the few CPUs.
	complaints, err := os.Create(filepath.Join(out, "stderr"))
	if err != nil {
		return m, err
	}
	defer complaints.Close()
	cmd.Stderr = complaints

	var beside *companion
	if tool.Beside != nil {
		if beside, err = startBeside(tool.Beside(log), log); err != nil {
			return m, err
		}
	}

	start := time.Now()
	runErr := cmd.Start()
	if runErr == nil {
		peak := func() int64 { return 0 }
		if tool.Wrap != nil && !job.Short {
			peak = watchPeakRSS(cmd.Process.Pid)
		}
		runErr = cmd.Wait()
		m.Wall = time.Since(start)
		m.PeakRSS = peak()
		m.CPU = cpu(cmd.ProcessState)
	}
	if beside != nil {
		state, peak, err := beside.stop()
		if err != nil {
			return m, err
		}
		m.CPU += cpu(state)
		m.PeakRSS = peak
	}
	if runErr != nil {
		text, _ := os.ReadFile(complaints.Name())
		return m, fmt.Errorf("%w\n%s", runErr, text)
	}
	if tool.Name != Bare {
		m.LogLines, err = lines(log)
	}
	return m, err
}

// cpu returns the user and system time of a process and of its descendants that were waited for.
func cpu(state *os.ProcessState) time.Duration {
	return state.UserTime() + state.SystemTime()
}

// lines counts the lines of a file.
func lines(path string) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	n, buf := 0, make([]byte, 1<<20)
	for {
		got, err := file.Read(buf)
		n += bytes.Count(buf[:got], []byte{'\n'})
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// watchPeakRSS follows the peak RSS of a process until the function that it returns is called, which returns the last
// that was seen, in bytes.
//
// Why not ru_maxrss: that of wait4(2) is the maximum over the process and all its descendants (RUSAGE_BOTH in the
// kernel's wait_task_zombie), here a compiler; and a process starts with the peak of the one that it was forked from,
// as execve keeps it (setmax_mm_hiwater_rss in exec_mmap). VmHWM is of the program itself, but ends with it. It never
// falls, so what is lost is only its growth since the last look.
func watchPeakRSS(pid int) func() int64 {
	const every = 50 * time.Millisecond
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		buf := make([]byte, 4096)
		status, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err == nil {
			defer status.Close()
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				result <- peak
				return
			case <-tick.C:
			}
			if err != nil {
				continue
			}
			n, _ := status.ReadAt(buf, 0)
			peak = max(peak, vmHWM(buf[:n]))
		}
	}()
	return func() int64 {
		close(done)
		return <-result
	}
}

// vmHWM returns the VmHWM of the text of /proc/PID/status in bytes, or 0 if there is none.
func vmHWM(status []byte) int64 {
	_, rest, ok := bytes.Cut(status, []byte("\nVmHWM:"))
	if !ok {
		return 0
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// companion is a tool that runs beside the command.
type companion struct {
	cmd  *exec.Cmd
	peak func() int64
}

// startBeside starts a tool and waits until it records.
func startBeside(cmd *exec.Cmd, log string) (*companion, error) {
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &companion{cmd, watchPeakRSS(cmd.Process.Pid)}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		// The look itself is something to record.
		if content, err := os.ReadFile(log); err == nil && len(content) > 0 {
			return c, nil
		}
	}
	_, _, err := c.stop()
	return nil, errors.Join(fmt.Errorf("%s records nothing\n%s", cmd.Path, &complaints), err)
}

// stop ends the tool and returns what it took.
func (c *companion) stop() (*os.ProcessState, int64, error) {
	peak := c.peak()
	// It may have ended by itself: Wait tells.
	_ = c.cmd.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil // ended by our signal
	}
	return c.cmd.ProcessState, peak, err
}
