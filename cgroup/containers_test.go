package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

// What a container is called stands in the files of who runs it.
func TestNameOf(t *testing.T) {
	other := "f" + digits[1:]
	for file, c := range map[string]struct{ text, want string }{
		"var/lib/docker/containers/" + digits + "/config.v2.json":                         {`{"ID":"x","Name":"/web"}`, "web"},
		"var/lib/containers/storage/overlay-containers/containers.json":                   {`[{"id":"` + other + `","names":["other"]},{"id":"` + digits + `","names":["web","alias"]}]`, "web"},
		"var/lib/containers/storage/vfs-containers/containers.json":                       {`[{"id":"` + digits + `","names":["web"]}]`, "web"},
		"run/containerd/io.containerd.runtime.v2.task/default/" + digits + "/config.json": {`{"annotations":{"nerdctl/name":"web"}}`, "web"},
		"run/containerd/io.containerd.runtime.v2.task/k8s.io/" + digits + "/config.json": {
			`{"annotations":{"io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-name":"pod-1","io.kubernetes.cri.sandbox-namespace":"prod"}}`, "prod/pod-1/web",
		},
		"run/containers/storage/overlay-containers/" + digits + "/userdata/config.json": {
			`{"annotations":{"io.kubernetes.container.name":"web","io.kubernetes.pod.name":"pod-1","io.kubernetes.pod.namespace":"prod"}}`, "prod/pod-1/web",
		},
		// What does not say.
		"var/lib/docker/containers/" + other + "/config.v2.json":     {`{"Name":"/other"}`, ""},
		"var/lib/containers/storage/vfs2-containers/containers.json": {`[{"id":"` + digits + `"}]`, ""},
		"var/lib/containers/storage/x-containers/containers.json":    {`[{"id":`, ""},
	} {
		root := t.TempDir()
		name := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := nameOf(root, digits); got != c.want {
			t.Errorf("%s: %q, want %q", file, got, c.want)
		}
	}
}

// A cgroup is found by its number alone, and what is below a container is of it.
func TestContainers(t *testing.T) {
	a, b := "a"+digits[1:], "b"+digits[1:]
	tree, own := real(t, "docker-"+a+".scope", "docker-"+a+".scope/payload", "docker-"+a+".scope/payload/libpod-"+b+".scope", "web.service")
	c, err := NewContainers()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.root = t.TempDir()
	list := filepath.Join(c.root, "var/lib/docker/containers", a, "config.v2.json")
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte(`{"Name":"/web"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	outer := "/docker-" + a + ".scope"
	for path, want := range map[string]Container{
		outer:              {a, "web"},
		outer + "/payload": {a, "web"},
		outer + "/payload/libpod-" + b + ".scope": {b, ""},
		"/web.service": {},
		"":             {},
	} {
		number := inode(t, tree.Dir(own+path))
		if p, err := c.path(number); err != nil || p != own+path {
			t.Errorf("cgroup %d is %q, %v, want %s", number, p, err, own+path)
		}
		if got := c.Of(number); got != want {
			t.Errorf("%s is of %+v, want %+v", path, got, want)
		}
	}
	// It is remembered when it is gone: its last records come later.
	gone := inode(t, tree.Dir(own+outer+"/payload/libpod-"+b+".scope"))
	if err := os.Remove(tree.Dir(own + outer + "/payload/libpod-" + b + ".scope")); err != nil {
		t.Fatal(err)
	}
	if got := c.Of(gone); got.ID != b {
		t.Errorf("gone: %+v", got)
	}
	if got := c.Of(1 << 60); got != (Container{}) {
		t.Errorf("a number that none has: %+v", got)
	}
	if got := (*Containers)(nil).Of(gone); got != (Container{}) {
		t.Errorf("of nothing: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { c.Of(gone) }); n != 0 {
		t.Errorf("%v allocations for what is known", n)
	}
}
