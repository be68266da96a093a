package top

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"fanrec/output"
)

// flood returns a record that no two processes, and no two times, have in common: a
// process opens a hundred files.
func flood(r *output.Record, i int) *output.Record {
	r.Kind, r.Comm = output.Read, "flood"
	r.PID, r.Start = uint32(1+i/100%30_000), uint64(1+i/100)
	r.Path = fmt.Appendf(r.Path[:0], "/usr/share/some/directory/of/usual/length/d%d/file%d.txt", i/10, i)
	return r
}

func BenchmarkAdd(b *testing.B) {
	m := New(DefaultLimits, start)
	r := output.Record{PID: 1, Start: 1, Kind: output.Read, Path: []byte("/usr/include/stddef.h")}
	for b.Loop() {
		m.Add(&r, true)
	}
}

// BenchmarkFlood is of records none of which is of a pair that is there.
func BenchmarkFlood(b *testing.B) {
	m := New(DefaultLimits, start)
	var r output.Record
	i := 0
	add := func() {
		m.Add(flood(&r, i), true)
		if i++; i%100_000 == 0 {
			m.Tick(start.Add(time.Duration(i) * time.Microsecond))
		}
	}
	for range 300_000 {
		add()
	}
	for b.Loop() {
		add()
	}
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	b.ReportMetric(float64(s.HeapAlloc)/(1<<20), "MiB")
	runtime.KeepAlive(m)
}

// BenchmarkView is of a model that is full.
func BenchmarkView(b *testing.B) {
	m := New(DefaultLimits, start)
	var r output.Record
	for i := range DefaultLimits.Pairs {
		m.Add(flood(&r, i), true)
	}
	m.Tick(start.Add(time.Second))
	q := &Query{Total: true, Limit: 1000}
	b.Run("view", func(b *testing.B) {
		for b.Loop() {
			m.View(q)
		}
	})
	b.Run("sorted", func(b *testing.B) {
		for b.Loop() {
			m.View(q).Sort(q)
		}
	})
}
