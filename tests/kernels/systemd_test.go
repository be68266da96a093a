package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fanrec/output"
	"fanrec/output/series"
	"fanrec/tests/logs"
)

// systemdPackages are what the machine of TestSystemd has, with all that they need.
var systemdPackages = []string{"systemd", "nginx", "bash", "dash", "coreutils", "grep", "sed", "util-linux", "procps"}

// systemdSuites: a kernel where programs attach as raw tracepoints, and one where they
// attach by perf.
var systemdSuites = []string{"trixie", "sid"}

// TestSystemd boots machines of which systemd is the init and that have the units of
// contrib/systemd, as they are: nginx is recorded from its first instruction until the
// machine is turned off, and others record by the service.
func TestSystemd(t *testing.T) {
	need(t)
	for _, p := range []string{"apt-cache", "dpkg-query", "tar", "debugfs", "nginx"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%v (make deps)", err)
		}
	}
	root := t.TempDir()
	if err := installPackages(root, systemdPackages); err != nil {
		t.Fatal(err)
	}
	if err := installUnits(t, root); err != nil {
		t.Fatal(err)
	}
	r := &initramfs{}
	if err := r.build(t.TempDir(), "init", "go build -o OUT fanrec/tests/kernels/init"); err != nil {
		t.Fatal(err)
	}
	r.put("system", nil)
	for _, suite := range systemdSuites {
		t.Run(suite, func(t *testing.T) {
			dir := t.TempDir()
			initrd := filepath.Join(dir, "initrd")
			if err := withModules(r, filepath.Join(".cache", suite, "kernel"), initrd, "virtio_pci", "virtio_blk"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			image := disk{1 << 30, []string{"mkfs.ext4", "-q", "-F", "-d", root}}
			if err := boot(ctx, filepath.Join(".cache", suite, "vmlinuz"), initrd, dir, []disk{image}); err != nil {
				t.Error(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "results"))
			if err != nil {
				t.Fatal(err)
			}
			console, _ := os.ReadFile(filepath.Join(dir, "console"))
			sections := parse(string(text))
			if sections["said"].how != "ok" {
				t.Fatalf("did not get to its end\n%s\n%s", text, console)
			}
			for name, s := range sections {
				if s.how != "ok" {
					t.Errorf("%s: %s", name, s.how)
				}
				t.Logf("%s: %s\n%s", name, s.how, s.text)
			}
			if out, err := exec.Command("debugfs", "-R", "rdump /var/log/fanrec "+dir, filepath.Join(dir, "disk0")).CombinedOutput(); err != nil {
				t.Fatalf("debugfs: %v\n%s", err, out)
			}
			checkNginx(t, filepath.Join(dir, "fanrec", "nginx.jsonl"))
		})
	}
}

// checkNginx looks at what the recorder of nginx.service left: a file until the unit was
// reloaded, one until it was killed, and one until nginx was stopped, as the machine was
// turned off.
func checkNginx(t *testing.T, log string) {
	t.Helper()
	names, err := series.Earlier(log)
	if err != nil {
		t.Fatal(err)
	}
	type part struct {
		note string // the first
		end  string // why it is incomplete
	}
	var (
		got   []part
		lives = map[uint32]string{} // of processes that systemd started
		pages = map[string]int{}
	)
	for _, name := range append(names, log) {
		head, end, err := logs.Each(name, func(r *output.Record) {
			path := string(r.Path)
			switch {
			case r.Kind == output.Exec && path == "/usr/sbin/nginx" && !r.Attached:
				lives[r.PID] = "begun"
			case r.Kind == output.Exit && lives[r.PID] != "":
				lives[r.PID] = "ended"
			case r.Kind == output.Read && strings.HasPrefix(path, "/var/www/html/"):
				pages[filepath.Base(path)]++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if head.Key != "nginx" || head.Host != "machine" {
			t.Errorf("%s has the key %q, and is of %q", name, head.Key, head.Host)
		}
		t.Logf("%s: %q, %q", name, head.Notes, end.Incomplete)
		note := head.Notes[0]
		if i := strings.Index(note, ", last written to "); i > 0 { // a time
			note = note[:i]
		}
		got = append(got, part{note, strings.Join(end.Incomplete, "; ")})
	}
	if len(names) != 2 {
		t.Fatalf("%q and one that was written last", names)
	}
	if want := []part{
		{"nobody is in /system.slice/nginx.service yet", ""}, // so nothing of it was before
		{"continues an earlier log", "no trailer"},
		{"continues " + strings.TrimSuffix(filepath.Base(names[1]), ".zst"), ""},
	}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// One that looks at the configuration, and one that starts the master, twice.
	if len(lives) != 4 || slices.Contains(slices.Collect(maps.Values(lives)), "begun") {
		t.Errorf("%v: want four that end", lives)
	}
	if want := map[string]int{"one.html": 1, "two.html": 1, "three.html": 1, "four.html": 1}; !maps.Equal(pages, want) {
		t.Errorf("%v: want each page once", pages)
	}
	collected, err := os.ReadFile(filepath.Join(filepath.Dir(log), "collected"))
	if err != nil {
		t.Fatal(err)
	}
	for page := range pages {
		if n := bytes.Count(collected, []byte(`{"stringValue":"/var/www/html/`+page+`"}`)); n != 1 {
			t.Errorf("%d records of %s were collected", n, page)
		}
	}
	for _, want := range []string{`{"key":"host.name","value":{"stringValue":"machine"}}`, `{"key":"systemd.unit","value":{"stringValue":"nginx.service"}}`} {
		if !bytes.Contains(collected, []byte(want)) {
			t.Errorf("what was collected has no %s", want)
		}
	}
}

// installUnits puts fanrec and its units beside the packages, as the README says, and
// what TestSystemd wants besides.
func installUnits(t *testing.T, root string) error {
	copies := &initramfs{}
	dir := t.TempDir()
	for name, command := range map[string]string{
		"usr/local/bin/fanrec":      "go build -o OUT fanrec/cmd/fanrec",
		"usr/local/bin/fanrec-otlp": "go build -o OUT fanrec/cmd/fanrec-otlp",
		"usr/local/bin/collector":   "go build -C ../otlp/collector -o OUT .",
	} {
		if err := copies.build(dir, name, command); err != nil {
			return err
		}
	}
	const units = "etc/systemd/system/"
	for _, name := range []string{"fanrec@.service", "fanrec.service", "fanrec.socket"} {
		if err := copies.copy(units+name, "../../contrib/systemd/"+name); err != nil {
			return err
		}
	}
	for _, name := range []string{"probe.service", "collector.service"} {
		if err := copies.copy(units+name, "testdata/systemd/"+name); err != nil {
			return err
		}
	}
	if err := copies.copy("probe.sh", "testdata/systemd/probe.sh"); err != nil {
		return err
	}
	// As "systemctl enable" does.
	const wants = units + "multi-user.target.wants/"
	copies.link(wants+"fanrec@nginx.service", "/"+units+"fanrec@.service")
	copies.link(wants+"nginx.service", "/lib/systemd/system/nginx.service")
	copies.link(wants+"probe.service", "/"+units+"probe.service")
	copies.link(wants+"collector.service", "/"+units+"collector.service")
	copies.link(units+"default.target", "/lib/systemd/system/multi-user.target")
	for name, text := range map[string]string{
		"etc/default/fanrec":              "FANREC_FLAGS=--metrics 127.0.0.1:9435 --otlp http://127.0.0.1:4318\n",
		"etc/passwd":                      "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
		"etc/group":                       "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n",
		"var/log/fanrec/collected":        "",
		"etc/hostname":                    "machine\n",
		"etc/machine-id":                  "0123456789abcdef0123456789abcdef\n", // or it is its first boot
		"etc/nginx/sites-enabled/default": "server { listen 80; root /var/www/html; }\n",
		"var/www/html/one.html":           "1", "var/www/html/two.html": "2", "var/www/html/three.html": "3", "var/www/html/four.html": "4",
	} {
		copies.add(name, file{kindFile | 0o644, []byte(text)})
	}
	return copies.writeTo(root)
}

// installPackages copies the files of packages of this machine, and of those that they need.
func installPackages(root string, names []string) error {
	out, err := exec.Command("apt-cache", append([]string{"depends", "--installed", "--recurse", "--no-recommends", "--no-suggests",
		"--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}, names...)...).Output()
	if err != nil {
		return fmt.Errorf("apt-cache depends: %w", err)
	}
	known := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
	known = slices.DeleteFunc(known, func(line string) bool { return strings.ContainsAny(line, " <") }) // what each needs, or provides
	// It fails for those that have no package of their own, and tells of the others.
	out, _ = exec.Command("dpkg-query", append([]string{"-W", "-f", "${db:Status-Abbrev}${binary:Package}\n"}, known...)...).Output()
	query := []string{"-L"}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "ii "); ok {
			query = append(query, name)
		}
	}
	if out, err = exec.Command("dpkg-query", query...).Output(); err != nil {
		return fmt.Errorf("dpkg-query -L: %w", err)
	}
	var paths []string
	for line := range strings.Lines(string(out)) {
		name := strings.TrimRight(line, "\n")
		if !strings.HasPrefix(name, "/") || strings.HasPrefix(name, "/usr/share/doc/") || strings.HasPrefix(name, "/usr/share/man/") || strings.HasPrefix(name, "/usr/share/locale/") {
			continue
		}
		if _, err := os.Lstat(name); err == nil {
			paths = append(paths, name)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + link); err == nil {
			if err := errors.Join(os.MkdirAll(filepath.Join(root, to), 0o755), os.Symlink(to, filepath.Join(root, link))); err != nil {
				return err
			}
		}
	}
	pack := exec.Command("tar", "-c", "-C", "/", "--no-recursion", "-T", "-")
	pack.Stdin = strings.NewReader(strings.Join(paths, "\n"))
	unpack := exec.Command("tar", "-x", "-p", "--keep-directory-symlink", "-C", root)
	if unpack.Stdin, err = pack.StdoutPipe(); err != nil {
		return err
	}
	var said strings.Builder
	pack.Stderr, unpack.Stderr = &said, &said
	if err := errors.Join(pack.Start(), unpack.Run(), pack.Wait()); err != nil {
		return fmt.Errorf("copy packages: %w\n%s", err, said.String())
	}
	return nil
}
