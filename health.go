package fanrec

import (
	"time"

	"fanrec/ebpf"
	"fanrec/output"
)

// Health is how a recording is while it runs, for who watches it. Counts are from its
// beginning on; those of what all recordings share from the recorder's.
type Health struct {
	Records   [output.Kinds]int // handed out, without what was there already
	Events    int               // fanotify events of its processes
	Processes int               // that live, as far as is handed out
	Losses    []Loss            // every cause, also those of which there were none
	Missing   []string          // as Result.Incomplete will say

	Delays  Delays
	Epochs  int // of the recorder
	Paths   int // directories of records that were named,
	Lookups int // and those that had to be looked up in the filesystem for it
	Queue   int // bytes of events that wait in fanotify's queue
	Rings   []ebpf.Fill
}

// Delays counts batches of records by how long after it was done the first record of
// each was handed out.
type Delays struct {
	Batches [len(DelayBounds) + 1]int // by DelayBounds; the last is of all that took longer
	Sum     time.Duration
}

// DelayBounds are the upper bounds of delays that are counted apart.
var DelayBounds = [...]time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second,
}

// add counts a batch whose first record is of a time, in ns since 1970.
func (d *Delays) add(of, now int64) {
	late := max(time.Duration(now-of), 0)
	d.Sum += late
	for i, bound := range DelayBounds {
		if late <= bound {
			d.Batches[i]++
			return
		}
	}
	d.Batches[len(DelayBounds)]++
}

// Health returns how the recording is now.
func (rec *Recording) Health() *Health {
	r := rec.r
	h := &Health{
		Records: rec.records, Missing: rec.Missing(), Delays: rec.delays, Epochs: r.epochs, Paths: r.join.named, Lookups: r.lookups,
	}
	t := r.join.trees.open[rec.id]
	h.Events, h.Processes = t.events, rec.Live()
	h.Losses, _ = rec.losses(&t.faults) // Missing tells why some are not known
	if r.group != nil {
		var err error
		if h.Queue, err = r.group.Queued(); err != nil {
			h.Missing = append(h.Missing, err.Error())
		}
	}
	h.Rings = r.tracker.Fills()
	return h
}
