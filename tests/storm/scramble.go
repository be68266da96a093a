package storm

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Scramble is eight processes or threads at once, and eight more, that make, rename, open and remove the same few names,
// N times each. Most of it fails. What did not, they tell; in which order, only the log can say: it must be one in
// which all of it could be done.
type Scramble struct {
	Dir     string
	Image   string
	N       int
	Threads bool
}

// Args returns the command, without a flag -pause.
func (s Scramble) Args() []string {
	args := []string{s.Image, "scramble"}
	if s.Threads {
		args = append(args, "-threads")
	}
	return append(args, s.Dir, strconv.Itoa(s.N))
}

// Told returns what the storm leaves that told this on stdout.
func (s Scramble) Told(text string) (Want, error) {
	w := Want{Dir: s.Dir, Image: s.Image, Root: []Record{{Kind: 'E', Path: s.Image}}, Replay: true}
	done := make([][]Record, waves*players)
	for line := range strings.Lines(text) {
		var player, a, b int
		var letter byte
		if _, err := fmt.Sscanf(line, "%d %c %d %d\n", &player, &letter, &a, &b); err != nil || player < 0 || player >= len(done) {
			return w, fmt.Errorf("the storm told %q: %v", line, err)
		}
		r := Record{Kind: letter, Path: filepath.Join(s.Dir, "s"+strconv.Itoa(a))}
		if letter == 'M' {
			r.To = filepath.Join(s.Dir, "s"+strconv.Itoa(b))
		}
		done[player] = append(done[player], s.blur(r))
	}
	w.Blur = s.blur
	for i, records := range done {
		if s.Threads {
			w.Root = append(w.Root, records...)
			continue
		}
		w.Root = append(w.Root, Record{Kind: 'F'})
		w.Children = append(w.Children, append(records, Record{Kind: 'X', Code: i % players}))
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	if s.Threads { // whose record it is the log does not say
		w.Lane = Record.String
	}
	return w, nil
}

// blur takes the name from an open: between its look-up and its record the file may have been renamed, and the record
// has the new name.
func (s Scramble) blur(r Record) Record {
	if r.Kind == 'R' {
		r.Path = filepath.Join(s.Dir, "s")
	}
	return r
}
