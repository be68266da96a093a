// Package schema holds lines of JSON against the published schemas that they are said
// to be of: extracts of these are in output/testdata/schema.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Checker tells what is wrong about a line, one text for each thing.
type Checker interface {
	Check(line map[string]any) []string
}

// Load reads the extracts in a directory: a checker for each format of output.Schemas.
func Load(dir string) (map[string]Checker, error) {
	of := map[string]Checker{"ecs": &ECS{}, "ocsf": &OCSF{}}
	for name, to := range of {
		b, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, to); err != nil {
			return nil, fmt.Errorf("%s.json: %w", name, err)
		}
	}
	return of, nil
}

// Line reads a line. Numbers are json.Number.
func Line(line []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than an object: %v", err)
	}
	return v, nil
}
