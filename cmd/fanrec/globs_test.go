package main

import (
	"testing"
)

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, path string
		want       bool
	}{
		{"*.o", "/a/b.o", true},
		{"*.o", "/a/b.o/c", true},
		{"*.o", "/a/b.oo", false},
		{"*.o", "/.o", true},
		{"a", "/x/a", true},
		{"a", "/x/ab", false},
		{"a/", "/x/a/b", true},
		{"a/b", "/x/a/b", true},
		{"a/b", "/x/a/c/b", false},
		{"a/*/b", "/a/x/b", true},
		{"a/*/b", "/a/x/y/b", false},
		{"a/**/b", "/a/x/y/b", true},
		{"a/**/b", "/a/b", true},
		{"a/**/b", "/ab", false},
		{"a**b", "/axb", true},
		{"a**b", "/ax/yb", true},
		{"**/b", "/b", true},
		{"**/b", "/a/b", true},
		{"**", "/", true},
		{"**", "/a", true},
		{"/a", "/a", true},
		{"/a", "/b/a", false},
		{"/a", "/a/b/c", true},
		{"/a/**", "/a/b/c", true},
		{"/*", "/a", true},
		{"?", "/é", true},
		{"?", "/\xe9", true},
		{"?", "/ab", false},
		{"a?b", "/a/b", false},
		{"[a-c]x", "/bx", true},
		{"[a-c]x", "/dx", false},
		{"[!a-c]x", "/dx", true},
		{"[^a-c]x", "/bx", false},
		{"[!a]", "/\xff", true},
		{"[à-ü]", "/é", true},
		{"[\\]a]", "/]", true},
		{"\\*", "/*", true},
		{"\\*", "/a", false},
		{"a\nb", "/a\nb", true},
		{"*", "/a\nb", true},
		{"caf\xe9", "/caf\xe9", true},
		{"caf\xe9", "/café", false},
	} {
		e, err := newGlobs("exclude", []string{c.glob})
		if err != nil {
			t.Errorf("%q: %v", c.glob, err)
			continue
		}
		if got := e.match([]byte(c.path)); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.glob, c.path, got, c.want)
		}
	}
}

func TestGlobsRejects(t *testing.T) {
	for _, glob := range []string{"", "/", "//", "a[", "[]", "[a/b]", "[a-]", "a\\", "[!]"} {
		if _, err := newGlobs("exclude", []string{glob}); err == nil {
			t.Errorf("%q is taken for a pattern", glob)
		}
	}
}

func FuzzGlobs(f *testing.F) {
	f.Add("a/**/[!b-c]?*\\*", "/a/b/c*")
	f.Fuzz(func(t *testing.T, glob, path string) {
		if len(glob) > 20 || len(path) > 50 {
			return // many * take long, and nobody writes such
		}
		if e, err := newGlobs("exclude", []string{glob}); err == nil {
			e.match([]byte(path))
		}
	})
}
