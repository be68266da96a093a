package storm

import "fmt"

// lineage is a log taken apart into processes. A pid is only a number: the process that it stands for begins with the F
// and ends with the X.
type lineage struct {
	steps     []Step      // the records, with their makers
	processes map[int]int // pid of each actor
	errs      []error     // records without a maker
}

// split finds the storm's first process, the one that executes image first, and gives every record to an actor. Only
// the first process has children that count: what a grandchild does has no maker. Who forked the first process is the
// recorder's affair.
func split(image string, records []Record) lineage {
	l := lineage{processes: make(map[int]int)}
	root, ok := firstExec(image, records)
	if !ok {
		return l
	}
	l.processes[Root] = root
	alive := map[int]int{root: Root}
	dead := make(map[int]bool)
	next := 0
	for _, r := range records {
		if r.Kind == 'F' && r.Child == root && len(l.steps) == 0 {
			continue
		}
		actor, ok := alive[r.Pid]
		if !ok {
			why := "no F made this process"
			if dead[r.Pid] {
				why = "comes after the X of this process"
			}
			l.errs = append(l.errs, fmt.Errorf("%s: %s", r, why))
			continue
		}
		l.steps = append(l.steps, Step{actor, r})
		switch {
		case r.Kind == 'X':
			delete(alive, r.Pid)
			dead[r.Pid] = true
		case r.Kind == 'F' && actor == Root:
			if _, ok := alive[r.Child]; ok {
				l.errs = append(l.errs, fmt.Errorf("%s: no X ended the process that had this pid before", r))
			}
			alive[r.Child] = next
			l.processes[next] = r.Child
			next++
		}
	}
	return l
}

func firstExec(image string, records []Record) (pid int, ok bool) {
	for _, r := range records {
		if r.Kind == 'E' && r.Path == image {
			return r.Pid, true
		}
	}
	return 0, false
}

// name returns how errors call an actor.
func (l lineage) name(actor int) string {
	if actor == Root {
		return fmt.Sprintf("first process (pid %d)", l.processes[Root])
	}
	if pid, ok := l.processes[actor]; ok {
		return fmt.Sprintf("child %d (pid %d)", actor, pid)
	}
	return fmt.Sprintf("child %d (never forked)", actor)
}
