package cgroup

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// Where runtimes keep what they know of a container, below the root directory. No daemon
// is asked: it may be what is recorded.
const (
	dockerConfig = "var/lib/docker/containers/*/config.v2.json"
	podmanList   = "var/lib/containers/storage/*-containers/containers.json"
	// Of containerd, in each of its namespaces, and of CRI-O and podman.
	bundleConfig   = "run/containerd/io.containerd.runtime.v2.task/*/ID/config.json"
	userdataConfig = "run/containers/storage/*-containers/ID/userdata/config.json"
)

// nameOf returns what a container is called, "" if nobody says.
func nameOf(root, id string) string {
	var docker struct{ Name string }
	if read(filepath.Join(root, strings.Replace(dockerConfig, "*", id, 1)), &docker) && docker.Name != "" {
		return strings.TrimPrefix(docker.Name, "/")
	}
	for _, file := range glob(root, podmanList) {
		var all []struct {
			ID    string
			Names []string
		}
		read(file, &all)
		for _, c := range all {
			if c.ID == id && len(c.Names) > 0 {
				return c.Names[0]
			}
		}
	}
	for _, pattern := range []string{bundleConfig, userdataConfig} {
		for _, file := range glob(root, strings.Replace(pattern, "ID", id, 1)) {
			var bundle struct{ Annotations map[string]string }
			if read(file, &bundle) {
				if name := annotated(bundle.Annotations); name != "" {
					return name
				}
			}
		}
	}
	return ""
}

// annotated returns the name that the annotations of an OCI bundle tell: in Kubernetes
// that of the namespace, the pod and the container.
func annotated(a map[string]string) string {
	for _, keys := range [][3]string{
		{"io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.container-name"},
		{"io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"},
	} {
		var parts []string
		for _, k := range keys {
			if a[k] != "" {
				parts = append(parts, a[k])
			}
		}
		if len(parts) > 0 {
			return strings.Join(parts, "/")
		}
	}
	return a["nerdctl/name"]
}

func glob(root, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(root, pattern)) // the pattern is right
	return found
}

// maxConfig bounds what is read: the files are those of runtimes, but who knows.
const maxConfig = 16 << 20

// read reads a file of JSON. It reports false if that cannot be had.
func read(name string, to any) bool {
	st, err := os.Stat(name)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxConfig {
		return false
	}
	b, err := os.ReadFile(name)
	return err == nil && json.Unmarshal(b, to) == nil
}
