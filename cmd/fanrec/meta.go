package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"fanrec/output/logfile"
	"fanrec/output/meta"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newMeta() *cobra.Command {
	f := recordFlags{output: "-", format: "filemon", args: true, quiet: true, logLevel: "warn"}
	var quiet bool
	cmd := &cobra.Command{
		Use:   "meta [flags] -- bmake [arguments]",
		Short: "Give the .meta files of a bmake without filemon their records",
		Long: `fanrec meta runs a bmake(1) that has meta mode but no filemon, as Debian's, and
records it. When it has ended, each .meta file that it made gets the section "filemon
acquired metadata" with the records of its own job, as bmake would have written
it. The next bmake, recorded or not, then rebuilds what read a file that is newer.

With .MAKE.MODE = meta missing-filemon=yes in the makefile, bmake also rebuilds what
was made when nobody recorded it.

Jobs are told apart with -j and without. What an inner make runs is in its own
.meta files, and not in that of the job that ran the inner make. A .meta file that
has such a section is left alone. A job that was cut off gets one that makes bmake
rebuild its target; if the recording is incomplete, every job gets such a one,
and the exit status is 125. Otherwise it is bmake's.`,
		Example: `  sudo fanrec meta --user "$USER" -- bmake -j4
  sudo fanrec meta -- bmake -C lib all`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 || len(args) == 0 {
				return errors.New("want -- and a command; try fanrec meta --help")
			}
			return recordMeta(&f, args, quiet)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.user, "user", "", "run the command as user `NAME`")
	fl.BoolVarP(&quiet, "quiet", "q", false, "print nothing but errors")
	fl.IntVar(&f.callRing, "call-ring", 0, "bytes of the ring of call records, a power of two")
	fl.MarkHidden("call-ring")
	return cmd
}

// recordMeta records a make and completes the .meta files that it made.
func recordMeta(f *recordFlags, argv []string, quiet bool) error {
	spool, err := os.CreateTemp("", "fanrec-")
	if err != nil {
		return err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil { // it goes whatever happens
		return err
	}
	recording := meta.NewRecording(spool)
	var as *syscall.Credential
	status := recordTo(f, argv, func(user *syscall.Credential) (*logfile.File, *logfile.Log, error) {
		as = user
		fd, err := unix.FcntlInt(spool.Fd(), unix.F_DUPFD_CLOEXEC, 0) // the recording closes its own
		if err != nil {
			return nil, nil, fmt.Errorf("keep the records of the jobs: %w", err)
		}
		file := logfile.Stream(os.NewFile(uintptr(fd), spool.Name()))
		return file, logfile.To(file, recording), nil
	})
	if !recording.Begun() {
		return status
	}
	open := func(path string) (*os.File, error) { return openMeta(path, as) }
	res, err := recording.Sections(open)
	for _, job := range res.Cut {
		fmt.Fprintf(os.Stderr, "fanrec: %s: %s; bmake will make its target again\n", job.Path, job.Cut)
	}
	if len(recording.Incomplete()) > 0 {
		n := res.Written
		for _, dir := range objectDirs(res.Dirs) {
			more, uerr := recording.Unknown(dir, open)
			n, err = n+more, errors.Join(err, uerr)
		}
		fmt.Fprintf(os.Stderr, "fanrec: bmake will make the targets of %s again\n", metaFiles(n))
	} else if !quiet {
		fmt.Fprintf(os.Stderr, "fanrec: records for %s\n", metaFiles(res.Written))
	}
	if err != nil {
		return err
	}
	return status
}

func metaFiles(n int) string {
	switch n {
	case 0:
		return "no .meta file: none was made"
	case 1:
		return "1 .meta file"
	}
	return fmt.Sprintf("%d .meta files", n)
}

// objectDirs returns where a make that nobody saw may have made .meta files: beside
// those that are known, below the directory that it was started in, and where it has
// the object directories of that. None is below another.
func objectDirs(known []string) []string {
	dirs := known
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd, "/usr/obj"+wd)
		if prefix := os.Getenv("MAKEOBJDIRPREFIX"); prefix != "" {
			dirs = append(dirs, prefix+wd)
		}
	}
	if dir := os.Getenv("MAKEOBJDIR"); filepath.IsAbs(dir) {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	var tops []string
	for _, dir := range dirs {
		if n := len(tops); n == 0 || !strings.HasPrefix(dir+"/", strings.TrimSuffix(tops[n-1], "/")+"/") {
			tops = append(tops, dir)
		}
	}
	return tops
}

// openMeta opens a .meta file with the rights of the user that make ran as: a
// symbolic link in that user's directory leads nowhere where the user may not write.
func openMeta(path string, as *syscall.Credential) (f *os.File, err error) {
	open := func() { f, err = os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) }
	if as == nil {
		open()
	} else if uerr := asUser(as, open); uerr != nil {
		return nil, uerr
	}
	return f, err
}
