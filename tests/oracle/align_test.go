package oracle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAlign(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want [][2]int
	}{
		{"", "", nil},
		{"abc", "abc", [][2]int{{0, 0}, {1, 1}, {2, 2}}},
		{"abc", "abxc", [][2]int{{0, 0}, {1, 1}, {2, 3}}},
		{"xabc", "abc", [][2]int{{1, 0}, {2, 1}, {3, 2}}},
		{"abcd", "acbd", [][2]int{{0, 0}, {2, 1}, {3, 3}}},
		{"abc", "xyz", nil},
	} {
		got := align([]byte(c.a), []byte(c.b), worth(func(a, b byte) bool { return a == b }))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.a, c.b, diff)
		}
	}
}
