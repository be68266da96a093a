package kernels

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// deviceCommands are what is run in a machine with /dev/filemon. Each has a
// service of its own: tests/kernels/filemon is put in front of it.
var deviceCommands = []struct{ name, command string }{
	{"example", "/bin/example /tmp/log /bin/true"},
	{"errors", "/bin/device errors"},
	{"early", "/bin/device early"},
	{"permissions", "/bin/device permissions"},
	{"waiting", "/bin/device waiting"},
	{"closing", "/bin/device closing"},
	{"killed", "/bin/device killed"},
	{"inherited", "/bin/device inherited"},
	{"hundred", "/bin/device hundred"},
	{"threads", "/bin/device threads"},
	{"lone-threads", "/bin/device lone-threads"},
	{"namespaces", "/bin/device namespaces"},
	{"gone", "/bin/device gone"},
}

// deviceSuites: a kernel from before PIDFD_THREAD, and one with it.
var deviceSuites = []string{"bookworm", "trixie"}

// refused are the cases that a kernel cannot do.
var refused = map[string]bool{
	"bookworm/lone-threads": true, // a thread's descriptors can be had through its process only
}

// TestFilemon serves /dev/filemon, with recordings that are fakes, to programs
// in C that know only contrib/include/filemon.h.
func TestFilemon(t *testing.T) {
	need(t)
	r := &initramfs{}
	if err := r.program("true"); err != nil {
		t.Fatal(err)
	}
	const cc = "cc -O1 -static -pthread -Wall -Wextra -Werror -I../../contrib/include -o OUT "
	for name, command := range map[string]string{
		"init":        "go build -o OUT fanrec/tests/kernels/init",
		"bin/filemon": "go build -o OUT fanrec/tests/kernels/filemon",
		"bin/example": cc + "testdata/example.c",
		"bin/device":  cc + "testdata/device.c",
	} {
		if err := r.build(t.TempDir(), name, command); err != nil {
			t.Fatal(err)
		}
	}
	var list strings.Builder
	for _, c := range deviceCommands {
		fmt.Fprintf(&list, "%s /bin/filemon %s\n", c.name, c.command)
	}
	r.put("commands", []byte(list.String()))
	for _, suite := range deviceSuites {
		t.Run(suite, func(t *testing.T) {
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
			console, err := os.ReadFile(filepath.Join(dir, "console"))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", console)
			sections := parse(string(text))
			for _, c := range deviceCommands {
				t.Run(c.name, func(t *testing.T) {
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

