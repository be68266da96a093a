//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The tracker: who is in the tree, and which file calls it made.
 *
 * Process records come from the sched_process_* tracepoints. The monitored set
 * is kept here, so that a child is in it before its first instruction. Call
 * records come from one program on sys_exit: the arguments are still in
 * pt_regs there, so nothing has to be kept from entry to exit.
 *
 * Two rings, so that a storm of calls cannot push out the process records.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "calls.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define AT_FDCWD (-100)
#define AT_REMOVEDIR 0x200
#define AT_BASE 7
#define AF_UNIX 1
#define FMODE_PATH 0x4000
#define SB_NOUSER (1u << 31)
#define SIGNAL_GROUP_EXIT 4
#define TS_COMPAT 2
#define TIF_32BIT (1 << 22)
#define X32_BIT 0x40000000

#define PATH_MAX 4096
#define NAME_MAX 255
#define WALK_MAX 256 /* components of a path that is walked here */
#define CHUNK 256 /* the verifier looks at every byte that a helper may write: keep reads small */
#define BUF_SIZE (5 * PATH_MAX)
#define BUF_LAST (BUF_SIZE - CHUNK) /* where a chunk still fits */

/* Everything down to struct exec is mirrored in event.go. */

enum kind { KIND_FORK = 1, KIND_EXEC, KIND_EXIT, KIND_FREE, KIND_REUSE, KIND_CALL };

enum {
	FLAG_ALONE = 1,     /* the process has one thread */
	FLAG_FAULT = 2,     /* a text could not be read from user memory */
	FLAG_CUT = 4,       /* a walked path was too long */
	FLAG_SCRIPT = 8,    /* the image is the interpreter of a script */
	FLAG_INTERP = 16,   /* the image has an ELF interpreter */
	FLAG_RECORDER = 32, /* the parent is the recorder: this is the root of the tree */
	FLAG_COMPAT = 64,   /* a 32-bit call */
};

struct head {
	__u64 ts;    /* CLOCK_MONOTONIC, taken after the reserve: join.md T13 */
	__u64 start; /* start_boottime of the group leader */
	__u32 tgid;
	__u32 tid;
	__u32 uid;
	__u16 size; /* bytes used; the ring record is rounded up to its class */
	__u8 kind;
	__u8 flags;
};

struct file_ref {
	__u64 ino;
	__u64 parent_ino;
	__u32 dev;
	__u32 gen;
	__u32 parent_gen;
	__u16 mode;
	__u16 name_len; /* of the dentry's name, in the data */
	__u16 path_len; /* or of the walked path, leaf first, each name with a NUL */
	__u16 walked;   /* fanotify does not watch the superblock: the path was walked */
	__u32 subvol;   /* btrfs: the tree that the inode number is of */
};

/* What a path is relative to. */
struct base_ref {
	__u64 ino;
	__u32 dev;
	__u32 gen;
	__u16 path_len; /* as in file_ref */
	__u16 walked;
	__u32 subvol;
};

struct call {
	struct head h;
	__u32 op;
	__u32 flags; /* open(2) flags, or the flags of a *at call */
	__u32 fmode; /* f_mode of what was opened; OP_MOUNT: the mount namespace's number */
	__u16 text_len[2];
	union {
		struct file_ref file;    /* what was opened or entered */
		struct base_ref base[2]; /* base[1] only where there are two paths */
	};
};

struct fork {
	struct head h; /* the child's */
	__u64 parent_start;
	__u64 cgroup;
	__u32 parent_tgid;
	__u32 gid;
	char comm[16];
};

struct exec {
	struct head h;
	__u64 cgroup;
	__u32 gid;
	__u16 filename_len;
	__u16 args_len;
	char comm[16];
	struct file_ref image;
	struct file_ref interp;
	struct base_ref base; /* of a script: what filename is relative to */
};

struct exit {
	struct head h;
	__u32 status; /* as wait(2) gives it */
	__u32 pad;
};

/* A process for good, whereas a pid is only a number. */
struct identity {
	__u64 start;
	__u32 tgid;
	__u32 pad;
};

/* Set before loading. */
const volatile __u32 args_max = 0;     /* bytes of argv in an exec record */
const volatile __u8 want_free = 0;     /* records of sched_process_free */
const volatile __u8 have_loop = 1;     /* bpf_loop, 5.17 */
const volatile __u8 have_find_vma = 1; /* bpf_find_vma, 5.17 */

/*
 * Until user space has seen that mounts changed, it cannot tell paths by its
 * mount table: then they are walked here everywhere. One counts the changes in
 * this mount namespace, the other those that were seen.
 */
const volatile __u32 mount_ns = 0;
__u64 remounts, remounts_seen;

/* While this is set, each child of that thread group becomes the root of the tree. */
__u32 recorder;

/* Read while running; indices are mirrored by Lost in tracker.go. */
enum lost { LOST_PROCESS, LOST_CALL, LOST_TRACKED, LOST_KINDS };
__u64 lost[LOST_KINDS];

/* The monitored set. Joined at fork, left only when user space retires a process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct identity);
	__type(value, __u8);
} tracked SEC(".maps");

/* The pid numbers of the monitored set, to tell when one is used again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

/* Superblocks whose events fanotify reports, by device; on others paths are walked here. */
enum {
	MARKED = 1,
	MARKED_SUBVOLUMES = 2,
	MARKED_WALK = 4, /* walk the path all the same */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} marked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} calls SEC(".maps");

/* Wakes the recorder, for what it must look at while the process is still there. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} alarm SEC(".maps");

/*
 * Where call records go when their ring is full. It is large, for a recorder
 * that does not run for seconds, and so is only made once a recording lasts.
 */
struct spill_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct spill_ring);
} spill SEC(".maps");

/*
 * Where a record is put together. What a bounded loop changes is kept here and
 * not on the stack: read back from memory it is any number to the verifier,
 * which then follows one pass of the loop and not all.
 */
struct scratch {
	char buf[BUF_SIZE];
	struct file_ref ref; /* what put_ref found */
	__u64 src;      /* what is copied next */
	__u32 nowhere;  /* what put_ref found is on no filesystem that one could mount */
	__u32 absolute; /* the text put last begins with a slash */
	struct {
		__u64 len;
		__u64 mnt, dentry;
		__u64 done;
	} walk;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/*
 * A pointer that came out of memory has no type for the verifier.
 * bpf_rdonly_cast (6.2) gives it one, and its fields are then plain loads;
 * without it each field is a call of bpf_probe_read_kernel.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define GET(T, p, f)                                                                           \
	({                                                                                     \
		typeof(((T *)0)->f) v_;                                                        \
		const void *p_ = (const void *)(p);                                            \
		if (bpf_rdonly_cast)                                                           \
			v_ = ((T *)bpf_rdonly_cast(p_, bpf_core_type_id_kernel(T)))->f;        \
		else                                                                           \
			bpf_core_read(&v_, sizeof(v_), &((T *)p_)->f);                         \
		v_;                                                                            \
	})

/*
 * The same pointer, no longer trusted. For every pointer that is loaded through
 * a trusted one the verifier searches the kernel's types by name, all of them
 * (btf_nested_type_is_trusted): about a millisecond each at load.
 */
#define UNTRUSTED(T, p) (bpf_rdonly_cast ? (T *)bpf_rdonly_cast(p, bpf_core_type_id_kernel(T)) : (p))

static __always_inline void count_lost(enum lost what)
{
	__sync_fetch_and_add(&lost[what], 1);
}

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline int is_tracked(struct task_struct *task)
{
	struct identity id = { .start = task->group_leader->start_boottime, .tgid = task->tgid };

	return bpf_map_lookup_elem(&tracked, &id) != 0;
}

static __always_inline void fill_head(struct head *h, struct task_struct *task, __u8 kind)
{
	h->start = task->group_leader->start_boottime;
	h->tgid = task->tgid;
	h->tid = task->pid;
	h->uid = task->cred->uid.val;
	h->kind = kind;
	h->flags = task->signal->nr_threads == 1 ? FLAG_ALONE : 0;
}

/*
 * The time is taken after the reserve: whoever drains the ring after a time T
 * then finds every record stamped T or earlier. A reserve takes a constant
 * size, so there are some, for what is frequent. A larger record is written
 * whole behind a ticket: the reader waits at the ticket until it is given up,
 * and then finds the record.
 */
#define EMIT_RESERVED(ring, class)                                         \
	do {                                                               \
		struct block { __u64 w[class / 8]; };                      \
		struct block *r_ = bpf_ringbuf_reserve(ring, class, 0);    \
		if (!r_)                                                   \
			return 1;                                          \
		h->ts = bpf_ktime_get_ns();                                \
		*r_ = *(struct block *)h;                                  \
		bpf_ringbuf_submit(r_, 0);                                 \
		return 0;                                                  \
	} while (0)

static __always_inline int emit(void *ring, struct scratch *s, __u64 len)
{
	struct head *h = (struct head *)s->buf;
	void *ticket;
	long err;

	if (len > BUF_SIZE)
		return 1;
	h->size = len;
	if (len <= 48)
		EMIT_RESERVED(ring, 48);
	if (len <= 96)
		EMIT_RESERVED(ring, 96);
	if (len <= 128)
		EMIT_RESERVED(ring, 128);
	if (len <= 192)
		EMIT_RESERVED(ring, 192);
	ticket = bpf_ringbuf_reserve(ring, 8, 0);
	if (!ticket)
		return 1;
	h->ts = bpf_ktime_get_ns();
	err = bpf_ringbuf_output(ring, h, len, 0);
	bpf_ringbuf_discard(ticket, 0);
	return err != 0;
}

/* Global functions: the verifier looks at each once and not at every call. */

__noinline int emit_process(__u64 len)
{
	struct scratch *s = get_scratch();

	if (s && emit(&processes, s, len))
		count_lost(LOST_PROCESS);
	return 0;
}

__noinline int emit_spilled(__u64 len)
{
	struct scratch *s = get_scratch();
	__u32 zero = 0;
	void *ring = bpf_map_lookup_elem(&spill, &zero);

	if (!s || !ring || emit(ring, s, len))
		count_lost(LOST_CALL);
	return 0;
}

__noinline int emit_call(__u64 len)
{
	struct scratch *s = get_scratch();

	if (s && emit(&calls, s, len))
		emit_spilled(len);
	return 0;
}

/* One chunk of a string of user space; walk.len says where it goes. */
static long user_chunk(__u32 i, void *unused)
{
	struct scratch *s = get_scratch();
	__u64 len;
	long n;

	if (!s)
		return 1;
	len = s->walk.len;
	if (len > BUF_LAST)
		return 1;
	n = bpf_probe_read_user_str(&s->buf[len], CHUNK, (void *)s->src);
	if (n <= 0)
		return 1;
	s->walk.len = len + n - 1;
	s->src += n - 1;
	s->walk.done = n < CHUNK; /* else cut, or the NUL comes next */
	return n < CHUNK;
}

/*
 * Appends the string of the caller at user, which the kernel has just read and
 * so is resident, without its NUL. Returns its length or -1.
 */
__noinline long put_text(__u64 len, __u64 user)
{
	struct scratch *s = get_scratch();

	if (!s || len > BUF_LAST)
		return -1;
	s->src = user;
	s->walk.len = len;
	s->walk.done = 0;
	if (have_loop)
		bpf_loop(PATH_MAX / (CHUNK - 1) + 1, user_chunk, 0, 0);
	else
		user_chunk(0, 0);
	s->absolute = s->walk.done && s->buf[len] == '/';
	return s->walk.done ? s->walk.len - len : -1;
}

/* Appends the kernel's string at src, of at most NAME_MAX bytes, without its NUL. */
__noinline long put_name(__u64 len)
{
	struct scratch *s = get_scratch();
	long n;

	if (!s || len > BUF_LAST)
		return 0;
	n = bpf_probe_read_kernel_str(&s->buf[len], CHUNK, (void *)s->src);
	return n > 0 ? n - 1 : 0;
}

/* One step of a path walk: the name of a dentry, or from a mount's root to where it is mounted. */
static long walk_step(__u32 i, void *unused)
{
	struct scratch *s = get_scratch();
	__u64 len, parent, up;
	long n;

	if (!s)
		return 1;
	len = s->walk.len;
	if (len > BUF_LAST)
		return 1;
	parent = (__u64)GET(struct dentry, s->walk.dentry, d_parent);
	if (s->walk.dentry == (__u64)GET(struct mount, s->walk.mnt, mnt.mnt_root) || s->walk.dentry == parent) {
		up = (__u64)GET(struct mount, s->walk.mnt, mnt_parent);
		if (up == s->walk.mnt) {
			s->walk.done = 1;
			return 1;
		}
		s->walk.dentry = (__u64)GET(struct mount, s->walk.mnt, mnt_mountpoint);
		s->walk.mnt = up;
		return 0;
	}
	s->src = (__u64)GET(struct dentry, s->walk.dentry, d_name.name);
	n = put_name(len);
	if (n <= 0)
		return 1;
	len += n;
	if (len > BUF_LAST)
		return 1;
	s->buf[len] = 0;
	s->walk.len = len + 1;
	s->walk.dentry = parent;
	return 0;
}

/*
 * Tells whether a superblock is watched: by device, and it has a mark. The
 * number of a device is given to another superblock as soon as it is free.
 */
static __always_inline __u32 watched(struct super_block *sb, __u32 *dev)
{
	__u32 *in = bpf_map_lookup_elem(&marked, dev);
	void *marks = 0;

	if (!in)
		return 0;
	if (bpf_core_field_exists(((struct super_block *)0)->s_fsnotify_info)) {
		struct fsnotify_sb_info *info = GET(struct super_block, sb, s_fsnotify_info);

		if (info)
			marks = GET(struct fsnotify_sb_info, info, sb_marks);
	} else if (bpf_core_field_exists(((struct super_block___older *)0)->s_fsnotify_marks)) {
		bpf_probe_read_kernel(&marks, sizeof(marks),
				      (void *)sb + bpf_core_field_offset(struct super_block___older, s_fsnotify_marks));
	} else {
		return *in;
	}
	return marks ? *in : 0;
}

/*
 * The tree that an inode of btrfs is in. Read by offsets, as the type may be
 * that of a module, which has no number among those of the kernel.
 */
static __always_inline __u32 subvolume(struct inode *inode)
{
	__u64 root = 0, id = 0;

	if (!bpf_core_field_exists(((struct btrfs_root *)0)->root_key.objectid))
		return 0;
	bpf_probe_read_kernel(&root, sizeof(root), (void *)inode - bpf_core_field_offset(struct btrfs_inode, vfs_inode) +
				      bpf_core_field_offset(struct btrfs_inode, root));
	bpf_probe_read_kernel(&id, sizeof(id), (void *)root + bpf_core_field_offset(struct btrfs_root, root_key.objectid));
	return id;
}

/*
 * Describes the file behind walk.mnt and walk.dentry in ref, and appends its
 * name, or the whole path where fanotify does not watch. Returns the new
 * length. (The two are not arguments, as a global function takes no kernel
 * pointers.)
 */
__noinline __u64 put_ref(__u64 len, __u32 with_name)
{
	struct scratch *s = get_scratch();
	struct super_block *sb;
	struct inode *inode, *dir;
	struct file_ref *ref;
	struct dentry *parent;
	__u64 dentry;
	__u32 in;

	if (!s)
		return len;
	dentry = s->walk.dentry;
	ref = &s->ref;
	inode = GET(struct dentry, dentry, d_inode);
	sb = GET(struct inode, inode, i_sb);
	ref->ino = GET(struct inode, inode, i_ino);
	ref->gen = GET(struct inode, inode, i_generation);
	ref->mode = GET(struct inode, inode, i_mode);
	ref->dev = GET(struct super_block, sb, s_dev);
	ref->name_len = ref->path_len = 0;
	ref->parent_ino = 0;
	ref->parent_gen = 0;
	ref->walked = 0;
	ref->subvol = 0;
	s->nowhere = GET(struct super_block, sb, s_flags) & SB_NOUSER;
	in = watched(sb, &ref->dev);
	if (in & MARKED_SUBVOLUMES)
		ref->subvol = subvolume(inode);
	if (in && with_name) {
		parent = GET(struct dentry, dentry, d_parent);
		dir = GET(struct dentry, parent, d_inode);
		ref->parent_ino = GET(struct inode, dir, i_ino);
		ref->parent_gen = GET(struct inode, dir, i_generation);
		s->src = (__u64)GET(struct dentry, dentry, d_name.name);
		ref->name_len = put_name(len);
		len += ref->name_len;
	}
	if (in && !(in & MARKED_WALK) && remounts == remounts_seen)
		return len;
	ref->walked = !in;
	s->walk.len = len;
	s->walk.mnt -= bpf_core_field_offset(struct mount, mnt);
	s->walk.done = 0;
	if (have_loop)
		bpf_loop(WALK_MAX, walk_step, 0, 0);
	if (!s->walk.done)
		((struct head *)s->buf)->flags |= FLAG_CUT;
	ref->path_len = s->walk.len - len;
	return s->walk.len;
}

/* The same for (m, d), into the member of a record that tells of it. */
static __always_inline __u64 put_file(struct scratch *s, struct file_ref *ref, __u64 len, __u64 m, __u64 d)
{
	s->walk.mnt = m;
	s->walk.dentry = d;
	len = put_ref(len, 1);
	*ref = s->ref;
	return len;
}

/* What a path is relative to: walk.mnt and walk.dentry. */
static __always_inline __u64 put_base(struct scratch *s, struct base_ref *base, __u64 len)
{
	len = put_ref(len, 0);
	base->ino = s->ref.ino;
	base->dev = s->ref.dev;
	base->gen = s->ref.gen;
	base->path_len = s->ref.path_len;
	base->walked = s->ref.walked;
	base->subvol = s->ref.subvol;
	return len;
}

static __always_inline struct file *get_file(struct task_struct *task, __u32 fd)
{
	struct fdtable *fdt = task->files->fdt;
	struct file *f = 0;

	if (fd < fdt->max_fds)
		bpf_probe_read_kernel(&f, sizeof(f), fdt->fd + fd);
	return f;
}

/* The file that a relative path starts from: the working directory, a descriptor, or the root. */
static __always_inline int find_base(struct scratch *s, struct task_struct *task, __u64 dfd, int absolute)
{
	if (absolute) {
		s->walk.mnt = (__u64)task->fs->root.mnt;
		s->walk.dentry = (__u64)task->fs->root.dentry;
	} else if ((int)dfd == AT_FDCWD) {
		s->walk.mnt = (__u64)task->fs->pwd.mnt;
		s->walk.dentry = (__u64)task->fs->pwd.dentry;
	} else {
		struct file *f = get_file(task, dfd);

		if (!f)
			return 0;
		s->walk.mnt = (__u64)GET(struct file, f, f_path.mnt);
		s->walk.dentry = (__u64)GET(struct file, f, f_path.dentry);
	}
	return 1;
}

/* Process records. */

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *trusted_parent, struct task_struct *trusted_child)
{
	struct task_struct *parent = UNTRUSTED(struct task_struct, trusted_parent);
	struct task_struct *child = UNTRUSTED(struct task_struct, trusted_child);
	struct identity id = { .start = child->start_boottime, .tgid = child->tgid };
	__u32 tgid = child->tgid, parent_tgid = parent->tgid;
	int root = recorder && parent_tgid == recorder;
	__u8 in = 1;
	struct scratch *s;
	struct fork *r;

	if (child->pid != child->tgid)
		return 0; /* a thread */
	/* Whoever had this number is gone; user space has not retired it yet. */
	if (bpf_map_lookup_elem(&numbers, &tgid)) {
		s = get_scratch();
		if (!s)
			return 0;
		fill_head((struct head *)s->buf, child, KIND_REUSE);
		emit_process(sizeof(struct head));
		bpf_map_delete_elem(&numbers, &tgid);
	}
	if (!root && !is_tracked(parent))
		return 0;
	if (bpf_map_update_elem(&tracked, &id, &in, BPF_ANY) || bpf_map_update_elem(&numbers, &tgid, &id.start, BPF_ANY)) {
		count_lost(LOST_TRACKED);
		return 0;
	}
	s = get_scratch();
	if (!s)
		return 0;
	r = (struct fork *)s->buf;
	fill_head(&r->h, child, KIND_FORK);
	if (root)
		r->h.flags |= FLAG_RECORDER;
	r->parent_start = parent->group_leader->start_boottime;
	r->parent_tgid = parent_tgid;
	r->gid = child->cred->gid.val;
	r->cgroup = bpf_get_current_cgroup_id();
	bpf_probe_read_kernel(r->comm, sizeof(r->comm), child->comm);
	emit_process(sizeof(*r));
	return 0;
}

/* One chunk of a kernel string longer than a name. */
static long kernel_chunk(__u32 i, void *unused)
{
	struct scratch *s = get_scratch();
	long n;

	if (!s)
		return 1;
	n = put_name(s->walk.len);
	s->walk.len += n;
	s->src += n;
	return n < CHUNK - 1;
}

/* Appends the kernel's string at src, of at most PATH_MAX bytes, without its NUL. */
__noinline long put_kernel_text(__u64 len)
{
	struct scratch *s = get_scratch();

	if (!s)
		return 0;
	s->walk.len = len;
	if (have_loop)
		bpf_loop(PATH_MAX / (CHUNK - 1) + 1, kernel_chunk, 0, 0);
	else
		kernel_chunk(0, 0);
	return s->walk.len - len;
}

static long args_chunk(__u32 i, __u64 *left)
{
	struct scratch *s = get_scratch();
	__u64 len, n = *left;

	if (!s)
		return 1;
	len = s->walk.len;
	if (n > CHUNK)
		n = CHUNK;
	if (!n || len > BUF_LAST || bpf_probe_read_user(&s->buf[len], n, (void *)s->src))
		return 1;
	s->walk.len = len + n;
	s->src += n;
	*left -= n;
	return 0;
}

/* Appends the argument area of the new image at src, NULs and all, up to args_max bytes. */
__noinline long put_args(__u64 len, __u64 size)
{
	struct scratch *s = get_scratch();
	__u64 left = size > args_max ? args_max : size;

	if (!s || !have_loop)
		return 0;
	s->walk.len = len;
	bpf_loop(2 * PATH_MAX / CHUNK, args_chunk, &left, 0);
	return s->walk.len - len;
}

struct found {
	__u64 mnt, dentry;
};

static long take_vma(struct task_struct *task, struct vm_area_struct *vma, struct found *f)
{
	struct file *file = UNTRUSTED(struct vm_area_struct, vma)->vm_file;

	if (file) {
		f->mnt = (__u64)file->f_path.mnt;
		f->dentry = (__u64)file->f_path.dentry;
	}
	return 0;
}

/* Where the kernel mapped the ELF interpreter: AT_BASE of the new image, 0 if it has none. */
static __always_inline __u64 interp_base(struct scratch *s, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	__u64 *aux;
	__u32 *aux32;
	int i;

	aux = (__u64 *)&s->buf[BUF_SIZE / 2];
	if (bpf_probe_read_kernel(aux, 40 * sizeof(__u64), (void *)mm + bpf_core_field_offset(struct mm_struct, saved_auxv)))
		return 0;
	if (aux[0] < 256) {
		for (i = 0; i < 40; i += 2)
			if (aux[i] == AT_BASE)
				return aux[i + 1];
		return 0;
	}
	aux32 = (__u32 *)aux;
	for (i = 0; i < 40; i += 2)
		if (aux32[i] == AT_BASE)
			return aux32[i + 1];
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *trusted_task, int old_pid, struct linux_binprm *trusted_bprm)
{
	struct task_struct *task = UNTRUSTED(struct task_struct, trusted_task);
	struct linux_binprm *bprm = UNTRUSTED(struct linux_binprm, trusted_bprm);
	struct found interp = {};
	struct scratch *s;
	struct exec *r;
	__u64 len = sizeof(*r), base;
	char first = 0;
	long n;

	if (!is_tracked(task))
		return 0;
	s = get_scratch();
	if (!s)
		return 0;
	r = (struct exec *)s->buf;
	fill_head(&r->h, task, KIND_EXEC);
	r->gid = task->cred->gid.val;
	r->cgroup = bpf_get_current_cgroup_id();
	r->filename_len = r->args_len = 0;
	bpf_probe_read_kernel(r->comm, sizeof(r->comm), task->comm);
	if (bprm->interp != bprm->filename)
		r->h.flags |= FLAG_SCRIPT;
	base = interp_base(s, task);
	if (base) {
		r->h.flags |= FLAG_INTERP;
		if (have_find_vma)
			bpf_find_vma(trusted_task, base, take_vma, &interp, 0);
	}
	__builtin_memset(&r->interp, 0, sizeof(r->interp));
	__builtin_memset(&r->base, 0, sizeof(r->base));
	len = put_file(s, &r->image, len, (__u64)bprm->file->f_path.mnt, (__u64)bprm->file->f_path.dentry);
	if (interp.dentry)
		len = put_file(s, &r->interp, len, interp.mnt, interp.dentry);
	s->src = (__u64)bprm->filename;
	bpf_probe_read_kernel(&first, sizeof(first), (void *)s->src);
	n = put_kernel_text(len);
	if (n > 0) {
		r->filename_len = n;
		len += n;
	}
	if (args_max) {
		s->src = task->mm->arg_start;
		n = put_args(len, task->mm->arg_end - task->mm->arg_start);
		if (n > 0) {
			r->args_len = n;
			len += n;
		}
	}
	if (r->h.flags & FLAG_SCRIPT && find_base(s, task, (__u32)AT_FDCWD, first == '/'))
		len = put_base(s, &r->base, len);
	emit_process(len);
	return 0;
}

/*
 * The last thread of a group to pass here ends the process. 6.16 tells in a
 * second argument; the count of live threads, already taken down, tells on
 * every kernel. Two threads that leave together may both see 0: the reader
 * takes the first record only.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *trusted_task)
{
	struct task_struct *task = UNTRUSTED(struct task_struct, trusted_task);
	struct signal_struct *signal = task->signal;
	struct scratch *s;
	struct exit *r;

	if (signal->live.counter != 0)
		return 0;
	if (!is_tracked(task))
		return 0;
	s = get_scratch();
	if (!s)
		return 0;
	r = (struct exit *)s->buf;
	fill_head(&r->h, task, KIND_EXIT);
	r->status = signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : task->group_leader->exit_code;
	r->pad = 0;
	emit_process(sizeof(*r));
	return 0;
}

SEC("tp_btf/sched_process_free")
int BPF_PROG(on_free, struct task_struct *trusted_task)
{
	struct task_struct *task = UNTRUSTED(struct task_struct, trusted_task);
	struct scratch *s;

	if (!want_free || task->pid != task->tgid)
		return 0;
	if (!is_tracked(task))
		return 0;
	s = get_scratch();
	if (!s)
		return 0;
	fill_head((struct head *)s->buf, task, KIND_FREE);
	emit_process(sizeof(struct head));
	return 0;
}

/* Call records. */

struct args {
	__u64 a[8];
};

static __always_inline int get_args(struct args *out, struct task_struct *task, struct pt_regs *regs, int *compat)
{
	int nr;

#if defined(__TARGET_ARCH_x86)
	*compat = !!(task->thread_info.status & TS_COMPAT);
	nr = (int)regs->orig_ax & ~X32_BIT;
	if (*compat) {
		out->a[0] = (__u32)regs->bx;
		out->a[1] = (__u32)regs->cx;
		out->a[2] = (__u32)regs->dx;
		out->a[3] = (__u32)regs->si;
		out->a[4] = (__u32)regs->di;
	} else {
		out->a[0] = regs->di;
		out->a[1] = regs->si;
		out->a[2] = regs->dx;
		out->a[3] = regs->r10;
		out->a[4] = regs->r8;
	}
#else
	*compat = !!(task->thread_info.flags & TIF_32BIT);
	nr = regs->syscallno;
	out->a[0] = regs->orig_x0;
	out->a[1] = regs->regs[1];
	out->a[2] = regs->regs[2];
	out->a[3] = regs->regs[3];
	out->a[4] = regs->regs[4];
#endif
	return nr;
}

static __always_inline __u64 arg(struct args *a, __u8 i, __u64 none)
{
	return i == NOARG ? none : a->a[i & 7];
}

/* Appends the name of a bound socket; -1 if it has none in the file system. */
static __always_inline long put_sun_path(struct scratch *s, __u64 len, __u64 user, __u64 size)
{
	__u16 family = 0;
	long n;

	if (bpf_probe_read_user(&family, sizeof(family), (void *)user) || family != AF_UNIX)
		return -1;
	if (size <= sizeof(family) || len > BUF_LAST)
		return -1;
	/* sun_path need not end in a NUL: str stops there, and size bounds it. */
	size -= sizeof(family);
	if (size > 108)
		size = 108;
	n = bpf_probe_read_user_str(&s->buf[len], size + 1, (void *)(user + sizeof(family)));
	if (n <= 1 || n > 109)
		return -1; /* unnamed or abstract */
	return n - 1;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task;
	struct call_row row;
	const volatile struct call_row *table;
	struct args a = {};
	struct scratch *s;
	struct call *r;
	__u64 len, text;
	int nr, compat, first;
	long n;

	if (ret < 0)
		return 0;
	task = UNTRUSTED(struct task_struct, bpf_get_current_task_btf());
	nr = get_args(&a, task, regs, &compat);
	if ((__u32)nr >= CALLS_MAX)
		return 0;
	table = compat ? compat_calls : native_calls;
	row.op = table[nr].op;
	if (row.op == OP_NONE)
		return 0;
	if (compat && (int)ret < 0)
		return 0;
	if (!is_tracked(task))
		return 0;
	s = get_scratch();
	if (!s)
		return 0;
	r = (struct call *)s->buf;
	fill_head(&r->h, task, KIND_CALL);
	if (compat)
		r->h.flags |= FLAG_COMPAT;
	r->op = row.op;
	r->flags = r->fmode = 0;
	r->text_len[0] = r->text_len[1] = 0;
	len = __builtin_offsetof(struct call, file) + sizeof(r->file);

	if (row.op == OP_OPEN) {
		struct file *f = get_file(task, ret);

		if (!f)
			return 0;
		r->fmode = GET(struct file, f, f_mode);
		if (r->fmode & FMODE_PATH)
			return 0;
		r->flags = GET(struct file, f, f_flags);
		len = put_file(s, &r->file, len, (__u64)GET(struct file, f, f_path.mnt),
			       (__u64)GET(struct file, f, f_path.dentry));
		if (s->nowhere)
			return 0; /* a pipe, a socket: reached through /proc/PID/fd */
		emit_call(len);
		return 0;
	}
	if (row.op == OP_CHDIR) {
		len = put_file(s, &r->file, len, (__u64)task->fs->pwd.mnt, (__u64)task->fs->pwd.dentry);
		emit_call(len);
		return 0;
	}
	if (row.op == OP_CHROOT) {
		len = put_file(s, &r->file, len, (__u64)task->fs->root.mnt, (__u64)task->fs->root.dentry);
		emit_call(len);
		return 0;
	}

	if (row.op == OP_MOUNT) {
		__builtin_memset(&r->base[0], 0, sizeof(r->base[0]));
		r->fmode = task->nsproxy->mnt_ns->ns.inum;
		if (r->fmode == mount_ns)
			__sync_fetch_and_add(&remounts, 1);
		emit_call(__builtin_offsetof(struct call, base) + sizeof(r->base[0]));
		bpf_ringbuf_output(&alarm, &r->h.ts, sizeof(r->h.ts), BPF_RB_FORCE_WAKEUP);
		return 0;
	}

	row.dfd0 = table[nr].dfd0;
	row.path0 = table[nr].path0;
	row.dfd1 = table[nr].dfd1;
	row.path1 = table[nr].path1;
	row.flags = table[nr].flags;
	len = __builtin_offsetof(struct call, base) + (row.path1 == NOARG ? 1 : 2) * sizeof(r->base[0]);
	text = len;
	if (row.op == OP_BIND || row.op == OP_SOCKCALL) {
		__u64 addr = a.a[1], size = a.a[2];

		if (row.op == OP_SOCKCALL) {
			__u32 in[3];

			if (a.a[0] != 2 /* SYS_BIND */ || bpf_probe_read_user(in, sizeof(in), (void *)a.a[1]))
				return 0;
			addr = in[1];
			size = in[2];
			r->op = OP_BIND;
		}
		n = put_sun_path(s, len, addr, size);
		if (n < 0)
			return 0;
		s->absolute = s->buf[text & (PATH_MAX - 1)] == '/';
	} else {
		r->flags = arg(&a, row.flags, 0);
		if (row.op == OP_UNLINK && r->flags & AT_REMOVEDIR)
			r->op = OP_RMDIR;
		n = put_text(len, arg(&a, row.path0, 0));
	}
	if (n < 0)
		r->h.flags |= FLAG_FAULT;
	else {
		r->text_len[0] = n;
		len += n;
	}
	__builtin_memset(&r->base[0], 0, sizeof(r->base[0]));
	first = s->absolute;
	if (row.path1 != NOARG) {
		__builtin_memset(&r->base[1], 0, sizeof(r->base[1]));
		n = put_text(len, arg(&a, row.path1, 0));
		if (n < 0)
			r->h.flags |= FLAG_FAULT;
		else {
			r->text_len[1] = n;
			len += n;
		}
		if (find_base(s, task, arg(&a, row.dfd1, (__u32)AT_FDCWD), s->absolute))
			len = put_base(s, &r->base[1], len);
	}
	if (r->op != OP_SYMLINK && find_base(s, task, arg(&a, row.dfd0, (__u32)AT_FDCWD), first))
		len = put_base(s, &r->base[0], len);
	emit_call(len);
	return 0;
}
