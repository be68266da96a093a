package main

import (
	"testing"
	"time"
)

func TestWhen(t *testing.T) {
	zone := time.FixedZone("there", 2*3600)
	now := time.Date(2026, 11, 20, 13, 14, 15, 0, zone)
	for text, want := range map[string]string{
		"now":                      "2026-11-20T13:14:15+02:00",
		"today":                    "2026-11-20T00:00:00+02:00",
		" yesterday":               "2026-11-19T00:00:00+02:00",
		"10 minutes ago":           "2026-11-20T13:04:15+02:00",
		"a minute ago":             "2026-11-20T13:13:15+02:00",
		"an hour ago":              "2026-11-20T12:14:15+02:00",
		"2 days ago":               "2026-11-18T13:14:15+02:00",
		"1 week ago":               "2026-11-13T13:14:15+02:00",
		"30 secs ago":              "2026-11-20T13:13:45+02:00",
		"90s":                      "2026-11-20T13:12:45+02:00",
		"1h30m":                    "2026-11-20T11:44:15+02:00",
		"12:00":                    "2026-11-20T12:00:00+02:00",
		"13:14:15":                 "2026-11-20T13:14:15+02:00",
		"13:15":                    "2026-11-19T13:15:00+02:00",
		"2026-11-01":               "2026-11-01T00:00:00+02:00",
		"2026-11-01 05:06":         "2026-11-01T05:06:00+02:00",
		"2026-11-01 05:06:07.5":    "2026-11-01T05:06:07.5+02:00",
		"2026-11-01T05:06:07":      "2026-11-01T05:06:07+02:00",
		"2026-11-01T05:06:07.123Z": "2026-11-01T05:06:07.123Z",
	} {
		got, err := when(text, now, false)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if s := got.Format(time.RFC3339Nano); s != want {
			t.Errorf("%q is %s, want %s", text, s, want)
		}
	}
	for text, want := range map[string]string{"13:15": "2026-11-20T13:15:00+02:00", "12:00": "2026-11-20T12:00:00+02:00", "yesterday": "2026-11-19T00:00:00+02:00"} {
		if got, err := when(text, now, true); err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("until %q is until %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "ago", "x minutes ago", "5 parsecs ago", "-5 minutes ago", "25:00", "2026-13-01", "-5m", "tomorrow"} {
		if got, err := when(text, now, true); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
