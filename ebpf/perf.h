//go:build ignore

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The same programs by perf. Since 7.0 those of raw tracepoints are preempted, and
 * the kernel then runs none of them for anybody else on that processor; perf keeps
 * what it calls from being preempted. It hands over its own record of the event,
 * with numbers where the tracepoint has pointers. All return 1: at 0 nobody else
 * who listens by perf would be told of the event.
 */
#pragma once

extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

/* The child is in the table of pids, and does not run yet. */
#define TELL_OF_CHILD(event, tell)                                                             \
	do {                                                                                   \
		struct task_struct *child_ = bpf_task_from_pid((event)->child_pid);            \
                                                                                               \
		if (child_) {                                                                  \
			tell(child_);                                                          \
			bpf_task_release(child_);                                              \
		}                                                                              \
	} while (0)

SEC("tracepoint/sched/sched_process_fork")
int on_fork(struct trace_event_raw_sched_process_fork *event)
{
	TELL_OF_CHILD(event, tell_fork);
	return 1;
}

SEC("tracepoint/sched/sched_process_fork")
int on_fork_in_cgroup(struct trace_event_raw_sched_process_fork *event)
{
	TELL_OF_CHILD(event, tell_fork_in_cgroup);
	return 1;
}

/*
 * What is executed is known by a pointer (bprm) that is in no record of perf. A program of
 * the raw tracepoint that an exec passes earlier (6.10) leaves it here: not of the same
 * one, where perf may come first. There are two: for both to be left out, two other tasks
 * have to be preempted on this processor at that time, each within the few instructions
 * of one of them. Even then it is known that a record is missing.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32); /* thread */
	__type(value, __u64);
} execs SEC(".maps");

static __always_inline int leave_bprm(void *bprm_arg)
{
	__u64 bprm = (__u64)bprm_arg;
	__u32 tid = bpf_get_current_pid_tgid();

	bpf_map_update_elem(&execs, &tid, &bprm, BPF_ANY);
	return 0;
}

SEC("raw_tp/sched_prepare_exec")
int BPF_PROG(before_exec, void *task, void *bprm)
{
	return leave_bprm(bprm);
}

SEC("raw_tp/sched_prepare_exec")
int BPF_PROG(before_exec_again, void *task, void *bprm)
{
	return leave_bprm(bprm);
}

SEC("tracepoint/sched/sched_process_exec")
int on_exec(struct trace_event_raw_sched_process_exec *event)
{
	__u32 tid = event->old_pid; /* since then the thread may have become the leader */
	__u64 *left = bpf_map_lookup_elem(&execs, &tid), bprm;

	if (left) {
		bprm = *left;
		bpf_map_delete_elem(&execs, &tid);
		tell_exec((void *)bprm);
	} else if (is_tracked(current_task(), OWN)) {
		count_lost(LOST_EXEC);
	}
	return 1;
}

SEC("tracepoint/sched/sched_process_exit")
int on_exit(void *event)
{
	tell_exit();
	return 1;
}

SEC("tracepoint/raw_syscalls/sys_exit")
int on_sys_exit(struct trace_event_raw_sys_exit *event)
{
	tell_call((void *)bpf_task_pt_regs(bpf_get_current_task_btf()), event->ret);
	return 1;
}

SEC("tracepoint/io_uring/io_uring_submit_req")
int on_submit(struct trace_event_raw_io_uring_submit_req *event)
{
	tell_submit((__u64)event->req);
	return 1;
}

SEC("tracepoint/io_uring/io_uring_complete")
int on_complete(struct trace_event_raw_io_uring_complete *event)
{
	__u64 req = (__u64)event->req;

	if (req)
		tell_complete(req);
	return 1;
}

/*
 * What user space changes while somebody is recorded it does by this program. While
 * a task is in a bpf(2) that looks into a map or changes one, the kernel runs no
 * program by perf on that processor, also where the task is preempted in it.
 */
enum { CHANGE_RETIRE, CHANGE_MARK, CHANGE_UNMARK };

struct change {
	struct identity id;
	__u32 what;
	__u32 dev;
	__u32 how;
	__u32 pad;
};

SEC("syscall")
int change(struct change *arg)
{
	struct identity id = { .start = arg->id.start, .tgid = arg->id.tgid };
	__u32 dev = arg->dev, how = arg->how;
	__u64 *start;

	switch (arg->what) {
	case CHANGE_RETIRE:
		bpf_map_delete_elem(&tracked, &id);
		/* If the number was given away meanwhile, its entry is the new process's. */
		start = bpf_map_lookup_elem(&numbers, &id.tgid);
		if (start && *start == id.start)
			bpf_map_delete_elem(&numbers, &id.tgid);
		return 0;
	case CHANGE_MARK:
		return bpf_map_update_elem(&marked, &dev, &how, BPF_ANY);
	case CHANGE_UNMARK:
		bpf_map_delete_elem(&marked, &dev);
		return 0;
	}
	return -1;
}
