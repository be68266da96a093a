package output

// What stands around records of what was there already, where they are not marked.
const (
	attachedBegin = "attached: what was there already"
	attachedEnd   = "attached: what is done from here on"
)

// attached puts these lines between the records of a log.
type attached struct{ inside bool }

// turn is told of what is written next, and writes a line if that is of the other kind.
func (a *attached) turn(inside bool, comment func(string) error) error {
	if inside == a.inside {
		return nil
	}
	a.inside = inside
	if inside {
		return comment(attachedBegin)
	}
	return comment(attachedEnd)
}
