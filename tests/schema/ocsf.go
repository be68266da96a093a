package schema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// OCSF is what is known of the Open Cybersecurity Schema Framework.
type OCSF struct {
	Version string
	Types   map[string]struct{ Base, Regex string }
	Classes map[string]ocsfObject
	Objects map[string]ocsfObject
}

type ocsfObject struct {
	UID         int
	Constraints map[string][]string
	Attributes  map[string]struct {
		Type, Requirement, Profile string
		Array                      bool
		Enum                       []string
	}
}

// Check returns what is wrong about a line by the schema.
func (s *OCSF) Check(line map[string]any) (wrong []string) {
	var profiles []any
	say := func(at, format string, args ...any) {
		wrong = append(wrong, strings.TrimPrefix(at, ".")+": "+fmt.Sprintf(format, args...))
	}
	var object func(at string, of ocsfObject, v map[string]any)
	value := func(at, typ string, enum []string, v any) {
		if of, known := s.Objects[typ]; known || typ == "object" {
			m, ok := v.(map[string]any)
			switch {
			case !ok:
				say(at, "%v is no object", v)
			case typ != "object":
				object(at, of, m)
			}
			return
		}
		t, known := s.Types[typ]
		if !known {
			say(at, "nothing is known of %s", typ)
			return
		}
		base := typ
		for t.Base != "" && s.Types[base].Base != "" {
			base = s.Types[base].Base
		}
		text, isText := v.(string)
		number, _ := v.(json.Number)
		_, err := number.Int64()
		switch {
		case base == "string_t" && !isText, (base == "integer_t" || base == "long_t") && err != nil:
			say(at, "%v is no %s", v, typ)
		case base != "string_t" && base != "integer_t" && base != "long_t":
			say(at, "the test does not know %s", base)
		case t.Regex != "" && !regexp.MustCompile(t.Regex).MatchString(text):
			say(at, "%v does not match %s", v, t.Regex)
		case len(enum) > 0 && !slices.Contains(enum, fmt.Sprint(v)):
			say(at, "%v is none of %v", v, enum)
		}
	}
	object = func(at string, of ocsfObject, v map[string]any) {
		for name, v := range v {
			a, known := of.Attributes[name]
			if !known {
				say(at+"."+name, "no such attribute")
				continue
			}
			if a.Profile != "" && !slices.Contains(profiles, any(a.Profile)) {
				say(at+"."+name, "the profile %s is not said", a.Profile)
			}
			values, isArray := v.([]any)
			if isArray != a.Array {
				say(at+"."+name, "an array is %v, want %v", isArray, a.Array)
			}
			if !isArray {
				values = []any{v}
			}
			for _, v := range values {
				value(at+"."+name, a.Type, a.Enum, v)
			}
		}
		for name, a := range of.Attributes {
			if _, there := v[name]; a.Requirement == "required" && !there && (a.Profile == "" || slices.Contains(profiles, any(a.Profile))) {
				say(at+"."+name, "missing")
			}
		}
		for constraint, names := range of.Constraints {
			n := 0
			for _, name := range names {
				if v[name] != nil {
					n++
				}
			}
			if n == 0 || constraint == "just_one" && n > 1 {
				say(at, "%s of %v, not %d", constraint, names, n)
			}
		}
	}
	for name, class := range s.Classes {
		if fmt.Sprint(class.UID) == fmt.Sprint(line["class_uid"]) {
			metadata, _ := line["metadata"].(map[string]any)
			profiles, _ = metadata["profiles"].([]any)
			object("", class, line)
			if v := fmt.Sprint(metadata["version"]); v != s.Version {
				say("metadata.version", "%s, not %s", v, s.Version)
			}
			activity, _ := line["activity_id"].(json.Number)
			n, _ := activity.Int64()
			if want := fmt.Sprint(int64(class.UID)*100 + n); fmt.Sprint(line["type_uid"]) != want {
				say("type_uid", "%v, not %s", line["type_uid"], want)
			}
			if n == 99 && line["activity_name"] == nil {
				say("activity_name", "missing in %s", name)
			}
			slices.Sort(wrong)
			return wrong
		}
	}
	return []string{"class_uid: no such class"}
}
