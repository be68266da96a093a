package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"fanrec/ebpf"
	"fanrec/fan"
	"fanrec/service"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine allows",
		Long: `doctor tries out what a recording needs of this kernel, of the privileges that
it runs with, and of every mounted filesystem, and prints one line for each:

  ok        it is there
  degraded  without it a recording is complete, but slower or less exact
  missing   without it there is no recording, or not a complete one

Where a service runs (see fanrec serve) it records, and nothing of this is needed.

The exit status is 0 if nothing is missing or a service runs, else 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			served := diagnoseService()
			found := append(served, diagnose()...)
			w := cmd.OutOrStdout()
			f, ok := w.(*os.File)
			if err := report(w, found, ok && coloured(f.Fd())); err != nil {
				return err
			}
			for _, x := range found {
				if x.state == missing && len(served) == 0 {
					return exitStatus(1)
				}
			}
			return nil
		},
	}
}

type state int

const (
	ok state = iota
	degraded
	missing
)

var states = [...]struct{ name, color string }{ok: {"ok", "32"}, degraded: {"degraded", "33"}, missing: {"missing", "31"}}

// finding is one line of the report.
type finding struct {
	state  state
	thing  string
	reason string
}

// diagnose tries out everything. Nothing of it depends on the version of the
// kernel, as kernels have parts of later ones.
func diagnose() []finding {
	found := diagnoseCapabilities()
	for _, f := range ebpf.Probe() {
		found = append(found, judge(f))
	}
	for _, f := range fan.Probe() {
		found = append(found, judge(ebpf.Feature(f)))
	}
	return append(found, diagnoseFilesystems()...)
}

// diagnoseService looks for a service that would record; none: nil.
func diagnoseService() []finding {
	socket := socketPath("")
	conn, err := service.Dial(socket)
	if err != nil {
		return nil
	}
	defer conn.Leave()
	if here, err := conn.Hello(); err != nil || !here {
		return nil
	}
	return []finding{{ok, "service", "at " + socket + ": it records for every user"}}
}

func diagnoseCapabilities() []finding {
	var found []finding
	absent := missingCapabilities(capabilities)
	for _, c := range capabilities {
		f := finding{ok, c.name, c.why}
		for _, name := range absent {
			if name == c.name {
				f = finding{missing, c.name, c.why + ": run as root (sudo fanrec ...)"}
			}
		}
		found = append(found, f)
	}
	if inUserNamespace() {
		found = append(found, finding{missing, "user namespace", "not the initial one, where capabilities count: run fanrec on the host"})
	}
	return found
}

func judge(f ebpf.Feature) finding {
	switch {
	case f.Err == nil:
		return finding{ok, f.Name, f.Use}
	case errors.Is(f.Err, ebpf.ErrNamespace):
		return finding{missing, f.Name, f.Err.Error()}
	case errors.Is(f.Err, unix.EPERM), errors.Is(f.Err, unix.EACCES):
		return finding{missing, f.Name, "not permitted, so not known: " + f.Use}
	case f.Without != "":
		return finding{degraded, f.Name, fmt.Sprintf("%v; %s", f.Err, f.Without)}
	}
	return finding{missing, f.Name, fmt.Sprintf("%v; needed: %s", f.Err, f.Use)}
}

func diagnoseFilesystems() []finding {
	all, err := fan.Survey()
	if err != nil {
		return []finding{{missing, "filesystems", fmt.Sprintf("not tried: %v", err)}}
	}
	var found []finding
	for _, s := range all {
		f := finding{ok, s.Mount.Mountpoint, s.Mount.Type + ": watched by fanotify"}
		switch {
		case s.Pseudo:
			f.reason = s.Mount.Type + ": objects of the kernel, told of by call records"
		case s.Err != nil:
			f.state = degraded
			f.reason = fmt.Sprintf("%s: %s; call records tell of it: opens with the path walked in the kernel, the rest by the text given",
				s.Mount.Type, s.Reason())
		case s.Mount.Type == "overlay" && s.Layers > 0:
			f.reason = fmt.Sprintf("overlay: told of by call records and the events in its layers, %d of which are watched", s.Layers)
		case s.Mount.Type == "overlay":
			f.state = degraded
			f.reason = "overlay: no layer of it can be watched; call records tell of it, names by the text given"
		case !s.Decodes:
			f.state = degraded
			f.reason = s.Mount.Type + ": its handles say no inode; call records tell of it, names by the text given"
		}
		found = append(found, f)
	}
	return found
}

// report prints the findings in columns.
func report(w io.Writer, found []finding, color bool) error {
	const widest = 24 // longer mount points stick out
	width := 0
	for _, f := range found {
		if n := len(printable(f.thing)); n <= widest {
			width = max(width, n)
		}
	}
	var b strings.Builder
	for _, f := range found {
		s := states[f.state]
		name := fmt.Sprintf("%-8s", s.name)
		if color {
			name = "\x1b[" + s.color + "m" + name + "\x1b[0m"
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", name, width, printable(f.thing), printable(f.reason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable returns a text in one line: a mount point may have any name.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
