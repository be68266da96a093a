package storm

import "strconv"

// Recycle is N processes, four at a time, that share a dozen pids: a number is used again at once, or after some others,
// and never for long by one process. It is what a small pid_max makes of a busy machine, and disturbs nobody else.
type Recycle struct {
	Dir   string
	Image string
	N     int
}

// Args returns the command, without a flag -pause.
func (r Recycle) Args() []string {
	return []string{r.Image, "recycle", r.Dir, strconv.Itoa(r.N)}
}

// Want returns what the storm leaves: each process does what one of Reuse does.
func (r Recycle) Want() Want { return Reuse(r).Want() }
