package fanrec

import (
	"fmt"
	"slices"
)

// Missing tells what is missing until now, as Result.Incomplete will in the end. It is
// for the time before Close.
func (rec *Recording) Missing() []string {
	return rec.result(&rec.r.join.trees.open[rec.id].faults).Incomplete
}

// A Loss is a cause for which records were lost.
type Loss struct {
	Cause string // in one word
	N     int
	why   string // with %d for N
}

func (l *Loss) String() string { return fmt.Sprintf(l.why, l.N) }

// losses returns every cause, those of a recording's own tree and those that may have
// hit anybody while it ran, and why some are not known.
func (rec *Recording) losses(own *faults) (all []Loss, errs []error) {
	r := rec.r
	lost, err := r.tracker.Lost()
	if err != nil {
		errs = append(errs, err)
	}
	missed, err := r.tracker.Missed()
	if err != nil {
		errs = append(errs, err)
	}
	common := &r.join.faults
	return []Loss{
		{"process_ring", int(lost.Processes - rec.before.Processes), "%d process records were lost: the ring was full"},
		{"call_ring", int(lost.Calls - rec.before.Calls), "%d call records were lost: the ring was full"},
		{"not_run", int(missed - rec.missedBefore), "%d times the kernel did not run the tracker, as bpf(2), whosesoever, was preempted on a map (Linux 7.0 and later): a record may be missing"},
		{"processes", int(lost.Untracked - rec.before.Untracked), "%d processes could not be followed: the table was full"},
		{"queue", common.Overflow - rec.overflow, "%d times fanotify events were lost: the queue was full"},
		{"no_handle", own.NoHandle, "%d events came without a file handle"},
		{"unseen", own.Unseen, "%d files on filesystems without file handles could not be told: they were gone"},
		{"unresolved", own.Unresolved, "%d records have a path that could not be found"},
		{"ambiguous", own.Ambiguous, "%d events of a pid that was used twice could not be attributed"},
		{"malformed", common.Malformed - rec.malformed, "%d records of the kernel were not understood"},
	}, errs
}

// result sums up what a recording had.
func (rec *Recording) result(own *faults) *Result {
	r := rec.r
	res := &Result{Incomplete: slices.Concat(rec.missing, r.missing[rec.missed:])}
	all, errs := rec.losses(own)
	for _, err := range errs {
		res.Incomplete = append(res.Incomplete, err.Error())
	}
	for _, l := range all {
		if l.N > 0 {
			res.Incomplete = append(res.Incomplete, l.String())
			res.Stats.Lost += l.N
		}
	}
	res.Stats.Records = rec.records
	res.Stats.Epochs, res.Stats.Lookups = r.epochs, r.lookups
	return res
}
