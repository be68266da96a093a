/*
 * Processes that are there already: how they join the monitored set, and what they
 * hold. Only loaded for who asks.
 */

#define PF_KTHREAD 0x00200000
#define CGROUP_PATH 256 /* with its NUL; longer ones are not known by their names */
#define CGROUP_DEPTH 32

/* Whom on_follow follows. */
enum follow_how {
	FOLLOW_ONE = 1, /* follow_tgid */
	FOLLOW_TREE,    /* also whose parent is followed */
	FOLLOW_CGROUPS, /* who is in one of cgroups */
};

__u32 follow_how, follow_tgid, follow_request;
__u64 followed; /* so many were, by on_follow */

/* The cgroups of which everybody is followed, with those below them, by their numbers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
} cgroups SEC(".maps");

struct cgroup_path {
	char text[CGROUP_PATH];
};

/* Their paths in the hierarchy: one that is made anew has another number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cgroup_path);
	__type(value, __u8);
} cgroup_paths SEC(".maps");

__u32 cgroup_request; /* of the records of who comes into them */

static __always_inline int in_cgroups(struct task_struct *task)
{
	struct css_set *set = 0;
	struct cgroup *c = 0;

	bpf_core_read(&set, sizeof(set), &task->cgroups);
	if (!set)
		return 0;
	bpf_core_read(&c, sizeof(c), &set->dfl_cgrp);
	_Pragma("clang loop unroll(disable)")
	for (int i = 0; i < CGROUP_DEPTH && c; i++) {
		struct kernfs_node *kn = 0;
		struct cgroup_subsys_state *up = 0;
		__u64 id = 0;

		bpf_core_read(&kn, sizeof(kn), &c->kn);
		bpf_core_read(&id, sizeof(id), &kn->id);
		if (bpf_map_lookup_elem(&cgroups, &id))
			return 1;
		bpf_core_read(&up, sizeof(up), &c->self.parent);
		c = up ? (void *)up - bpf_core_field_offset(struct cgroup, self) : 0;
	}
	return 0;
}

static __always_inline int is_kernels(struct task_struct *task)
{
	unsigned int flags = 0;

	bpf_core_read(&flags, sizeof(flags), &task->flags);
	return flags & PF_KTHREAD;
}

/* What was opened some time ago: the directory of its name may be gone, and cannot be looked up then. */
static __always_inline __u64 put_old(struct scratch *s, struct file_ref *ref, __u64 len, __u64 m, __u64 d)
{
	return put_file_as(s, ref, len, m, d, NAME_AND_PATH);
}

/*
 * Follows the process of a leader; one that is in the set already only with again.
 * First it joins the set, then it is looked at whether it lives: whoever passes
 * on_exit later is in the set by then, and of whoever passed before nothing will come.
 * Returns 0 if it is not followed.
 */
static __always_inline int follow_task(struct task_struct *task, int own, __u32 request, int again)
{
	struct task_struct *parent;
	struct signal_struct *signal;
	struct identity id = {};
	struct nsproxy *nsproxy;
	struct cred *cred;
	struct follow *r;
	struct scratch *s;
	struct file *image = 0;
	struct mm_struct *mm;
	__u64 len = sizeof(*r);
	int known;

	id.start = OF(own, task, start_boottime);
	id.tgid = OF(own, task, tgid);
	known = join_set(&id);
	if (known == NOT_IN || (known == WAS_IN && !again))
		return 0;
	signal = OF(own, task, signal);
	if (!OF(own, signal, live.counter)) {
		if (known == JOINED) { /* else its exit record retires it */
			bpf_map_delete_elem(&tracked, &id);
			bpf_map_delete_elem(&numbers, &id.tgid);
		}
		return 0;
	}
	s = get_scratch();
	if (!s)
		return 0;
	r = (struct follow *)s->buf;
	fill_head(&r->f.h, task, own, KIND_FOLLOW);
	r->request = request;
	parent = OF(own, task, real_parent);
	parent = (struct task_struct *)GET(task_struct, parent, group_leader);
	r->f.parent_start = GET(task_struct, parent, start_boottime);
	r->f.parent_tgid = GET(task_struct, parent, tgid);
	cred = (struct cred *)OF(own, task, cred);
	r->f.gid = OF(own, cred, gid.val);
	r->f.cgroup = cgroup_of(task);
	r->f.own_pid = own_pid(task);
	r->f.pad = 0;
	nsproxy = GET(task_struct, task, nsproxy);
	r->mount_ns = nsproxy ? GET(mnt_namespace, GET(nsproxy, nsproxy, mnt_ns), ns.inum) : 0;
	bpf_probe_read_kernel(r->f.comm, sizeof(r->f.comm), task->comm);
	__builtin_memset(&r->image, 0, 3 * sizeof(r->image));
	mm = OF(own, task, mm);
	if (mm)
		image = OF(own, mm, exe_file);
	if (image)
		len = put_old(s, &r->image, len, (__u64)GET(file, image, f_path.mnt), (__u64)GET(file, image, f_path.dentry));
	if (OF(own, task, fs)) {
		find_base(s, task, own, 0, 1);
		len = put_old(s, &r->root, len, s->walk.mnt, s->walk.dentry);
		find_base(s, task, own, AT_FDCWD, 0);
		len = put_old(s, &r->cwd, len, s->walk.mnt, s->walk.dentry);
	}
	emit_process(len);
	if (!OF(own, signal, live.counter)) { /* its end may have been told before that it is there */
		fill_head(&r->f.h, task, own, KIND_EXIT);
		emit_exit(s, task, own);
	}
	return 1;
}

/* Run over all tasks. */
SEC("iter/task")
int on_follow(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *parent;
	__u32 tgid;

	if (!task)
		return 0;
	task = TYPED(task_struct, task);
	tgid = OF(OWN, task, tgid);
	if (OF(OWN, task, pid) != tgid || tgid == follower)
		return 0; /* whoever records is recorded by nobody, though it may be of the tree */
	if (follow_how == FOLLOW_CGROUPS) {
		if (is_kernels(task) || is_tracked(task, OWN) || !in_cgroups(task))
			return 0;
	} else if (tgid != follow_tgid) {
		if (follow_how != FOLLOW_TREE || is_tracked(task, OWN))
			return 0;
		parent = OF(OWN, task, real_parent);
		if (!is_tracked(parent, OTHER))
			return 0;
	} else if (follow_how == FOLLOW_TREE && is_tracked(task, OWN)) {
		return 0; /* in another round */
	}
	if (follow_task(task, OWN, follow_request, follow_how == FOLLOW_ONE))
		__sync_fetch_and_add(&followed, 1);
	return 0;
}

/* Who comes into one of the cgroups: is made in it (after on_fork has looked at it), */
static __always_inline void tell_fork_in_cgroup(void *child_arg)
{
	struct task_struct *child = TYPED(task_struct, child_arg);

	if (OF(OTHER, child, pid) != OF(OTHER, child, tgid) || is_tracked(child, OTHER) || is_kernels(child) || !in_cgroups(child))
		return;
	follow_task(child, OTHER, cgroup_request, 0);
}

/*
 * or is moved there. What is told of cgroups is told under a spin lock, with interrupts
 * off: nothing preempts these programs (but on PREEMPT_RT).
 */
SEC("raw_tp/cgroup_attach_task")
int BPF_PROG(on_cgroup_attach, void *cgroup, void *path, void *task_arg)
{
	struct task_struct *task = TYPED(task_struct, task_arg);
	struct task_struct *leader = (struct task_struct *)OF(OTHER, task, group_leader);

	if (OF(OTHER, task, tgid) == follower || is_tracked(task, OTHER) || is_kernels(task) || !in_cgroups(task))
		return 0;
	follow_task(TYPED(task_struct, leader), OTHER, cgroup_request, 0);
	return 0;
}

/* The number of a cgroup, 0 if it is of another hierarchy. */
static __always_inline __u64 cgroup_id(struct cgroup *cgroup)
{
	struct cgroup_root *root = 0;
	struct kernfs_node *kn = 0;
	int hierarchy = 1;
	__u64 id = 0;

	bpf_core_read(&root, sizeof(root), &cgroup->root);
	bpf_core_read(&hierarchy, sizeof(hierarchy), &root->hierarchy_id);
	if (hierarchy)
		return 0;
	bpf_core_read(&kn, sizeof(kn), &cgroup->kn);
	bpf_core_read(&id, sizeof(id), &kn->id);
	return id;
}

/* One of them is made anew. */
SEC("raw_tp/cgroup_mkdir")
int BPF_PROG(on_cgroup_mkdir, void *cgroup, void *path_arg)
{
	__u64 id = cgroup_id(cgroup);
	struct cgroup_path *path;
	struct scratch *s;
	__u8 in = 1;

	if (!id)
		return 0;
	s = get_scratch();
	if (s) {
		path = (struct cgroup_path *)s->buf;
		__builtin_memset(path, 0, sizeof(*path));
		if (bpf_probe_read_kernel_str(path->text, sizeof(path->text), path_arg) > 0 && bpf_map_lookup_elem(&cgroup_paths, path)) {
			if (bpf_map_update_elem(&cgroups, &id, &in, BPF_ANY))
				count_lost(LOST_TRACKED);
		}
	}
	return 0;
}

/* One of them is no more. */
SEC("raw_tp/cgroup_rmdir")
int BPF_PROG(on_cgroup_rmdir, void *cgroup, void *path)
{
	__u64 id = cgroup_id(cgroup);

	if (id)
		bpf_map_delete_elem(&cgroups, &id);
	return 0;
}

/* Tells whoever reads the iterator of a file that a process of the set holds. */
static __always_inline int tell_held(struct bpf_iter_meta *meta, struct task_struct *task, struct file *file, __s32 fd)
{
	struct scratch *s;
	struct held *r;
	__u64 len;

	if (!task || !file)
		return 0;
	task = TYPED(task_struct, task);
	file = TYPED(file, file);
	if (!is_tracked(task, OWN) || OF(OWN, file, f_mode) & FMODE_PATH)
		return 0;
	s = get_scratch();
	if (!s)
		return 0;
	r = (struct held *)s->buf;
	fill_head(&r->h, task, OWN, KIND_HELD);
	r->fd = fd;
	r->fmode = OF(OWN, file, f_mode);
	len = put_old(s, &r->file, sizeof(*r), (__u64)OF(OWN, file, f_path.mnt), (__u64)OF(OWN, file, f_path.dentry));
	if (s->nowhere || len > BUF_SIZE)
		return 0; /* a socket, a pipe */
	r->h.size = len;
	r->h.ts = bpf_ktime_get_ns();
	bpf_seq_write(meta->seq, s->buf, len);
	return 0;
}

SEC("iter/task_file")
int on_held(struct bpf_iter__task_file *ctx)
{
	return tell_held(ctx->meta, ctx->task, ctx->file, ctx->fd);
}

SEC("iter/task_vma")
int on_mapped(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;

	if (!vma)
		return 0;
	return tell_held(ctx->meta, ctx->task, vma->vm_file, -1);
}
