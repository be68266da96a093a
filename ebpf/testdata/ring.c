/*
 * ring has an io_uring ring do what its arguments say:
 *
 *     ring [MODE]... OP ARG... [, OP ARG...]...
 *
 * Each operation is waited for, but those behind "batch", which are submitted
 * at once; the one behind "fail" must. Modes: sqpoll (a thread of the kernel submits), defer (completions
 * wait for the task), async (a worker does it), direct (opened into a slot),
 * quiet (no completion of what succeeds), linked (one after the other).
 * It uses no library, so that nothing has to be installed. It exits with 3 where
 * there are no rings.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 256

static int keep, ring, sqpoll, quiet, direct, fail, async, linked, batch, defer;
static unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;
static unsigned queued, running;
static char must_fail[ENTRIES], opened[ENTRIES];

static void die(const char *what, int err)
{
	fprintf(stderr, "ring: %s: %s\n", what, strerror(err));
	exit(1);
}

static int flags(const char *s)
{
	int f = 0;

	for (; *s; s++)
		switch (*s) {
		case 'r': break;
		case 'w': f |= O_WRONLY; break;
		case '+': f |= O_RDWR; break;
		case 'c': f |= O_CREAT; break;
		case 't': f |= O_TRUNC; break;
		case 'x': f |= O_EXCL; break;
		case 'd': f |= O_DIRECTORY; break;
		case 'p': f |= O_PATH; break;
		default: exit(2);
		}
	return f;
}

static void setup(void)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;
	int none[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };

	if (sqpoll)
		p.flags |= IORING_SETUP_SQPOLL, p.sq_thread_idle = 2000;
	if (defer)
		p.flags |= (1U << 13) | (1U << 12); /* DEFER_TASKRUN, SINGLE_ISSUER */
	ring = syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (ring < 0)
		exit(3);
	sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(*cqes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	sqes = mmap(0, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		die("mmap", errno);
	sq_tail = (void *)(sq + p.sq_off.tail);
	sq_mask = (void *)(sq + p.sq_off.ring_mask);
	sq_array = (void *)(sq + p.sq_off.array);
	sq_flags = (void *)(sq + p.sq_off.flags);
	cq_head = (void *)(cq + p.cq_off.head);
	cq_tail = (void *)(cq + p.cq_off.tail);
	cq_mask = (void *)(cq + p.cq_off.ring_mask);
	cqes = (void *)(cq + p.cq_off.cqes);
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, 8) < 0)
		die("register", errno);
}

static struct io_uring_sqe *get(int op)
{
	unsigned tail = *sq_tail + queued;
	struct io_uring_sqe *e = &sqes[tail & *sq_mask];

	if (op == IORING_OP_LAST)
		exit(2);
	memset(e, 0, sizeof(*e));
	e->opcode = op;
	e->fd = AT_FDCWD;
	e->user_data = tail & *sq_mask;
	must_fail[e->user_data] = fail;
	opened[e->user_data] = 0;
	if (async)
		e->flags |= IOSQE_ASYNC;
	if (linked)
		e->flags |= IOSQE_IO_LINK;
	if (quiet)
		e->flags |= IOSQE_CQE_SKIP_SUCCESS;
	if (!quiet || fail)
		running++;
	sq_array[tail & *sq_mask] = tail & *sq_mask;
	queued++;
	return e;
}

static void reap(void)
{
	while (*cq_head != __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *c = &cqes[*cq_head & *cq_mask];

		if ((c->res < 0) != must_fail[c->user_data])
			die("a request", c->res < 0 ? -c->res : 0);
		if (opened[c->user_data]) {
			if (keep && write(c->res, "text", 4) != 4)
				die("write", errno);
			close(c->res);
		}
		running--;
		__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	}
}

static void submit(void)
{
	long ret;

	__atomic_store_n(sq_tail, *sq_tail + queued, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!sqpoll)
		ret = syscall(SYS_io_uring_enter, ring, queued, running, IORING_ENTER_GETEVENTS, 0, 0);
	else
		ret = syscall(SYS_io_uring_enter, ring, 0, running, IORING_ENTER_GETEVENTS |
			      (*sq_flags & IORING_SQ_NEED_WAKEUP ? IORING_ENTER_SQ_WAKEUP : 0), 0, 0);
	if (ret < 0)
		die("io_uring_enter", errno);
	queued = 0;
	reap();
	while (running) {
		syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
		reap();
	}
	if (quiet)
		usleep(50000); /* nothing tells when it is done */
}

int main(int argc, char **argv)
{
	char **a = argv + 1;

	alarm(20);

	for (; *a; a++) {
		if (!strcmp(*a, "sqpoll")) sqpoll = 1;
		else if (!strcmp(*a, "defer")) defer = 1;
		else if (!strcmp(*a, "async")) async = 1;
		else if (!strcmp(*a, "direct")) direct = 1;
		else if (!strcmp(*a, "quiet")) quiet = 1;
		else if (!strcmp(*a, "linked")) linked = 1;
		else if (!strcmp(*a, "batch")) batch = 1;
		else break;
	}
	setup();
	while (*a) {
		static struct open_how how[ENTRIES];
		struct io_uring_sqe *e;
		char *op = *a++;

#define OP(name) else if (!strcmp(op, name))
#define ADDR(p) ((unsigned long)(p))
		if (0) ;
		OP("open") {
			e = get(IORING_OP_OPENAT), e->addr = ADDR(a[0]), e->open_flags = flags(a[1]), e->len = 0666, a += 2;
			e->file_index = direct ? 1 : 0, opened[e->user_data] = !direct;
		}
		OP("openat") { /* DIRECTORY NAME FLAGS */
			e = get(IORING_OP_OPENAT), e->fd = open(a[0], O_PATH), e->addr = ADDR(a[1]), e->open_flags = flags(a[2]), e->len = 0666, a += 3;
			e->file_index = direct ? 1 : 0, opened[e->user_data] = !direct;
		}
		OP("open2") {
			e = get(IORING_OP_OPENAT2), e->addr = ADDR(a[0]), e->len = sizeof(how[0]), e->off = ADDR(&how[e->user_data]);
			how[e->user_data].flags = flags(a[1]), how[e->user_data].mode = flags(a[1]) & O_CREAT ? 0666 : 0, a += 2;
			e->file_index = direct ? 1 : 0, opened[e->user_data] = !direct;
		}
		OP("unlink") e = get(IORING_OP_UNLINKAT), e->addr = ADDR(a[0]), a++;
		OP("rmdir") e = get(IORING_OP_UNLINKAT), e->addr = ADDR(a[0]), e->unlink_flags = AT_REMOVEDIR, a++;
		OP("mkdir") e = get(IORING_OP_MKDIRAT), e->addr = ADDR(a[0]), e->len = 0777, a++;
		OP("rename") e = get(IORING_OP_RENAMEAT), e->addr = ADDR(a[0]), e->len = AT_FDCWD, e->addr2 = ADDR(a[1]), a += 2;
		OP("exchange") e = get(IORING_OP_RENAMEAT), e->addr = ADDR(a[0]), e->len = AT_FDCWD, e->addr2 = ADDR(a[1]), e->rename_flags = RENAME_EXCHANGE, a += 2;
		OP("symlink") e = get(IORING_OP_SYMLINKAT), e->addr = ADDR(a[0]), e->addr2 = ADDR(a[1]), a += 2;
		OP("link") e = get(IORING_OP_LINKAT), e->addr = ADDR(a[0]), e->len = AT_FDCWD, e->addr2 = ADDR(a[1]), a += 2;
		OP("fail") { fail = 1; continue; } /* the next one must */
		OP("chdir") { if (chdir(*a++)) die("chdir", errno); }
		OP("pause") { usleep(atoi(*a++)); }
		OP("fill") { keep = 1; continue; } /* what the next one opens is written to */
		OP("syscall") { /* an open that no ring does */
			int fd = open(a[0], flags(a[1]), 0666);

			if (fd < 0) die(a[0], errno);
			close(fd), a += 2;
		}
		else { fprintf(stderr, "ring: unknown: %s\n", op); exit(2); }
		if (*a && !strcmp(*a, ","))
			a++;
		fail = 0;
		if (queued && !(batch && *a))
			submit(), keep = 0;
	}
	return 0;
}
