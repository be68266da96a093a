package storm

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
)

// Users is two deep trees, one after the other. Processes work in them, N times each, while others rename every level
// N times; then it is removed while they open their working directories, N times more. Nobody waits for anybody: what a
// directory is called when it is used is for the log to say, and must agree with the renames in it.
type Users struct {
	Dir   string
	Image string
	N     int
}

// As in storm.c.
const (
	depth     = 24
	renamers  = 2
	tenants   = 4
	levelStep = 5
)

// Args returns the command, without a flag -pause.
func (u Users) Args() []string {
	return []string{u.Image, "users", u.Dir, strconv.Itoa(u.N)}
}

var versions = regexp.MustCompile(`(/u\d+)\.\d+`)

// Want returns what the storm leaves. Levels are without the number that counts their renames.
func (u Users) Want() Want {
	w := Want{Dir: u.Dir, Image: u.Image, Root: []Record{{Kind: 'E', Path: u.Image}}, Replay: true}
	w.Blur = func(r Record) Record {
		r.Path, r.To = versions.ReplaceAllString(r.Path, "$1"), versions.ReplaceAllString(r.To, "$1")
		return r
	}
	var path [depth]string
	for k := range path {
		above := u.Dir
		if k > 0 {
			above = path[k-1]
		}
		path[k] = filepath.Join(above, "u"+strconv.Itoa(k))
	}
	for range waves {
		for k := range depth {
			w.Root = append(w.Root, Record{Kind: 'W', Path: path[k]}, Record{Kind: 'R', Path: path[k]})
		}
		for p := range renamers + tenants {
			w.Root = append(w.Root, Record{Kind: 'F'})
			records := u.tenant(p-renamers, path)
			if p < renamers {
				records = u.renamer(p, path)
			}
			w.Children = append(w.Children, append(records, Record{Kind: 'X', Code: p}))
		}
		for k := depth - 1; k >= 0; k-- {
			w.Root = append(w.Root, Record{Kind: 'D', Path: path[k]})
		}
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	return w
}

func (u Users) renamer(r int, path [depth]string) []Record {
	var records []Record
	for i := range u.N {
		at := path[i%(depth/renamers)*renamers+r]
		records = append(records, Record{Kind: 'M', Path: at, To: at})
	}
	return records
}

func (u Users) tenant(t int, path [depth]string) []Record {
	if t < 0 {
		return nil
	}
	home := path[depth-1-t*levelStep]
	records := []Record{{Kind: 'C', Path: home}}
	for i := range u.N {
		name := func(letter string) string { return filepath.Join(home, fmt.Sprintf("%s%d.%d", letter, t, i)) }
		records = append(records,
			Record{Kind: 'W', Path: name("a")}, Record{Kind: 'M', Path: name("a"), To: name("b")}, Record{Kind: 'R', Path: name("b")},
			Record{Kind: 'W', Path: name("d")}, Record{Kind: 'R', Path: home}, Record{Kind: 'D', Path: name("d")}, Record{Kind: 'D', Path: name("b")})
	}
	for range u.N {
		records = append(records, Record{Kind: 'R', Path: home})
	}
	return records
}
