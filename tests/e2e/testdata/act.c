/*
 * act does what its arguments say, one system call after the other, for tests
 * that must know exactly what one process did:
 *
 *     act OP ARG... [, OP ARG...]...
 *
 * It stops at the first call that fails, and says which.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;
static char **next; /* what is left to do */

static void run(void);

static void check(long ret, const char *op)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "act: %s: %s\n", op, strerror(errno));
	exit(1);
}

/* Flags of open(2): r w + for the mode, then c t x a d p as in O_CREAT, O_TRUNC, ... */
static int flags(const char *s)
{
	int f = 0;

	for (; *s; s++)
		switch (*s) {
		case 'r': f |= O_RDONLY; break;
		case 'w': f |= O_WRONLY; break;
		case '+': f |= O_RDWR; break;
		case 'c': f |= O_CREAT; break;
		case 't': f |= O_TRUNC; break;
		case 'x': f |= O_EXCL; break;
		case 'a': f |= O_APPEND; break;
		case 'd': f |= O_DIRECTORY; break;
		case 'p': f |= O_PATH; break;
		case 'n': f |= O_NONBLOCK; break;
		default: fprintf(stderr, "act: flag %c\n", *s); exit(2);
		}
	return f;
}

static int dir(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY);

	check(fd, path);
	return fd;
}

/* Nothing is there. */
static void absent(int dir, const char *path)
{
	struct stat st;

	if (!fstatat(dir, path, &st, 0)) {
		errno = EEXIST;
		check(-1, path);
	}
	if (errno != ENOENT && errno != ENOTDIR)
		check(-1, path);
}

static int spawned(pid_t pid)
{
	int status;

	check(waitpid(pid, &status, 0), "waitpid");
	return status;
}

/* The words up to the next comma, as an argv. */
static char **words(void)
{
	char **argv = next;

	while (*next && strcmp(*next, ","))
		next++;
	if (*next)
		*next++ = 0;
	return argv;
}

static void *thread(void *unused)
{
	run();
	return 0;
}

static void *threadexec(void *argv)
{
	execv(((char **)argv)[0], argv);
	check(-1, "exec in a thread");
	return 0;
}

/* open(2) by the 32-bit table of a 64-bit process. */
static long open32(const char *path, int fl)
{
#ifdef __x86_64__
	char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long ret;

	strcpy(low, path);
	__asm__ volatile("int $0x80" : "=a"(ret) : "0"(5L), "b"((long)low), "c"((long)fl), "d"(0666L) : "memory");
	if (ret < 0) {
		errno = -ret;
		return -1;
	}
	return (int)ret;
#else
	return open(path, fl, 0666);
#endif
}

/* A child writes through a descriptor that it is sent: it was forked before the open. */
static void pass(const char *path, const char *text)
{
	char space[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2], fd;
	pid_t pid;

	check(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
	check(pid = fork(), "fork");
	if (!pid) {
		check(recvmsg(pair[1], &m, 0), "recvmsg");
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		check(write(fd, text, strlen(text)), "write");
		_exit(0);
	}
	check(fd = open(path, O_WRONLY | O_CREAT, 0666), path);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	check(sendmsg(pair[0], &m, 0), "sendmsg");
	spawned(pid);
	close(fd);
}

static void run(void)
{
	while (*next) {
		char *op = *next++;
		/* What is executed instead of act takes all that is left. */
		int all = !strcmp(op, "exec") || !strcmp(op, "execmemory") || !strcmp(op, "threadexec");
		char **a = all ? next : words(), **saved;
		pthread_t t;
		pid_t pid;
		int fd;

#define OP(name) else if (!strcmp(op, name))
		if (!strcmp(op, "open")) { check(fd = open(a[0], flags(a[1]), 0666), a[0]); close(fd); }
		OP("open32") { check(fd = open32(a[0], flags(a[1])), a[0]); close(fd); }
		OP("openat") { check(fd = openat(dir(a[0]), a[1], flags(a[2]), 0666), a[1]); close(fd); }
		OP("byhandle") {
			union { struct file_handle h; char space[sizeof(struct file_handle) + MAX_HANDLE_SZ]; } u = { .h.handle_bytes = MAX_HANDLE_SZ };
			int mount;

			check(name_to_handle_at(AT_FDCWD, a[0], &u.h, &mount, 0), a[0]);
			check(mount = open(".", O_RDONLY | O_DIRECTORY), ".");
			check(fd = open_by_handle_at(mount, &u.h, flags(a[1])), a[0]);
			close(fd), close(mount);
		}
		OP("openat2") {
			struct open_how how = { .flags = flags(a[1]), .mode = flags(a[1]) & O_CREAT ? 0666 : 0 };

			check(fd = syscall(SYS_openat2, AT_FDCWD, a[0], &how, sizeof(how)), a[0]);
			close(fd);
		}
		OP("creat") { check(fd = creat(a[0], 0666), a[0]); close(fd); }
		OP("fail") { /* an open that is to fail */
			if (open(a[0], flags(a[1]), 0666) >= 0) { errno = 0; check(-1, "must fail"); }
		}
		OP("absent") absent(AT_FDCWD, a[0]);
		OP("absentat") absent(dir(a[0]), a[1]);
		OP("write") { check(write(atoi(a[0]), a[1], strlen(a[1])), a[0]); }
		OP("mkdir") check(mkdir(a[0], 0777), a[0]);
		OP("mkdirat") check(mkdirat(dir(a[0]), a[1], 0777), a[1]);
		OP("rmdir") check(rmdir(a[0]), a[0]);
		OP("unlink") check(unlink(a[0]), a[0]);
		OP("unlinkat") check(unlinkat(dir(a[0]), a[1], 0), a[1]);
		OP("rmdirat") check(unlinkat(dir(a[0]), a[1], AT_REMOVEDIR), a[1]);
		OP("rename") check(rename(a[0], a[1]), a[0]);
		OP("renameat") check(renameat(dir(a[0]), a[1], dir(a[2]), a[3]), a[1]);
		OP("exchange") check(renameat2(AT_FDCWD, a[0], AT_FDCWD, a[1], RENAME_EXCHANGE), a[0]);
		OP("link") check(link(a[0], a[1]), a[0]);
		OP("linkfollow") check(linkat(AT_FDCWD, a[0], AT_FDCWD, a[1], AT_SYMLINK_FOLLOW), a[0]);
		OP("linkat") check(linkat(dir(a[0]), a[1], dir(a[2]), a[3], 0), a[1]);
		OP("symlink") check(symlink(a[0], a[1]), a[1]);
		OP("mknod") check(mknod(a[0], S_IFREG | 0644, 0), a[0]);
		OP("mkfifo") check(mkfifo(a[0], 0666), a[0]);
		OP("bind") {
			struct sockaddr_un sun = { .sun_family = AF_UNIX };

			strncpy(sun.sun_path, a[0], sizeof(sun.sun_path));
			check(fd = socket(AF_UNIX, SOCK_STREAM, 0), "socket");
			check(bind(fd, (void *)&sun, sizeof(sun)), a[0]);
			close(fd);
		}
		OP("abstract") { /* a socket whose name is in no filesystem */
			struct sockaddr_un sun = { .sun_family = AF_UNIX };

			strncpy(sun.sun_path + 1, a[0], sizeof(sun.sun_path) - 1);
			check(fd = socket(AF_UNIX, SOCK_STREAM, 0), "socket");
			check(bind(fd, (void *)&sun, sizeof(sun)), a[0]);
			close(fd);
		}
		OP("truncate") check(truncate(a[0], atol(a[1])), a[0]);
		OP("chdir") check(chdir(a[0]), a[0]);
		OP("fchdir") { check(fd = open(a[0], O_PATH), a[0]); check(fchdir(fd), a[0]); close(fd); }
		OP("chroot") check(chroot(a[0]), a[0]);
		OP("mount") check(mount("none", a[0], a[1], 0, 0), a[0]);
		OP("mountdata") check(mount("none", a[0], a[1], 0, a[2]), a[0]);
		OP("pivot") check(syscall(SYS_pivot_root, a[0], a[1]), a[0]);
		OP("bindmount") check(mount(a[0], a[1], 0, MS_BIND, 0), a[0]);
		OP("umount") check(umount(a[0]), a[0]);
		OP("unshare") check(unshare(CLONE_NEWNS), "unshare") , check(mount("none", "/", 0, MS_REC | MS_PRIVATE, 0), "private");
		OP("tmpfile") { /* a file without a name that is then given one */
			char path[64];

			check(fd = open(a[0], O_TMPFILE | O_RDWR, 0666), a[0]);
			snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
			check(linkat(AT_FDCWD, path, AT_FDCWD, a[1], AT_SYMLINK_FOLLOW), a[1]);
			close(fd);
		}
		OP("tmpfile0") { /* by AT_EMPTY_PATH */
			check(fd = open(a[0], O_TMPFILE | O_WRONLY, 0666), a[0]);
			check(linkat(fd, "", AT_FDCWD, a[1], AT_EMPTY_PATH), a[1]);
			close(fd);
		}
		OP("descriptor") { /* what names a file only by a descriptor: link it twice, truncate it */
			char path[64];

			check(fd = open(a[0], O_PATH), a[0]);
			check(linkat(fd, "", AT_FDCWD, a[1], AT_EMPTY_PATH), a[1]);
			snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
			check(linkat(AT_FDCWD, path, AT_FDCWD, a[2], AT_SYMLINK_FOLLOW), a[2]);
			snprintf(path, sizeof(path), "/dev/fd/%d", fd);
			check(truncate(path, 0), path);
			close(fd);
		}
		OP("linkthrough") check(linkat(AT_FDCWD, a[0], AT_FDCWD, a[1], AT_SYMLINK_FOLLOW), a[1]);
		OP("chmod") check(chmod(a[0], strtol(a[1], 0, 8)), a[0]);
		OP("setxattr") check(setxattr(a[0], "user.test", "x", 1, 0), a[0]);
		OP("chown") check(chown(a[0], -1, getgid()), a[0]);
		OP("utimes") check(utimensat(AT_FDCWD, a[0], 0, 0), a[0]);
		OP("keep") check(open(a[0], flags(a[1]), 0666), a[0]); /* the descriptor stays */
		OP("ftruncate") check(ftruncate(atoi(a[0]), atol(a[1])), a[0]);
		OP("pass") pass(a[0], a[1]);
		OP("setgid") check(setgid(atoi(a[0])), a[0]);
		OP("setuid") check(setuid(atoi(a[0])), a[0]);
		OP("exec") { execv(a[0], a); check(-1, a[0]); }
		OP("execmemory") { /* the program copied to where it has no file */
			char buf[65536];
			long n;
			int mem = memfd_create(a[0], 0);

			check(fd = open(a[0], O_RDONLY), a[0]);
			while ((n = read(fd, buf, sizeof(buf))) > 0)
				check(write(mem, buf, n), "memfd");
			execveat(mem, "", a, environ, AT_EMPTY_PATH);
			check(-1, "execveat");
		}
		OP("execfail") { /* an exec that is to fail */
			execv(a[0], a);
			printf("exec %s: %s\n", a[0], strerror(errno));
			fflush(stdout);
		}
		OP("fork") { /* the rest in a child, and wait for it */
			saved = next;
			check(pid = fork(), "fork");
			if (!pid) { run(); _exit(0); }
			next = saved;
			_exit(WEXITSTATUS(spawned(pid)));
		}
		OP("vfork") {
			check(pid = vfork(), "vfork");
			if (!pid) { execv(a[0], a); _exit(127); }
			spawned(pid);
		}
		OP("spawn") {
			errno = posix_spawn(&pid, a[0], 0, 0, a, environ);
			check(errno ? -1 : 0, a[0]);
			spawned(pid);
		}
		OP("thread") { /* the rest in another thread */
			check(pthread_create(&t, 0, thread, 0) ? -1 : 0, "thread");
			pthread_join(t, 0);
		}
		OP("threadexec") {
			check(pthread_create(&t, 0, threadexec, a) ? -1 : 0, "thread");
			pthread_join(t, 0);
			check(-1, "threadexec");
		}
		OP("daemon") { /* the rest in a process that nobody waits for */
			check(pid = fork(), "fork");
			if (pid)
				_exit(0);
			setsid();
			check(pid = fork(), "fork");
			if (pid)
				_exit(0);
			check(fd = open("/dev/null", O_RDWR), "/dev/null");
			dup2(fd, 0), dup2(fd, 1), dup2(fd, 2);
		}
		OP("usleep") usleep(atoi(a[0]));
		OP("urgent") { /* preempts, from here on, whoever else is on that processor, if it may */
			struct sched_param param = { .sched_priority = 1 };
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET(atoi(a[0]) % sysconf(_SC_NPROCESSORS_ONLN), &set);
			if (!sched_setaffinity(0, sizeof(set), &set))
				sched_setscheduler(0, SCHED_FIFO, &param);
		}
		OP("await") { while (access(a[0], F_OK)) usleep(1000); }
		OP("repeat") { /* N times the rest */
			int i, n = atoi(a[0]);
			static char *copy[1000];

			for (saved = next, fd = 0; saved[fd]; fd++)
				copy[fd] = saved[fd];
			for (i = 0; i < n; i++) {
				memcpy(saved, copy, fd * sizeof(*saved));
				next = saved;
				run();
			}
		}
		OP("signals") { /* which are ignored, which are blocked */
			sigset_t set;
			struct sigaction sa;
			int i;

			sigprocmask(SIG_BLOCK, 0, &set);
			for (i = 1; i < 32; i++) {
				sigaction(i, 0, &sa);
				if (sa.sa_handler == SIG_IGN)
					printf("ignored %d\n", i);
				if (sigismember(&set, i))
					printf("blocked %d\n", i);
			}
			fflush(stdout);
		}
		OP("raise") raise(atoi(a[0]));
		OP("exit") exit(atoi(a[0]));
		else { fprintf(stderr, "act: unknown: %s\n", op); exit(2); }
	}
}

int main(int argc, char **argv)
{
	next = argv + 1;
	run();
	return 0;
}
