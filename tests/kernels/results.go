package kernels

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// section is what one thing that init did has printed.
type section struct {
	text    string
	seconds float64
	how     string // ok, an error, or empty: it did not end
}

var (
	beginLine = regexp.MustCompile(`^=== begin (\S+)$`)
	endLine   = regexp.MustCompile(`^=== end (\S+) ([0-9.]+) (.*)$`)
)

// parse reads what init has written.
func parse(results string) map[string]section {
	sections := map[string]section{}
	name, from := "", []string{}
	for line := range strings.Lines(results) {
		line = strings.TrimRight(line, "\r\n")
		if m := beginLine.FindStringSubmatch(line); m != nil {
			name, from = m[1], nil
			sections[name] = section{}
		} else if m := endLine.FindStringSubmatch(line); m != nil && m[1] == name {
			seconds, _ := strconv.ParseFloat(m[2], 64)
			sections[name] = section{strings.TrimRight(strings.Join(from, "\n"), "\n"), seconds, m[3]}
			name = ""
		} else if name != "" {
			from = append(from, line)
			sections[name] = section{text: strings.Join(from, "\n")}
		}
	}
	return sections
}

// passed counts the scripts that a section of tests says have passed.
func (s section) passed() int { return strings.Count(s.text, "    --- PASS: TestScripts/") }

// row is a kernel in the table.
type row struct {
	kernel string // what uname -r says
	cells  []string
}

// table formats rows as Markdown.
func table(columns []string, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| kernel | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |\n", r.kernel, strings.Join(r.cells, " | "))
	}
	return b.String()
}
