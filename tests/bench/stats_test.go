package bench

import (
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 100, 2}, 3},
	} {
		before := slices.Clone(tt.values)
		if got := Median(tt.values); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.values, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Errorf("Median has sorted its argument: %v", tt.values)
		}
	}
}

func TestSummarize(t *testing.T) {
	if got, want := Summarize([]float64{1.02, 0.99, 1.5}), (Spread{1.02, 0.99, 1.5}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Summarize(nil); got != (Spread{}) {
		t.Errorf("of nothing: %v", got)
	}
}

// The machine was slow in the second round: the ratios do not show it, as they are made within rounds.
func TestRatiosAreWithinRounds(t *testing.T) {
	base := []float64{2, 8, 2}
	slower := []float64{2.5, 10, 2.5}
	if got, want := Ratios(slower, base), []float64{1.25, 1.25, 1.25}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRatiosLeaveOutWhatWasNotMeasured(t *testing.T) {
	if got, want := Ratios([]float64{3, 0, 6}, []float64{1, 1, 2, 5}), []float64{3, 3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
