package servers

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fanrec/output"
)

// startRedis runs a redis of its own, with an append-only file, at a socket.
func startRedis(t testing.TB) (server *daemon, dir, socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fanrec-redis-")
	do(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir, err = filepath.EvalSymlinks(dir)
	do(t, err)
	socket = dir + "/socket"
	server = start(t, nil, "redis-server", "--port", "0", "--unixsocket", socket, "--dir", dir, "--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0")
	until(t, "redis", func() bool { _, err := os.Stat(socket); return err == nil })
	return server, dir, socket
}

func TestRedis(t *testing.T) {
	need(t, "redis-server", "redis-benchmark", "redis-cli", "pgrep")
	server, dir, socket := startRedis(t)
	workdir = dir
	stay := start(t, nil, "redis-benchmark", "-s", socket, "-q", "-t", "set", "-n", "100000000", "-c", "4", "-r", "10000")
	rewrites := 0
	s := watched(t, server.cmd.Process.Pid, func() {
		for range 3 {
			if out := run(t, "redis-cli", "-s", socket, "bgrewriteaof"); !strings.Contains(out, "started") {
				t.Fatalf("rewrite: %s", out)
			}
			rewrites++
			until(t, "the rewrite", func() bool {
				return strings.Contains(run(t, "redis-cli", "-s", socket, "info", "persistence"), "aof_rewrite_in_progress:0")
			})
		}
		run(t, "redis-cli", "-s", socket, "bgsave")
		until(t, "the save", func() bool {
			return strings.Contains(run(t, "redis-cli", "-s", socket, "info", "persistence"), "rdb_bgsave_in_progress:0")
		})
	})
	stay.stop(syscall.SIGKILL)
	do(t, server.stop(syscall.SIGTERM))
	// A child writes each, into a file that has the child's number in its name.
	names := map[string]int{}
	for i := range s.records {
		r := &s.records[i]
		base := filepath.Base(string(r.Path))
		if r.Kind != output.Write || r.Op != output.Create || !strings.HasPrefix(base, "temp-") {
			continue
		}
		number := strings.Trim(base, "abcdefghijklmnopqrstuvwxyz-.")
		kind := strings.Trim(base, "0123456789.-")
		if number != "" && number != strconv.FormatUint(uint64(r.PID), 10) && strings.Contains(base, "-bg-") {
			t.Errorf("%s is said to be made by %d", base, r.PID)
		}
		names[kind]++
	}
	t.Logf("temporary files: %v, %d rewrites", names, rewrites)
	if len(names) == 0 {
		t.Error("no temporary file is told")
	}
}
