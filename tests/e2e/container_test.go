package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/tests/schema"

	"github.com/google/go-cmp/cmp"
)

// podman runs act in a container of podman that is called name, of a directory with nothing
// else, where the unified hierarchy of cgroups is all there is. What takes rights that root
// need not have (limits, controllers) is left out.
func podman(t *testing.T, dir, name, script string) *exec.Cmd {
	t.Helper()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "etc", "run"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", filepath.Join(tools, "act-static"), filepath.Join(root, "bin/act")).CombinedOutput(); err != nil {
		t.Skipf("no static act: %s", out)
	}
	run := `mount -t cgroup2 none /sys/fs/cgroup && exec podman run --rm --name "$0" --privileged --pids-limit 0 --network none \
		--ulimit nofile=1000:1000 --ulimit nproc=1000:1000 --rootfs "$1" /bin/act $2`
	return exec.Command("unshare", "-m", "sh", "-c", run, name, root, script)
}

// needPodman skips a test where podman cannot run a container.
func needPodman(t *testing.T) {
	t.Helper()
	needRoot(t)
	for _, program := range []string{"podman", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s", program)
		}
	}
	if out, err := podman(t, t.TempDir(), "fanrec-probe-"+strconv.Itoa(os.Getpid()), "chdir /").CombinedOutput(); err != nil {
		t.Skipf("podman cannot run a container here: %v: %s", err, bytes.TrimSpace(out))
	}
}

// inContainer checks what a log says of the file /tmp/NAME that act made in a container.
// inside is the number of act there.
func inContainer(t *testing.T, log, dir, name, container string, inside uint32) {
	t.Helper()
	host := filepath.Join(dir, "root/tmp", name)
	var made []output.Record
	if end := read(t, log, func(r *output.Record) {
		if string(r.Path) == host && r.Kind == output.Write {
			c := *r
			c.Path, c.Seen = bytes.Clone(r.Path), bytes.Clone(r.Seen)
			made = append(made, c)
		}
	}); len(end.Incomplete) > 0 {
		t.Errorf("incomplete: %q", end.Incomplete)
	}
	if len(made) != 1 {
		t.Fatalf("%d records of %s", len(made), host)
	}
	r := made[0]
	if string(r.Seen) != "/tmp/"+name || r.NSPID != inside || r.PID == inside || len(r.Container) != 64 || r.ContainerName != container {
		t.Errorf("seen as %q, number %d inside and %d outside, in container %q, %q: want /tmp/%s, %d, %s", r.Seen, r.NSPID, r.PID, r.Container, r.ContainerName, name, inside, container)
	}
}

// TestContainer records a container from its beginning, with the runtime that makes it.
func TestContainer(t *testing.T) {
	needPodman(t)
	dir := t.TempDir()
	name := "fanrec-run-" + strconv.Itoa(os.Getpid())
	log := filepath.Join(dir, "log")
	run := podman(t, dir, name, "creat /tmp/made")
	args := append([]string{"-q", "--no-service", "-w", "-f", "jsonl", "-o", log, "--"}, run.Args...)
	if out, err := exec.Command(filepath.Join(tools, "fanrec"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	inContainer(t, log, dir, "made", name, 1)
	// What is not in a container is not said to be: podman itself.
	outside := 0
	read(t, log, func(r *output.Record) {
		if filepath.Base(string(r.Exe)) == "podman" {
			outside++
			if r.NSPID != 0 || r.Container != "" {
				t.Fatalf("podman is in %q, as %d", r.Container, r.NSPID)
			}
		}
	})
	if outside == 0 {
		t.Error("no record of podman")
	}
	// The same in the schemas.
	schemas, err := schema.Load("../../output/testdata/schema")
	if err != nil {
		t.Fatal(err)
	}
	for format, paths := range map[string][]string{
		"ecs":  {"container.name", "process.vpid", "file.path"},
		"ocsf": {"actor.process.container.name", "actor.process.namespace_pid", "file.path"},
	} {
		out, err := exec.Command(filepath.Join(tools, "fanrec"), "convert", "--schema", format, log).Output()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for text := range bytes.Lines(out) {
			line, err := schema.Line(text)
			if err != nil {
				t.Fatal(err)
			}
			if wrong := schemas[format].Check(line); len(wrong) > 0 {
				t.Fatalf("%s: %q in %s", format, wrong, text)
			}
			var said []string
			for _, p := range paths {
				var v any = line
				for key := range strings.SplitSeq(p, ".") {
					m, _ := v.(map[string]any)
					v = m[key]
				}
				switch v := v.(type) {
				case string:
					said = append(said, v)
				case json.Number:
					said = append(said, v.String())
				}
			}
			found = found || strings.Join(said, " ") == name+" 1 "+filepath.Join(dir, "root/tmp/made")
		}
		if !found {
			t.Errorf("%s does not say %s, 1", format, name)
		}
	}
}

// TestAttachContainer attaches to a container that runs, and one records who joins it.
func TestAttachContainer(t *testing.T) {
	needPodman(t)
	dir := t.TempDir()
	name := "fanrec-attach-" + strconv.Itoa(os.Getpid())
	run := podman(t, dir, name, "creat /tmp/ready , await /tmp/go , creat /tmp/made")
	var stderr bytes.Buffer
	run.Stderr = &stderr
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	defer func() {
		exec.Command("podman", "rm", "-f", name).Run()
		<-ended
	}()
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not in %v: %s", what, patience, &stderr)
			}
		}
	}
	there := func(name string) func() bool {
		return func() bool {
			st, err := os.Stat(filepath.Join(dir, name))
			return err == nil && (name != "log" || st.Size() > 0)
		}
	}
	wait("the container", there("root/tmp/ready"))
	id, err := exec.Command("podman", "ps", "-q", "--no-trunc", "--filter", "name="+name).Output()
	if err != nil || len(bytes.TrimSpace(id)) != 64 {
		t.Fatalf("its number: %q, %v", id, err)
	}
	// Who comes into it by exec is moved to its cgroup, and enters its namespaces.
	come := `mount -t cgroup2 none /sys/fs/cgroup && exec podman exec "$0" /bin/act creat /tmp/come , usleep 300000`
	if out, err := exec.Command(filepath.Join(tools, "fanrec"), "-q", "--no-service", "-w", "-f", "jsonl", "-o", filepath.Join(dir, "come"), "--",
		"unshare", "-m", "sh", "-c", come, name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	inContainer(t, filepath.Join(dir, "come"), dir, "come", name, 2)
	attach := exec.Command(filepath.Join(tools, "fanrec"), "attach", "-q", "--container", string(id[:12]), "-f", "jsonl", "-o", "log")
	attach.Dir = dir
	var said bytes.Buffer
	attach.Stderr = &said
	if err := attach.Start(); err != nil {
		t.Fatal(err)
	}
	defer attach.Process.Kill()
	wait("the attach", there("log"))
	if err := os.WriteFile(filepath.Join(dir, "root/tmp/go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := attach.Wait(); err != nil { // with the last process of the container
		t.Fatalf("%v: %s", err, &said)
	}
	inContainer(t, filepath.Join(dir, "log"), dir, "made", name, 1)
	found := 0
	read(t, filepath.Join(dir, "log"), func(r *output.Record) {
		if r.Kind != output.Exec || !r.Attached {
			return
		}
		found++
		if r.NSPID != 1 || r.Container != strings.TrimSpace(string(id)) || r.ContainerName != name {
			t.Errorf("what was there: number %d inside, in %q, %q", r.NSPID, r.Container, r.ContainerName)
		}
	})
	if found != 1 {
		t.Errorf("%d processes were there, want 1", found)
	}
}

// TestContainerImage: an image is an overlay that the runtime mounts, and that the container
// has as its root: a record has both names of what is in it.
func TestContainerImage(t *testing.T) {
	needPodman(t)
	dir := t.TempDir()
	name := "fanrec-image-" + strconv.Itoa(os.Getpid())
	podman(t, dir, name, "") // for its root directory
	if out, err := exec.Command("sh", "-c", `tar -C "$1/root" -c . | podman import - "$0"`, name, dir).CombinedOutput(); err != nil {
		t.Skipf("podman cannot import an image here: %s", out)
	}
	defer exec.Command("podman", "rmi", "-f", name).Run()
	log := filepath.Join(dir, "log")
	// Here the recorder has the mounts of podman, as on a machine with the unified hierarchy only.
	run := `umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$1" -q --no-service -w -f jsonl -o "$2" -- podman run --rm --name "$0" --privileged \
		--pids-limit 0 --network none --ulimit nofile=1000:1000 --ulimit nproc=1000:1000 "$0" \
		/bin/act creat /tmp/made , rename /tmp/made /tmp/named , open /tmp/named r , chdir /tmp , mkdir below , open /proc/version r , unlink /tmp/named`
	if out, err := exec.Command("unshare", "-m", "sh", "-c", run, name, filepath.Join(tools, "fanrec"), log).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	read(t, log, func(r *output.Record) {
		if r.Comm != "act" || r.ContainerName != name {
			return
		}
		// The root of the container is called so here, for as long as it runs.
		host := func(path []byte) string {
			layer, inside, ok := strings.Cut(string(path), "/merged/")
			if !ok || filepath.Base(filepath.Dir(layer)) != "overlay" {
				return string(path)
			}
			return "merged/" + inside
		}
		line := r.Kind.String()
		for _, path := range [][]byte{r.Path, r.Seen, r.Target, r.SeenTarget} {
			if len(path) > 0 {
				line += " " + host(path)
			}
		}
		if r.Kind != output.Exit {
			got = append(got, line)
		}
	})
	want := []string{
		"exec merged/bin/act /bin/act",
		"write merged/tmp/made /tmp/made",
		"rename merged/tmp/made /tmp/made merged/tmp/named /tmp/named",
		"read merged/tmp/named /tmp/named",
		"chdir merged/tmp /tmp",
		"write merged/tmp/below /tmp/below",
		"read /proc/version", // that is the container's own
		"delete merged/tmp/named /tmp/named",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
