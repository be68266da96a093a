package storm

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Forest is N short-lived processes, eight at a time, in groups of four. Each has a directory of its own, and each
// group one that its members use, rename and remove while others of them work in it. N is a multiple of four.
type Forest struct {
	Dir   string
	Image string
	N     int
	Exec  bool // each child executes the program anew for the second half of what it does
}

const roles = 4

// scripted is a record that a script of storm.c leaves. Paths are below Forest.Dir and as of the event: where the
// program says "f1", relative to a working directory that was renamed meanwhile, here is the directory's name at that
// moment. P and D stand for p<child>. and d<group>.
type scripted struct {
	role int
	kind byte
	path string
	to   string
}

var privateScript = []scripted{
	{0, 'W', "P0", ""},
	{0, 'W', "P0/a", ""},
	{0, 'M', "P0/a", "P0/b"},
	{0, 'M', "P0", "P1"},
	{0, 'R', "P1/b", ""},
	{0, 'C', "P1", ""},
	{0, 'R', "P1/b", ""}, // O_RDWR is both
	{0, 'W', "P1/b", ""},
	{0, 'D', "P1/b", ""},
	{0, 'D', "P1", ""},
}

var sharedScript = []scripted{
	{0, 'W', "D0", ""},
	{0, 'W', "D0/f0", ""},
	{1, 'W', "D0/f1", ""},
	{1, 'C', "D0", ""},
	{2, 'W', "D0/f2", ""},
	{3, 'C', "D0", ""},
	{3, 'W', "D0/f3", ""},
	{0, 'M', "D0/f0", "D0/g0"},
	{0, 'M', "D0", "D1"},
	{1, 'R', "D1/f1", ""},
	{1, 'M', "D1/f1", "D1/g1"},
	{2, 'R', "D1/f2", ""},
	{2, 'W', "D1/f2", ""},
	{2, 'M', "D1/f2", "D1/g2"},
	// the second half
	{2, 'M', "D1", "D2"},
	{3, 'R', "D2/f3", ""},
	{3, 'M', "D2/f3", "D2/g3"},
	{3, 'L', "g3", "D2/s3"}, // a symbolic link's text is as the program wrote it
	{1, 'M', "D2", "D3"},
	{0, 'R', "D3", ""},
	{0, 'R', "D3/g0", ""},
	{0, 'D', "D3/g0", ""},
	{1, 'L', "D3/g1", "D3/h1"},
	{1, 'D', "D3/g1", ""},
	{1, 'R', "D3/h1", ""},
	{1, 'D', "D3/h1", ""},
	{2, 'D', "D3/g2", ""},
	{3, 'W', "D3/g3", ""},
	{3, 'D', "D3/g3", ""},
	{3, 'D', "D3/s3", ""},
	{2, 'D', "D3", ""},
}

// secondHalf is where the second half of sharedScript begins.
const secondHalf = 14

// Args returns the command, without a flag -pause.
func (f Forest) Args() []string {
	args := []string{f.Image, "forest"}
	if f.Exec {
		args = append(args, "-exec")
	}
	return append(args, f.Dir, strconv.Itoa(f.N))
}

// Expected returns the records of child i, in their order.
func (f Forest) Expected(i int) []Record {
	var records []Record
	for _, s := range privateScript {
		records = append(records, f.record(s, i))
	}
	executed := !f.Exec
	for k, s := range sharedScript {
		if s.role != i%roles {
			continue
		}
		if k >= secondHalf && !executed {
			records = append(records, Record{Kind: 'E', Path: f.Image})
			executed = true
		}
		records = append(records, f.record(s, i))
	}
	code, signal := fate(i)
	return append(records, Record{Kind: 'X', Code: code, Signal: signal})
}

// fate returns how child i ends.
func fate(i int) (code, signal int) {
	if i%11 == 5 {
		return 0, []int{9, 15, 10, 40}[i/11%4]
	}
	return i % 256, 0
}

// order returns what the children of group g do in their shared directory, one after the other.
func (f Forest) order(g int) []Step {
	steps := make([]Step, len(sharedScript))
	for k, s := range sharedScript {
		i := g*roles + s.role
		steps[k] = Step{Actor: i, Record: f.record(s, i)}
	}
	return steps
}

// record returns the record that child i leaves by s.
func (f Forest) record(s scripted, i int) Record {
	r := Record{Kind: s.kind, Path: f.path(s.path, i)}
	if s.to != "" {
		r.To = f.path(s.to, i)
	}
	return r
}

func (f Forest) path(scripted string, i int) string {
	switch scripted[0] {
	case 'P':
		return filepath.Join(f.Dir, fmt.Sprintf("p%d.%s", i, scripted[1:]))
	case 'D':
		return filepath.Join(f.Dir, fmt.Sprintf("d%d.%s", i/roles, scripted[1:]))
	}
	return scripted
}

// Want returns what the storm leaves.
func (f Forest) Want() Want {
	w := Want{Dir: f.Dir, Image: f.Image, Scope: f.group}
	w.Root = append(w.Root, Record{Kind: 'E', Path: f.Image})
	for i := range f.N {
		w.Root = append(w.Root, Record{Kind: 'F'})
		w.Children = append(w.Children, f.Expected(i))
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	for g := range f.N / roles {
		w.Orders = append(w.Orders, f.order(g))
	}
	return w
}

// group returns the group in whose shared directory a path is.
func (f Forest) group(path string) (int, bool) {
	rest, ok := strings.CutPrefix(path, f.Dir+"/d")
	if !ok {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, ".")
	g, err := strconv.Atoi(number)
	return g, err == nil && g >= 0
}
