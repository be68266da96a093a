package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMarkdown(t *testing.T) {
	second := func(wall, cpu float64, rss int64, lines int) Measurement {
		return Measurement{time.Duration(wall * 1e9), time.Duration(cpu * 1e9), rss << 20, lines}
	}
	results := Results{
		Job:   Job{Title: "a build"},
		Tools: []string{Bare, "x", "y"},
		Runs: map[string][]Measurement{
			Bare: {second(1, 2, 0, 0), second(2, 4, 0, 0), second(1, 2, 0, 0)},
			"x":  {second(1.5, 2, 8, 100), second(2, 5, 10, 101), second(1.25, 2, 9, 102)},
			"y":  {second(3, 2, 8, 7), {}, {}},
		},
	}
	want := `### a build

| recorder | runs | wall (s) | of bare (min–max) | CPU (s) | of bare (min–max) | peak RSS (MiB) | log lines |
|---|--:|--:|--:|--:|--:|--:|--:|
| bare | 3 | 1.00 | 1 | 2.00 | 1 | – | – |
| x | 3 | 1.50 | 1.250 (1.000–1.500) | 2.00 | 1.000 (1.000–1.250) | 9.0 | 101 |
| y | 1 | 3.00 | 3.000 (3.000–3.000) | 2.00 | 1.000 (1.000–1.000) | 8.0 | 7 |
`
	if diff := cmp.Diff(want, results.Markdown()); diff != "" {
		t.Error(diff)
	}
}
