package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ECS is what is known of the Elastic Common Schema.
type ECS struct {
	Version string
	Fields  map[string]struct {
		Type  string
		Array bool
	}
	Values        map[string][]string
	ExpectedTypes map[string][]string `json:"expected_types"`
}

// Check returns what is wrong about a line by the schema.
func (s *ECS) Check(line map[string]any) (wrong []string) {
	said := map[string][]string{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		f, known := s.Fields[prefix]
		of, isObject := v.(map[string]any)
		switch {
		case prefix == "fanrec":
			return
		case isObject && f.Type != "object":
			for k, v := range of {
				walk(strings.TrimPrefix(prefix+"."+k, "."), v)
			}
			return
		case !known:
			wrong = append(wrong, prefix+": no such field")
			return
		case isObject: // labels: all are keywords
			for k, v := range of {
				if _, ok := v.(string); !ok {
					wrong = append(wrong, fmt.Sprintf("%s.%s: %v is no keyword", prefix, k, v))
				}
			}
			return
		}
		values, isArray := v.([]any)
		if !isArray {
			values = []any{v}
		}
		if isArray != f.Array {
			wrong = append(wrong, fmt.Sprintf("%s: an array is %v, want %v", prefix, isArray, f.Array))
		}
		for _, v := range values {
			text, isText := v.(string)
			number, _ := v.(json.Number)
			ok := isText
			switch f.Type {
			case "keyword", "wildcard", "match_only_text":
			case "date":
				_, err := time.Parse(time.RFC3339Nano, text)
				ok = err == nil
			case "long":
				_, err := number.Int64()
				ok = err == nil
			default:
				ok = false
			}
			if !ok {
				wrong = append(wrong, fmt.Sprintf("%s: %v is no %s", prefix, v, f.Type))
			}
			if of := s.Values[prefix]; of != nil && !slices.Contains(of, text) {
				wrong = append(wrong, fmt.Sprintf("%s: %v is none of %v", prefix, v, of))
			}
			said[prefix] = append(said[prefix], text)
		}
	}
	walk("", line)
	for _, field := range []string{"@timestamp", "ecs.version", "event.kind", "event.type", "event.action"} {
		if len(said[field]) == 0 {
			wrong = append(wrong, field+": missing")
		}
	}
	if !slices.Equal(said["ecs.version"], []string{s.Version}) {
		wrong = append(wrong, "ecs.version: not "+s.Version)
	}
	for _, c := range said["event.category"] {
		for _, typ := range said["event.type"] {
			if !slices.Contains(s.ExpectedTypes[c], typ) {
				wrong = append(wrong, fmt.Sprintf("event.type: %s does not go with %s", typ, c))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}
