package oracle

// frames checks of each process that its F stands before its records and that one X ends them. The first process of a log has no F in it.
// Processes that are not in pids count as parents only.
func frames(log []Op, pids map[int]bool) []Diff {
	if len(log) == 0 {
		return nil
	}
	root := log[0].PID
	forks := forksOf(log)
	lives := map[int]int{}
	ended := map[int]bool{} // the last record of this process id was an X, or there is none
	var diffs []Diff
	wrong := func(op Op, note string) {
		diffs = append(diffs, Diff{Kind: Frame, PID: op.PID, Record: op.Record, Log: op.Line, Note: note})
	}
	last := map[int]Op{}
	for i, op := range log {
		if !pids[op.PID] {
			continue
		}
		if _, seen := last[op.PID]; !seen || ended[op.PID] {
			switch n := lives[op.PID]; {
			case n < len(forks[op.PID]) && forks[op.PID][n] < i:
			case n < len(forks[op.PID]):
				wrong(op, "stands before the F of its process")
			case n == 0 && op.PID == root:
			case n > 0:
				wrong(op, "stands after the X of its process")
			default:
				wrong(op, "its process has no F")
			}
			lives[op.PID]++
		}
		ended[op.PID] = op.Letter == 'X'
		last[op.PID] = op
	}
	for _, op := range log {
		if end := last[op.PID]; pids[op.PID] && op.Line == end.Line && !ended[op.PID] {
			wrong(op, "last record of a process without X")
		}
	}
	return append(diffs, barren(log, pids, forks, lives)...)
}

// forksOf returns where the F of each process id stand.
func forksOf(log []Op) map[int][]int {
	forks := map[int][]int{}
	for i, op := range log {
		if op.Letter == 'F' {
			forks[op.Child] = append(forks[op.Child], i)
		}
	}
	return forks
}

// barren finds the F of traced processes that have no record at all, not even X.
func barren(log []Op, pids map[int]bool, forks map[int][]int, lives map[int]int) []Diff {
	var diffs []Diff
	for child, at := range forks {
		if !pids[child] && !pids[log[at[0]].PID] {
			continue
		}
		for _, i := range at[min(lives[child], len(at)):] {
			diffs = append(diffs, Diff{
				Kind: Frame, PID: log[i].PID, Record: log[i].Record, Log: log[i].Line, Note: "the child has no records, not even X",
			})
		}
	}
	return diffs
}
