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

#define ENOENT 2
#define EEXIST 17
#define ENOTDIR 20
#define S_DEAD 16
#define S_IFMT 0170000
#define S_IFDIR 0040000
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
#define SCRIPT_ARGS 512 /* bytes of argv of a script, even if none are asked for */
#define NAME_MAX 255
#define WALK_MAX 256 /* components of a path that is walked here */
#define CHUNK 256 /* the verifier looks at every byte that a helper may write: keep reads small */
#define BUF_SIZE (5 * PATH_MAX)
#define BUF_LAST (BUF_SIZE - CHUNK) /* where a chunk still fits */

/* Everything down to struct exec is mirrored in event.go. */

enum kind { KIND_FORK = 1, KIND_EXEC, KIND_EXIT, KIND_FREE, KIND_REUSE, KIND_CALL, KIND_SUBMIT, KIND_COMPLETE, KIND_FOLLOW, KIND_HELD };

enum {
	FLAG_ALONE = 1,     /* the process has one thread */
	FLAG_FAULT = 2,     /* a text could not be read from user memory */
	FLAG_CUT = 4,       /* a walked path was too long */
	FLAG_SCRIPT = 8,    /* the image is the interpreter of a script */
	FLAG_INTERP = 16,   /* the image has an ELF interpreter */
	FLAG_RECORDER = 32, /* the parent is the recorder: this is the root of the tree */
	FLAG_COMPAT = 64,   /* a 32-bit call */
	FLAG_SECURE = 128,  /* exec: it may do more than who executed it (AT_SECURE) */
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

/* What was asked of a ring (io_uring), by the thread that the ring took it from. */
struct submit {
	struct head h;
	__u64 request; /* the kernel's structure: until it is completed, no other has that number */
	__u32 op;
	__u32 flags;
	__u16 text_len[2];
	__u32 quiet; /* no completion is told of if it succeeds */
	struct base_ref base[2];
};

struct complete {
	struct head h;
	__u64 request;
	__s32 result;
	__u32 flags; /* of what was opened into a descriptor: open(2) flags, */
	__u32 fmode; /* f_mode, */
	__u32 pad;
	struct file_ref file; /* and what it is; else 0 */
};

struct fork {
	struct head h; /* the child's */
	__u64 parent_start;
	__u64 cgroup;
	__u32 parent_tgid;
	__u32 gid;
	char comm[16];
	__u32 own_pid; /* its number in the innermost pid namespace */
	__u32 pad;
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

/* A process that is followed from now on, though it is there already. */
struct follow {
	struct fork f;
	__u32 request; /* follow_request */
	__u32 mount_ns;
	struct file_ref image;
	struct file_ref root; /* its root directory */
	struct file_ref cwd;
};

/* A file that a process holds, of a descriptor or mapped. */
struct held {
	struct head h;
	__s32 fd; /* -1: mapped */
	__u32 fmode;
	struct file_ref file;
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
const volatile __u8 want_absent = 0;   /* records of look-ups that failed */
const volatile __u8 have_cast = 1;     /* bpf_rdonly_cast, 6.2 */
const volatile __u8 have_find_vma = 1; /* bpf_find_vma, 5.17 */
const volatile __u8 have_task_btf = 1; /* bpf_get_current_task_btf, 5.11 */

const volatile __u32 follower = 0;     /* thread group that runs on_follow; none: 0 */

/* The numbers of the kernel's types, for bpf_rdonly_cast; filled by name (types.go). */
const volatile struct {
	__u32 dentry, file, filename, fsnotify_sb_info, inode, io_kiocb, linux_binprm, mnt_namespace, mount, nsproxy, pt_regs, super_block, task_struct, vm_area_struct;
} types = {};

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
enum lost { LOST_PROCESS, LOST_CALL, LOST_TRACKED, LOST_EXEC, LOST_KINDS };
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
	__u64 text_len; /* what put_asked put */
	struct {
		__u64 len;
		__u64 mnt, dentry;
		__u64 done;
		__u64 left;
	} walk;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/*
 * A pointer that came out of memory, or as an argument of a raw tracepoint, has
 * no type for the verifier. bpf_rdonly_cast (6.2) gives it one, and its fields
 * are then plain loads; without it each field is a call of bpf_probe_read_kernel.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define CAST(T, p) ((struct T *)bpf_rdonly_cast(p, types.T))

#define GET(T, p, f)                                                                           \
	({                                                                                     \
		typeof(((struct T *)0)->f) v_;                                                 \
		const void *p_ = (const void *)(p);                                            \
		if (have_cast)                                                                 \
			v_ = CAST(T, p_)->f;                                                   \
		else                                                                           \
			bpf_core_read(&v_, sizeof(v_), &((struct T *)p_)->f);                  \
		v_;                                                                            \
	})

/* The same pointer, whose fields OF reads. */
#define TYPED(T, p) (have_cast ? CAST(T, p) : (struct T *)(p))

/*
 * A field of what TYPED gave. Without the cast only what is reached from the
 * current task has a type, and that since 5.11: own tells that it is.
 */
#define OF(own, p, f)                                                                          \
	({                                                                                     \
		typeof((p)->f) v_;                                                             \
		if (have_cast || ((own) && have_task_btf))                                     \
			v_ = (p)->f;                                                           \
		else                                                                           \
			bpf_core_read(&v_, sizeof(v_), &(p)->f);                               \
		v_;                                                                            \
	})

enum { OTHER, OWN };

/*
 * The cast also takes the trust away: for every pointer that is loaded through
 * a trusted one the verifier searches the kernel's types by name, all of them
 * (btf_nested_type_is_trusted), which is about a millisecond each at load.
 */
static __always_inline struct task_struct *current_task(void)
{
	if (!have_task_btf)
		return (struct task_struct *)bpf_get_current_task();
	return TYPED(task_struct, bpf_get_current_task_btf());
}

/*
 * Calls step at most n times, until it returns nonzero. A step is a global
 * function: the verifier follows each pass of the loop, but looks at the step
 * once. (bpf_loop would do the same, and is of 5.17.)
 */
#define LOOP(n, step)                                                                          \
	do {                                                                                   \
		_Pragma("clang loop unroll(disable)")                                          \
		for (int i_ = 0; i_ < (n) && !step(); i_++)                                    \
			;                                                                      \
	} while (0)

static __always_inline void count_lost(enum lost what)
{
	__sync_fetch_and_add(&lost[what], 1);
}

/*
 * Programs of tracepoints are not preempted (7.0: perf.h), one that is run over
 * all tasks is: it has a place of its own, by who runs it, of whom nothing is recorded.
 */
static __always_inline struct scratch *get_scratch(void)
{
	__u32 slot = follower && bpf_get_current_pid_tgid() >> 32 == follower;
	return bpf_map_lookup_elem(&scratch, &slot);
}

static __always_inline int is_tracked(struct task_struct *task, int own)
{
	struct task_struct *leader = OF(own, task, group_leader);
	struct identity id = { .start = OF(own, leader, start_boottime), .tgid = OF(own, task, tgid) };

	return bpf_map_lookup_elem(&tracked, &id) != 0;
}

static __always_inline void fill_head(struct head *h, struct task_struct *task, int own, __u8 kind)
{
	struct task_struct *leader = OF(own, task, group_leader);
	struct cred *cred = (struct cred *)OF(own, task, cred);
	struct signal_struct *signal = OF(own, task, signal);

	h->start = OF(own, leader, start_boottime);
	h->tgid = OF(own, task, tgid);
	h->tid = OF(own, task, pid);
	h->uid = OF(own, cred, uid.val);
	h->kind = kind;
	h->flags = OF(own, signal, nr_threads) == 1 ? FLAG_ALONE : 0;
}

enum { NOT_IN, JOINED, WAS_IN };

/* Makes a process a member of the monitored set. */
static __always_inline int join_set(struct identity *id)
{
	__u8 in = 1;
	long err = bpf_map_update_elem(&tracked, id, &in, BPF_NOEXIST);

	if (err == -EEXIST)
		return WAS_IN;
	if (!err && !bpf_map_update_elem(&numbers, &id->tgid, &id->start, BPF_ANY))
		return JOINED;
	count_lost(LOST_TRACKED);
	return NOT_IN;
}

/*
 * Where a record of a task is put together, with its head; 0 if the task is not
 * of the tree.
 */
static __always_inline struct scratch *begin(struct task_struct *task, int own, __u8 kind)
{
	struct scratch *s;

	if (!is_tracked(task, own))
		return 0;
	s = get_scratch();
	if (s)
		fill_head((struct head *)s->buf, task, own, kind);
	return s;
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

static __always_inline int emit(void *ring, struct head *h, __u64 len)
{
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

	if (s && emit(&processes, (struct head *)s->buf, len))
		count_lost(LOST_PROCESS);
	return 0;
}

__noinline int emit_spilled(__u64 len)
{
	struct scratch *s = get_scratch();
	__u32 zero = 0;
	void *ring = bpf_map_lookup_elem(&spill, &zero);

	if (!s || !ring || emit(ring, (struct head *)s->buf, len))
		count_lost(LOST_CALL);
	return 0;
}

__noinline int emit_call(__u64 len)
{
	struct scratch *s = get_scratch();

	if (s && emit(&calls, (struct head *)s->buf, len))
		emit_spilled(len);
	return 0;
}

/* One chunk of a string of user space; walk.len says where it goes. */
__noinline int user_chunk(void)
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
	if (n < 0)
		return 1;
	if (!n)
		n = 1; /* of an empty string the NUL was not counted before 6.14 */
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
	LOOP(PATH_MAX / (CHUNK - 1) + 1, user_chunk);
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
__noinline int walk_step(void)
{
	struct scratch *s = get_scratch();
	__u64 len, parent, up;
	long n;

	if (!s)
		return 1;
	len = s->walk.len;
	if (len > BUF_LAST)
		return 1;
	parent = (__u64)GET(dentry, s->walk.dentry, d_parent);
	if (s->walk.dentry == (__u64)GET(mount, s->walk.mnt, mnt.mnt_root) || s->walk.dentry == parent) {
		up = (__u64)GET(mount, s->walk.mnt, mnt_parent);
		if (up == s->walk.mnt) {
			s->walk.done = 1;
			return 1;
		}
		s->walk.dentry = (__u64)GET(mount, s->walk.mnt, mnt_mountpoint);
		s->walk.mnt = up;
		return 0;
	}
	s->src = (__u64)GET(dentry, s->walk.dentry, d_name.name);
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

/* In two levels the verifier has fewer passes to follow. */
__noinline int walk_steps(void)
{
	_Pragma("clang loop unroll(disable)")
	for (int i = 0; i < 16; i++)
		if (walk_step())
			return 1;
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
		struct fsnotify_sb_info *info = GET(super_block, sb, s_fsnotify_info);

		if (info)
			marks = GET(fsnotify_sb_info, info, sb_marks);
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

enum { NO_NAME, WITH_NAME, WHOLE_PATH, NAME_AND_PATH };

/*
 * Describes the file behind walk.mnt and walk.dentry in ref, and appends its
 * name as asked for; where fanotify does not watch, the whole path. Returns the
 * new length. (The two are not arguments, as a global function takes no kernel
 * pointers.)
 */
__noinline __u64 put_ref(__u64 len, __u32 how)
{
	struct scratch *s = get_scratch();
	struct super_block *sb;
	struct inode *inode, *dir;
	struct file_ref *ref;
	struct dentry *parent;
	__u64 dentry, from = len;
	__u32 in;

	if (!s)
		return len;
	dentry = s->walk.dentry;
	ref = &s->ref;
	inode = GET(dentry, dentry, d_inode);
	sb = GET(inode, inode, i_sb);
	ref->ino = GET(inode, inode, i_ino);
	ref->gen = GET(inode, inode, i_generation);
	ref->mode = GET(inode, inode, i_mode);
	ref->dev = GET(super_block, sb, s_dev);
	ref->name_len = ref->path_len = 0;
	ref->parent_ino = 0;
	ref->parent_gen = 0;
	ref->walked = 0;
	ref->subvol = 0;
	s->nowhere = GET(super_block, sb, s_flags) & SB_NOUSER;
	if (s->nowhere) { /* a memfd that is executed: it has a name, but no parent */
		s->src = (__u64)GET(dentry, dentry, d_name.name);
		len += put_name(len);
		if (len > BUF_LAST)
			return len;
		s->buf[len] = 0;
		ref->path_len = len + 1 - from;
		return len + 1;
	}
	in = watched(sb, &ref->dev);
	if (in & MARKED_SUBVOLUMES)
		ref->subvol = subvolume(inode);
	if (in && (how == WITH_NAME || how == NAME_AND_PATH)) {
		parent = GET(dentry, dentry, d_parent);
		dir = GET(dentry, parent, d_inode);
		ref->parent_ino = GET(inode, dir, i_ino);
		ref->parent_gen = GET(inode, dir, i_generation);
		s->src = (__u64)GET(dentry, dentry, d_name.name);
		ref->name_len = put_name(len);
		len += ref->name_len;
	}
	if (in && how < WHOLE_PATH && !(in & MARKED_WALK) && remounts == remounts_seen)
		return len;
	ref->walked = how == WHOLE_PATH || !in;
	s->walk.len = len;
	s->walk.mnt -= bpf_core_field_offset(struct mount, mnt);
	s->walk.done = 0;
	LOOP(WALK_MAX / 16, walk_steps);
	if (!ref->walked && (!s->walk.done || s->walk.len - len > PATH_MAX))
		return len; /* its directory can be looked up: that is worth no more of the ring */
	if (!s->walk.done)
		((struct head *)s->buf)->flags |= FLAG_CUT;
	ref->path_len = s->walk.len - len;
	return s->walk.len;
}

/* The same for (m, d), into the member of a record that tells of it. */
static __always_inline __u64 put_file_as(struct scratch *s, struct file_ref *ref, __u64 len, __u64 m, __u64 d, __u32 how)
{
	s->walk.mnt = m;
	s->walk.dentry = d;
	len = put_ref(len, how);
	*ref = s->ref;
	return len;
}

static __always_inline __u64 put_file(struct scratch *s, struct file_ref *ref, __u64 len, __u64 m, __u64 d)
{
	return put_file_as(s, ref, len, m, d, WITH_NAME);
}

static __always_inline void fill_base(struct scratch *s, struct base_ref *base)
{
	base->ino = s->ref.ino;
	base->dev = s->ref.dev;
	base->gen = s->ref.gen;
	base->path_len = s->ref.path_len;
	base->walked = s->ref.walked;
	base->subvol = s->ref.subvol;
}

/* What a path is relative to: walk.mnt and walk.dentry. */
static __always_inline __u64 put_base(struct scratch *s, struct base_ref *base, __u64 len)
{
	len = put_ref(len, NO_NAME);
	fill_base(s, base);
	return len;
}

/* The file itself, where a path is none but a descriptor: a base on no device, with its whole path. */
static __always_inline __u64 put_whole(struct scratch *s, struct base_ref *base, __u64 len)
{
	len = put_ref(len, WHOLE_PATH);
	base->path_len = s->ref.path_len;
	base->walked = 1;
	return len;
}

static __always_inline struct file *get_file(struct task_struct *task, int own, __u32 fd)
{
	struct files_struct *files = OF(own, task, files);
	struct fdtable *fdt = OF(own, files, fdt);
	struct file *f = 0;

	if (fd < OF(own, fdt, max_fds))
		bpf_probe_read_kernel(&f, sizeof(f), OF(own, fdt, fd) + fd);
	return f;
}

/* The file that a relative path starts from: the working directory, a descriptor, or the root. */
static __always_inline int find_base(struct scratch *s, struct task_struct *task, int own, __u64 dfd, int absolute)
{
	struct fs_struct *fs = OF(own, task, fs);

	if (absolute) {
		s->walk.mnt = (__u64)OF(own, fs, root.mnt);
		s->walk.dentry = (__u64)OF(own, fs, root.dentry);
	} else if ((int)dfd == AT_FDCWD) {
		s->walk.mnt = (__u64)OF(own, fs, pwd.mnt);
		s->walk.dentry = (__u64)OF(own, fs, pwd.dentry);
	} else {
		struct file *f = get_file(task, own, dfd);

		if (!f)
			return 0;
		s->walk.mnt = (__u64)GET(file, f, f_path.mnt);
		s->walk.dentry = (__u64)GET(file, f, f_path.dentry);
	}
	return 1;
}

/* Process records. */

/* The number of the cgroup that a task is in, as bpf_get_current_cgroup_id has it. */
static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	struct css_set *set = 0;
	struct cgroup *c = 0;
	struct kernfs_node *kn = 0;
	__u64 id = 0;

	if (!bpf_core_field_exists(task->cgroups))
		return 0;
	bpf_core_read(&set, sizeof(set), &task->cgroups);
	bpf_core_read(&c, sizeof(c), &set->dfl_cgrp);
	bpf_core_read(&kn, sizeof(kn), &c->kn);
	bpf_core_read(&id, sizeof(id), &kn->id);
	return id;
}

/* The number of a process in its own pid namespace, the innermost where it has one. */
static __always_inline __u32 own_pid(struct task_struct *task)
{
	struct pid *pid = 0;
	__u64 level = 0;
	__u32 nr = 0;

	bpf_core_read(&pid, sizeof(pid), &task->thread_pid);
	bpf_core_read(&level, sizeof(pid->level), &pid->level);
	bpf_probe_read_kernel(&nr, sizeof(nr), (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			      level * bpf_core_type_size(struct upid) + bpf_core_field_offset(struct upid, nr));
	return nr;
}

static __always_inline void tell_fork(void *child_arg)
{
	struct task_struct *parent = current_task();
	struct task_struct *child = TYPED(task_struct, child_arg);
	struct task_struct *leader = OF(OWN, parent, group_leader);
	struct cred *cred = (struct cred *)OF(OTHER, child, cred);
	__u32 tgid = OF(OTHER, child, tgid), parent_tgid = OF(OWN, parent, tgid);
	struct identity id = { .start = OF(OTHER, child, start_boottime), .tgid = tgid };
	int root = recorder && parent_tgid == recorder;
	struct scratch *s;
	struct fork *r;
	__u64 *since;

	if (OF(OTHER, child, pid) != tgid)
		return; /* a thread */
	/* Whoever had this number is gone; user space has not retired it yet. */
	since = bpf_map_lookup_elem(&numbers, &tgid);
	if (since && *since != id.start) {
		s = get_scratch();
		if (s) {
			fill_head((struct head *)s->buf, child, OTHER, KIND_REUSE);
			emit_process(sizeof(struct head));
		}
		bpf_map_delete_elem(&numbers, &tgid);
	}
	if (!root && !is_tracked(parent, OWN))
		return;
	if (join_set(&id) != JOINED)
		return; /* on_follow may have met it: the child is there already */
	s = get_scratch();
	if (s) {
		r = (struct fork *)s->buf;
		fill_head(&r->h, child, OTHER, KIND_FORK);
		if (root)
			r->h.flags |= FLAG_RECORDER;
		r->parent_start = OF(OWN, leader, start_boottime);
		r->parent_tgid = parent_tgid;
		r->gid = OF(OTHER, cred, gid.val);
		r->cgroup = cgroup_of(child); /* which need not be its parent's */
		r->own_pid = own_pid(child);
		r->pad = 0;
		bpf_probe_read_kernel(r->comm, sizeof(r->comm), child->comm);
		emit_process(sizeof(*r));
	}
}

/* One chunk of a kernel string longer than a name. */
__noinline int kernel_chunk(void)
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
	LOOP(PATH_MAX / (CHUNK - 1) + 1, kernel_chunk);
	return s->walk.len - len;
}

__noinline int args_chunk(void)
{
	struct scratch *s = get_scratch();
	__u64 len, n;

	if (!s)
		return 1;
	n = s->walk.left;
	len = s->walk.len;
	if (n > CHUNK)
		n = CHUNK;
	if (!n || len > BUF_LAST || bpf_probe_read_user(&s->buf[len], n, (void *)s->src))
		return 1;
	s->walk.len = len + n;
	s->src += n;
	s->walk.left -= n;
	return 0;
}

/* Appends the argument area of the new image at src, NULs and all, up to so many bytes. */
__noinline long put_args(__u64 len, __u64 size, __u32 max)
{
	struct scratch *s = get_scratch();

	if (!s)
		return 0;
	s->walk.len = len;
	s->walk.left = size > max ? max : size;
	LOOP(2 * PATH_MAX / CHUNK, args_chunk);
	return s->walk.len - len;
}

struct found {
	__u64 mnt, dentry;
};

static __always_inline void mapped_file(struct vm_area_struct *vma, struct found *f)
{
	struct file *file = OF(OWN, vma, vm_file);

	if (file) {
		f->mnt = (__u64)OF(OWN, file, f_path.mnt);
		f->dentry = (__u64)OF(OWN, file, f_path.dentry);
	}
}

static long take_vma(struct task_struct *task, struct vm_area_struct *vma, struct found *f)
{
	mapped_file(TYPED(vm_area_struct, vma), f);
	return 0;
}

#define VMA_MAX 64 /* a new image has some ten */

/* The file that is mapped at base, where the kernel (before 6.1) has a list of mappings. */
static __always_inline void find_vma(struct mm_struct *mm, __u64 base, struct found *f)
{
	struct vm_area_struct *vma = OF(OWN, mm, mmap);

	_Pragma("clang loop unroll(disable)")
	for (int i = 0; i < VMA_MAX && vma; i++, vma = OF(OWN, vma, vm_next)) {
		if (base < OF(OWN, vma, vm_start) || base >= OF(OWN, vma, vm_end))
			continue;
		mapped_file(vma, f);
		break;
	}
}

/* Where the kernel mapped the ELF interpreter: AT_BASE of the new image, 0 if it has none. */
static __always_inline __u64 interp_base(struct scratch *s, struct mm_struct *mm)
{
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

/* The loader is told (AT_SECURE) where ids or capabilities were gained. */
static __always_inline int is_secure(struct linux_binprm *bprm)
{
	return BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec);
}

static __always_inline void tell_exec(void *bprm_arg)
{
	struct task_struct *task = current_task();
	struct linux_binprm *bprm = TYPED(linux_binprm, bprm_arg);
	struct file *image = OF(OTHER, bprm, file);
	struct cred *cred = (struct cred *)OF(OWN, task, cred);
	struct mm_struct *mm = OF(OWN, task, mm);
	struct found interp = {};
	struct scratch *s;
	__u32 max;
	struct exec *r;
	__u64 len = sizeof(*r), base;
	char first = 0;
	long n;

	s = begin(task, OWN, KIND_EXEC);
	if (!s)
		return;
	r = (struct exec *)s->buf;
	r->gid = OF(OWN, cred, gid.val);
	r->cgroup = bpf_get_current_cgroup_id();
	r->filename_len = r->args_len = 0;
	bpf_probe_read_kernel(r->comm, sizeof(r->comm), task->comm);
	if (OF(OTHER, bprm, interp) != OF(OTHER, bprm, filename))
		r->h.flags |= FLAG_SCRIPT;
	if (is_secure(bprm))
		r->h.flags |= FLAG_SECURE;
	base = interp_base(s, mm);
	if (base) {
		r->h.flags |= FLAG_INTERP;
		if (have_find_vma)
			bpf_find_vma(bpf_get_current_task_btf(), base, take_vma, &interp, 0);
		else if (bpf_core_field_exists(mm->mmap))
			find_vma(mm, base, &interp);
	}
	__builtin_memset(&r->interp, 0, sizeof(r->interp));
	__builtin_memset(&r->base, 0, sizeof(r->base));
	len = put_file(s, &r->image, len, (__u64)OF(OTHER, image, f_path.mnt), (__u64)OF(OTHER, image, f_path.dentry));
	if (interp.dentry)
		len = put_file(s, &r->interp, len, interp.mnt, interp.dentry);
	s->src = (__u64)OF(OTHER, bprm, filename);
	bpf_probe_read_kernel(&first, sizeof(first), (void *)s->src);
	n = put_kernel_text(len);
	if (n > 0) {
		r->filename_len = n;
		len += n;
	}
	/* The kernel put the names of all scripts among the arguments. */
	max = args_max;
	if (r->h.flags & FLAG_SCRIPT && max < SCRIPT_ARGS)
		max = SCRIPT_ARGS;
	if (max) {
		s->src = OF(OWN, mm, arg_start);
		n = put_args(len, OF(OWN, mm, arg_end) - s->src, max);
		if (n > 0) {
			r->args_len = n;
			len += n;
		}
	}
	if (r->h.flags & FLAG_SCRIPT && find_base(s, task, OWN, (__u32)AT_FDCWD, first == '/'))
		len = put_base(s, &r->base, len);
	emit_process(len);
}

/* Tells how a process ended, behind the head of the record. */
static __always_inline void emit_exit(struct scratch *s, struct task_struct *task, int own)
{
	struct task_struct *leader = OF(own, task, group_leader);
	struct signal_struct *signal = OF(own, task, signal);
	struct exit *r = (struct exit *)s->buf;

	r->status = OF(own, signal, flags) & SIGNAL_GROUP_EXIT ? OF(own, signal, group_exit_code) : OF(own, leader, exit_code);
	r->pad = 0;
	emit_process(sizeof(*r));
}

/*
 * The last thread of a group to pass here ends the process. 6.16 tells in a
 * second argument; the count of live threads, already taken down, tells on
 * every kernel. Two threads that leave together may both see 0: the reader
 * takes the first record only.
 */
static __always_inline void tell_exit(void)
{
	struct task_struct *task = current_task();
	struct signal_struct *signal = OF(OWN, task, signal);
	struct scratch *s;

	if (OF(OWN, signal, live.counter) != 0)
		return;
	s = begin(task, OWN, KIND_EXIT);
	if (s)
		emit_exit(s, task, OWN);
}

/*
 * The kernel forgets a task. That is told in a softirq, which may come in the midst of
 * another program, whose place it leaves alone; there nothing preempts it.
 */
SEC("raw_tp/sched_process_free")
int BPF_PROG(on_free, void *task_arg)
{
	struct task_struct *task = TYPED(task_struct, task_arg);
	struct {
		struct head h;
		__u64 rest[2]; /* a whole class */
	} r = {};

	if (!want_free || OF(OTHER, task, pid) != OF(OTHER, task, tgid) || !is_tracked(task, OTHER))
		return 0;
	fill_head(&r.h, task, OTHER, KIND_FREE);
	if (emit(&processes, &r.h, sizeof(r.h)))
		count_lost(LOST_PROCESS);
	return 0;
}

/* Call records. */

struct args {
	__u64 a[8];
};

static __always_inline int call_number(struct task_struct *task, struct pt_regs *regs, int *compat)
{
#if defined(__TARGET_ARCH_x86)
	*compat = !!(OF(OWN, task, thread_info.status) & TS_COMPAT);
	return (int)OF(OTHER, regs, orig_ax) & ~X32_BIT;
#else
	*compat = !!(OF(OWN, task, thread_info.flags) & TIF_32BIT);
	return OF(OTHER, regs, syscallno);
#endif
}

static __always_inline void get_args(struct args *out, struct pt_regs *regs, int compat)
{
#if defined(__TARGET_ARCH_x86)
	if (compat) {
		out->a[0] = (__u32)OF(OTHER, regs, bx);
		out->a[1] = (__u32)OF(OTHER, regs, cx);
		out->a[2] = (__u32)OF(OTHER, regs, dx);
		out->a[3] = (__u32)OF(OTHER, regs, si);
		out->a[4] = (__u32)OF(OTHER, regs, di);
	} else {
		out->a[0] = OF(OTHER, regs, di);
		out->a[1] = OF(OTHER, regs, si);
		out->a[2] = OF(OTHER, regs, dx);
		out->a[3] = OF(OTHER, regs, r10);
		out->a[4] = OF(OTHER, regs, r8);
	}
#else
	out->a[0] = OF(OTHER, regs, orig_x0);
	out->a[1] = OF(OTHER, regs, regs[1]);
	out->a[2] = OF(OTHER, regs, regs[2]);
	out->a[3] = OF(OTHER, regs, regs[3]);
	out->a[4] = OF(OTHER, regs, regs[4]);
#endif
}

/* The descriptor that the text at a place in buf names, -1 if it is no such text. */
static __always_inline int named_fd(struct scratch *s, __u64 at)
{
	static const char proc[] = "/proc/self/fd/", dev[] = "/dev/fd/";
	int i, fd = 0;

	if (at > PATH_MAX)
		return -1;
	for (i = 0; i < sizeof(dev) - 1 && s->buf[at + i] == dev[i]; i++)
		;
	if (i < sizeof(dev) - 1) {
		for (i = 0; i < sizeof(proc) - 1; i++)
			if (s->buf[at + i] != proc[i])
				return -1;
	}
	at += i;
	for (i = 0; i < 9; i++) {
		char c = s->buf[at + i];

		if (!c)
			return i ? fd : -1;
		if (c < '0' || c > '9')
			return -1;
		fd = 10 * fd + c - '0';
	}
	return -1;
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

/* A call that failed: whether it looked for a path in vain. */
static __always_inline void tell_absent(void *regs_arg, long ret)
{
	struct task_struct *task;
	struct inode *inode;
	struct pt_regs *regs;
	struct args a = {};
	struct scratch *s;
	struct call *r;
	__u64 len, dfd = (__u32)AT_FDCWD, path;
	__u8 how;
	int nr, compat;
	long n;

	if ((int)ret != -ENOENT && (int)ret != -ENOTDIR)
		return;
	task = current_task();
	regs = TYPED(pt_regs, regs_arg);
	nr = call_number(task, regs, &compat);
	if ((__u32)nr >= CALLS_MAX)
		return;
	how = compat ? compat_lookups[nr] : native_lookups[nr];
	if (how == NO_LOOKUP)
		return;
	s = begin(task, OWN, KIND_CALL);
	if (!s)
		return;
	r = (struct call *)s->buf;
	if (compat)
		r->h.flags |= FLAG_COMPAT;
	r->op = OP_ABSENT;
	r->flags = r->fmode = 0;
	r->text_len[0] = r->text_len[1] = 0;
	__builtin_memset(&r->base[0], 0, sizeof(r->base[0]));
	len = __builtin_offsetof(struct call, base) + sizeof(r->base[0]);
	get_args(&a, regs, compat);
	path = a.a[0];
	if (how == LOOKUP_AT) {
		dfd = a.a[0];
		path = a.a[1];
	}
	n = put_text(len, path);
	if (!n)
		return; /* the empty path is of nothing */
	if (n < 0) {
		r->h.flags |= FLAG_FAULT;
	} else {
		r->text_len[0] = n;
		len += n;
	}
	if (find_base(s, task, OWN, dfd, s->absolute)) {
		inode = GET(dentry, s->walk.dentry, d_inode);
		/* What is no directory, or was removed, cannot be looked up; its name is still there. */
		if ((GET(inode, inode, i_mode) & S_IFMT) == S_IFDIR && !(GET(inode, inode, i_flags) & S_DEAD))
			len = put_base(s, &r->base[0], len);
		else
			len = put_whole(s, &r->base[0], len);
		if (s->nowhere)
			return; /* below a pipe, a socket */
	}
	emit_call(len);
}

/* A system call returns. */
static __always_inline void tell_call(void *regs_arg, long ret)
{
	struct pt_regs *regs;
	struct task_struct *task;
	struct fs_struct *fs;
	struct call_row row;
	const volatile struct call_row *table;
	struct args a = {};
	struct scratch *s;
	struct call *r;
	__u64 len, text;
	int nr, compat, first, fd = -1;
	long n;

	if ((int)ret < 0) { /* of a 32-bit call the upper half may be 0 */
		if (want_absent)
			tell_absent(regs_arg, ret);
		return;
	}
	task = current_task();
	regs = TYPED(pt_regs, regs_arg);
	nr = call_number(task, regs, &compat);
	if ((__u32)nr >= CALLS_MAX)
		return;
	table = compat ? compat_calls : native_calls;
	row.op = table[nr].op;
	if (row.op == OP_NONE)
		return;
	s = begin(task, OWN, KIND_CALL);
	if (!s)
		return;
	r = (struct call *)s->buf;
	if (compat)
		r->h.flags |= FLAG_COMPAT;
	r->op = row.op;
	r->flags = r->fmode = 0;
	r->text_len[0] = r->text_len[1] = 0;
	len = __builtin_offsetof(struct call, file) + sizeof(r->file);

	if (row.op == OP_OPEN) {
		struct file *f = get_file(task, OWN, ret);

		if (!f)
			return;
		r->fmode = GET(file, f, f_mode);
		if (r->fmode & FMODE_PATH)
			return;
		r->flags = GET(file, f, f_flags);
		len = put_file(s, &r->file, len, (__u64)GET(file, f, f_path.mnt),
			       (__u64)GET(file, f, f_path.dentry));
		if (s->nowhere)
			return; /* a pipe, a socket: reached through /proc/PID/fd */
		emit_call(len);
		return;
	}
	if (row.op == OP_RING) {
		__builtin_memset(&r->file, 0, sizeof(r->file));
		emit_call(len);
		return;
	}
	if (row.op == OP_CHDIR) {
		fs = OF(OWN, task, fs);
		len = put_file(s, &r->file, len, (__u64)OF(OWN, fs, pwd.mnt), (__u64)OF(OWN, fs, pwd.dentry));
		emit_call(len);
		return;
	}
	if (row.op == OP_CHROOT) {
		fs = OF(OWN, task, fs);
		len = put_file(s, &r->file, len, (__u64)OF(OWN, fs, root.mnt), (__u64)OF(OWN, fs, root.dentry));
		emit_call(len);
		return;
	}

	if (row.op == OP_MOUNT) {
		__builtin_memset(&r->base[0], 0, sizeof(r->base[0]));
		struct nsproxy *nsproxy = GET(task_struct, task, nsproxy);
		struct mnt_namespace *ns = GET(nsproxy, nsproxy, mnt_ns);

		r->fmode = GET(mnt_namespace, ns, ns.inum);
		if (r->fmode == mount_ns)
			__sync_fetch_and_add(&remounts, 1);
		emit_call(__builtin_offsetof(struct call, base) + sizeof(r->base[0]));
		bpf_ringbuf_output(&alarm, &r->h.ts, sizeof(r->h.ts), BPF_RB_FORCE_WAKEUP);
		return;
	}

	get_args(&a, regs, compat);
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
				return;
			addr = in[1];
			size = in[2];
			r->op = OP_BIND;
		}
		n = put_sun_path(s, len, addr, size);
		if (n < 0)
			return;
		s->absolute = s->buf[text & (PATH_MAX - 1)] == '/';
	} else {
		r->flags = arg(&a, row.flags, 0);
		if (row.op == OP_UNLINK && r->flags & AT_REMOVEDIR)
			r->op = OP_RMDIR;
		n = put_text(len, arg(&a, row.path0, 0));
		if (row.op == OP_LINK && !n) /* AT_EMPTY_PATH */
			fd = a.a[0];
		else if ((row.op == OP_LINK || row.op == OP_TRUNCATE) && n > 0 && (fd = named_fd(s, text)) >= 0)
			n = 0;
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
		if (find_base(s, task, OWN, arg(&a, row.dfd1, (__u32)AT_FDCWD), s->absolute))
			len = put_base(s, &r->base[1], len);
	}
	if (fd >= 0) {
		if (find_base(s, task, OWN, fd, 0))
			len = put_whole(s, &r->base[0], len);
	} else if (r->op != OP_SYMLINK && find_base(s, task, OWN, arg(&a, row.dfd0, (__u32)AT_FDCWD), first))
		len = put_base(s, &r->base[0], len);
	emit_call(len);
}

/*
 * Rings. What io_uring does is told by two of its tracepoints: a request has its
 * texts when it is submitted, and its outcome when it is completed. They are
 * attached where the kernel has them in this form (6.0).
 */

enum { /* enum io_uring_op, linux/io_uring.h */
	IORING_OP_OPENAT = 18,
	IORING_OP_OPENAT2 = 28,
	IORING_OP_RENAMEAT = 35,
	IORING_OP_UNLINKAT,
	IORING_OP_MKDIRAT,
	IORING_OP_SYMLINKAT,
	IORING_OP_LINKAT,
};

#define REQ_F_CQE_SKIP (1 << 6) /* IOSQE_CQE_SKIP_SUCCESS */

/* Where a request has a field; at 0 it has none, nor has a kernel with another type there. */
#define AT(T, field) (bpf_core_field_exists(((T *)0)->field) ? bpf_core_field_offset(T, field) : 0)

static __always_inline int is_file_request(__u32 opcode)
{
	return opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2 || (opcode >= IORING_OP_RENAMEAT && opcode <= IORING_OP_LINKAT);
}

#define AT_NAME(T, field) (AT(T, field) ?: AT(T##___wrapped, field))

/* Where a request has its paths, and what these are relative to. */
struct asked {
	__u32 op, flags;
	__u32 dfd[2], name[2];
};

static __always_inline int find_asked(struct asked *at, __u32 opcode)
{
	switch (opcode) {
	case IORING_OP_OPENAT:
	case IORING_OP_OPENAT2:
		*at = (struct asked){ OP_OPEN, AT(struct io_open, how.flags), { AT(struct io_open, dfd) }, { AT_NAME(struct io_open, filename) } };
		return 1;
	case IORING_OP_UNLINKAT:
		*at = (struct asked){ OP_UNLINK, AT(struct io_unlink, flags), { AT(struct io_unlink, dfd) }, { AT_NAME(struct io_unlink, filename) } };
		return 1;
	case IORING_OP_MKDIRAT:
		*at = (struct asked){ OP_MKDIR, 0, { AT(struct io_mkdir, dfd) }, { AT_NAME(struct io_mkdir, filename) } };
		return 1;
	case IORING_OP_RENAMEAT:
		*at = (struct asked){ OP_RENAME, AT(struct io_rename, flags), { AT(struct io_rename, old_dfd), AT(struct io_rename, new_dfd) },
				      { AT_NAME(struct io_rename, oldpath), AT_NAME(struct io_rename, newpath) } };
		return 1;
	case IORING_OP_LINKAT:
	case IORING_OP_SYMLINKAT:
		*at = (struct asked){ OP_LINK, AT(struct io_link, flags), { AT(struct io_link, old_dfd), AT(struct io_link, new_dfd) },
				      { AT_NAME(struct io_link, oldpath), AT_NAME(struct io_link, newpath) } };
		if (opcode == IORING_OP_SYMLINKAT)
			at->op = OP_SYMLINK, at->flags = at->dfd[0] = 0;
		return 1;
	}
	return 0;
}

static __always_inline __u32 read_asked(__u64 req, __u32 at)
{
	__u32 v = 0;

	if (at)
		bpf_probe_read_kernel(&v, sizeof(v), (void *)(req + at));
	return v;
}

/* Appends a path of a request and, unless it is a link's text, what it is relative to: described in ref. */
__noinline __u64 put_asked(__u64 len, __u32 name_at, __u32 dfd_at)
{
	struct task_struct *task = current_task();
	struct scratch *s = get_scratch();
	__u64 filename = 0, req;
	char first = 0;
	long n;

	if (!s || len > BUF_LAST)
		return len;
	req = ((struct submit *)s->buf)->request; /* a pointer could not be an argument */
	__builtin_memset(&s->ref, 0, sizeof(s->ref));
	s->text_len = 0;
	if (name_at)
		bpf_probe_read_kernel(&filename, sizeof(filename), (void *)(req + name_at));
	if (!filename) {
		((struct head *)s->buf)->flags |= FLAG_FAULT;
		return len;
	}
	s->src = (__u64)GET(filename, filename, name);
	bpf_probe_read_kernel(&first, sizeof(first), (void *)s->src);
	n = put_kernel_text(len);
	s->text_len = n;
	if (dfd_at && find_base(s, task, OWN, read_asked(req, dfd_at), first == '/'))
		return put_ref(len + n, NO_NAME);
	return len + n;
}

static __always_inline void tell_submit(__u64 req)
{
	__u64 len;
	struct asked at;
	struct task_struct *task;
	struct scratch *s;
	struct submit *r;

	if (!find_asked(&at, GET(io_kiocb, req, opcode)))
		return;
	task = current_task();
	s = begin(task, OWN, KIND_SUBMIT);
	if (!s)
		return;
	r = (struct submit *)s->buf;
	r->request = req;
	r->op = at.op;
	r->flags = read_asked(req, at.flags);
	if (at.op == OP_UNLINK && r->flags & AT_REMOVEDIR)
		r->op = OP_RMDIR;
	/* Its size changed, the low half did not. */
	r->quiet = !!(read_asked(req, bpf_core_field_offset(struct io_kiocb, flags)) & REQ_F_CQE_SKIP);
	__builtin_memset(r->base, 0, sizeof(r->base));
	len = put_asked(sizeof(*r), at.name[0], at.dfd[0]);
	r->text_len[0] = s->text_len;
	fill_base(s, &r->base[0]);
	r->text_len[1] = 0;
	if (at.name[1]) {
		len = put_asked(len, at.name[1], at.dfd[1]);
		r->text_len[1] = s->text_len;
		fill_base(s, &r->base[1]);
	}
	emit_call(len);
}

static __always_inline void tell_complete(__u64 req)
{
	struct task_struct *task;
	struct file *f = 0;
	struct scratch *s;
	struct complete *r;
	__u32 opcode;
	__u64 len;

	if (!req)
		return;
	opcode = GET(io_kiocb, req, opcode);
	if (!is_file_request(opcode))
		return;
	task = current_task();
	s = begin(task, OWN, KIND_COMPLETE);
	if (!s)
		return;
	r = (struct complete *)s->buf;
	r->request = req;
	r->result = GET(io_kiocb, req, cqe.res);
	r->flags = r->fmode = r->pad = 0;
	__builtin_memset(&r->file, 0, sizeof(r->file));
	len = sizeof(*r);
	if (r->result >= 0 && opcode < IORING_OP_RENAMEAT && !read_asked(req, AT(struct io_open, file_slot)))
		f = get_file(task, OWN, r->result);
	if (f) {
		r->fmode = GET(file, f, f_mode);
		r->flags = GET(file, f, f_flags);
		len = put_file(s, &r->file, len, (__u64)GET(file, f, f_path.mnt), (__u64)GET(file, f, f_path.dentry));
		if (s->nowhere)
			r->result = -1; /* as in tell_call */
	}
	emit_call(len);
}

#include "follow.h"
#ifdef BY_PERF
#include "perf.h"
#else
#include "raw.h"
#endif
