package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"fanrec"
	"fanrec/cgroup"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
)

// whomFlags say who is attached to, beside processes by their numbers.
type whomFlags struct {
	unit      []string
	cgroup    []string
	container []string
	all       bool
}

func (f *whomFlags) add(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.unit, "unit", nil, "attach to the service `NAME` of systemd, also when it is started again (repeatable)")
	fl.StringArrayVar(&f.container, "container", nil, "attach to the container `ID` of docker, podman or containerd (repeatable)")
	fl.StringArrayVar(&f.cgroup, "cgroup", nil, "attach to who is in the control group `PATH` or below it, now or later (repeatable)")
	fl.BoolVar(&f.all, "all", false, "attach to every process of the machine")
}

// ends tells whether it is over when no process is left: of what is started again it
// never is.
func (f *whomFlags) ends() bool { return len(f.unit)+len(f.cgroup) == 0 && !f.all }

// named tells whether anybody is.
func (f *whomFlags) named() bool {
	return len(f.unit)+len(f.cgroup)+len(f.container) > 0 || f.all
}

// whom finds who is to be attached to, and says so in words.
func (f *whomFlags) whom(args []string, log zerolog.Logger) (whom fanrec.Whom, notes []string, err error) {
	for _, a := range args {
		pid, err := strconv.ParseUint(a, 10, 31)
		if err != nil || pid == 0 {
			return whom, nil, fmt.Errorf("%s: no number of a process; --unit, --cgroup and --container take names", a)
		}
		if leader := threadOf(int(pid)); leader != 0 {
			return whom, nil, fmt.Errorf("%d is a thread of process %d: attach to that", pid, leader)
		}
		whom.PIDs = append(whom.PIDs, int(pid))
		notes = append(notes, fmt.Sprintf("attached to process %d and its descendants", pid))
	}
	if f.named() {
		tree, err := cgroup.Mounted()
		if err != nil {
			return whom, nil, err
		}
		add := func(what, name string, g cgroup.Group, err error) error {
			switch {
			case err == nil:
			case g.Path != "" && errors.Is(err, cgroup.ErrNone) && what != "container":
				note := fmt.Sprintf("nobody is in %s yet", g.Path)
				log.Warn().Msg(note)
				notes = append(notes, note)
			default:
				return err
			}
			whom.Cgroups = append(whom.Cgroups, fanrec.Cgroup{Path: g.Path, ID: func() (uint64, error) { return tree.Number(g.Path) }})
			if what != "" {
				what += " " + name + ", "
			}
			notes = append(notes, fmt.Sprintf("attached to %scontrol group %s", what, g.Path))
			return nil
		}
		for _, name := range f.unit {
			if strings.Contains(name, "/") {
				return whom, nil, fmt.Errorf("--unit %s: no name of a unit; --cgroup takes paths", name)
			}
			g, err := tree.Unit(name)
			if err := add("unit", name, g, err); err != nil {
				return whom, nil, fmt.Errorf("--unit %s: %w", name, err)
			}
		}
		for _, name := range f.cgroup {
			g, err := tree.Path(name)
			if err := add("", name, g, err); err != nil {
				return whom, nil, fmt.Errorf("--cgroup %s: %w", name, err)
			}
		}
		for _, id := range f.container {
			g, err := tree.Container(id)
			if err := add("container", id, g, err); err != nil {
				return whom, nil, fmt.Errorf("--container %s: %w", id, err)
			}
		}
		if f.all {
			g, err := tree.All()
			if err != nil {
				return whom, nil, fmt.Errorf("--all: %w", err)
			}
			whom.Cgroups = append(whom.Cgroups, fanrec.Cgroup{ID: func() (uint64, error) { return g.ID, nil }})
			notes = append(notes, "attached to every process of the machine")
		}
	}
	if len(whom.PIDs)+len(whom.Cgroups) == 0 {
		return whom, nil, errors.New("attach to what? Name processes by their numbers, or use --unit, --container, --cgroup or --all")
	}
	return whom, notes, nil
}

// threadOf returns the process that a number is a thread of, 0 if it is none's or that of
// a process.
func threadOf(tid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nTgid:")
	line, _, _ := strings.Cut(rest, "\n")
	if leader, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && leader != tid {
		return leader
	}
	return 0
}
