package storm

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// tree is what is below a directory, as the records so far have it.
type tree struct {
	dir  string
	root *node
	gone map[string]bool // names of removed directories, by which those who are in them still have them
}

type node struct{ below map[string]*node }

func newTree(dir string) *tree {
	return &tree{dir, &node{below: map[string]*node{}}, map[string]bool{}}
}

// at returns the directory of a path and the last component of it.
func (t *tree) at(path string) (dir *node, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, t.dir+"/")
	if !ok {
		return nil, "", false
	}
	parts := strings.Split(rest, "/")
	dir = t.root
	for _, part := range parts[:len(parts)-1] {
		if dir = dir.below[part]; dir == nil {
			return nil, "", false
		}
	}
	return dir, parts[len(parts)-1], true
}

func (t *tree) get(path string) *node {
	dir, name, ok := t.at(path)
	if !ok {
		return nil
	}
	return dir.below[name]
}

// apply does what a record says, or tells why that cannot be.
func (t *tree) apply(r Record) error {
	if _, ok := inside(t.dir, r); !ok {
		return nil
	}
	there := t.get(r.Path)
	switch r.Kind {
	case 'C', 'R':
		if there == nil && !t.gone[r.Path] {
			return fmt.Errorf("no such name")
		}
		return nil
	case 'W':
		if there != nil {
			return fmt.Errorf("made, and was there")
		}
		there = &node{below: map[string]*node{}}
		return t.put(r.Path, there)
	case 'D':
		if there == nil {
			return fmt.Errorf("no such name")
		}
		if len(there.below) > 0 {
			return fmt.Errorf("removed, and is not empty")
		}
		t.gone[r.Path] = true
		t.remove(r.Path)
		return nil
	case 'M':
		if there == nil {
			return fmt.Errorf("no such name")
		}
		if over := t.get(r.To); over != nil && len(over.below) > 0 {
			return fmt.Errorf("over what is not empty")
		}
		t.remove(r.Path)
		return t.put(r.To, there)
	}
	return fmt.Errorf("not replayed")
}

func (t *tree) remove(path string) {
	dir, name, _ := t.at(path)
	delete(dir.below, name)
}

func (t *tree) put(path string, n *node) error {
	dir, name, ok := t.at(path)
	if !ok {
		return fmt.Errorf("no such directory: %s", filepath.Dir(path))
	}
	dir.below[name] = n
	delete(t.gone, path)
	return nil
}

// Replay does what the records say in dir, one after the other, and returns which of them could not be done when their
// turn came, and what is in dir in the end. It knows of opens that make a file (W), and of no links.
func Replay(dir string, records []Record) (left []string, errs []error) {
	t := newTree(dir)
	for _, r := range records {
		if err := t.apply(r); err != nil {
			errs = append(errs, fmt.Errorf("replay: %s: %w", r, err))
			if len(errs) > maxFindings {
				break // one leads to the next
			}
		}
	}
	return slices.Sorted(maps.Keys(t.root.below)), errs
}
