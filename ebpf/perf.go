package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// preemptsPrograms tells whether the kernel preempts programs of raw tracepoints, and
// then leaves out runs of them: since 7.0. Nothing in its types says so.
func preemptsPrograms() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	major, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 7
}

// A perfEvent is a program that is attached by perf. To close it waits until nobody is
// in the tracepoint any more, some 60 ms.
type perfEvent int

func (e perfEvent) Close() error { return unix.Close(int(e)) }

// attachPerf attaches a program to a tracepoint, by its number.
func attachPerf(id uint64, prog *ebpf.Program) (perfEvent, error) {
	// The event only says of what: the program then runs on every processor. It stays
	// disabled, so that perf does nothing for it but that.
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Size: unix.PERF_ATTR_SIZE_VER1, Bits: unix.PerfBitDisabled,
	}, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open a perf event: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err != nil {
		return -1, errors.Join(fmt.Errorf("give a perf event its program: %w", err), unix.Close(fd))
	}
	return perfEvent(fd), nil
}

// tracepointIDs returns the kernel's numbers of tracepoints ("group/name"), which only
// tracefs tells. It need not be mounted.
func tracepointIDs(tracepoints []string) (map[string]uint64, error) {
	dir, err := openTracefs()
	if err != nil {
		return nil, fmt.Errorf("open tracefs, which has the numbers of tracepoints: %w", err)
	}
	defer unix.Close(dir)
	ids := map[string]uint64{}
	for _, tp := range tracepoints {
		if ids[tp], err = readNumber(dir, path.Join("events", tp, "id")); err != nil {
			return nil, fmt.Errorf("read the number of the tracepoint %s: %w", tp, err)
		}
	}
	return ids, nil
}

// openTracefs opens the root of tracefs where it is mounted on most machines, or one
// that is mounted nowhere.
func openTracefs() (int, error) {
	const at = "/sys/kernel/tracing"
	dir, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		var st unix.Statfs_t
		if unix.Fstatfs(dir, &st) == nil && st.Type == unix.TRACEFS_MAGIC {
			return dir, nil
		}
		unix.Close(dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return -1, &os.PathError{Op: "open", Path: at, Err: err}
	}
	fsfd, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fsfd)
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	dir, err = unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID)
	return dir, os.NewSyscallError("fsmount", err)
}

// readNumber reads a file below a directory that has a number and nothing else.
func readNumber(dir int, name string) (uint64, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var b [32]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b[:n])), 10, 64)
}
