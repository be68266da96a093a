package bench

import "slices"

// A Spread is what is left of a series of numbers. It is all zero for an empty series.
type Spread struct {
	Median, Min, Max float64
}

// Summarize returns the spread of values.
func Summarize(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{Median: Median(values), Min: slices.Min(values), Max: slices.Max(values)}
}

// Median returns the middle of values, the mean of the two in the middle if their number is even, or 0 if there are
// none.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

// Ratios returns values[i]/base[i] for each round i that both have. A round of which either value is not positive was
// not measured, and is left out.
func Ratios(values, base []float64) []float64 {
	var ratios []float64
	for i := range min(len(values), len(base)) {
		if values[i] > 0 && base[i] > 0 {
			ratios = append(ratios, values[i]/base[i])
		}
	}
	return ratios
}
