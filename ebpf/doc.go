// Package ebpf tracks a process tree in the kernel: who is in it, when each
// process forks, executes and exits, and which file system calls it makes.
//
// The kernel side is tracker.bpf.c; its objects are committed, so that nobody
// needs clang to build: one whose programs attach to raw tracepoints, and one
// whose attach by perf, for kernels that preempt those (7.0). This package loads and attaches it and decodes its
// records. It knows nothing of fanotify or of filemon.
package ebpf

//go:generate go tool bpf2go -tags linux -target amd64,arm64 -cflags "-O2 -Wall -Werror -mcpu=v3" -go-package ebpf -no-global-types tracker tracker.bpf.c
//go:generate go tool bpf2go -tags linux -target amd64,arm64 -cflags "-O2 -Wall -Werror -mcpu=v3 -DBY_PERF" -go-package ebpf -no-global-types perfTracker tracker.bpf.c
