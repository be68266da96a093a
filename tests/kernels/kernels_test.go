package kernels

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "put the table into the documents")

// documents have the table between two lines.
var documents = []string{"../../docs/kernels.md", "../../README.md"}

var keep = flag.String("keep", "", "keep what the machines write, initramfs and all, in this `directory`")

// suites of Debian whose kernels fetch.sh gets.
var suites = []string{"bullseye", "bookworm", "trixie", "sid"}

// runs are what each machine does: scripts of tests/e2e on a filesystem.
var runs = []struct{ name, filesystem, test, scripts string }{
	{"ext4", "ext4", "TestScripts", "tour|temporary|nocalls"},
	{"tmpfs", "tmpfs", "TestScripts", "tour|temporary|nocalls"},
	{"xfs", "xfs", "TestScripts", "tour|temporary|nocalls"},
	{"btrfs", "btrfs", "TestScripts", "tour|temporary|nocalls"},
	{"overlay", "overlay", "TestScripts", "tour|temporary|nocalls"},
	{"scripts", "ext4", "TestScripts", "absent|attach|exchange|exec|names|opens|places"},
	{"service", "ext4", "TestScriptsByService", "tour|temporary|exchange|exec|names|opens|places"},
	{"preempted", "ext4", "TestScripts(ByService)?", "preempted"}, // by itself: it leaves others little time
}

// less are the cells of which it is known that not all is as it should be: which
// scripts may fail, and what the table then says. "*" is every kernel
// or run.
var less = map[string]struct {
	scripts []string
	why     string
}{
	"*/overlay":        {[]string{"nocalls"}, "ok, not `--no-calls`"}, // it cannot be watched: only calls tell of it
	"bullseye/btrfs":   {[]string{"tour", "temporary"}, "incomplete"},
	"bullseye/overlay": {[]string{"temporary", "nocalls"}, "ok, not `--no-calls`"}, // it has no O_TMPFILE there
	"bookworm/overlay": {[]string{"temporary", "nocalls"}, "ok, not `--no-calls`"},
	"bullseye/tmpfs":   {[]string{"tour", "temporary", "nocalls"}, "by calls only"}, // it has no fsid before 5.13
}

// programs are what the scripts run.
var programs = []string{
	"cat", "chmod", "cp", "dd", "env", "grep", "ln", "ls", "mkdir", "mount", "mv", "rm", "rmdir", "sed", "seq", "sh", "sleep", "tail", "touch",
	"true", "umount", "unshare",
}

// patience is how long a machine may take: some minutes, more where the
// machine that emulates it has other work.
const patience = 15 * time.Minute

func TestKernels(t *testing.T) {
	need(t)
	base, err := userland(t)
	if err != nil {
		t.Fatal(err)
	}
	// Two at a time, or each takes longer than anybody waits.
	free := make(chan struct{}, 2)
	var (
		mu   sync.Mutex
		rows = map[string]row{}
	)
	t.Run("boot", func(t *testing.T) {
		for _, suite := range suites {
			t.Run(suite, func(t *testing.T) {
				t.Parallel()
				free <- struct{}{}
				defer func() { <-free }()
				r := try(t, suite, base)
				mu.Lock()
				defer mu.Unlock()
				rows[suite] = r
			})
		}
	})
	var columns []string
	for _, r := range runs {
		columns = append(columns, r.name)
	}
	var all []row
	for _, suite := range suites {
		if r, ok := rows[suite]; ok {
			all = append(all, r)
		}
	}
	text := table(columns, all)
	t.Logf("\n%s", text)
	if err := os.WriteFile(".cache/table.md", []byte(text), 0o666); err != nil {
		t.Error(err)
	}
	for _, path := range documents {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out, ok := replace(string(b), text)
		if !ok {
			t.Errorf("%s has no place for the table", path)
		} else if *update {
			if err := os.WriteFile(path, []byte(out), 0o666); err != nil {
				t.Error(err)
			}
		}
	}
}

// need skips the test where it cannot be run. CI must be able to.
func need(t *testing.T) {
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	switch {
	case testing.Short():
		t.Skip("takes minutes")
	case runtime.GOARCH != "amd64":
		t.Skip("the machines run programs of this one, and are amd64")
	}
	for _, p := range []string{"qemu-system-x86_64", "cc", "xz", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"} {
		if _, err := exec.LookPath(p); err != nil {
			skip("%v (make deps)", err)
		}
	}
	for _, suite := range suites {
		if _, err := os.Stat(filepath.Join(".cache", suite)); err != nil {
			skip("%v (make kernels)", err)
		}
	}
}

// try boots the kernel of a suite. The runs in it are subtests.
func try(t *testing.T, suite string, base *initramfs) row {
	dir := t.TempDir()
	if *keep != "" {
		dir = filepath.Join(*keep, suite)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	initrd := filepath.Join(dir, "initrd")
	if err := withModules(base, filepath.Join(".cache", suite, "kernel"), initrd, "virtio_pci", "virtio_blk", "xfs", "btrfs", "overlay"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := time.Now()
	err := boot(ctx, filepath.Join(".cache", suite, "vmlinuz"), initrd, dir, disks)
	results, rerr := os.ReadFile(filepath.Join(dir, "results"))
	if err = errors.Join(err, rerr); err != nil {
		t.Error(err)
	}
	artifact(t, suite, dir)
	sections := parse(string(results))
	kernel := debianVersion(sections["kernel"].text)
	t.Logf("%s: %.0f s", kernel, time.Since(begin).Seconds())
	if kernel == "" {
		console, _ := os.ReadFile(filepath.Join(dir, "console"))
		t.Errorf("did not get to its tests:\n%s", console)
	}
	r := row{kernel: fmt.Sprintf("%s (%s)", kernel, suite)}
	for _, run := range runs {
		t.Run(run.name, func(t *testing.T) {
			r.cells = append(r.cells, judge(t, run.scripts, sections[run.name]))
		})
	}
	return r
}

// judge returns what the table says of a run, and fails the test where that is
// not what is wanted.
func judge(t *testing.T, list string, s section) string {
	scripts := strings.Split(list, "|")
	missing := s.missing(scripts)
	t.Logf("%d scripts, %.0f s, failed: %v", len(scripts), s.seconds, missing)
	if s.how == "ok" && len(missing) == 0 {
		return "ok"
	}
	name := strings.Split(t.Name(), "/") // TestKernels, boot, suite, run
	for _, cell := range []string{name[2] + "/" + name[3], "*/" + name[3]} {
		known, ok := less[cell]
		if ok && !slices.ContainsFunc(missing, func(script string) bool { return !slices.Contains(known.scripts, script) }) {
			return known.why
		}
	}
	t.Errorf("%s\n%s", s.how, s.text)
	return "failed"
}

// artifact keeps what a machine wrote beside the kernels.
func artifact(t *testing.T, suite, dir string) {
	for _, name := range []string{"console", "results"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(".cache", suite+"."+name), b, 0o666); err != nil {
			t.Error(err)
		}
	}
}

// withModules writes an initramfs that has modules of a kernel besides.
func withModules(base *initramfs, dir, to string, names ...string) error {
	m, err := findModules(dir)
	if err != nil {
		return err
	}
	images, err := m.load(names...)
	if err != nil {
		return err
	}
	root := initramfs{files: maps.Clone(base.files)}
	for i, image := range images {
		root.put(fmt.Sprintf("modules/%03d", i), image)
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(root.write(f), f.Close())
}

// userland makes what is the same for all kernels.
func userland(t *testing.T) (*initramfs, error) {
	dir := t.TempDir()
	r := &initramfs{}
	for _, p := range programs {
		if err := r.program(p); err != nil {
			return nil, err
		}
	}
	var list strings.Builder
	for _, run := range runs {
		fmt.Fprintf(&list, "%s %s ^%s$/^(%s)$\n", run.name, run.filesystem, run.test, run.scripts)
	}
	r.put("runs", []byte(list.String()))
	return r, errors.Join(
		r.build(dir, "init", "go build -o OUT fanrec/tests/kernels/init"),
		r.build(dir, "bin/fanrec", "go build -o OUT fanrec/cmd/fanrec"),
		r.build(dir, "e2e/test", "go test -c -o OUT fanrec/tests/e2e"),
		r.build(dir, "act/act", "cc -O1 -pthread -o OUT ../e2e/testdata/act.c"),
		r.build(dir, "act/act-static", "cc -O1 -pthread -static -o OUT ../e2e/testdata/act.c"),
		r.copy("e2e/testdata", "../e2e/testdata"),
	)
}
