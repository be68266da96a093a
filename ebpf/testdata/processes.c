// What threads do to processes. The first argument says which.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char **args;

static void must(int ok)
{
	if (!ok) {
		perror("processes.c");
		_exit(99);
	}
}

static pthread_barrier_t meet;

// Each thread makes a directory while there are several.
static void *make(void *name)
{
	pthread_barrier_wait(&meet);
	must(mkdir(name, 0700) == 0);
	pthread_barrier_wait(&meet);
	return 0;
}

static void *leave(void *unused)
{
	exit(7);
}

static void *outlive(void *leader)
{
	// A thread group leader that has left is a zombie, and cannot be joined
	// with before it has.
	pthread_join(*(pthread_t *)leader, 0);
	must(mkdir("outlived", 0700) == 0);
	_exit(5);
}

static void *execute(void *unused)
{
	execv(args[0], args);
	_exit(99);
}

// The page is not there all the time; whoever touches it gets it from the file.
static void *drop(void *page)
{
	for (;;)
		madvise(page, 4096, MADV_DONTNEED);
}

static void wait_for(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
}

int main(int argc, char **argv)
{
	const char *what = argv[1];
	pthread_t a, b, self = pthread_self();
	pid_t pid;

	args = argv + 2;
	if (!strcmp(what, "threads")) {
		must(mkdir("alone", 0700) == 0);
		pthread_barrier_init(&meet, 0, 2);
		must(pthread_create(&a, 0, make, "a") == 0 && pthread_create(&b, 0, make, "b") == 0);
		pthread_join(a, 0);
		pthread_join(b, 0);
	} else if (!strcmp(what, "exit-in-thread")) {
		must(pthread_create(&a, 0, leave, 0) == 0);
		pause();
	} else if (!strcmp(what, "leader-leaves")) {
		must(pthread_create(&a, 0, outlive, &self) == 0);
		pthread_exit(0);
	} else if (!strcmp(what, "exec-in-thread")) {
		must(pthread_create(&a, 0, execute, 0) == 0);
		pause();
	} else if (!strcmp(what, "vfork")) {
		if (!(pid = vfork())) {
			execv(args[0], args);
			_exit(99);
		}
		wait_for(pid);
	} else if (!strcmp(what, "spawn")) {
		must(posix_spawn(&pid, args[0], 0, 0, args, environ) == 0);
		wait_for(pid);
	} else if (!strcmp(what, "sibling")) {
		// The child's parent is this process's own.
		if (!syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0))
			_exit(4);
	} else if (!strcmp(what, "pid")) {
		// A child with the given number.
		pid = atoi(args[0]);
		struct clone_args c = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
		pid_t got = syscall(SYS_clone3, &c, sizeof(c));

		if (!got)
			_exit(0);
		must(got == pid);
		wait_for(pid);
	} else if (!strcmp(what, "page-dropped")) {
		// The file args[0] has the name of a directory.
		char *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE, open(args[0], O_RDONLY), 0);

		must(page != MAP_FAILED);
		must(pthread_create(&a, 0, drop, page) == 0);
		for (int i = 0; i < 500; i++)
			must(mkdir(page, 0700) == 0 && rmdir(page) == 0);
	} else if (!strcmp(what, "segv")) {
		raise(SIGSEGV);
	} else {
		return 98;
	}
	return 0;
}
