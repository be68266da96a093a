package oracle

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMisplaced(t *testing.T) {
	type s = span[string]
	row := []s{{"a", 0, 1, false}, {"b", 2, 3, false}, {"c", 4, 5, false}, {"d", 6, 7, false}}
	for name, c := range map[string]struct {
		spans  []s
		labels string
		want   []int
	}{
		"in order":           {row, "abcd", nil},
		"one late":           {row, "bcda", []int{3}},
		"one early":          {row, "dabc", []int{0}},
		"two swapped":        {row, "dbca", []int{0, 3}},
		"overlap":            {[]s{{"a", 0, 9, false}, {"b", 1, 2, false}, {"c", 3, 4, false}}, "bac", nil},
		"overlap last":       {[]s{{"a", 0, 9, false}, {"b", 1, 2, false}, {"c", 3, 4, false}}, "bca", nil},
		"within":             {[]s{{"a", 0, 9, false}, {"b", 1, 2, false}, {"c", 3, 4, false}}, "cba", []int{0}},
		"same label":         {[]s{{"a", 0, 9, false}, {"a", 1, 2, false}, {"c", 3, 4, false}}, "aca", nil},
		"same label far":     {[]s{{"a", 0, 9, false}, {"a", 6, 7, false}, {"c", 3, 4, false}, {"d", 8, 9, false}}, "acad", nil},
		"same too late":      {[]s{{"a", 0, 1, false}, {"a", 6, 7, false}, {"c", 3, 4, false}}, "aac", []int{2}},
		"optional left out":  {[]s{{"a", 0, 1, true}, {"b", 2, 3, false}}, "b", nil},
		"optional too late":  {[]s{{"a", 0, 1, true}, {"b", 2, 3, false}}, "ba", []int{1}},
		"the first optional": {[]s{{"a", 0, 1, true}, {"b", 2, 3, false}, {"a", 4, 5, true}, {"a", 6, 7, false}}, "aba", nil},
		"the other optional": {[]s{{"a", 0, 1, true}, {"b", 2, 3, false}, {"a", 4, 5, true}, {"a", 6, 7, false}}, "baa", nil},
		"no optional":        {[]s{{"a", 0, 1, true}, {"b", 2, 3, false}, {"a", 4, 5, true}, {"a", 6, 7, false}}, "ba", nil},
		"none":               {nil, "", nil},
	} {
		var labels []string
		for _, l := range c.labels {
			labels = append(labels, string(l))
		}
		if diff := cmp.Diff(c.want, misplaced(c.spans, labels)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestMisplacedRandom lays operations at random instants of random spans: the order of the instants must be accepted, whichever of the optional
// ones are left out.
func TestMisplacedRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		type done struct {
			span[int]
			at int
		}
		ops := make([]done, 1+rnd.IntN(12))
		for i := range ops {
			begin := rnd.IntN(40)
			end := begin + rnd.IntN(4)*rnd.IntN(4)
			ops[i] = done{span[int]{rnd.IntN(3), begin, end, rnd.IntN(4) == 0}, begin + rnd.IntN(end-begin+1)}
		}
		slices.SortStableFunc(ops, func(a, b done) int { return a.at - b.at })
		var spans []span[int]
		var labels []int
		for _, op := range ops {
			spans = append(spans, op.span)
			if !op.optional || rnd.IntN(2) == 0 {
				labels = append(labels, op.label)
			}
		}
		rnd.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
		if wrong := misplaced(spans, labels); wrong != nil {
			t.Fatalf("%v blamed for %v in %v", wrong, labels, ops)
		}
	}
}
