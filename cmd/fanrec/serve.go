package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"fanrec"
	"fanrec/service"
	"fanrec/service/cuse"
	"fanrec/service/filemon"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

type serveFlags struct {
	socket   string
	mode     string
	cuse     bool
	verbose  bool
	logLevel string
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Record for others, who need no privileges",
		Long: `fanrec serve listens at a socket and records for whoever asks there: any number of
process trees at once, with one listener and one tracker for the machine. fanrec
itself asks a service that runs, so that every user may record own commands; a
make(1) with the backend in contrib/bmake asks for each of its jobs.

A user may record processes that are only that user's: where one executes what
gives it privileges, its recording ends. root may record every process.

It has the processor before what it records (nice -20), where it may: what is done
while it waits for its turn is kept in memory.

Under systemd it takes the socket of fanrec.socket. SIGTERM and SIGINT end it; the
recordings that are open then end as incomplete.`,
		Example: `  sudo fanrec serve &
  fanrec -- make`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(*cobra.Command, []string) error { return f.run() },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.socket, "socket", service.Socket, "listen at the Unix socket `PATH`")
	fl.StringVar(&f.mode, "socket-mode", "0666", "who may connect, as the `MODE` of the socket")
	fl.BoolVar(&f.cuse, "cuse", false, "also be /dev/filemon, for programs written for filemon(4); needs CAP_SYS_PTRACE and the kernel module cuse")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "say more (as --log-level debug)")
	fl.StringVar(&f.logLevel, "log-level", "warn", "`LEVEL` of messages: debug, info, warn or error")
	cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// serviceMemory is from where on the garbage collector works harder: the budget of
// 200 recordings at once is 128 MiB.
const serviceMemory = 80 << 20

// maxArgs is how much of an exec's arguments is kept, for who wants them.
const maxArgs = 8192

func (f *serveFlags) run() error {
	log, err := newLog(&recordFlags{verbose: f.verbose, logLevel: f.logLevel})
	if err != nil {
		return err
	}
	mode, err := strconv.ParseUint(f.mode, 8, 12)
	if err != nil || mode > 0o777 {
		return fmt.Errorf("--socket-mode %s: want three octal digits, as 666", f.mode)
	}
	if err := permitted(false); err != nil {
		return err
	}
	if missing := missingCapabilities(deviceCapabilities); f.cuse && len(missing) > 0 {
		return fmt.Errorf("--cuse: no %s; run it as root", strings.Join(missing, ", "))
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM) // from here on there is a socket to remove
	listener, err := f.listen(os.FileMode(mode))
	if err != nil {
		return err
	}
	defer listener.Close()
	raiseFiles(log)
	if err := goFirst(); err != nil {
		log.Info().Err(err).Msg("the service waits for its turn among what it records, and may need more memory for that")
	}
	rec, err := fanrec.New(fanrec.Options{Serve: true, Handles: true, Seen: true, Containers: true, ArgsMax: maxArgs, Log: log})
	if err != nil {
		return explain(err)
	}
	defer rec.Close()
	debug.SetMemoryLimit(serviceMemory)
	debug.FreeOSMemory() // what loading took

	s := service.New(rec, log)
	served := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // its system calls do not hand the processor on
		served <- rec.Serve()
	}()
	accepted := make(chan error, 1)
	go func() { accepted <- s.Serve(listener) }()
	device := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if f.cuse {
		channel, err := cuse.Create("filemon", 0o666)
		if err != nil {
			return fmt.Errorf("--cuse: make /dev/filemon: %w; try modprobe cuse", err)
		}
		defer channel.Close()
		go func() { device <- channel.Serve(ctx, filemon.New(s.Device())) }()
	}
	notify("READY=1")
	var failed error
	over := false
	select {
	case <-stop:
	case failed = <-served:
		over = true
		failed = fmt.Errorf("the recorder failed: %w; restart the service", failed)
	case failed = <-accepted:
		accepted <- nil
	case failed = <-device:
		failed = fmt.Errorf("/dev/filemon failed: %w; restart the service", failed)
	}
	notify("STOPPING=1")
	rec.Quit() // who waits is told, and what is open ends
	if !over {
		failed = errors.Join(failed, <-served)
	}
	listener.Close()
	<-accepted
	return failed
}

// listen returns the socket that systemd has made, or makes one.
func (f *serveFlags) listen(mode os.FileMode) (*net.UnixListener, error) {
	l, err := givenSocket()
	if l != nil || err != nil {
		return l, err
	}
	return service.Listen(f.socket, mode)
}

// raiseFiles lets the service have as many descriptors as it may.
func raiseFiles(log zerolog.Logger) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		log.Debug().Err(err).Msg("the limit of descriptors stays")
	}
}
