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

var passLine = regexp.MustCompile(`(?m)^    --- PASS: TestScripts\w*/(\S+) `)

// missing returns those of the scripts that a section of tests does not say to
// have passed.
func (s section) missing(scripts []string) []string {
	passed := map[string]bool{}
	for _, m := range passLine.FindAllStringSubmatch(s.text, -1) {
		passed[m[1]] = true
	}
	var missing []string
	for _, name := range scripts {
		if !passed[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

var debian = regexp.MustCompile(`#1 .* Debian ([0-9.]+)`)

// debianVersion returns the version of a kernel of Debian, of /proc/version;
// its release (uname -r) tells little more than the series.
func debianVersion(version string) string {
	if m := debian.FindStringSubmatch(version); m != nil {
		return m[1]
	}
	return ""
}

// row is a kernel in the table.
type row struct {
	kernel string
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

// The lines of a document that the table is between.
const (
	tableBegin = "<!-- make test-kernels KERNELS_FLAGS='-args -update' -->\n"
	tableEnd   = "<!-- end -->\n"
)

// replace puts a table into a document.
func replace(document, table string) (string, bool) {
	before, rest, ok := strings.Cut(document, tableBegin)
	if !ok {
		return document, false
	}
	_, after, ok := strings.Cut(rest, tableEnd)
	return before + tableBegin + table + tableEnd + after, ok
}
