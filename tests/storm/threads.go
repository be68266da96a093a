package storm

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Threads is one process with eight threads at once, and eight more, each of which makes, renames, links and removes
// files and directories with names of its own, N times. Of several threads the log has only the process: a thread's
// records are known by their names, and stand in their order.
type Threads struct {
	Dir   string
	Image string
	N     int
}

// Args returns the command, without a flag -pause.
func (s Threads) Args() []string {
	return []string{s.Image, "threads", s.Dir, strconv.Itoa(s.N)}
}

// Want returns what the storm leaves.
func (s Threads) Want() Want {
	records := []Record{{Kind: 'E', Path: s.Image}}
	for i := range waves * players {
		for k := range s.N {
			var name [4]string
			for j := range name {
				name[j] = filepath.Join(s.Dir, fmt.Sprintf("t%d.%d%c", i, k, 'a'+j))
			}
			a, b, c, d := name[0], name[1], name[2], name[3]
			records = append(records,
				Record{Kind: 'W', Path: a}, Record{Kind: 'M', Path: a, To: b}, Record{Kind: 'R', Path: b}, Record{Kind: 'W', Path: b},
				Record{Kind: 'L', Path: b, To: c}, Record{Kind: 'D', Path: b}, Record{Kind: 'W', Path: d}, Record{Kind: 'M', Path: c, To: a},
				Record{Kind: 'D', Path: a}, Record{Kind: 'M', Path: d, To: b}, Record{Kind: 'D', Path: b})
		}
	}
	return Want{
		Dir: s.Dir, Image: s.Image, Root: append(records, Record{Kind: 'X'}),
		Lane: func(r Record) string {
			lane, _, _ := strings.Cut(strings.TrimPrefix(r.Path, s.Dir), ".")
			return lane
		},
	}
}
