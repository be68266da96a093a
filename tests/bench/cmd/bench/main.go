// Command bench measures what recording costs, compared with running bare and with other recorders, and prints tables
// in Markdown.
//
// It needs root, as fanrec does, and the source trees that make workloads gets. Run it from anywhere in the module.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fanrec/tests/bench"
	"fanrec/tests/served"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of configure and make")
	only := flag.String("only", "configure,make,true,rss", "jobs to run")
	tools := flag.String("tools", "", "recorders to run, beside bare (default: those that are installed)")
	fanrec := flag.String("fanrec", filepath.Join("bin", "fanrec"), "`path` of fanrec")
	events := flag.Int("events", 1_000_000, "file operations of the job rss")
	flag.Parse()
	if err := run(*rounds, strings.Split(*only, ","), *tools, *fanrec, *events); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(rounds int, only []string, names, fanrec string, events int) error {
	fanrec, err := filepath.Abs(fanrec)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	tools, err := choose(bench.Tools(fanrec), names)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(tools, func(t bench.Tool) bool { return t.Name == bench.Service }); i >= 0 {
		s, err := served.Start(fanrec)
		if err != nil {
			return err
		}
		os.Setenv("FANREC_SOCKET", s.Socket)
		defer func() {
			rss, err := s.Stop()
			fmt.Printf("\nThe service had at most %d MiB.\n", rss>>20)
			if err != nil {
				fmt.Fprintln(os.Stderr, "the service:", err)
			}
		}()
	}
	dir := filepath.Join(scratch, "run")
	jobs, err := bench.Jobs(only, scratch, dir, events)
	if err != nil {
		return err
	}
	fmt.Println(machine())
	failed := 0
	for _, job := range jobs {
		if job.Rounds == 0 {
			job.Rounds = rounds
		}
		results := interleave(job, suitable(job, tools, names == ""), dir, &failed)
		fmt.Printf("\n%s", results.Markdown())
	}
	if failed > 0 {
		return fmt.Errorf("%d runs went wrong", failed)
	}
	return nil
}

// choose returns the tools of these names, Bare always among them. Without names it is all that are installed, and
// fanrec, which has to be there.
func choose(tools []bench.Tool, names string) ([]bench.Tool, error) {
	wanted := strings.Split(names, ",")
	var chosen []bench.Tool
	for _, tool := range tools {
		asked := tool.Name == bench.Bare || tool.Name == "fanrec"
		if names != "" {
			asked = tool.Name == bench.Bare || slices.Contains(wanted, tool.Name)
			if !asked {
				continue
			}
		}
		if err := tool.Installed(); err != nil {
			if asked {
				return nil, err
			}
			fmt.Fprintln(os.Stderr, "left out:", err)
			continue
		}
		chosen = append(chosen, tool)
	}
	for _, name := range wanted {
		if name != "" && !slices.ContainsFunc(tools, func(t bench.Tool) bool { return t.Name == name }) {
			return nil, fmt.Errorf("no such recorder: %s", name)
		}
	}
	return chosen, nil
}

// suitable returns the tools that are to run a job. How long a tool takes to start is not to be had from one that was
// started before; and peak RSS is about fanrec, unless others were asked for.
func suitable(job bench.Job, tools []bench.Tool, byDefault bool) []bench.Tool {
	return slices.DeleteFunc(slices.Clone(tools), func(t bench.Tool) bool {
		return job.Short && t.Beside != nil || byDefault && job.Name == "rss" && t.Name != bench.Bare && t.Name != "fanrec"
	})
}

// interleave runs the job under each tool, then again under each, and so on. A run that fails is told and counted, and
// is missing in the results.
func interleave(job bench.Job, tools []bench.Tool, dir string, failed *int) bench.Results {
	results := bench.Results{Job: job, Runs: make(map[string][]bench.Measurement)}
	for _, tool := range tools {
		results.Tools = append(results.Tools, tool.Name)
	}
	for round := range job.Rounds {
		for _, tool := range tools {
			m, err := bench.Measure(job, tool, dir)
			if err != nil {
				*failed++
				m = bench.Measurement{}
				fmt.Fprintln(os.Stderr, err)
			} else if !job.Short {
				fmt.Fprintf(os.Stderr, "%s %d/%d %s: wall %.2f s, CPU %.2f s\n",
					job.Name, round+1, job.Rounds, tool.Name, m.Wall.Seconds(), m.CPU.Seconds())
			}
			results.Runs[tool.Name] = append(results.Runs[tool.Name], m)
		}
	}
	return results
}

// machine says on what the numbers were measured.
func machine() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Sprintf("%d CPUs", runtime.NumCPU())
	}
	return fmt.Sprintf("Linux %s %s, %d CPUs",
		unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]), runtime.NumCPU())
}
