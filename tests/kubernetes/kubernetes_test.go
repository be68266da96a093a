// Package kubernetes reads the manifest with Kubernetes' own types, and runs what it
// says in a container that is made of the same namespaces and rights.
package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/tests/rights"
)

const manifest = "../../contrib/kubernetes/daemonset.yaml"

// daemonSet is what the test needs of one.
type daemonSet struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				HostPID    bool
				Containers []struct {
					Args            []string
					SecurityContext struct{ Capabilities struct{ Drop, Add []string } }
				}
			}
		}
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	to := filepath.Join(dir, name)
	var where []string
	if len(args) > 1 {
		where, args = args[:2], args[2:] // -C must be first
	}
	cmd := exec.Command("go", append(append([]string{"build"}, where...), append([]string{"-o", to}, args...)...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return to
}

func TestDaemonSet(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("recording needs root")
	}
	for _, p := range []string{"unshare", "capsh", "chroot"} {
		if _, err := exec.LookPath(p); errors.Is(err, exec.ErrNotFound) {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	do(t, os.Mkdir(image, 0o755))
	build(t, image, "fanrec", "fanrec/cmd/fanrec")
	build(t, image, "fanrec-otlp", "fanrec/cmd/fanrec-otlp")
	in, err := os.ReadFile(manifest)
	do(t, err)
	read := exec.Command(build(t, dir, "manifest", "-C", "manifest", "."))
	read.Stdin, read.Stderr = bytes.NewReader(in), os.Stderr
	out, err := read.Output()
	do(t, err)
	var set daemonSet
	for line := range bytes.Lines(out) {
		if do(t, json.Unmarshal(line, &set)); set.Kind == "DaemonSet" {
			break
		}
	}
	pod := set.Spec.Template.Spec
	if !pod.HostPID || len(pod.Containers) != 1 {
		t.Fatalf("%+v", pod)
	}
	c := pod.Containers[0]

	// The node: what the process is called that everything is recorded of, and where
	// its log is. Its process 1 is not always to be looked at: another one is.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	do(t, err)
	metrics := l.Addr().String()
	l.Close()
	log := filepath.Join(dir, "made", "node.jsonl") // a fresh node has no such directory
	variables := strings.NewReplacer("$(NODE_NAME)", "node7", "$(NODE_IP)", "127.0.0.1")
	var args []string
	for _, a := range c.Args {
		a = variables.Replace(a)
		switch {
		case strings.HasPrefix(a, "--mounts-of="):
			a = "--mounts-of=" + strconv.Itoa(os.Getpid())
		case strings.HasPrefix(a, "--output="):
			a = "--output=" + log
		case strings.HasPrefix(a, "--metrics="):
			a = "--metrics=" + metrics
		}
		args = append(args, a)
	}
	var keep []string
	for _, name := range c.SecurityContext.Capabilities.Add {
		keep = append(keep, "CAP_"+name)
	}
	if !slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("it drops %v", c.SecurityContext.Capabilities.Drop)
	}
	// As a runtime does it: a root with nothing but the image, /proc and /sys, and no
	// other capabilities.
	const container = `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mkdir -p "$1/proc" "$1/sys"
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
exec capsh --drop="$2" -- -c 'root=$1; shift 2; exec chroot "$root" /fanrec "$@"' sh "$@"`
	drop, err := rights.Others(keep)
	do(t, err)
	f := exec.Command("unshare", append([]string{"--mount", "--", "sh", "-c", container, "sh", image, drop}, args...)...)
	var said bytes.Buffer
	f.Stdout, f.Stderr = &said, &said
	do(t, f.Start())
	defer f.Process.Kill()
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: waited too long; it says %s", what, said.String())
			}
		}
	}
	until("the metrics", func() bool { c, err := net.Dial("tcp", metrics); return err == nil && c.Close() == nil })
	until("the log", func() bool { b, _ := os.ReadFile(log); return bytes.Contains(b, []byte(`"key":"node7"`)) })
	name := filepath.Join(dir, "made on the node")
	until("a record of a file of the node", func() bool {
		os.Remove(name)
		do(t, os.WriteFile(name, nil, 0o600))
		b, _ := os.ReadFile(log)
		return bytes.Contains(b, []byte(fmt.Sprintf(`"path":%q`, name)))
	})
	if b, _ := os.ReadFile(log); !bytes.Contains(b, []byte(`"host":"node7"`)) {
		t.Errorf("the log begins with %.300s", b)
	}
	f.Process.Signal(syscall.SIGTERM)
	f.Wait()
	// There is no collector; all else must be well.
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(line, "127.0.0.1:4318") {
			t.Errorf("it says %s", line)
		}
	}
}
