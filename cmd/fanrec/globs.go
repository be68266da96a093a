package main

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// globs are patterns of paths.
//
// In a pattern ? stands for a character and * for any number of them within a
// component, ** for any number of components, [a-z] and [!a-z] for one
// character of a set or not of it; a backslash takes the meaning from what
// follows. A pattern that begins with a slash is for whole paths, any other
// may begin at every component. A directory that matches takes what is below
// it along. Names are bytes: one that is no UTF-8 counts as a character.
type globs []string

// newGlobs checks and normalizes the patterns of a flag.
func newGlobs(flag string, patterns []string) (globs, error) {
	var out globs
	for _, g := range patterns {
		p := strings.TrimRight(strings.TrimPrefix(g, "**/"), "/") // it may begin anywhere as it is
		if p == "" || strings.HasSuffix(p, `\`) {
			return nil, fmt.Errorf("--%s %q: not a pattern of paths; try --%s '*.o'", flag, g, flag)
		}
		for c := range strings.SplitSeq(p, "/") {
			if _, err := path.Match(strings.ReplaceAll(c, "[!", "[^"), ""); err != nil {
				return nil, fmt.Errorf("--%s %q: a [ without ], or nothing between them; \\[ stands for itself", flag, g)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// match tells whether a path is what one of them says.
func (e globs) match(p []byte) bool {
	for _, glob := range e {
		if glob[0] == '/' {
			if matches(glob, p) {
				return true
			}
			continue
		}
		for rest := p; ; {
			i := bytes.IndexByte(rest, '/')
			if i < 0 {
				break
			}
			if rest = rest[i+1:]; matches(glob, rest) {
				return true
			}
		}
	}
	return false
}

// matches tells whether a path, or a directory above it, is what a pattern says.
func matches(glob string, p []byte) bool {
	for glob != "" {
		switch c := glob[0]; c {
		case '*':
			deep := strings.HasPrefix(glob, "**")
			glob = strings.TrimLeft(glob, "*")
			for i := 0; ; i++ {
				if matches(glob, p[i:]) {
					return true
				}
				if i == len(p) || p[i] == '/' && !deep {
					return false
				}
			}
		case '?', '[':
			r, size := utf8.DecodeRune(p)
			if size == 0 || r == '/' {
				return false
			}
			glob = glob[1:]
			if c == '[' {
				var in bool
				if in, glob = inSet(glob, r, size); !in {
					return false
				}
			}
			p = p[size:]
		default:
			if strings.HasPrefix(glob, "/**/") && matches(glob[3:], p) {
				return true // no component at all
			}
			if c == '\\' {
				glob = glob[1:]
			}
			if len(p) == 0 || p[0] != glob[0] {
				return false
			}
			glob, p = glob[1:], p[1:]
		}
	}
	return len(p) == 0 || p[0] == '/'
}

// inSet tells whether a character is in the set that a pattern begins with,
// behind its [, and returns what follows the set. A byte that is no UTF-8 is
// in no set, and so in every [!set].
func inSet(glob string, r rune, size int) (bool, string) {
	next := func() (c rune) {
		if glob[0] == '\\' {
			glob = glob[1:]
		}
		c, n := utf8.DecodeRuneInString(glob)
		glob = glob[n:]
		return c
	}
	not := glob[0] == '!' || glob[0] == '^'
	if not {
		glob = glob[1:]
	}
	in := false
	for glob[0] != ']' {
		low := next()
		high := low
		if glob[0] == '-' {
			glob = glob[1:]
			high = next()
		}
		in = in || low <= r && r <= high && !(r == utf8.RuneError && size == 1)
	}
	return in != not, glob[1:]
}
