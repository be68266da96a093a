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

int main(void) {
	must(getcwd(here, sizeof here) ? 0 : -1);
	if ((errno = -io_uring_queue_init(8, &ring, 0))) {
		perror("io_uring_queue_init");
		return 1;
	}
	for (int i = 0; i < 10; i++) {
		all(0);
		all(1);
	}
}
