package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"fanrec/tests/storm"
	"fanrec/tests/workload"
)

// A Job is what is run under the tools.
type Job struct {
	Name    string
	Title   string
	Rounds  int  // 0: as many as asked for
	Short   bool // so short that only its start and stop are seen: times are in milliseconds, and tools that run beside do not count
	Command []string

	// Prepare makes the directory for one run. It is not part of what is measured.
	Prepare func(dir string) error
}

// Jobs returns the jobs of these names, in the order of the names. What they need once is made in scratch: a configured
// tree, a compiled program. All runs of a job take place in the directory run.
func Jobs(names []string, scratch, run string, events int) ([]Job, error) {
	var jobs []Job
	for _, name := range names {
		var job Job
		var err error
		switch name {
		case "configure":
			job, err = configureJob()
		case "make":
			job, err = makeJob(scratch, run)
		case "true":
			job = Job{
				Title:   "start and stop: true",
				Rounds:  30,
				Short:   true,
				Command: []string{"true"},
				Prepare: func(dir string) error { return os.Mkdir(dir, 0o755) },
			}
		case "rss":
			job, err = churnJob(scratch, run, events)
		default:
			err = errors.New("no such job; there are configure, make, true and rss")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		job.Name = name
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// configureJob is the configure script of GNU hello: thousands of short-lived processes.
func configureJob() (Job, error) {
	tree, err := workload.Find(workload.Hello)
	if err != nil {
		return Job{}, err
	}
	return Job{
		Title:   "./configure of hello",
		Command: []string{"./configure", "-q"},
		Prepare: func(dir string) error { return workload.Copy(tree, dir) },
	}, nil
}

// makeJob is the build of gdbm: compiler, libtool, archives and links.
func makeJob(scratch, run string) (Job, error) {
	tree, err := workload.Find(workload.Gdbm)
	if err != nil {
		return Job{}, err
	}
	// A configured tree knows its own path: it must be configured where it will be built.
	if err := workload.Copy(tree, run); err != nil {
		return Job{}, err
	}
	configure := exec.Command("./configure", "-q")
	configure.Dir = run
	if out, err := configure.CombinedOutput(); err != nil {
		return Job{}, fmt.Errorf("configure: %w\n%s", err, out)
	}
	configured := filepath.Join(scratch, workload.Gdbm)
	if err := os.Rename(run, configured); err != nil {
		return Job{}, err
	}
	return Job{
		Title:   "make of gdbm",
		Command: []string{"make", "-s"},
		Prepare: func(dir string) error { return workload.Copy(configured, dir) },
	}, nil
}

// churnJob makes, opens and removes files whose names never come again: what a recorder keeps of them it keeps for
// good.
func churnJob(scratch, run string, events int) (Job, error) {
	program, err := storm.Build(scratch)
	if err != nil {
		return Job{}, err
	}
	return Job{
		Title:   fmt.Sprintf("%d file operations, for the peak RSS", events),
		Rounds:  1,
		Command: []string{program, "churn", run, strconv.Itoa(events)},
		Prepare: func(dir string) error { return os.Mkdir(dir, 0o755) },
	}, nil
}
