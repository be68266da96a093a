package main

import (
	"fmt"
	"regexp"
	"strings"

	"fanrec/output"
)

// exclude are the patterns of paths that are left out of the log.
type exclude []*regexp.Regexp

// newExclude compiles globs: ? and * stay within a directory, ** does not, and
// a pattern without a slash is for the last component. A directory that
// matches takes what is below it along.
func newExclude(globs []string) (exclude, error) {
	var out exclude
	for _, g := range globs {
		re, err := regexp.Compile(globExpr(g))
		if err != nil {
			return nil, fmt.Errorf("--exclude %s: not a pattern: a [ without ]", g)
		}
		out = append(out, re)
	}
	return out, nil
}

func globExpr(glob string) string {
	var b strings.Builder
	b.WriteString("(?s)^")
	if !strings.Contains(glob, "/") {
		b.WriteString("(?:.*/)?")
	}
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			if strings.HasPrefix(glob[i:], "**") {
				b.WriteString(".*")
				i++
			} else {
				b.WriteString("[^/]*")
			}
		case '?':
			b.WriteString("[^/]")
		case '[':
			b.WriteByte('[')
			if strings.HasPrefix(glob[i+1:], "!") {
				b.WriteByte('^')
				i++
			}
		case ']':
			b.WriteByte(']')
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString("(?:/.*)?$")
	return b.String()
}

// match tells whether a record is left out: all paths that it has must match.
// What processes do, and where they are, always stays.
func (e exclude) match(r *output.Record) bool {
	if len(e) == 0 {
		return false
	}
	switch r.Kind {
	case output.Fork, output.Exec, output.Exit, output.Chdir:
		return false
	case output.Rename:
		return e.path(r.Path) && e.path(r.Target)
	case output.Link:
		return e.path(r.Target)
	}
	return e.path(r.Path)
}

func (e exclude) path(p []byte) bool {
	for _, re := range e {
		if re.Match(p) {
			return true
		}
	}
	return false
}
