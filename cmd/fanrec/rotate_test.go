package main

import (
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"4096": 4096, "8K": 8 << 10, "8k": 8 << 10, "100M": 100 << 20, "1G": 1 << 30, "2T": 2 << 40, "64MiB": 64 << 20, "5KB": 5 << 10,
		"": 0, "M": 0, "x": 0, "-1M": 0, "1": 0, "4095": 0, "1MM": 0, "1X": 0, "9999999999T": 0, "1.5G": 0, "1Mi5": 0,
	} {
		if got, err := size(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "2w": 14 * 24 * time.Hour,
		"": 0, "d": 0, "-1d": 0, "0d": 0, "10001d": 0, "1ms": 0, "-5h": 0, "100M": 0, "7": 0,
	} {
		if got, err := span(text); err == nil && got != want || (err == nil) != (want != 0) {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestRotateFlags(t *testing.T) {
	f := rotateFlags{rotate: []string{"100M", "24h"}, keep: []string{"10", "30d"}, spool: "8M"}
	o, err := f.options("log", "jsonl")
	if err != nil || o.Size != 100<<20 || o.Every != 24*time.Hour || o.Keep != 10 || o.Age != 30*24*time.Hour || o.Spool != 8<<20 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, f := range []rotateFlags{{rotate: []string{"x"}, spool: "8M"}, {keep: []string{"0"}, spool: "8M"}, {spool: "x"}, {keep: []string{"-1"}, spool: "8M"}} {
		if _, err := f.options("log", "jsonl"); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	if _, err := (&rotateFlags{spool: "8M"}).options("-", "text"); err == nil {
		t.Error("standard output is rotated")
	}
}
