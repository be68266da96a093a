/*
 * Calls a filemon as bmake does for one target, and says what each function
 * returns. Linked with -Wl,--wrap=malloc and so on: the child after vfork must
 * not allocate.
 */
#define _GNU_SOURCE

#include "filemon.h"

#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int in_child;

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
char *__real_strdup(const char *);
void __real_free(void *);

static void
allocates(const char *function)
{
	if (in_child) {
		dprintf(STDOUT_FILENO, "the child calls %s\n", function);
		_exit(3);
	}
}

void *__wrap_malloc(size_t n) { allocates("malloc"); return __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t s) { allocates("calloc"); return __real_calloc(n, s); }
char *__wrap_strdup(const char *s) { allocates("strdup"); return __real_strdup(s); }
void __wrap_free(void *p) { allocates("free"); __real_free(p); }

static void
said(const char *function, int r)
{
	if (r == -1)
		dprintf(STDOUT_FILENO, "%s: %s\n", function, strerrorname_np(errno));
	else
		dprintf(STDOUT_FILENO, "%s: %d\n", function, r);
}

int
main(int argc, char *argv[])
{
	struct filemon *F;
	int fd, kept, status;
	pid_t pid;

	if (argc != 2)
		errx(2, "usage: driver LOG");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		err(2, "%s", argv[1]);
	filemon_path();
	F = filemon_open();
	if (F == NULL) {
		said("open", -1);
		return 0;
	}
	said("setfd", filemon_setfd(F, fd));
	kept = dup(STDERR_FILENO);	/* the lowest number that is free */
	close(kept);
	pid = vfork();
	if (pid == -1)
		err(2, "vfork");
	if (pid == 0) {
		in_child = 1;
		said("child", filemon_setpid_child(F, getpid()));
		fd = dup(STDERR_FILENO);
		if (fd != kept)
			dprintf(STDOUT_FILENO, "the child keeps descriptor %d\n", kept);
		_exit(0);
	}
	in_child = 0;
	filemon_setpid_parent(F, pid);
	if (waitpid(pid, &status, 0) != pid)
		err(2, "waitpid");
	if (status != 0)
		dprintf(STDOUT_FILENO, "child: status %x\n", status);
	said("readfd", filemon_readfd(F) == -1 ? 0 : 1);
	said("process", filemon_process(F));
	said("close", filemon_close(F));
	fd = open("/dev/null", O_RDONLY);	/* what was the log's */
	dprintf(STDOUT_FILENO, fd == 3 ? "" : "descriptor 3 is still open\n");
	return 0;
}
