package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/output/series"
)

// TestLong: three servers at once, each with all the load that it can take, recorded
// for ten minutes with SOAK=1: nothing is lost, what nginx says is what is recorded, and
// memory is what it always is.
func TestLong(t *testing.T) {
	need(t, "nginx", "wrk", "redis-server", "redis-benchmark", "redis-cli", "pgrep")
	length := 8 * time.Second
	if os.Getenv("SOAK") != "" {
		length = 10 * time.Minute
	}
	pg := startPostgres(t)
	nginx, www, port := startNginx(t)
	redis, _, socket := startRedis(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	page := filepath.Join(www, "www", "index.html")
	rec := start(t, nil, fanrec, "attach", "-q", "-f", "jsonl", "-o", log, "--rotate", "50M", "--path", page, "--path", "pg_wal", "--path", "pgsql_tmp", "--path", "temp-*",
		strconv.Itoa(pg.pid), strconv.Itoa(nginx.cmd.Process.Pid), strconv.Itoa(redis.cmd.Process.Pid))
	until(t, "the attach", func() bool {
		b, _ := os.ReadFile(log)
		return strings.Contains(string(b), `"attached":true`)
	})
	// What sorts more than work_mem makes a temporary file each time.
	sorts := filepath.Join(dir, "sort.sql")
	do(t, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755),
		os.WriteFile(sorts, []byte("select count(*) from (select * from pgbench_accounts where aid < 3000 order by filler, abalance offset 10) x;\n"), 0o644))
	logged := len(temporary.FindAllString(read(t, pg.dir+"/server.log"), -1))
	seconds := strconv.Itoa(int(length.Seconds()))
	loads := []*daemon{
		start(t, pg.as, filepath.Join(pg.bin, "pgbench"), "-h", pg.dir, "-n", "-c", "4", "-T", seconds, "bench"),
		start(t, pg.as, filepath.Join(pg.bin, "pgbench"), "-h", pg.dir, "-n", "-c", "2", "-T", seconds, "-f", sorts, "bench"),
		start(t, nil, "wrk", "-t", "1", "-c", "8", "-d", seconds, fmt.Sprintf("http://127.0.0.1:%d/", port)),
	}
	bench := start(t, nil, "redis-benchmark", "-s", socket, "-q", "-t", "set", "-n", "100000000", "-c", "4", "-r", "10000")
	end := time.Now().Add(length)
	rewrites := 0
	for time.Now().Before(end) {
		if strings.Contains(run(t, "redis-cli", "-s", socket, "bgrewriteaof"), "started") {
			rewrites++
		}
		time.Sleep(time.Second)
	}
	for _, l := range loads {
		do(t, l.cmd.Wait())
	}
	bench.stop(syscall.SIGKILL)
	memory := peak(t, rec.cmd.Process.Pid)
	do(t, nginx.stop(syscall.SIGQUIT))
	if err := rec.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("fanrec: %v: %s", err, &rec.out)
	}
	said := strings.Count(read(t, www+"/access.log"), `"GET / HTTP`)
	temporaries := temporary.FindAllStringSubmatch(read(t, pg.dir+"/server.log"), -1)[logged:]
	pages, records := 0, 0
	made := map[deed]bool{}
	names, err := series.Earlier(log)
	do(t, err)
	for _, name := range append(names, log) {
		eachRecord(t, name, func(r *output.Record) {
			records++
			switch {
			case r.Attached:
			case r.Kind == output.Read && string(r.Path) == page:
				pages++
			case r.Kind == output.Write && r.Op == output.Create:
				made[deed{r.PID, "create", string(r.Path)}] = true
			}
		})
	}
	for _, m := range temporaries {
		pid, _ := strconv.ParseUint(m[1], 10, 32)
		if !made[deed{uint32(pid), "create", filepath.Join(pg.dir, "data", m[2])}] {
			t.Errorf("the temporary file %s of %d is missing", m[2], pid)
		}
	}
	t.Logf("%v: %d records written in %d files; %d requests to nginx, %d temporary files of PostgreSQL, %d rewrites of redis; %.0f MiB", length, records, len(names)+1, said,
		len(temporaries), rewrites, float64(memory)/(1<<20))
	if pages != said {
		t.Errorf("nginx says %d requests, and opened the page %d times", said, pages)
	}
	if said < 1000 || len(temporaries) < 100 || rewrites == 0 {
		t.Error("that is no load")
	}
	if memory > 64<<20 {
		t.Errorf("%d MiB resident", memory>>20)
	}
}

// peak returns the most resident memory that a process ever had, in bytes.
func peak(t testing.TB, pid int) int64 {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			do(t, err)
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
