package kernels

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fanrec/output/depfile"
	"fanrec/tests/logs"
)

// TestFilemonProject makes the project of tests/makes with a bmake that uses
// /dev/filemon. The machine gets what a recording says that this takes: compiler,
// headers and all.
func TestFilemonProject(t *testing.T) {
	need(t)
	const suite = "trixie"
	r := &initramfs{}
	dir := t.TempDir()
	for name, command := range map[string]string{
		"init":       "go build -o OUT fanrec/tests/kernels/init",
		"bin/fanrec": "env CGO_ENABLED=0 go build -o OUT fanrec/cmd/fanrec",
		"makes.test": "go test -c -o OUT fanrec/tests/makes",
	} {
		if err := r.build(dir, name, command); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"sh", "sleep", "setpriv", "env", "../../bin/bmake-dev"} {
		if err := r.program(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.copy("served.sh", "testdata/served.sh"), r.toolchain(t, dir)); err != nil {
		t.Fatal(err)
	}
	r.put("opt/here", nil)
	r.put("etc/passwd", []byte("root:x:0:0::/:/bin/sh\n"))
	r.put("commands", []byte("project /bin/sh /served.sh /bin/env PATH=/usr/bin:/bin FANREC=/bin/fanrec /makes.test -test.v -test.run ^TestMakes$\n"))
	sections, console := r.run(t, suite)
	s := sections["project"]
	t.Logf("%.1f s: %s\n%s", s.seconds, s.how, s.text)
	if s.how != "ok" || !strings.Contains(s.text, "--- PASS: TestMakes/device_-j4") {
		t.Errorf("did not succeed\n%s", console)
	}
}

// toolchain takes what the project needs of this machine: what a recording of
// how it is made here has been reading, and the links that lead there.
func (r *initramfs) toolchain(t *testing.T, dir string) error {
	log := filepath.Join(dir, "log")
	cmd := exec.Command(filepath.Join(dir, "fanrec"), "--no-service", "-q", "-f", "jsonl", "-o", log, "--",
		filepath.Join(dir, "makes.test"), "-test.run", "^TestMakes$/^backend_-j1$")
	cmd.Dir, cmd.Env = "../makes", append(os.Environ(), "FANREC="+filepath.Join(dir, "fanrec"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var files depfile.Files
	_, end, err := logs.Each(log, files.Add)
	if err != nil {
		return err
	}
	if len(end.Incomplete) > 0 {
		return errors.New(strings.Join(end.Incomplete, "; "))
	}
	taken, dirs := map[string]bool{}, map[string]bool{"/usr/bin": true}
	for _, name := range files.Inputs() {
		if !strings.HasPrefix(name, "/usr/") && !strings.HasPrefix(name, "/etc/ld.so") {
			continue
		}
		if err := r.copy(name[1:], name); err != nil {
			return err
		}
		taken[name], dirs[filepath.Dir(name)] = true, true
	}
	for dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if e.Type()&os.ModeSymlink == 0 {
				continue
			}
			if to, err := filepath.EvalSymlinks(name); err == nil && taken[to] {
				r.link(name[1:], to)
			}
		}
	}
	return nil
}
