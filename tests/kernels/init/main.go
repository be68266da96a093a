// Init is the first and only service of the machines of tests/kernels: it
// mounts what a recording may happen on, runs the tests on each, or the commands
// of TestFilemon, and turns the machine off. What comes of it goes to the second serial port, in sections: a
// line "=== begin NAME", the text, and "=== end NAME SECONDS HOW", where HOW is
// ok or an error.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	err := run()
	if err != nil {
		fmt.Println("init:", err)
	}
	unix.Sync()
	fmt.Println("init: off", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

func run() error {
	// What every distribution has mounted.
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/mnt"},
		{"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := mount("none", m.dir, m.kind, ""); err != nil {
			return err
		}
	}
	if err := os.Symlink("/proc/self/fd", "/dev/fd"); err != nil {
		return err
	}
	out, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	section(out, "modules", insertAll)
	section(out, "kernel", func(w io.Writer) error {
		b, err := os.ReadFile("/proc/version")
		w.Write(b)
		return err
	})
	if _, err := os.Stat("/system"); err == nil {
		return system()
	}
	os.Setenv("PATH", "/bin")
	if _, err := os.Stat("/commands"); err == nil {
		return commands(out)
	}
	os.Setenv("NO_COLOR", "1")
	os.Setenv("FANREC", "/bin/fanrec")
	os.Setenv("ACT", "/act")
	mounted := map[string]error{}
	for _, f := range filesystems {
		mounted[f.name] = f.mount("/mnt/" + f.name)
	}
	// As on most machines, this is on a disk.
	if err := bind("/mnt/ext4/tmp", "/var/tmp"); err != nil {
		return err
	}
	command(out, "doctor", "/", "fanrec", "doctor")
	return runs(out, mounted)
}

// runs does what the lines of /runs say: a name, a filesystem, and which tests
// of tests/e2e to run there.
func runs(out io.Writer, mounted map[string]error) error {
	list, err := os.ReadFile("/runs")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if err := mounted[f[1]]; err != nil {
			section(out, f[0], func(io.Writer) error { return err })
			continue
		}
		os.Setenv("TMPDIR", "/mnt/"+f[1])
		command(out, f[0], "/e2e", "/e2e/test", "-test.v", "-test.run", f[2])
	}
	return nil
}

// system hands the machine over to systemd, which is on its disk.
func system() error {
	if err := mount("/dev/vda", "/root", "ext4", ""); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := errors.Join(os.MkdirAll("/root"+dir, 0o755), unix.Mount(dir, "/root"+dir, "", unix.MS_MOVE, "")); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := errors.Join(unix.Chdir("/root"), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot(".")); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	return unix.Exec("/lib/systemd/systemd", []string{"systemd"}, nil)
}

// commands runs what the lines of /commands say, instead of the tests: a name and an argument vector.
func commands(out io.Writer) error {
	list, err := os.ReadFile("/commands")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		command(out, f[0], "/", f[1:]...)
	}
	return nil
}

// command runs a program whose output is a section.
func command(out io.Writer, name, dir string, argv ...string) {
	section(out, name, func(w io.Writer) error {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, w, w
		return cmd.Run()
	})
}

// section runs fn, whose text is a section.
func section(out io.Writer, name string, fn func(io.Writer) error) {
	fmt.Fprintf(out, "=== begin %s\n", name)
	how, begin := "ok", time.Now()
	if err := fn(out); err != nil {
		how = err.Error()
	}
	fmt.Fprintf(out, "\n=== end %s %.1f %s\n", name, time.Since(begin).Seconds(), how)
}

// insertAll inserts the modules in /modules, in the order of their names.
func insertAll(w io.Writer) error {
	files, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	for _, path := range files {
		image, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := unix.InitModule(image, ""); err != nil && !errors.Is(err, unix.EEXIST) {
			fmt.Fprintf(w, "%s: %v\n", path, err)
		}
	}
	return nil
}

func bind(source, dir string) error {
	for _, d := range []string{source, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount(source, dir, "", unix.MS_BIND, "")
}

func mount(source, dir, kind, options string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// A disk may take a moment to appear.
	for end := time.Now().Add(10 * time.Second); strings.HasPrefix(source, "/") && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(source); err == nil {
			break
		}
	}
	if err := unix.Mount(source, dir, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, dir, err)
	}
	return nil
}

// filesystems are what the tests work on. The disks are those of the test that
// boots this, in the same order.
var filesystems = []struct {
	name  string
	mount func(dir string) error
}{
	{"tmpfs", func(dir string) error { return mount("none", dir, "tmpfs", "") }},
	{"ext4", func(dir string) error { return mount("/dev/vda", dir, "ext4", "") }},
	{"xfs", func(dir string) error { return mount("/dev/vdb", dir, "xfs", "") }},
	{"btrfs", func(dir string) error { return mount("/dev/vdc", dir, "btrfs", "") }},
	{"overlay", func(dir string) error {
		below := filepath.Dir(dir) + "/ext4/layers"
		for _, d := range []string{"lower", "upper", "work"} {
			if err := os.MkdirAll(filepath.Join(below, d), 0o755); err != nil {
				return err
			}
		}
		return mount("none", dir, "overlay", fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", below))
	}},
}
