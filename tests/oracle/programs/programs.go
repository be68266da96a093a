// Package programs is a table of programs of many kinds to record: small workloads that take a few seconds each, work in one directory, need no
// network while they run and leave nothing behind. Each is prepared once; every run then starts in a fresh copy of what was prepared.
package programs

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"fanrec/tests/workload"
)

// Program is an entry of the table.
type Program struct {
	Name     string   // without blanks
	About    string   // what it does, for a reader of the table
	Packages []string // of Debian, what it needs beside the packages of [Always]
	Arch     string   // GOARCH that its packages are for, empty for all
	Probe    string   // a shell command that fails where the machine cannot run the program
	Tree     string   // a source tree of package workload to begin with
	Below    string   // the directory is to be below this one, empty for that of temporary files
	Prepare  string   // shell script: what is done before any run, in an empty directory
	Run      string   // shell script: what is recorded
	Fast     bool     // takes about a second, for a test of all
	// Same runs do the same each time but for names of temporaries and the order of processes that do not wait for each other: two runs can
	// be compared.
	Same bool
	// Races: one of some hundred runs may differ, as the events do not tell everything (docs/todo.md): a test then has it run once more.
	Races bool
}

// Always are packages that several programs need.
var Always = []string{"strace", "gcc", "libc6-dev", "make"}

//go:embed source
var source embed.FS

// Packages returns the Debian packages that programs need on this machine.
func Packages(list []Program) []string {
	packages := append([]string{}, Always...)
	seen := map[string]bool{}
	for _, p := range list {
		if p.Arch != "" && p.Arch != runtime.GOARCH {
			continue
		}
		for _, name := range p.Packages {
			if !seen[name] {
				seen[name] = true
				packages = append(packages, name)
			}
		}
	}
	return packages
}

// ErrCannotRun says that a probe failed.
var ErrCannotRun = errors.New("cannot run here")

// PrepareIn makes the directory, which must not be there, and prepares the program in it. Runs must be in a directory of the same name: some
// programs write it into what they make.
func (p *Program) PrepareIn(dir string) error {
	if p.Tree != "" {
		tree, err := workload.Find(p.Tree)
		if err != nil {
			return err
		}
		if err := workload.Copy(tree, dir); err != nil {
			return err
		}
	} else if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return err
	}
	sources, err := os.MkdirTemp("", "programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(sources)
	if err := os.CopyFS(sources, source); err != nil {
		return err
	}
	environment := append(os.Environ(), "SOURCE="+filepath.Join(sources, "source"))
	if out, err := shell(dir, environment, p.Probe); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrCannotRun, p.Probe, out)
	}
	if out, err := shell(dir, environment, p.Prepare); err != nil {
		return fmt.Errorf("prepare %s: %w: %s", p.Name, err, out)
	}
	return nil
}

// Command is what to run in a copy of the prepared directory.
func (p *Program) Command() []string { return []string{"/bin/sh", "-c", prologue() + p.Run} }

func shell(dir string, environment []string, script string) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", prologue()+"set -e\n"+script)
	cmd.Dir, cmd.Env = dir, environment
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// prologue makes the programs do the same whoever runs them: their home, their temporaries and their language are here, and what was put in
// front of the system's own programs is not used. Only go may be elsewhere.
func prologue() string {
	path := "/usr/sbin:/usr/bin:/sbin:/bin"
	if tool, err := exec.LookPath("go"); err == nil {
		path += ":" + filepath.Dir(tool)
	}
	return "export PATH='" + path + "' HOME=\"$PWD\" TMPDIR=\"$PWD/tmp\" LC_ALL=C TZ=UTC\n" +
		"unset MAKEFLAGS MAKELEVEL MFLAGS GOFLAGS GOROOT CDPATH ENV BASH_ENV\n"
}
