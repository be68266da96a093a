package main

import "testing"

// TestTopMatch: what is typed on the screen is a part of a name, or a pattern as of --path.
func TestTopMatch(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"usr", "/usr/include", true}, {"USR", "/usr/include", true}, {"etc", "/usr/include", false},
		{"*.h", "/usr/include/a.h", true}, {"*.h", "/usr/include/a.c", false}, {"/usr/*/a.h", "/usr/include/a.h", true},
		{"cc*", "cc1", true}, {"cc?", "cc", false}, {"c[cd]1", "cc1", true},
		{"[", "a[1", true}, {"[", "a", false}, // no pattern yet
	} {
		if got := (*overview)(nil).Match(c.text)(c.name); got != c.want {
			t.Errorf("%s and %s: %v", c.text, c.name, got)
		}
	}
}
