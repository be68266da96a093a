package makes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// maker is a way to build the project. Another make is another of these.
type maker struct {
	name  string
	needs []string // programs
	// describe writes what the make reads.
	describe func(p *project)
	// build returns the command that makes the targets.
	build func(p *project) []string
	// known returns the files of the project that the make knows a target to read.
	known func(p *project, t *target) []string
	// commands: a target is made again when its command is another one.
	commands bool
	// served: a service runs, and whoever records asks it.
	served bool
	// check looks at what the make left behind; nil for nothing.
	check func(p *project)
}

// fantrace is the distribution's bmake, built with contrib/bmake: make bmake.
const fantrace = "../../bin/bmake-fantrace"

func makers() []maker {
	fantrace, err := filepath.Abs(fantrace)
	if err != nil {
		panic(err) // there is no working directory
	}
	bmake := func(name string, flags ...string) maker {
		return maker{
			name: name, needs: []string{"bmake"}, describe: writeBmake, known: readMeta, commands: true,
			check: func(p *project) {
				meta2deps(p)
				disjoint(p)
			},
			build: func(p *project) []string {
				return append([]string{fanrec, "meta", "-q", "--", "bmake", "-C", p.path("obj"), "-f", p.path("Makefile")}, flags...)
			},
		}
	}
	// With the filemon of contrib/bmake, which has a service record each job.
	backend := func(name string, flags ...string) maker {
		m := bmake(name, flags...)
		m.needs, m.served = []string{fantrace}, true
		m.build = func(p *project) []string {
			return append([]string{fantrace, "-C", p.path("obj"), "-f", p.path("Makefile")}, flags...)
		}
		return m
	}
	served := func(m maker) maker {
		m.name, m.served = m.name+" by a service", true
		return m
	}
	ninja := maker{
		name: "ninja", needs: []string{"ninja"}, describe: writeNinja, known: readNinja, commands: true,
		build: func(p *project) []string { return []string{"ninja", "-C", p.path("obj"), "-j2"} },
	}
	// With bmake's own filemon_dev.c, in the machines of tests/kernels.
	device := func(name string, flags ...string) maker {
		m := bmake(name, flags...)
		m.needs, m.check = []string{"bmake-dev"}, disjoint
		m.build = func(p *project) []string {
			return append([]string{"bmake-dev", "-r", "-C", p.path("obj"), "-f", p.path("Makefile")}, flags...)
		}
		return m
	}
	if _, err := os.Stat("/dev/filemon"); err == nil {
		return []maker{device("device"), device("device -j1", "-j1"), device("device -j4", "-j4")}
	}
	return []maker{
		bmake("bmake"),
		bmake("bmake -j1", "-j1"),
		bmake("bmake -j4", "-j4"),
		backend("backend"),
		backend("backend -j1", "-j1"),
		backend("backend -j4", "-j4"),
		served(bmake("bmake -j4", "-j4")),
		ninja,
		served(ninja),
		{
			name: "make", needs: []string{"make"}, describe: writeMake, known: readMake,
			build: func(p *project) []string { return []string{"make", "-C", p.path("obj"), "-j2", "--no-print-directory"} },
		},
	}
}

// all are the names of the targets.
func (p *project) all() string {
	var names []string
	for _, t := range p.targets {
		names = append(names, t.name)
	}
	return strings.Join(names, " ")
}

//
// bmake
//

func writeBmake(p *project) {
	text := ".MAKE.MODE = meta curdirok=yes missing-filemon=yes\n.MAKE.META.BAILIWICK = " + p.dir + "\nall: " + p.all() + "\n"
	for _, t := range p.targets {
		text += fmt.Sprintf("%s: .META %s\n\t%s\n", t.name, strings.Join(t.declared, " "), strings.ReplaceAll(p.commandOf(t), "$", "$$"))
		for _, first := range t.after {
			text += fmt.Sprintf(".ORDER: %s %s\n", first, t.name)
		}
	}
	p.write("Makefile", text)
}

// readMeta returns what is in the section of a .meta file, as bmake looks at it.
func readMeta(p *project, t *target) []string {
	text, err := os.ReadFile(p.path("obj/" + t.name + ".meta"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, log, ok := strings.Cut(string(text), "\n-- filemon acquired metadata --\n# filemon version 5\n")
	if !ok || !strings.HasSuffix(log, "\n# Bye bye\n") {
		p.t.Fatalf("%s.meta has no complete section:\n%s", t.name, text)
	}
	var read []string
	for line := range strings.Lines(log) {
		if word := strings.Fields(line); word[0] == "R" || word[0] == "E" {
			read = append(read, word[2])
		}
	}
	return read
}

// meta2deps has bmake's script that makes dependencies of .meta files read all.
func meta2deps(p *project) {
	const script = "/usr/share/mk/meta2deps.py"
	if _, err := os.Stat(script); err != nil {
		return
	}
	args := []string{script, "-m", "any", "-S", p.dir, "-C", p.path("obj"), "-O", p.path("obj")}
	for _, t := range p.targets {
		args = append(args, p.path("obj/"+t.name+".meta"))
	}
	out, err := exec.Command("python3", args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "ERROR") || !strings.Contains(string(out), "src/lib/deep") {
		p.t.Errorf("meta2deps.py: %v\n%s", err, out)
	}
}

// disjoint: each process is in one section, between the record of its parent and its
// exit, but for the first of a command.
func disjoint(p *project) {
	in := map[string]string{}
	for _, t := range p.targets {
		text, err := os.ReadFile(p.path("obj/" + t.name + ".meta"))
		if err != nil {
			p.t.Fatal(err)
		}
		_, log, _ := strings.Cut(string(text), "\nV 5\n")
		known, roots := map[string]bool{}, 0
		for line := range strings.Lines(log) {
			word := strings.Fields(line)
			if word[0] == "#" {
				continue
			}
			letter, pid := word[0], word[1]
			if _, seen := known[pid]; !seen {
				known[pid] = true
				roots++
			}
			if !known[pid] {
				p.t.Errorf("%s.meta: after its exit: %s", t.name, line)
			}
			if other := in[pid]; other != "" && other != t.name {
				p.t.Errorf("process %s is in %s.meta and in %s.meta", pid, other, t.name)
			}
			in[pid] = t.name
			switch letter {
			case "F":
				known[word[2]] = true
			case "X":
				known[pid] = false
			}
		}
		for pid, lives := range known {
			if lives {
				p.t.Errorf("%s.meta: no exit of %s", t.name, pid)
			}
		}
		if most := 1 + strings.Count(t.command, ";"); roots == 0 || roots > most {
			p.t.Errorf("%s.meta: %d processes that nobody forked", t.name, roots)
		}
	}
}

//
// ninja
//

// deps is the command that makes a target and writes what it read.
func deps(p *project, t *target, format string) string {
	return fmt.Sprintf("%s deps --format %s --no-system --root . -t %s -o %s.d -- sh -c '%s'", fanrec, format, t.name, t.name, p.commandOf(t))
}

func writeNinja(p *project) {
	text := "rule run\n command = $cmd\n depfile = $out.d\n deps = gcc\n"
	for _, t := range p.targets {
		text += fmt.Sprintf("build %s: run %s || %s\n cmd = %s\n", t.name, strings.Join(t.declared, " "), strings.Join(t.after, " "),
			strings.ReplaceAll(deps(p, t, "ninja"), "$", "$$"))
	}
	p.write("obj/build.ninja", text)
}

func readNinja(p *project, t *target) []string {
	cmd := exec.Command("ninja", "-C", p.path("obj"), "-t", "deps", t.name)
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("%v: %v", cmd.Args, err)
	}
	var read []string
	for line := range strings.Lines(string(out)) {
		if file, ok := strings.CutPrefix(line, "    "); ok {
			read = append(read, strings.TrimSpace(file))
		}
	}
	return read
}

//
// GNU make
//

func writeMake(p *project) {
	text := "all: " + p.all() + "\n"
	for _, t := range p.targets {
		text += fmt.Sprintf("%s: %s | %s\n\t%s\n", t.name, strings.Join(t.declared, " "), strings.Join(t.after, " "),
			strings.ReplaceAll(deps(p, t, "make"), "$", "$$"))
	}
	p.write("obj/GNUmakefile", text+"-include $(wildcard *.d)\n")
}

func readMake(p *project, t *target) []string {
	text, err := os.ReadFile(p.path("obj/" + t.name + ".d"))
	if err != nil {
		p.t.Fatal(err)
	}
	rule, _, _ := strings.Cut(string(text), "\n\n")
	return strings.Fields(strings.ReplaceAll(rule, "\\\n", " "))[1:]
}

// readsOf returns the files of the project that a make knows a target to read, as
// target has them.
func (m *maker) readsOf(p *project, t *target) []string {
	var out []string
	for _, path := range m.known(p, t) {
		if !filepath.IsAbs(path) {
			path = p.path("obj/" + path)
		}
		rel, err := filepath.Rel(p.dir, path)
		if err != nil || strings.HasPrefix(rel, "..") || rel == "obj/"+t.name {
			continue
		}
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			out = append(out, rel)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
