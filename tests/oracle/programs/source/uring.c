// Files by io_uring. strace sees no call of a ring, so the program says what it did: by a symlink(2) to nowhere, which fails (told.go).
#include "must.h"
#include <fcntl.h>
#include <liburing.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static struct io_uring ring;
static char here[4096];

// tell tells of one operation that is done. Names are absolute: $ stands for the directory where we were started.
static void tell(const char *record, ...) {
	char said[4096];
	va_list args;
	va_start(args, record);
	vsnprintf(said, sizeof said, record, args);
	va_end(args);
	char text[4096] = "", *to = text;
	for (const char *c = said; *c; c++)
		to += *c == '$' ? sprintf(to, "%s", here) : sprintf(to, "%c", *c);
	fails(symlink(text, ""), ENOENT);
}

static long submit(void) {
	struct io_uring_cqe *cqe;
	must(io_uring_submit(&ring));
	must(io_uring_wait_cqe(&ring, &cqe));
	long got = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	if (got < 0) {
		errno = -got;
		return -1;
	}
	return got;
}

// run puts one request into the ring and waits for it. An async one is done by a worker thread of the kernel.
#define run(prepare, ...)                                                  \
	({                                                                 \
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);        \
		io_uring_prep_##prepare(sqe, __VA_ARGS__);                 \
		if (async)                                                 \
			sqe->flags |= IOSQE_ASYNC;                         \
		submit();                                                 \
	})

static void all(int async) {
	char in[64];
	snprintf(in, sizeof in, "dir%d", async);
	must(run(mkdirat, AT_FDCWD, in, 0700)), tell("W $/%s", in);
	int dir = must(run(openat, AT_FDCWD, in, O_RDONLY | O_DIRECTORY, 0));
	tell("R $/%s", in);
	close(must(run(openat, dir, "new", O_WRONLY | O_CREAT, 0600))), tell("W $/%s/new", in);
	close(must(run(openat, dir, "new", O_RDONLY, 0))), tell("R $/%s/new", in);
	close(must(run(openat, dir, "both", O_RDWR | O_CREAT, 0600))), tell("R $/%s/both", in), tell("W $/%s/both", in);
	close(must(run(openat, dir, "new", O_WRONLY, 0))), tell("W $/%s/new", in);
	close(must(run(openat, dir, "new", O_RDWR, 0))), tell("R $/%s/new", in), tell("W $/%s/new", in);
	struct open_how how = {.flags = O_WRONLY | O_TRUNC};
	close(must(run(openat2, dir, "new", &how))), tell("W $/%s/new", in);
	must(run(linkat, dir, "new", dir, "hard", 0)), tell("L '$/%s/new' '$/%s/hard'", in, in);
	must(run(symlinkat, "new", dir, "soft")), tell("L 'new' '$/%s/soft'", in);
	must(run(renameat, dir, "hard", dir, "moved", 0)), tell("M '$/%s/hard' '$/%s/moved'", in, in);
	must(run(renameat, dir, "moved", dir, "both", 0)), tell("M '$/%s/moved' '$/%s/both'", in, in);
	must(run(unlinkat, dir, "soft", 0)), tell("D $/%s/soft", in);
	must(run(unlinkat, dir, "both", 0)), tell("D $/%s/both", in);
	fails(run(openat, dir, "nowhere", O_RDONLY, 0), ENOENT);
	fails(run(unlinkat, dir, "nowhere", 0), ENOENT);
	close(must(open("between", O_WRONLY | O_CREAT, 0600))); // by a call
	must(run(unlinkat, dir, "new", 0)), tell("D $/%s/new", in);
	must(run(unlinkat, AT_FDCWD, in, AT_REMOVEDIR)), tell("D $/%s", in);
	close(dir);
}

enum { nothing, fd_wanted };

// finish waits for requests that were put into the ring together.
static void finish(int requests) {
	struct io_uring_cqe *cqe;
	must(io_uring_submit(&ring));
	for (int i = 0; i < requests; i++) {
		must(io_uring_wait_cqe(&ring, &cqe));
		if (cqe->res < 0) {
			fprintf(stderr, "request %d: %s\n", (int)cqe->user_data, strerror(-cqe->res));
			exit(1);
		}
		if (cqe->user_data == fd_wanted)
			close(cqe->res);
		io_uring_cqe_seen(&ring, cqe);
	}
}

// with puts one of several requests into the ring. result tells what becomes of it.
#define with(prepare, flag, result, ...)                                   \
	({                                                                 \
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);        \
		io_uring_prep_##prepare(sqe, __VA_ARGS__);                 \
		sqe->flags |= (flag);                                      \
		sqe->user_data = (result);                                 \
	})

// batches puts many requests into the ring at once: that depend on each other, and that do not.
static void batches(int async) {
	static const char *const names[] = {"batch0", "batch1", "batch2", "batch3", "batch4", "batch5"};
	int flag = async ? IOSQE_ASYNC : 0;
	for (int i = 0; i < 6; i++)
		with(openat, flag, fd_wanted, AT_FDCWD, names[i], O_WRONLY | O_CREAT, 0600);
	finish(6);
	for (int i = 0; i < 6; i++)
		tell("%sW $/%s", i ? "+" : "", names[i]);
	for (int i = 0; i < 6; i++)
		with(unlinkat, flag, nothing, AT_FDCWD, names[i], 0);
	finish(6);
	for (int i = 0; i < 6; i++)
		tell("%sD $/%s", i ? "+" : "", names[i]);

	flag |= IOSQE_IO_LINK;
	with(mkdirat, flag, nothing, AT_FDCWD, "chain", 0700);
	with(openat, flag, fd_wanted, AT_FDCWD, "chain/a", O_RDWR | O_CREAT, 0600);
	with(renameat, flag, nothing, AT_FDCWD, "chain", AT_FDCWD, "chained", 0);
	with(openat, flag, fd_wanted, AT_FDCWD, "chained/a", O_RDONLY, 0);
	with(unlinkat, flag, nothing, AT_FDCWD, "chained/a", 0);
	with(unlinkat, 0, nothing, AT_FDCWD, "chained", AT_REMOVEDIR);
	finish(6);
	tell("W $/chain"), tell("R $/chain/a"), tell("W $/chain/a"), tell("M '$/chain' '$/chained'");
	tell("R $/chained/a"), tell("D $/chained/a"), tell("D $/chained");
}

// slots are opens into a slot of the ring, where there is no descriptor, and requests of which only a failure is told.
static void slots(int async) {
	int flag = IOSQE_IO_LINK | (async ? IOSQE_ASYNC : 0);
	with(openat_direct, flag, nothing, AT_FDCWD, "slot", O_WRONLY | O_CREAT, 0600, 1);
	with(close_direct, 0, nothing, 1);
	finish(2);
	tell("W $/slot");
	with(openat_direct, flag, nothing, AT_FDCWD, "slot", O_RDWR, 0, 0);
	with(close_direct, 0, nothing, 0);
	finish(2);
	tell("R $/slot"), tell("W $/slot");
	with(renameat, flag | IOSQE_CQE_SKIP_SUCCESS, nothing, AT_FDCWD, "slot", AT_FDCWD, "moved", 0);
	with(unlinkat, 0, nothing, AT_FDCWD, "moved", 0);
	finish(1);
	tell("M '$/slot' '$/moved'"), tell("D $/moved");
}

static void with_ring(unsigned flags, int quiet) {
	struct io_uring_params params = {.flags = flags, .sq_thread_idle = 10};
	if ((errno = -io_uring_queue_init_params(16, &ring, &params))) {
		perror("io_uring_queue_init_params");
		exit(1);
	}
	must(io_uring_register_files_sparse(&ring, 4));
	for (int i = 0; i < 10; i++) {
		for (int async = 0; async < 2; async++) {
			if (quiet) {
				slots(async);
				continue;
			}
			all(async);
			batches(async);
		}
	}
	io_uring_queue_exit(&ring);
}

int main(int argc, char **argv) {
	int quiet = argc > 1 && !strcmp(argv[1], "slots");
	must(getcwd(here, sizeof here) ? 0 : -1);
	with_ring(0, quiet);
	with_ring(IORING_SETUP_SQPOLL, quiet); // the kernel looks at the ring by itself
}
