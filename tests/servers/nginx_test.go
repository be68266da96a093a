package servers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fanrec/output"
)

const nginxConf = `
worker_processes 2;
error_log %[1]s/error.log;
pid %[1]s/nginx.pid;
daemon off;
events { worker_connections 512; }
http {
	access_log %[1]s/access.log;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	client_body_in_file_only clean; client_body_buffer_size 1k;
	server {
		listen unix:%[1]s/socket;
		listen 127.0.0.1:%[2]d;
		root %[1]s/www;
		location /put { proxy_pass http://unix:%[1]s/socket:/; proxy_method GET; }
	}
}
`

// freePort returns a port that nobody uses.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	do(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startNginx runs an nginx of its own in a directory, with a page.
func startNginx(t testing.TB) (server *daemon, dir string, port int) {
	t.Helper()
	port = freePort(t)
	dir, err := os.MkdirTemp("", "fanrec-nginx-")
	do(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir, err = filepath.EvalSymlinks(dir)
	do(t, err, os.Chmod(dir, 0o755), os.Mkdir(dir+"/www", 0o755), os.WriteFile(dir+"/www/index.html", []byte("hello\n"), 0o644),
		os.WriteFile(dir+"/conf", fmt.Appendf(nil, nginxConf, dir, port), 0o644))
	server = start(t, nil, "nginx", "-p", dir, "-c", dir+"/conf")
	t.Cleanup(func() { // with its workers
		if server.cmd.ProcessState == nil {
			server.stop(syscall.SIGTERM)
		}
	})
	until(t, "nginx", func() bool {
		b, err := os.ReadFile(dir + "/nginx.pid")
		_, err2 := os.Stat(dir + "/socket")
		return err == nil && len(b) > 1 && err2 == nil
	})
	return server, dir, port
}

func TestNginx(t *testing.T) {
	need(t, "nginx", "wrk", "pgrep")
	server, dir, port := startNginx(t)
	workdir = dir
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	stay := start(t, nil, "wrk", "-t", "1", "-c", "4", "-d", "600", "--header", "Host: x", fmt.Sprintf("http://127.0.0.1:%d/nosuch", port))
	s := watched(t, server.cmd.Process.Pid, func() {
		run(t, "wrk", "-t", "1", "-c", "8", "-d", "1", url)
		// What rotates logs does.
		do(t, os.Rename(dir+"/access.log", dir+"/access.log.1"))
		server.cmd.Process.Signal(syscall.SIGUSR1)
		until(t, "the new log", func() bool { _, err := os.Stat(dir + "/access.log"); return err == nil })
		run(t, "wrk", "-t", "1", "-c", "8", "-d", "1", url)
	})
	stay.stop(syscall.SIGINT)
	do(t, server.stop(syscall.SIGQUIT))
	// Each request for the page opens it once, and nginx says how many there were.
	log, err := os.ReadFile(dir + "/access.log")
	do(t, err)
	old, err := os.ReadFile(dir + "/access.log.1")
	do(t, err)
	said := strings.Count(string(old)+string(log), `"GET / HTTP`)
	opened, logs := 0, 0
	for i := range s.records {
		r := &s.records[i]
		switch {
		case r.Attached:
		case r.Kind == output.Read && string(r.Path) == dir+"/www/index.html":
			opened++
		case r.Kind == output.Write && string(r.Path) == dir+"/access.log":
			logs++
		}
	}
	t.Logf("%d requests", said)
	if opened != said || said < 100 {
		t.Errorf("the page was opened %d times, for %d requests", opened, said)
	}
	if logs != 3 { // by the master and two workers
		t.Errorf("the new log was opened %d times, want 3", logs)
	}
}
