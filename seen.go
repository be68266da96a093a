package fanrec

import (
	"cmp"
	"strings"

	"fanrec/output"
	"fanrec/proctree"
)

// A process with a root directory or a mount namespace of its own names a file
// otherwise than the recorder. Records have the recorder's names, and beside them
// the process's own where they differ.

// fillSeen fills Seen and SeenTarget of the record.
func (j *joiner) fillSeen() {
	j.rec.Seen, j.rec.SeenTarget = nil, nil
	if j.rec.Op != output.Symbolic { // whose Path is a text
		j.rec.Seen = j.seenName(0, j.rec.Path)
	}
	j.rec.SeenTarget = j.seenName(1, j.rec.Target)
}

func (j *joiner) seenName(side int, path []byte) []byte {
	own, ok := j.appendSeen(j.seenAs[side][:0], j.who, path)
	if j.seenAs[side] = own; !ok {
		return nil
	}
	return own
}

// appendSeen appends the name that a process has for a path of the recorder's. It
// reports false if it has the same one, or none that is known.
func (j *joiner) appendSeen(dst []byte, p *proctree.Process, path []byte) ([]byte, bool) {
	if p.Root == nil && p.MountNS == 0 || len(path) == 0 || path[0] != '/' {
		return dst, false
	}
	names, roots := []string{string(path)}, []string{cmp.Or(string(p.Root), "/")}
	if p.MountNS != 0 {
		names = j.mounts.names(p.MountNS, path)
		if p.Root != nil {
			roots = j.mounts.names(p.MountNS, p.Root)
		}
	}
	best := ""
	for _, name := range names {
		for _, root := range roots {
			own, ok := beneath(name, root)
			if own == string(path) {
				return dst, false
			}
			if ok && (best == "" || len(own) < len(best)) {
				best = own
			}
		}
	}
	return append(dst, best...), best != ""
}

// names returns the paths in another mount namespace of what is at a path here.
func (m *mountTables) names(ns uint32, path []byte) []string {
	there := m.others[ns]
	on, ok := m.now.On(path)
	if there == nil || !ok {
		return nil
	}
	return there.Names(on.Dev, on.Inside(path))
}

// beneath returns a path as it is called from a root directory.
func beneath(path, root string) (string, bool) {
	if root == "/" {
		return path, true
	}
	rest, ok := strings.CutPrefix(path, root)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return cmp.Or(rest, "/"), true
}
