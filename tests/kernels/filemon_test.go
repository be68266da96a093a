package kernels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve is a service for one command, tests/kernels/filemon.
const serve = "/bin/filemon "

// limited runs it as root with no other capabilities than it needs here, and those that
// its client needs to become another user.
const limited = "/bin/setpriv --bounding-set=-all,+sys_ptrace,+setuid,+setgid " + serve

// deviceCommands are what is run in a machine with /dev/filemon.
var deviceCommands = []struct{ name, command string }{
	{"example", serve + "/bin/example /tmp/log /bin/true"},
	{"errors", serve + "/bin/device errors"},
	{"early", serve + "/bin/device early"},
	{"permissions", serve + "/bin/device permissions"},
	{"capabilities", limited + "/bin/device permissions"},
	{"waiting", serve + "/bin/device waiting"},
	{"closing", serve + "/bin/device closing"},
	{"killed", serve + "/bin/device killed"},
	{"inherited", serve + "/bin/device inherited"},
	{"hundred", serve + "/bin/device hundred"},
	{"threads", serve + "/bin/device threads"},
	{"lone-threads", serve + "/bin/device lone-threads"},
	{"namespaces", serve + "/bin/device namespaces"},
	{"gone", serve + "/bin/device gone"},
	{"bmake", serve + "/bin/sh /bmake.sh"},
	{"bmake-jobs", serve + "/bin/sh /bmake.sh -j8"},
	{"served-example", "/bin/sh /served.sh /bin/example /tmp/served.log /bin/cat /etc/passwd"},
	{"served-bmake", "/bin/sh /served.sh /bin/sh /loop.sh"},
	{"served-bmake-jobs", "/bin/sh /served.sh /bin/sh /loop.sh -j4"},
}

// deviceSuites: a kernel from before PIDFD_THREAD, and one with it.
var deviceSuites = []string{"bullseye", "trixie"}

// refused are the cases that a kernel cannot do.
var refused = map[string]bool{
	"bullseye/lone-threads": true, // a thread's descriptors can be had through its process only
	"bookworm/lone-threads": true,
	// All is on a tmpfs in the machine, which 5.10 cannot watch.
	"bullseye/served-example": true, "bullseye/served-bmake": true, "bullseye/served-bmake-jobs": true,
}

// TestFilemon serves /dev/filemon to programs in C that know only
// contrib/include/filemon.h: with recordings that are fakes, which can be held in
// a call, and as fanrec serve does.
func TestFilemon(t *testing.T) {
	need(t)
	r := &initramfs{}
	for _, p := range []string{"true", "sh", "cat", "grep", "tail", "head", "ls", "mkdir", "mv", "rm", "sleep", "touch", "setpriv"} {
		if err := r.program(p); err != nil {
			t.Fatal(err)
		}
	}
	// bmake with its own filemon_dev.c, which contrib/bmake/build.sh makes.
	nobmake := r.program("../../bin/bmake-dev")
	if nobmake != nil && !errors.Is(nobmake, fs.ErrNotExist) {
		t.Fatal(nobmake)
	}
	for _, script := range []string{"bmake.sh", "served.sh", "loop.sh"} {
		if err := r.copy(script, "testdata/"+script); err != nil {
			t.Fatal(err)
		}
	}
	r.put("etc/passwd", []byte("root:x:0:0::/:/bin/sh\n"))
	const cc = "cc -O1 -static -pthread -Wall -Wextra -Werror -I../../contrib/include -o OUT "
	for name, command := range map[string]string{
		"init":        "go build -o OUT fanrec/tests/kernels/init",
		"bin/filemon": "go build -o OUT fanrec/tests/kernels/filemon",
		"bin/fanrec":  "env CGO_ENABLED=0 go build -o OUT fanrec/cmd/fanrec",
		"bin/example": cc + "testdata/example.c",
		"bin/device":  cc + "testdata/device.c",
	} {
		if err := r.build(t.TempDir(), name, command); err != nil {
			t.Fatal(err)
		}
	}
	var list strings.Builder
	for _, c := range deviceCommands {
		fmt.Fprintf(&list, "%s %s\n", c.name, c.command)
	}
	r.put("commands", []byte(list.String()))
	for _, suite := range deviceSuites {
		t.Run(suite, func(t *testing.T) {
			sections, console := r.run(t, suite)
			t.Logf("%s", console)
			for _, c := range deviceCommands {
				t.Run(c.name, func(t *testing.T) {
					if strings.Contains(c.name, "bmake") && nobmake != nil {
						t.Skipf("%v (make bmake)", nobmake)
					}
					s := sections[c.name]
					t.Logf("%.1f s: %s\n%s", s.seconds, s.how, s.text)
					switch {
					case refused[suite+"/"+c.name]:
						if s.how != "exit status 1" {
							t.Errorf("want it refused")
						}
					case s.how != "ok":
						t.Error("did not succeed")
					}
				})
			}
		})
	}
}

// run boots a kernel that has cuse, and returns what the commands printed, and the console.
func (r *initramfs) run(t *testing.T, suite string) (sections map[string]section, console []byte) {
	t.Helper()
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	if err := withModules(r, filepath.Join(".cache", suite, "kernel"), initrd, "cuse"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := boot(ctx, filepath.Join(".cache", suite, "vmlinuz"), initrd, dir, nil); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "results"))
	if err != nil {
		t.Fatal(err)
	}
	if console, err = os.ReadFile(filepath.Join(dir, "console")); err != nil {
		t.Fatal(err)
	}
	return parse(string(text)), console
}
