// Schema makes ecs.json and ocsf.json beside it out of clones of the repositories
// of the Elastic Common Schema and of OCSF: what the tests of these formats hold
// every line against. Only that is kept which fanrec uses, or could be wrong about.
//
//	go run ./output/testdata/schema -ecs CLONE -ocsf CLONE
//
// Both are under the Apache License, Version 2.0; see NOTICE beside it.
package main

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The versions that the formats say they are of.
const (
	ecsTag  = "v9.4.0"
	ocsfTag = "v1.8.0"
)

func main() {
	log.SetFlags(0)
	ecs := flag.String("ecs", "", "clone of github.com/elastic/ecs")
	ocsf := flag.String("ocsf", "", "clone of github.com/ocsf/ocsf-schema")
	flag.Parse()
	write("ecs.json", extractECS(clone{*ecs, ecsTag}))
	write("ocsf.json", extractOCSF(clone{*ocsf, ocsfTag}))
}

func write(name string, v any) {
	b, err := json.MarshalIndent(v, "", " ")
	if err == nil {
		// An attribute a line.
		b = regexp.MustCompile(`\n {4,}`).ReplaceAll(b, []byte(" "))
		b = regexp.MustCompile(`\n {3}([]}])`).ReplaceAll(b, []byte(" $1"))
		err = os.WriteFile(filepath.Join("output/testdata/schema", name), append(b, '\n'), 0o666)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// clone is a repository at a version.
type clone struct{ dir, tag string }

func (c clone) file(name string) []byte {
	b, err := exec.Command("git", "-C", c.dir, "show", c.tag+":"+name).Output()
	if err != nil {
		log.Fatalf("%s of %s in %s: %v", name, c.tag, c.dir, err)
	}
	return b
}

func (c clone) files(dir string) []string {
	b, err := exec.Command("git", "-C", c.dir, "ls-tree", "-r", "--name-only", c.tag, dir).Output()
	if err != nil {
		log.Fatal(err)
	}
	return strings.Fields(string(b))
}

func (c clone) object(name string) map[string]any {
	var v map[string]any
	if err := json.Unmarshal(c.file(name), &v); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return v
}

// ecsSchema is what the tests know of ECS.
type ecsSchema struct {
	Version string              `json:"version"`
	Fields  map[string]ecsField `json:"fields"`
	Values  map[string][]string `json:"values"`         // of fields that may have these only
	Types   map[string][]string `json:"expected_types"` // event.type that go with an event.category
}

type ecsField struct {
	Type  string `json:"type"`
	Array bool   `json:"array,omitempty"`
}

// ecsSets are the field sets whose fields are kept, but for what is nested in them.
var ecsSets = []string{"base", "ecs", "event", "error", "file", "process", "user", "host", "container", "agent"}

func extractECS(c clone) ecsSchema {
	s := ecsSchema{
		Version: strings.TrimSpace(string(c.file("version"))), Fields: map[string]ecsField{},
		Values: map[string][]string{}, Types: map[string][]string{},
	}
	rows, err := csv.NewReader(strings.NewReader(string(c.file("generated/csv/fields.csv")))).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rows[1:] { // ECS_Version, Indexed, Field_Set, Field, Type, Level, Normalization, ...
		own := strings.Count(r[3], ".") <= 1 || strings.HasPrefix(r[3], "process.parent.") && strings.Count(r[3], ".") == 2 ||
			strings.HasPrefix(r[3], "host.")
		if slices.Contains(ecsSets, r[2]) && own {
			s.Fields[r[3]] = ecsField{r[4], r[6] == "array"}
		}
	}
	// The values stand in a file of YAML, which is always indented the same way.
	var field, value string
	for line := range strings.SplitSeq(string(c.file("generated/ecs/ecs_flat.yml")), "\n") {
		name, isName := strings.CutPrefix(line, "    name: ")
		expected, isExpected := strings.CutPrefix(line, "    - ")
		switch {
		case line != "" && line[0] != ' ':
			field = strings.TrimSuffix(line, ":")
		case !strings.HasPrefix(field, "event."):
		case isName:
			s.Values[field] = append(s.Values[field], name)
			// What is expected of it stands in front of the name.
			if field == "event.category" {
				s.Types[name] = s.Types[value]
				delete(s.Types, value)
			}
		case field == "event.category" && isExpected:
			value = "?"
			s.Types[value] = append(s.Types[value], expected)
		}
	}
	return s
}

// ocsfSchema is what the tests know of OCSF: compiled, with what is inherited and
// included in its place.
type ocsfSchema struct {
	Version string                `json:"version"`
	Types   map[string]ocsfType   `json:"types"`
	Classes map[string]ocsfObject `json:"classes"`
	Objects map[string]ocsfObject `json:"objects"`
}

type ocsfType struct {
	Base  string `json:"base,omitempty"` // the type that it is of
	Regex string `json:"regex,omitempty"`
}

type ocsfObject struct {
	UID         int                      `json:"uid,omitempty"` // of a class: category * 1000 + its own
	Category    int                      `json:"category,omitempty"`
	Profiles    []string                 `json:"profiles,omitempty"`
	Constraints map[string][]string      `json:"constraints,omitempty"`
	Attributes  map[string]ocsfAttribute `json:"attributes,omitempty"`
}

type ocsfAttribute struct {
	Type        string   `json:"type"` // of Types or Objects
	Array       bool     `json:"array,omitempty"`
	Requirement string   `json:"requirement,omitempty"`
	Profile     string   `json:"profile,omitempty"`
	Enum        []string `json:"enum,omitempty"`
}

// What is compiled. Of other objects there is nothing: a line that has one fails.
var (
	ocsfClasses  = []string{"system/file_activity", "system/process_activity", "application/application_lifecycle"}
	ocsfObjects  = []string{"metadata", "product", "key_value_object", "device", "os", "actor", "process", "file", "user", "container", "object"}
	ocsfProfiles = []string{"host", "container", "datetime"}
)

func extractOCSF(c clone) ocsfSchema {
	dictionary := c.object("dictionary.json")
	s := ocsfSchema{
		Version: c.object("version.json")["version"].(string),
		Types:   map[string]ocsfType{}, Classes: map[string]ocsfObject{}, Objects: map[string]ocsfObject{},
	}
	for name, t := range dictionary["types"].(map[string]any)["attributes"].(map[string]any) {
		base, _ := t.(map[string]any)["type"].(string)
		regex, _ := t.(map[string]any)["regex"].(string)
		if name != "ip_t" && name != "mac_t" && name != "email_t" {
			s.Types[name] = ocsfType{base, regex}
		}
	}
	k := compiler{c, dictionary["attributes"].(map[string]any), map[string]string{}}
	for _, dir := range []string{"events", "objects"} {
		for _, f := range c.files(dir) {
			k.at[dir+"/"+strings.TrimSuffix(filepath.Base(f), ".json")] = f
		}
	}
	categories := c.object("categories.json")["attributes"].(map[string]any)
	for _, name := range ocsfClasses {
		o := k.compile("events/" + name + ".json")
		o.Category = int(categories[filepath.Dir(name)].(map[string]any)["uid"].(float64))
		o.UID += o.Category * 1000
		o.set("class_uid", o.UID)
		o.set("category_uid", o.Category)
		s.Classes[filepath.Base(name)] = o
	}
	for _, name := range ocsfObjects {
		s.Objects[name] = k.compile("objects/" + name + ".json")
	}
	return s
}

// set says that an attribute can have one value only.
func (o *ocsfObject) set(name string, value int) {
	a := o.Attributes[name]
	a.Enum = []string{strconv.Itoa(value)}
	o.Attributes[name] = a
}

type compiler struct {
	clone
	dictionary map[string]any
	at         map[string]string // where a class is, as events/NAME, or an object
}

// merge adds attributes to those of what is extended, key by key.
func merge(to map[string]map[string]any, attributes map[string]any) {
	for name, a := range attributes {
		if of, ok := a.(map[string]any); ok {
			if to[name] == nil {
				to[name] = map[string]any{}
			}
			for k, v := range of {
				if old, both := to[name][k].(map[string]any); both && k == "enum" {
					v = union(old, v.(map[string]any))
				}
				to[name][k] = v
			}
		}
	}
}

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// gather gathers the attributes of a class or an object, from its ancestors on.
func (k compiler) gather(file string, to map[string]map[string]any, o *ocsfObject) {
	of := k.object(file)
	if parent, ok := of["extends"].(string); ok {
		dir, _, _ := strings.Cut(file, "/")
		k.gather(k.at[dir+"/"+parent], to, o)
	}
	attributes := of["attributes"].(map[string]any)
	includes, _ := attributes["$include"].([]any)
	for _, i := range includes {
		profile := k.object(i.(string))
		name := profile["name"].(string)
		if !slices.Contains(ocsfProfiles, name) {
			continue // the formats do not have it
		}
		from := profile["attributes"].(map[string]any)
		for _, a := range from {
			if m := a.(map[string]any); m["profile"] == nil {
				m["profile"] = name
			}
		}
		merge(to, from)
	}
	merge(to, attributes)
	if uid, ok := of["uid"].(float64); ok {
		o.UID = int(uid)
	}
	profiles, _ := of["profiles"].([]any)
	for _, p := range profiles {
		if slices.Contains(ocsfProfiles, p.(string)) && !slices.Contains(o.Profiles, p.(string)) {
			o.Profiles = append(o.Profiles, p.(string))
		}
	}
	if constraints, ok := of["constraints"].(map[string]any); ok {
		o.Constraints = map[string][]string{} // those of the parent do not hold any more
		for name, of := range constraints {
			for _, a := range of.([]any) {
				o.Constraints[name] = append(o.Constraints[name], a.(string))
			}
		}
	}
}

func (k compiler) compile(file string) ocsfObject {
	var o ocsfObject
	gathered := map[string]map[string]any{}
	k.gather(file, gathered, &o)
	o.Attributes = map[string]ocsfAttribute{}
	for name, a := range gathered {
		general, ok := k.dictionary[name].(map[string]any)
		if !ok {
			log.Fatalf("%s: the dictionary has no %s", file, name)
		}
		enum := map[string]any{}
		for _, from := range []map[string]any{general, a} {
			if e, ok := from["enum"].(map[string]any); ok {
				enum = union(enum, e)
			}
		}
		get := func(key string) string {
			if v, ok := a[key].(string); ok {
				return v
			}
			v, _ := general[key].(string)
			return v
		}
		array, _ := general["is_array"].(bool)
		attribute := ocsfAttribute{Type: get("type"), Array: array, Requirement: get("requirement"), Profile: get("profile"), Enum: slices.Sorted(maps.Keys(enum))}
		o.Attributes[name] = attribute
		// The profile datetime adds to each time one that can be read.
		if attribute.Type == "timestamp_t" {
			o.Attributes[name+"_dt"] = ocsfAttribute{Type: "datetime_t", Requirement: "optional", Profile: "datetime"}
		}
	}
	return o
}
