// Command manifest reads the manifest of standard input with the types of Kubernetes
// itself, strictly: a field that those do not have is an error. It prints the objects as
// JSON, one a line. It is a module of its own: only a test needs it, and it needs much.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "manifest:", err)
		os.Exit(1)
	}
}

func run(from io.Reader, to io.Writer) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(appsv1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	in := yaml.NewYAMLReader(bufio.NewReader(from))
	for {
		doc, err := in.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		object, _, err := decoder.Decode(doc, nil, nil)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(to).Encode(object); err != nil {
			return err
		}
	}
}
