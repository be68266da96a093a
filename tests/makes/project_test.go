package makes

import (
	"fanrec/tests/bmakedir"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// project is a C project in a directory of its own: sources in src, and what is
// made of them in obj, where all commands run.
type project struct {
	t       *testing.T
	dir     string
	targets []*target
}

// target is made by a command.
type target struct {
	name     string
	command  string   // $S is the directory of the sources
	declared []string // targets that the makefile names as sources of this one
	after    []string // targets that it says come first, if they are made at all
	// files of the project that the command reads, relative to the project; of a
	// compilation gcc tells
	reads []string
}

// modules are so many in each of two directories.
const modules = 12

func newProject(t *testing.T) *project {
	p := &project{t: t, dir: bmakedir.Make(t)}
	p.add(&target{name: "gen", command: "gcc $S/gen/gen.c -o gen", reads: []string{"src/gen/gen.c"}})
	p.add(&target{name: "config.h", command: "./gen >config.new && mv config.new config.h", declared: []string{"gen"}, reads: []string{"obj/gen"}})
	objects := map[string][]string{}
	for _, dir := range []string{"lib", "app"} {
		for i := range modules {
			m := fmt.Sprintf("%s%02d", dir, i)
			text := fmt.Sprintf("#include \"%s.h\"\n#include \"%s.h\"\n", dir, m)
			if i%2 == 0 {
				text += "#include \"config.h\"\n"
			}
			p.write("src/"+dir+"/"+m+".c", text+fmt.Sprintf("int %s(void) { return %s_BASE + %d; }\n", m, strings.ToUpper(dir), i))
			p.write("src/"+dir+"/"+m+".h", fmt.Sprintf("int %s(void);\n", m))
			objects[dir] = append(objects[dir], p.compile(dir+"/"+m))
		}
	}
	p.write("src/lib/lib.h", "#include \"deep/deeper.h\"\n#define LIB_BASE DEEP\n")
	p.write("src/lib/deep/deeper.h", "#define DEEP 100\n")
	p.write("src/app/app.h", "#include <stdio.h>\n#include \"../lib/lib.h\"\n#define APP_BASE (LIB_BASE * 2)\n")
	p.write("src/gen/gen.c", "#include <stdio.h>\nint main(void) { puts(\"#define CONFIG 1\"); return 0; }\n")
	p.write("src/one.c", "#include \"app.h\"\n#include \"app00.h\"\n#include \"lib01.h\"\nint main(void) { printf(\"%d\\n\", app00() + lib01()); return 0; }\n")
	p.write("src/two.c", "#include <stdio.h>\n#include \"config.h\"\n#include \"lib02.h\"\nint main(void) { printf(\"%d %d\\n\", CONFIG, lib02()); return 0; }\n")
	p.write("src/data/text", "text\n")
	p.write("src/check.sh", "test -s \"$1\"\n")
	p.write("obj/empty", "")

	one, two := p.compile("one"), p.compile("two")
	p.add(&target{name: "liball.a", command: "rm -f liball.a; ar rc liball.a " + strings.Join(objects["lib"], " "), declared: objects["lib"], reads: inObj(objects["lib"]...)})
	for name, main := range map[string]string{"prog1": one, "prog2": two} {
		all := append([]string{main}, objects["app"]...)
		p.add(&target{name: name, command: "gcc " + strings.Join(all, " ") + " liball.a -o " + name, declared: append(all, "liball.a"),
			reads: inObj(append(all, "liball.a")...)})
	}
	// What is read is said nowhere, and two programs run in a pipe.
	p.add(&target{name: "report", command: "./prog1 | cat - $S/data/text >report.new && sh $S/check.sh report.new && mv report.new report", after: []string{"prog1"},
		reads: []string{"obj/prog1", "src/data/text", "src/check.sh"}})
	p.add(&target{name: "twice", command: "./prog2 >twice; ./prog2 >>twice", declared: []string{"prog2"}, reads: []string{"obj/prog2"}})
	p.age()
	return p
}

func inObj(names ...string) []string {
	var out []string
	for _, n := range names {
		out = append(out, "obj/"+n)
	}
	return out
}

func (p *project) add(t *target) { p.targets = append(p.targets, t) }

// compile adds the target of a source and returns its name.
func (p *project) compile(source string) string {
	name := filepath.Base(source) + ".o"
	p.add(&target{name: name, command: "gcc -I. -I$S/lib -I$S/app -c $S/" + source + ".c -o " + name, after: []string{"config.h"}})
	return name
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) write(name, text string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// target returns the one of a name.
func (p *project) target(name string) *target {
	return p.targets[slices.IndexFunc(p.targets, func(t *target) bool { return t.name == name })]
}

// commandOf returns the command of a target with the directory in it.
func (p *project) commandOf(t *target) string {
	return strings.ReplaceAll(t.command, "$S", p.path("src"))
}

//
// Times
//

// The sources are as old as can be, what was made of them is younger, and a source
// that is touched is younger than that, and older than what is then made. Nobody
// waits for the next second, which is what bmake counts in.
var (
	now       = time.Now()
	ofSources = now.Add(-3 * time.Hour)
	ofObjects = now.Add(-2 * time.Hour)
	ofTouched = now.Add(-time.Hour)
)

// age sets the times of all that belongs to the project.
func (p *project) age() {
	p.t.Helper()
	err := filepath.WalkDir(p.path("src"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, ofSources, ofSources)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, t := range p.targets {
		if err := os.Chtimes(p.path("obj/"+t.name), ofObjects, ofObjects); err != nil && !os.IsNotExist(err) {
			p.t.Fatal(err)
		}
	}
}

func (p *project) touch(name string) {
	p.t.Helper()
	if err := os.Chtimes(p.path(name), ofTouched, ofTouched); err != nil {
		p.t.Fatal(err)
	}
}

// made returns the targets that were made since age, sorted.
func (p *project) made() []string {
	var out []string
	for _, t := range p.targets {
		st, err := os.Stat(p.path("obj/" + t.name))
		if err == nil && !st.ModTime().Equal(ofObjects) && !st.ModTime().Equal(ofTouched) {
			out = append(out, t.name)
		}
	}
	slices.Sort(out)
	return out
}

//
// What is right
//

// askCompiler finds out what the compilations read, from gcc.
func (p *project) askCompiler() {
	p.t.Helper()
	for _, t := range p.targets {
		if !strings.HasSuffix(t.name, ".o") {
			continue
		}
		args := strings.Fields(strings.Replace(p.commandOf(t), " -c ", " -M ", 1))
		args = args[:len(args)-2] // -o
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = p.path("obj")
		out, err := cmd.Output()
		if err != nil {
			p.t.Fatalf("%v: %v", args, err)
		}
		t.reads = nil
		for _, word := range strings.Fields(strings.ReplaceAll(string(out), "\\\n", " "))[1:] {
			if !filepath.IsAbs(word) {
				word = filepath.Join(p.path("obj"), word)
			}
			if rel, err := filepath.Rel(p.dir, word); err == nil && !strings.HasPrefix(rel, "..") {
				t.reads = append(t.reads, rel)
			}
		}
	}
}

// dependents returns the targets to be made when a file of the project is younger: those
// that read it, and those that read them.
func (p *project) dependents(file string) []string {
	var out []string
	for _, t := range p.targets {
		if slices.Contains(t.reads, file) && !slices.Contains(out, t.name) {
			out = append(out, t.name)
			out = append(out, p.dependents("obj/"+t.name)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// andDependents returns a target and what depends on it.
func (p *project) andDependents(name string) []string {
	out := append(p.dependents("obj/"+name), name)
	slices.Sort(out)
	return out
}

// read returns all files of the project that some command reads, sorted.
func (p *project) read() []string {
	var out []string
	for _, t := range p.targets {
		out = append(out, t.reads...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
