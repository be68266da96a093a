//go:build ignore

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The programs of raw tracepoints, which cost least: until 6.19 nothing preempts them. */
#pragma once

SEC("raw_tp/sched_process_fork")
int BPF_PROG(on_fork, void *parent, void *child)
{
	tell_fork(child);
	return 0;
}

SEC("raw_tp/sched_process_fork")
int BPF_PROG(on_fork_in_cgroup, void *parent, void *child)
{
	tell_fork_in_cgroup(child);
	return 0;
}

SEC("raw_tp/sched_process_exec")
int BPF_PROG(on_exec, void *task, int old_pid, void *bprm)
{
	tell_exec(bprm);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_exit(void *ctx)
{
	tell_exit();
	return 0;
}

SEC("raw_tp/sys_exit")
int BPF_PROG(on_sys_exit, void *regs, long ret)
{
	tell_call(regs, ret);
	return 0;
}

SEC("raw_tp/io_uring_submit_req")
int BPF_PROG(on_submit, void *req)
{
	tell_submit((__u64)req);
	return 0;
}

SEC("raw_tp/io_uring_complete")
int BPF_PROG(on_complete, void *ring, void *req)
{
	if (req)
		tell_complete((__u64)req);
	return 0;
}
