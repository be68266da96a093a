// Package day writes what a busy service does in a day, through rotation and
// compression, and searches it.
package day

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/output/series"
)

// Of so many records a day consists: with SOAK=1 of a busy one.
const (
	few  = 200_000
	many = 10_000_000
)

// midnight begins the day.
var midnight = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// record fills in record i of n. Some of them are to be found.
func record(r *output.Record, i, n int) {
	*r = output.Record{
		Time: midnight.UnixNano() + int64(i)*(int64(24*time.Hour)/int64(n)), PID: uint32(1000 + i/500%20_000), PPID: 999, Start: uint64(i/500) + 1, UID: 33,
		Kind: output.Read, Op: output.Open, Comm: "nginx", Exe: []byte("/usr/sbin/nginx"), Handle: "35d3be519ab376ad:1:1e36bc2c0300000000000000",
	}
	switch {
	case i%500 == 0:
		r.Kind, r.Op, r.PID, r.Child = output.Fork, output.NoOp, 999, r.PID
	case i%500 == 499:
		r.Kind, r.Op = output.Exit, output.NoOp
	case i%20 == 7:
		r.Kind, r.Op, r.Path = output.Write, output.Create, fmt.Appendf(nil, "/var/cache/nginx/%02x/%08x", i%256, i)
	case i%100_000 == 50_001:
		r.Comm, r.Path = "vim", []byte("/etc/nginx/nginx.conf")
	default:
		r.Path = fmt.Appendf(nil, "/srv/www/static/%d/image%d.png", i%17, i%4099)
	}
}

// TestMain is also the writer, in a process of its own: its memory is looked at.
func TestMain(m *testing.M) {
	if to := os.Getenv("FANREC_DAY_MEMORY"); to != "" {
		os.Unsetenv("FANREC_DAY_MEMORY")
		os.Exit(measure(to, os.Args[1:]))
	}
	if name := os.Getenv("FANREC_DAY"); name != "" {
		n, _ := strconv.Atoi(os.Getenv("FANREC_DAY_RECORDS"))
		if err := write(name, n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// measure runs a program and writes how much memory it had into a file. The kernel
// counts what the process had before it was another program: that of the test grows.
func measure(to string, args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Run()
	memory := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if err := os.WriteFile(to, fmt.Append(nil, memory), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return cmd.ProcessState.ExitCode()
}

// write writes a day, whose clock is that of the records.
func write(name string, n int) error {
	var r output.Record
	at := midnight
	head := &output.Header{Start: midnight.UnixNano(), Key: "web"}
	s, err := series.Open(series.Options{
		Name: name, Format: "jsonl", Size: int64(n) * 30, Every: 4 * time.Hour, Spool: 16 << 20,
		Now: func() time.Time { return at },
	}, head)
	if err != nil {
		return err
	}
	for i := range n {
		record(&r, i, n)
		at = time.Unix(0, r.Time)
		s.Write(&r)
		if i%100 == 99 {
			s.Flush()
			for s.Waits() > 8<<20 { // a day is longer
				time.Sleep(time.Millisecond)
			}
		}
	}
	end := &output.Trailer{Stop: midnight.Add(24 * time.Hour).UnixNano()}
	if err := s.End(end); err != nil {
		return err
	}
	if len(end.Incomplete) > 0 {
		return errors.New(end.Incomplete[0])
	}
	return nil
}

// ran runs a program and tells how long it took and how much memory it had.
func ran(t *testing.T, cmd *exec.Cmd) (out []byte, took time.Duration, memory int64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "memory")
	outer := exec.Command(self, cmd.Args...)
	outer.Env = append(cmd.Environ(), "FANREC_DAY_MEMORY="+to)
	var text, errs bytes.Buffer
	outer.Stdout, outer.Stderr = &text, &errs
	begin := time.Now()
	if err := outer.Run(); err != nil {
		t.Fatalf("%v: %v\n%.1000s", cmd.Args, err, errs.String())
	}
	took = time.Since(begin)
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if memory, err = strconv.ParseInt(string(b), 10, 64); err != nil || memory == 0 {
		t.Fatal(string(b), err)
	}
	return text.Bytes(), took, memory
}

// budget is how much resident memory whatever is done may take.
const budget = 64 << 20

func TestDay(t *testing.T) {
	n := few
	if os.Getenv("SOAK") != "" {
		n = many
	}
	dir := t.TempDir()
	fanrec := os.Getenv("FANREC")
	if fanrec == "" {
		fanrec = filepath.Join(dir, "fanrec")
		if out, err := exec.Command("go", "build", "-o", fanrec, "fanrec/cmd/fanrec").CombinedOutput(); err != nil {
			t.Fatalf("build fanrec: %v\n%s", err, out)
		}
	}
	log := filepath.Join(dir, "web.jsonl")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	writer := exec.Command(self)
	writer.Env = append(os.Environ(), "FANREC_DAY="+log, "FANREC_DAY_RECORDS="+strconv.Itoa(n))
	_, took, memory := ran(t, writer)
	files, err := filepath.Glob(log + "*")
	if err != nil || len(files) < 6 {
		t.Fatal(len(files), err)
	}
	var size int64
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			size += st.Size()
		}
		if !strings.HasSuffix(f, ".zst") && f != log {
			t.Errorf("%s is not compressed", f)
		}
	}
	t.Logf("%d records written in %.1f s: %d files, %.0f MB, %.0f MiB resident", n, took.Seconds(), len(files), float64(size)/1e6, float64(memory)/(1<<20))
	if memory > budget {
		t.Errorf("the writer has %d MiB", memory>>20)
	}

	// What is found, by what it was made of.
	count := func(wanted func(i int, r *output.Record) bool) (found int) {
		var r output.Record
		for i := range n {
			if record(&r, i, n); wanted(i, &r) {
				found++
			}
		}
		return found
	}
	noon, later := midnight.Add(12*time.Hour), midnight.Add(12*time.Hour+10*time.Minute)
	between := func(r *output.Record) bool { return r.Time >= noon.UnixNano() && r.Time <= later.UnixNano() }
	times := []string{"--start", noon.Format(time.RFC3339), "--end", later.Format(time.RFC3339)}
	for _, s := range []struct {
		args   []string
		wanted func(int, *output.Record) bool
	}{
		{[]string{"--path", "/etc/**"}, func(_ int, r *output.Record) bool { return strings.HasPrefix(string(r.Path), "/etc/") }},
		{[]string{"--comm", "vim"}, func(_ int, r *output.Record) bool { return r.Comm == "vim" }},
		{[]string{"--path", "/var/cache/nginx/07/*"}, func(_ int, r *output.Record) bool { return strings.HasPrefix(string(r.Path), "/var/cache/nginx/07/") }},
		{times, func(_ int, r *output.Record) bool { return between(r) }},
		{append([]string{"--only", "W"}, times...), func(_ int, r *output.Record) bool { return r.Kind == output.Write && between(r) }},
		{[]string{"--pid", "1234"}, func(_ int, r *output.Record) bool { return r.PID == 1234 }},
		{[]string{"--key", "web", "--only", "F"}, func(_ int, r *output.Record) bool { return r.Kind == output.Fork }},
		// Of all processes that its parent forks, in whatever file that is.
		{[]string{"--subtree", "999", "--path", "/etc/nginx/*"}, func(_ int, r *output.Record) bool { return string(r.Path) == "/etc/nginx/nginx.conf" }},
	} {
		want := count(s.wanted)
		out, took, memory := ran(t, exec.Command(fanrec, append(append([]string{"search", "-f", "jsonl"}, s.args...), log)...))
		found := bytes.Count(out, []byte("\n{\"time\":"))
		t.Logf("search %s: %d records in %.2f s, %.0f MiB", strings.Join(s.args, " "), found, took.Seconds(), float64(memory)/(1<<20))
		if found != want {
			t.Errorf("search %s: %d records, want %d", strings.Join(s.args, " "), found, want)
		}
		if memory > budget {
			t.Errorf("search %s has %d MiB", strings.Join(s.args, " "), memory>>20)
		}
	}
	if err := exec.Command(fanrec, "search", "--key", "other", log).Run(); err == nil || err.(*exec.ExitError).ExitCode() != 1 {
		t.Errorf("another key: %v", err)
	}
	// Every record, each once, in order.
	cmd := exec.Command(fanrec, "search", "-f", "jsonl", "--start", midnight.Format(time.RFC3339), log)
	whole, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in, err := output.NewReader(whole)
	if err != nil {
		t.Fatal(err)
	}
	var got, want output.Record
	for i := range n {
		record(&want, i, n)
		if err := in.Read(&got); err != nil || got.Time != want.Time || got.Kind != want.Kind || !bytes.Equal(got.Path, want.Path) {
			t.Fatalf("record %d is %+v, want %+v: %v", i, got, want, err)
		}
	}
	if err := in.Read(&got); err == nil {
		t.Fatalf("one more: %+v", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("all of them in %.1f s, read here beside", time.Since(begin).Seconds())
}
