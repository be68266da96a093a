package fanrec

import "fmt"

// result sums up what a recording had: of the faults of its own tree, and of
// what may have been lost to anybody while it ran.
func (rec *Recording) result(own *faults) *Result {
	r := rec.r
	res := &Result{Incomplete: append(rec.missing, r.missing[rec.missed:]...)}
	add := func(n int, format string) {
		if n > 0 {
			res.Incomplete = append(res.Incomplete, fmt.Sprintf(format, n))
			res.Stats.Lost += n
		}
	}
	lost, err := r.tracker.Lost()
	if err != nil {
		res.Incomplete = append(res.Incomplete, err.Error())
	}
	all := &r.join.faults
	add(int(lost.Processes-rec.before.Processes), "%d process records were lost: the ring was full")
	add(int(lost.Calls-rec.before.Calls), "%d call records were lost: the ring was full")
	missed, err := r.tracker.Missed()
	if err != nil {
		res.Incomplete = append(res.Incomplete, err.Error())
	}
	add(int(missed-rec.missedBefore), "%d times the kernel did not run the tracker, as bpf(2), whosesoever, was preempted on a map (Linux 7.0 and later): a record may be missing")
	add(int(lost.Untracked-rec.before.Untracked), "%d processes could not be followed: the table was full")
	add(all.Overflow-rec.overflow, "%d times fanotify events were lost: the queue was full")
	add(own.NoHandle, "%d events came without a file handle")
	add(own.Unseen, "%d files on filesystems without file handles could not be told: they were gone")
	add(own.Unresolved, "%d records have a path that could not be found")
	add(own.Ambiguous, "%d events of a pid that was used twice could not be attributed")
	add(all.Malformed-rec.malformed, "%d records of the kernel were not understood")
	res.Stats.Records = rec.records
	res.Stats.Epochs, res.Stats.Lookups = r.epochs, r.lookups
	return res
}
