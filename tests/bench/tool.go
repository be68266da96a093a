package bench

import (
	"fmt"
	"os/exec"
	"syscall"
)

// Bare is the name of the tool that is none: what the others are compared with.
const Bare = "bare"

// Service is fanrec where a service runs, which records for it. What the service itself takes is in nobody's account.
const Service = "service"

// A Tool records what commands do to files. One of Wrap and Beside is set, or neither for Bare.
type Tool struct {
	Name string

	// Wrap returns the command that runs `command` and records it into the file log.
	Wrap func(log string, command []string) []string

	// Beside returns a command that records into log all that happens on the machine, until it gets SIGINT. It is ready
	// when there is something in log.
	Beside func(log string) *exec.Cmd
}

// Tools returns the known tools, Bare first. fanrec is the path of that recorder; its service listens where
// FANREC_SOCKET says.
func Tools(fanrec string) []Tool {
	return []Tool{
		{Name: Bare},
		{Name: "fanrec", Wrap: func(log string, command []string) []string {
			return append([]string{fanrec, "--no-service", "-o", log, "--"}, command...)
		}},
		{Name: Service, Wrap: func(log string, command []string) []string {
			return append([]string{fanrec, "-o", log, "--"}, command...)
		}},
		{Name: "strace", Wrap: func(log string, command []string) []string {
			return append([]string{"strace", "-f", "--seccomp-bpf", "-o", log, "-e", "trace=%file,%process", "--"}, command...)
		}},
		{Name: "fsatrace", Wrap: func(log string, command []string) []string {
			return append([]string{"fsatrace", "rwmd", log, "--"}, command...)
		}},
		{Name: "fatrace", Beside: func(log string) *exec.Cmd {
			return exec.Command("fatrace", "-o", log)
		}},
		{Name: "opensnoop.bt", Beside: opensnoop},
		{Name: "auditd", Beside: auditd},
	}
}

// opensnoop is bpftrace's script. It needs tracefs, which not every machine has mounted: it gets one in a mount
// namespace of its own.
func opensnoop(log string) *exec.Cmd {
	const script = `test -e /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing
exec bpftrace -o "$0" "$(command -v opensnoop.bt)"`
	cmd := exec.Command("sh", "-c", script, log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// auditd is the audit daemon of the machine, with rules for the calls that fanrec records. The rules are there only
// while it runs; the one that is left behind spares new processes the context that the kernel gives to each once auditing
// was ever on. The time of the kernel's own thread that feeds the daemon is in nobody's account.
func auditd(log string) *exec.Cmd {
	const script = `conf=$(mktemp -d) daemon=
finish() { auditctl -D; auditctl -e 0; auditctl -a never,task; kill $daemon; wait $daemon; rm -r "$conf"; }
trap 'finish >/dev/null; exit' INT
cat >"$conf/auditd.conf" <<END
log_file = $0
log_format = RAW
flush = NONE
max_log_file = 4000
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
END
auditctl -D >/dev/null
auditctl -b 65536 >/dev/null
auditctl -a always,exit -F arch=b64 -F success=1 \
  -S open,openat,openat2,creat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat \
  -S mknod,mknodat,link,linkat,symlink,symlinkat,truncate,chdir,fchdir,execve,execveat >/dev/null
auditd -n -c "$conf" >/dev/null &
daemon=$!
while :; do wait $daemon; done`
	return exec.Command("bash", "-c", script, log)
}

// Installed returns an error if the tool is not on this machine.
func (t Tool) Installed() error {
	needs := []string{t.Name}
	switch {
	case t.Name == Bare:
		return nil
	case t.Wrap != nil:
		needs = t.Wrap("", nil)[:1]
	case t.Name == "opensnoop.bt":
		needs = append(needs, "bpftrace")
	case t.Name == "auditd":
		needs = append(needs, "auditctl")
	}
	for _, name := range needs {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}
