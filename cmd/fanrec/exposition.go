package main

import (
	"bytes"
	"strconv"
	"strings"
)

// exposition is text for Prometheus, version 0.0.4. (Its own library costs every start
// of fanrec 0.8 ms: docs/dependencies.md.)
type exposition struct {
	bytes.Buffer
	name string // of the family that is written
}

// family begins a metric. Its type is counter, gauge or histogram.
func (e *exposition) family(name, typ, help string) *exposition {
	e.name = name
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " ", typ, "\n"} {
		e.WriteString(s)
	}
	return e
}

// value writes a value of it, with labels by name.
func (e *exposition) value(v float64, labels ...string) *exposition {
	return e.sample("", v, labels...)
}

// sample writes a value with an ending of the name.
func (e *exposition) sample(end string, v float64, labels ...string) *exposition {
	e.WriteString(e.name + end)
	for i := 0; i+1 < len(labels); i += 2 {
		e.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		e.WriteString(labels[i] + `="` + escape.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		e.WriteByte('}')
	}
	e.WriteByte(' ')
	e.Write(strconv.AppendFloat(e.AvailableBuffer(), v, 'g', -1, 64))
	e.WriteByte('\n')
	return e
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
