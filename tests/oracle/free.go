package oracle

// CompareFree judges the log of one run by what strace saw of another run of the same command. Processes are matched by their place in the fork
// tree, and names that are made up anew in each run are folded. Only the order of what a process does to one path counts: how processes that
// run at the same time overlap is another matter in each run. A command that does not do the same in each run, as make -j may, differs.
func CompareFree(trace, log []Op) *Report {
	onlyTrace, onlyLog := onlyOne(trace, log)
	loaders := loadersOf(trace)
	a, b := newForest(trace, onlyTrace, loaders), newForest(log, onlyLog, loaders)
	number(a, b)
	c := comparison{report: &Report{}, trace: fold(a, onlyTrace), log: fold(b, onlyLog)}
	c.pair()
	everyone := map[int]bool{}
	for _, op := range log {
		everyone[op.PID] = true
	}
	c.report.Diffs = append(c.report.Diffs, frames(log, everyone)...)
	c.pathOrder(false)
	c.readFirst()
	c.locate()
	unfold(c.report, trace, log)
	return c.report
}

// unfold gives the differences back the process ids and names that they had.
func unfold(r *Report, trace, log []Op) {
	for i, d := range r.Diffs {
		ops, line := log, d.Log
		if d.Log == 0 {
			ops, line = trace, d.Strace
		}
		folded := d.Record
		for _, op := range ops {
			if op.Line == line && op.Letter == d.Record.Letter {
				d.PID, d.Record = op.PID, op.Record
			}
		}
		if folded != d.Record && d.Note == "" {
			d.Note = "folded: " + folded.String()
		}
		r.Diffs[i] = d
	}
}
