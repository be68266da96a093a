package storm

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Names is a process for each of Names, one after the other, which has it as the name of a file, a hard link, a
// directory, and as the text of a symbolic link.
type Names struct {
	Dir   string
	Image string
	Names []string

	Folded bool // the log is of a format that writes a newline as \012, and cannot tell the two
}

// OddNames returns every name of one byte, every byte 255 times, and names that a format of lines and quotes has trouble with.
func OddNames() []string {
	var names []string
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		c := string([]byte{byte(b)})
		if b == '.' {
			c = "..."
		}
		names = append(names, c, strings.Repeat(c[:1], 255))
	}
	return append(names,
		"' '", "a' 'b", "'a'", "it's", "a b", " a", "a ", "a\nb", "\n\n", "a\nD 1 b", "\nX 1 0 0\n# Bye bye\n", "# Bye bye", "#", `\012`, `a\012`, `\\012`,
		`\`, `\\`, `\n`, `"`, `a"b`, "-", "~", "..a", "é", "\xff\xfe", "\xc3", "\xf0\x9f\x92\xa9", "\u2028", `{"kind":"exit"}`,
	)
}

// Args returns the command, without a flag -pause.
func (s Names) Args() []string {
	return append([]string{s.Image, "names", s.Dir, "0"}, s.Names...)
}

// Want returns what the storm leaves.
func (s Names) Want() Want {
	w := Want{Dir: s.Dir, Image: s.Image, Root: []Record{{Kind: 'E', Path: s.Image}}}
	for i, name := range s.Names {
		top := filepath.Join(s.Dir, strconv.Itoa(i))
		mid := top + "/mid"
		a, b := top+"/"+name, mid+"/"+name // not cleaned: it has nothing to clean
		w.Root = append(w.Root, Record{Kind: 'F'})
		w.Children = append(w.Children, []Record{
			{Kind: 'W', Path: top}, {Kind: 'W', Path: mid},
			{Kind: 'W', Path: a}, {Kind: 'M', Path: a, To: b}, {Kind: 'L', Path: b, To: a}, {Kind: 'D', Path: b},
			{Kind: 'L', Path: name, To: b}, {Kind: 'D', Path: b}, {Kind: 'R', Path: a}, {Kind: 'W', Path: a}, {Kind: 'D', Path: a},
			{Kind: 'W', Path: a}, {Kind: 'W', Path: a + "/f"}, {Kind: 'C', Path: a}, {Kind: 'M', Path: a, To: b}, {Kind: 'R', Path: b + "/f"},
			{Kind: 'D', Path: b + "/f"}, {Kind: 'D', Path: b}, {Kind: 'D', Path: mid}, {Kind: 'D', Path: top},
			{Kind: 'X', Code: i % 256},
		})
	}
	w.Root = append(w.Root, Record{Kind: 'X'})
	if s.Folded {
		w.Blur = fold
		for _, records := range w.Children {
			for i := range records {
				records[i] = fold(records[i])
			}
		}
	}
	return w
}

func fold(r Record) Record {
	r.Path, r.To = strings.ReplaceAll(r.Path, `\012`, "\n"), strings.ReplaceAll(r.To, `\012`, "\n")
	return r
}
