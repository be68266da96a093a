package servers

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fanrec/output"
)

// postgres runs a cluster of its own in a directory.
type postgres struct {
	bin, dir string
	as       *syscall.SysProcAttr
	pid      int
}

func startPostgres(t testing.TB) *postgres {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Skip("no PostgreSQL")
	}
	u, err := user.Lookup("postgres")
	do(t, err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir, err := os.MkdirTemp("", "fanrec-pg-")
	do(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir, err = filepath.EvalSymlinks(dir)
	do(t, err, os.Chown(dir, uid, gid))
	p := &postgres{bin: filepath.Dir(found[len(found)-1]), dir: dir}
	p.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	p.do(t, "initdb", "-A", "trust", "-D", dir+"/data")
	conf := "listen_addresses = ''\nunix_socket_directories = '" + dir + "'\nlog_temp_files = 0\nlog_line_prefix = '%p '\nwork_mem = '64kB'\n" +
		"wal_recycle = off\nmin_wal_size = 32MB\nmax_wal_size = 48MB\nmax_parallel_workers_per_gather = 0\nlogging_collector = off\nautovacuum = off\n"
	f, err := os.OpenFile(dir+"/data/postgresql.conf", os.O_APPEND|os.O_WRONLY, 0)
	do(t, err)
	_, err = f.WriteString(conf)
	do(t, err, f.Close())
	p.do(t, "pg_ctl", "-D", dir+"/data", "-l", dir+"/server.log", "-w", "start")
	t.Cleanup(func() { p.do(t, "pg_ctl", "-D", dir+"/data", "-m", "immediate", "stop") })
	b, err := os.ReadFile(dir + "/data/postmaster.pid")
	do(t, err)
	first, _, _ := strings.Cut(string(b), "\n")
	p.pid, err = strconv.Atoi(first)
	do(t, err)
	p.do(t, "createdb", "-h", dir, "bench")
	p.do(t, "pgbench", "-h", dir, "-i", "-q", "-s", "5", "bench")
	return p
}

// do runs one of its programs.
func (p *postgres) do(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.SysProcAttr, cmd.Dir = p.as, p.dir
	if name == "pg_ctl" { // what it starts keeps its output
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return ""
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// A temporary file, as PostgreSQL logs it: pid, path below its data.
var temporary = regexp.MustCompile(`(?m)^(\d+) LOG:  temporary file: path "([^"]+)"`)

func TestPostgres(t *testing.T) {
	need(t, "pgrep")
	p := startPostgres(t)
	data := filepath.Join(p.dir, "data")
	workdir = data
	// A client that is there before, and stays.
	stay := start(t, p.as, filepath.Join(p.bin, "pgbench"), "-h", p.dir, "-n", "-S", "-c", "2", "-T", "600", "bench")
	until(t, "clients", func() bool {
		out, _ := exec.Command("pgrep", "-P", strconv.Itoa(p.pid), "-f", "pgbench|bench").Output()
		return strings.Count(string(out), "\n") >= 2
	})
	logged := len(temporary.FindAllString(read(t, p.dir+"/server.log"), -1))
	segments := map[string]bool{}
	s := watched(t, p.pid, func() {
		p.do(t, "pgbench", "-h", p.dir, "-n", "-c", "4", "-j", "2", "-t", "200", "bench")
		p.do(t, "psql", "-h", p.dir, "-c", "select count(*) from (select * from pgbench_accounts order by filler, abalance desc offset 10) x", "bench")
		for i := range 3 { // each begins a segment of the log
			p.do(t, "psql", "-h", p.dir, "-c", "select pg_switch_wal()", "-c", fmt.Sprintf("create table t%d as select * from pgbench_accounts limit 20000", i), "-c", "checkpoint", "bench")
			names, _ := filepath.Glob(data + "/pg_wal/0*")
			for _, n := range names {
				segments[n] = true
			}
		}
	})
	stay.stop(syscall.SIGINT)

	// Each temporary file, by who says to have had it.
	made := map[deed]bool{}
	segment := map[string]bool{}
	for i := range s.records {
		r := &s.records[i]
		if r.Kind == output.Write && r.Op == output.Create {
			made[deed{r.PID, "create", string(r.Path)}] = true
		}
		for _, path := range []string{string(r.Path), string(r.Target)} {
			if filepath.Dir(path) == data+"/pg_wal" {
				segment[path] = true
			}
		}
	}
	temporaries := temporary.FindAllStringSubmatch(read(t, p.dir+"/server.log"), -1)[logged:]
	for _, m := range temporaries {
		pid, _ := strconv.ParseUint(m[1], 10, 32)
		if !made[deed{uint32(pid), "create", filepath.Join(data, m[2])}] {
			t.Errorf("the temporary file %s of %d is missing", m[2], pid)
		}
	}
	for name := range segments {
		if !segment[name] {
			t.Errorf("the segment %s is missing", name)
		}
	}
	t.Logf("%d temporary files, %d segments of the log", len(temporaries), len(segments))
	if len(temporaries) == 0 || len(segments) < 3 {
		t.Error("that is no load")
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	do(t, err)
	return string(b)
}
