package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// when understands a time as people write it, in the zone of now: "10 minutes ago",
// "now", "today", "yesterday", "13:05", "13:05:30", "2026-11-20", "2026-11-20 13:05",
// RFC 3339, or a duration as 90s: so long ago. A time of day that is still to come is
// that of yesterday, but not if it is until when.
func when(text string, now time.Time, until bool) (time.Time, error) {
	text = strings.TrimSpace(text)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "now":
		return now, nil
	case "today":
		return day, nil
	case "yesterday":
		return day.AddDate(0, 0, -1), nil
	}
	if t, ok := ago(text, now); ok {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05.999999999", "15:04"} {
		if c, err := time.Parse(layout, text); err == nil {
			t := time.Date(now.Year(), now.Month(), now.Day(), c.Hour(), c.Minute(), c.Second(), c.Nanosecond(), now.Location())
			if t.After(now) && !until {
				t = t.AddDate(0, 0, -1)
			}
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; try '10 minutes ago', 13:05, or '2026-11-20 13:05'", text)
}

// ago understands "N units ago".
func ago(text string, now time.Time) (time.Time, bool) {
	words := strings.Fields(text)
	if len(words) != 3 || words[2] != "ago" {
		return now, false
	}
	n, err := strconv.Atoi(words[0])
	if words[0] == "a" || words[0] == "an" {
		n, err = 1, nil
	}
	if err != nil || n < 0 || n > 1e6 {
		return now, false
	}
	switch strings.TrimSuffix(words[1], "s") {
	case "second", "sec":
		return now.Add(-time.Duration(n) * time.Second), true
	case "minute", "min":
		return now.Add(-time.Duration(n) * time.Minute), true
	case "hour":
		return now.Add(-time.Duration(n) * time.Hour), true
	case "day":
		return now.AddDate(0, 0, -n), true
	case "week":
		return now.AddDate(0, 0, -7*n), true
	}
	return now, false
}
