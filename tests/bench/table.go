package bench

import (
	"fmt"
	"strings"
)

// Results are the measurements of one job: those of each tool, in the order of the rounds. A round that failed is a
// zero Measurement.
type Results struct {
	Job   Job
	Tools []string
	Runs  map[string][]Measurement
}

// Markdown returns the results as a table. Times and sizes are medians, ratios are the median of the ratios to the bare
// run of the same round, with the smallest and the largest.
func (r Results) Markdown() string {
	unit, perUnit, format := "s", 1.0, "%.2f"
	if r.Job.Short {
		unit, perUnit, format = "ms", 1000, "%.1f"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", r.Job.Title)
	fmt.Fprintf(&b, "| recorder | runs | wall (%s) | of bare (min–max) | CPU (%s) | of bare (min–max) ", unit, unit)
	b.WriteString("| peak RSS (MiB) | log lines |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|\n")
	wall := func(m Measurement) float64 { return m.Wall.Seconds() }
	cpu := func(m Measurement) float64 { return m.CPU.Seconds() }
	for _, tool := range r.Tools {
		fmt.Fprintf(&b, "| %s | %d", tool, len(measured(r.series(tool, wall))))
		for _, of := range []func(Measurement) float64{wall, cpu} {
			fmt.Fprintf(&b, " | "+format+" | %s", perUnit*Median(measured(r.series(tool, of))), r.ratio(tool, of))
		}
		rss := measured(r.series(tool, func(m Measurement) float64 { return float64(m.PeakRSS) }))
		lines := measured(r.series(tool, func(m Measurement) float64 { return float64(m.LogLines) }))
		fmt.Fprintf(&b, " | %s | %s |\n", orDash("%.1f", rss, 1<<20), orDash("%.0f", lines, 1))
	}
	return b.String()
}

func (r Results) series(tool string, of func(Measurement) float64) []float64 {
	var values []float64
	for _, m := range r.Runs[tool] {
		values = append(values, of(m))
	}
	return values
}

func (r Results) ratio(tool string, of func(Measurement) float64) string {
	if tool == Bare {
		return "1"
	}
	ratios := Ratios(r.series(tool, of), r.series(Bare, of))
	if len(ratios) == 0 {
		return "–"
	}
	s := Summarize(ratios)
	return fmt.Sprintf("%.3f (%.3f–%.3f)", s.Median, s.Min, s.Max)
}

// measured leaves out what was not measured.
func measured(values []float64) []float64 {
	var some []float64
	for _, v := range values {
		if v > 0 {
			some = append(some, v)
		}
	}
	return some
}

func orDash(format string, values []float64, unit float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf(format, Median(values)/unit)
}
