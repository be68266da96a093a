package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"fanrec/output"
	"fanrec/output/meta"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newMeta() *cobra.Command {
	var user string
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
			return recordMeta(args, user, quiet)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&user, "user", "", "run the command as user `NAME`")
	fl.BoolVarP(&quiet, "quiet", "q", false, "print nothing but errors")
	return cmd
}

// recordMeta records a make and completes the .meta files that it made.
func recordMeta(argv []string, user string, quiet bool) error {
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
	f := recordFlags{output: "-", format: "filemon", args: true, quiet: true, logLevel: "warn", user: user}
	status := recordTo(&f, argv, func(user *syscall.Credential) (*logFile, output.Writer, error) {
		as = user
		fd, err := unix.FcntlInt(spool.Fd(), unix.F_DUPFD_CLOEXEC, 0) // the recording closes its own
		if err != nil {
			return nil, nil, err
		}
		return &logFile{File: os.NewFile(uintptr(fd), spool.Name())}, recording, nil
	})
	if !recording.Begun() {
		return status
	}
	res, err := recording.Sections(func(path string) (*os.File, error) { return openMeta(path, as) })
	for _, job := range res.Cut {
		fmt.Fprintf(os.Stderr, "fanrec: %s: %s; bmake will make it again\n", job.Path, job.Cut)
	}
	var e exitStatus
	if err != nil {
		return err
	}
	if !quiet && !errors.As(status, &e) {
		fmt.Fprintf(os.Stderr, "fanrec: %d .meta files have their records\n", res.Written)
	}
	return status
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
