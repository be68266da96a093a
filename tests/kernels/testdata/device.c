/*
 * What a client of /dev/filemon may do, case by case:
 *
 *	device CASE
 *
 * It says what is not as it should be, and fails then. The cases expect the
 * recordings of tests/kernels/filemon.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <filemon.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG "/tmp/log"

static int failed;

static void
wrong(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	failed = 1;
}

static void
fatal(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

/* want checks the outcome of a call: 0 or an errno. */
static void
want(const char *what, long result, int error)
{
	int got = result < 0 ? errno : 0;

	if (got != error)
		wrong("%s: %s, want %s", what, strerror(got), strerror(error));
}

static int
device(void)
{
	int fd = open("/dev/filemon", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fatal("open /dev/filemon");
	return fd;
}

static int
make(const char *name)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		fatal(name);
	return fd;
}

static int
set_fd(int dev, int fd)
{
	return ioctl(dev, FILEMON_SET_FD, &fd);
}

static int
set_pid(int dev, pid_t pid)
{
	return ioctl(dev, FILEMON_SET_PID, &pid);
}

/* contents returns what is in a file. */
static const char *
contents(const char *name)
{
	static char text[1 << 16];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n, all = 0;

	if (fd < 0)
		fatal(name);
	while ((n = read(fd, text + all, sizeof text - 1 - all)) > 0)
		all += n;
	text[all] = 0;
	close(fd);
	return text;
}

/* holds checks that a log is what the format says. */
static void
holds(const char *name, const char *format, ...)
{
	char expected[4096];
	const char *text = contents(name);
	va_list ap;

	va_start(ap, format);
	vsnprintf(expected, sizeof expected, format, ap);
	va_end(ap);
	if (strcmp(text, expected) != 0)
		wrong("%s has\n%swant\n%s", name, text, expected);
}

#define HEADER "# filemon version 5\n# Target pid %d\nV 5\n"
#define END "# Stop\n# Bye bye\n"
#define UNFINISHED "R"	/* what a log that has no end ends with */

/* sleeper forks a process that does nothing until it is killed. */
static pid_t
sleeper(uid_t uid)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (uid != 0 && (setgid(uid) || setuid(uid)))
			_exit(1);
		for (;;)
			pause();
	}
	return pid;
}

static int
reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fatal("waitpid");
	return status;
}

static void
end(pid_t pid)
{
	kill(pid, SIGKILL);
	reap(pid);
}

static void
succeeds(const char *what, pid_t pid)
{
	int status = reap(pid);

	if (status != 0)
		wrong("%s: wait status %#x", what, status);
}

/* asleep waits until a child sleeps in a system call. */
static void
asleep(pid_t pid, long call)
{
	char name[64], text[512];
	long in;

	for (;;) {
		FILE *f;

		snprintf(name, sizeof name, "/proc/%d/syscall", pid);
		if ((f = fopen(name, "r")) == NULL)
			fatal(name);
		in = -1;
		/* "running" is no number. */
		if (fgets(text, sizeof text, f) != NULL)
			sscanf(text, "%ld", &in);
		fclose(f);
		if (in == call)
			return;
		siginfo_t info = { 0 };
		if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == pid) {
			wrong("process %d has ended without a wait in system call %ld", pid, call);
			return;
		}
		sched_yield();
	}
}

static void
errors(void)
{
	int dev = device(), other, log = make(LOG), fd, pair[2], self = getpid();
	char byte = 0;
	struct pollfd p = { dev, POLLIN | POLLOUT, 0 };
	struct stat st;
	pid_t child;

	if (stat("/dev/filemon", &st) || !S_ISCHR(st.st_mode) || (st.st_mode & 07777) != 0666)
		wrong("/dev/filemon has mode %o, want a character device with 0666", st.st_mode);
	want("read", read(dev, &byte, 1), ENODEV);
	want("write", write(dev, &byte, 1), ENODEV);
	if (poll(&p, 1, 0) != 1 || p.revents != (POLLIN | POLLOUT))
		wrong("poll: %#x", p.revents);
	want("an ioctl of terminals", ioctl(dev, 0x5401, &byte), EINVAL);
	want("an unknown ioctl", ioctl(dev, _IOWR('S', 9, int), &self), EINVAL);
	want("SET_FD with other data", ioctl(dev, _IOWR('S', 1, char), &byte), EINVAL);
	want("SET_FD that only hands in", ioctl(dev, _IOW('S', 1, int), &self), EINVAL);
	want("an ioctl with as much as can be", ioctl(dev, _IOC(_IOC_WRITE, 'S', 1, 16383), contents("/proc/self/maps")), EINVAL);
	want("FLUSH without a log", ioctl(dev, FILEMON_FLUSH_IOCTL), 0);

	want("SET_FD of no memory", ioctl(dev, FILEMON_SET_FD, (void *)8), EFAULT);
	want("SET_FD -1", set_fd(dev, -1), EBADF);
	want("SET_FD 999", set_fd(dev, 999), EBADF);
	want("SET_FD of a directory", set_fd(dev, open("/tmp", O_RDONLY)), EBADF);
	want("SET_FD read-only", set_fd(dev, open(LOG, O_RDONLY)), EBADF);
	want("SET_FD of a path", set_fd(dev, open(LOG, O_PATH)), EBADF);
	want("SET_FD of a device", set_fd(dev, open("/dev/null", O_RDWR)), EINVAL);
	want("SET_FD of an eventfd", set_fd(dev, eventfd(0, 0)), EINVAL);
	want("SET_FD of the device itself", set_fd(dev, dev), EINVAL);
	want("SET_FD of another one", set_fd(dev, other = device()), EINVAL);
	close(other);

	want("SET_FD", set_fd(dev, log), 0);
	want("SET_FD again", set_fd(dev, log), EEXIST);
	want("SET_FD again, with a bad one", set_fd(dev, -1), EEXIST);

	want("SET_PID of no memory", ioctl(dev, FILEMON_SET_PID, NULL), EFAULT);
	want("SET_PID 0", set_pid(dev, 0), ESRCH);
	want("SET_PID -1", set_pid(dev, -1), ESRCH);
	want("SET_PID of nobody", set_pid(dev, 4000000), ESRCH);
	if ((child = fork()) == 0)
		_exit(0);
	siginfo_t info;
	if (waitid(P_PID, child, &info, WEXITED | WNOWAIT))
		fatal("waitid");
	want("SET_PID of a dead one", set_pid(dev, child), ESRCH);
	end(child);
	child = sleeper(0);
	want("SET_PID", set_pid(dev, child), 0);
	want("SET_PID again", set_pid(dev, child), 0);
	other = device();
	want("SET_FD", set_fd(other, fd = make(LOG ".other")), 0);
	want("SET_PID of who is followed by another", set_pid(other, child), EBUSY);
	want("SET_PID", set_pid(dev, self), 0);
	want("SET_PID of oneself, followed by another", set_pid(other, self), 0);
	/* Its child is let go even if nobody else can be had. */
	want("SET_PID", set_pid(dev, child), 0);
	want("SET_PID -1", set_pid(dev, -1), ESRCH);
	want("SET_PID of who was let go", set_pid(other, child), 0);
	close(other);
	holds(LOG ".other", HEADER "# Follow %d\n# Unfollow\n# Follow %d\n# Unfollow\n" END, self, self, child);

	want("FLUSH", ioctl(dev, FILEMON_FLUSH_IOCTL), 0);
	holds(LOG, HEADER "# Follow %d\n# Unfollow\n# Follow %d\n# Unfollow\n# Follow %d\n# Follow %d\n# Unfollow\n" END, self, child, child, self, child);
	want("FLUSH again", ioctl(dev, FILEMON_FLUSH_IOCTL), 0);
	want("SET_PID after the end", set_pid(dev, child), EINVAL);
	want("SET_FD after the end", set_fd(dev, log), EEXIST);
	close(dev);
	end(child);

	/* Other kinds of logs. */
	if (pipe(pair))
		fatal("pipe");
	dev = device();
	want("SET_FD of a pipe's other end", set_fd(dev, pair[0]), EBADF);
	want("SET_FD of a pipe", set_fd(dev, pair[1]), 0);
	close(dev);
	close(pair[1]);
	if (read(pair[0], &byte, 1) != 1 || byte != '#')
		wrong("nothing comes out of a pipe");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		fatal("socketpair");
	dev = device();
	want("SET_FD of a socket", set_fd(dev, pair[1]), 0);
	close(dev);
	if (read(pair[0], &byte, 1) != 1 || byte != '#')
		wrong("nothing comes out of a socket");
}

/* The log may come after the process, and its offset is that of the client. */
static void
early(void)
{
	pid_t child = sleeper(0);
	int dev = device(), log = make(LOG);

	if (write(log, "mine\n", 5) != 5)
		fatal("write");
	want("SET_PID without a log", set_pid(dev, child), 0);
	want("SET_FD", set_fd(dev, log), 0);
	close(dev);
	if (write(log, "mine, too\n", 10) != 10)
		fatal("write");
	holds(LOG, "mine\n" HEADER "# Follow %d\n# Unfollow\n" END "mine, too\n", getpid(), child);
	end(child);
}

static void
permissions(void)
{
	pid_t theirs = sleeper(0), child = fork();

	if (child == 0) {
		int dev, log;
		pid_t own;

		if (setgid(65534) || setuid(65534))
			_exit(1);
		dev = device();
		log = memfd_create("log", MFD_CLOEXEC);
		want("SET_FD of a user", set_fd(dev, log), 0);
		want("SET_PID of root's", set_pid(dev, theirs), EPERM);
		own = sleeper(0);
		want("SET_PID of one's own", set_pid(dev, own), 0);
		want("SET_PID of oneself", set_pid(dev, getpid()), 0);
		end(own);
		_exit(failed);
	}
	succeeds("a user", child);
	end(theirs);
}

static void
handled(int signal)
{
	(void)signal;
}

/* A client that waits does not hinder others, a signal does not end the wait,
 * and one that is killed goes when it has its answer. */
static void
waiting(void)
{
	int dev, log, gate;
	struct sigaction act = { .sa_handler = handled };

	if (mkfifo(LOG ".follow", 0600))
		fatal("mkfifo");
	sigaction(SIGUSR1, &act, NULL);
	for (int killed = 0; killed < 2; killed++) {
		pid_t child = fork();

		if (child == 0) {
			dev = device();
			want("SET_FD", set_fd(dev, make(LOG)), 0);
			want("SET_PID with a signal", set_pid(dev, getpid()), 0);
			_exit(failed);
		}
		/* The other side is in the call. */
		if ((gate = open(LOG ".follow", O_WRONLY | O_CLOEXEC)) < 0)
			fatal("open " LOG ".follow");
		asleep(child, SYS_ioctl);
		kill(child, killed ? SIGKILL : SIGUSR1);
		dev = device();
		log = make(LOG ".other");
		want("SET_FD meanwhile", set_fd(dev, log), 0);
		want("SET_PID meanwhile", set_pid(dev, getpid()), 0);
		close(dev);
		holds(LOG ".other", HEADER "# Follow %d\n# Unfollow\n" END, getpid(), getpid());
		if (waitpid(child, NULL, WNOHANG) != 0)
			wrong("the client that waits has ended");
		close(gate);
		int status = reap(child);
		if (killed ? !WIFSIGNALED(status) : status != 0)
			wrong("the client that waited: wait status %#x", status);
		holds(LOG, HEADER "# Follow %d\n# Unfollow\n" END, child, child);
	}
	unlink(LOG ".follow");
}

/* close(2) returns when the log is complete. */
static void
closing(void)
{
	int gate, said[2];
	char byte;
	pid_t child;

	if (mkfifo(LOG ".close", 0600) || pipe(said))
		fatal("mkfifo");
	if ((child = fork()) == 0) {
		int dev = device();

		want("SET_FD", set_fd(dev, make(LOG)), 0);
		want("close", close(dev), 0);
		if (write(said[1], "x", 1) != 1)
			fatal("write");
		holds(LOG, HEADER END, getpid());
		_exit(failed);
	}
	if ((gate = open(LOG ".close", O_WRONLY | O_CLOEXEC)) < 0)
		fatal("open " LOG ".close");
	asleep(child, SYS_close);
	holds(LOG, HEADER UNFINISHED, child);
	fcntl(said[0], F_SETFL, O_NONBLOCK);
	if (read(said[0], &byte, 1) != -1)
		wrong("close(2) has returned before the log was complete");
	close(gate);
	succeeds("who closes", child);
	unlink(LOG ".close");
}

/* A process that has ended without a close has a complete log, too. */
static void
killed(void)
{
	int ready[2];
	char byte;
	pid_t child;

	if (pipe(ready))
		fatal("pipe");
	if ((child = fork()) == 0) {
		int dev = device();

		want("SET_FD", set_fd(dev, make(LOG)), 0);
		want("SET_PID", set_pid(dev, getpid()), 0);
		if (write(ready[1], "x", 1) != 1)
			fatal("write");
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1)
		fatal("read");
	end(child);
	holds(LOG, HEADER "# Follow %d\n# Unfollow\n" END, child, child);
}

/* Another process that has the descriptor keeps the log open, but for FLUSH. */
static void
inherited(void)
{
	for (int flush = 0; flush < 2; flush++) {
		int dev = device();
		pid_t heir;

		want("SET_FD", set_fd(dev, make(LOG)), 0);
		heir = sleeper(0);
		if (flush)
			want("FLUSH", ioctl(dev, FILEMON_FLUSH_IOCTL), 0);
		close(dev);
		holds(LOG, flush ? HEADER END : HEADER UNFINISHED, getpid());
		end(heir);
		holds(LOG, HEADER END, getpid());
	}
}

static void
hundred(void)
{
	enum { n = 100 };
	pid_t child[n];
	char name[64];

	for (int i = 0; i < n; i++)
		if ((child[i] = fork()) == 0) {
			snprintf(name, sizeof name, LOG "%d", i);
			for (int turn = 0; turn < 5; turn++) {
				int dev = device(), log = make(name);

				want("SET_FD", set_fd(dev, log), 0);
				want("SET_PID", set_pid(dev, getpid()), 0);
				close(dev);
				close(log);
				holds(name, HEADER "# Follow %d\n# Unfollow\n" END, getpid(), getpid());
			}
			int many[n];
			for (int k = 0; k < n; k++)
				many[k] = device();
			want("SET_FD", set_fd(many[n - 1], make(name)), 0);
			/* All are closed by the exit, those of some by a signal. */
			if (i % 2)
				raise(SIGKILL);
			_exit(failed);
		}
	for (int i = 0; i < n; i++) {
		int status = reap(child[i]);

		if (i % 2 ? WTERMSIG(status) != SIGKILL : status != 0)
			wrong("client %d: wait status %#x", i, status);
		snprintf(name, sizeof name, LOG "%d", i);
		holds(name, HEADER END, child[i]);
	}
}

static pthread_t first;
static int threads_own;

static void *
thread(void *with)
{
	int dev = device(), log;

	if (with != NULL)
		pthread_join(first, NULL);
	if (threads_own) {
		/* A descriptor that the first thread has, too, for another file. */
		log = make(LOG ".wrong");
		if (unshare(CLONE_FILES))
			fatal("unshare");
		dup3(make(LOG), log, 0);
	} else
		log = make(LOG);
	want("SET_FD by a thread", set_fd(dev, log), 0);
	want("SET_PID by a thread", set_pid(dev, getpid()), 0);
	want("SET_PID of a thread that is no process", set_pid(dev, gettid()), ESRCH);
	want("SET_PID by a thread", set_pid(dev, getpid()), 0);
	ioctl(dev, FILEMON_FLUSH_IOCTL);
	holds(LOG, HEADER "# Follow %d\n# Unfollow\n# Follow %d\n# Unfollow\n" END, getpid(), getpid(), getpid());
	_exit(failed);
}

static void
run_thread(int alone)
{
	pid_t child = fork();
	pthread_t t;

	if (child == 0) {
		first = pthread_self();
		if (pthread_create(&t, NULL, thread, alone ? &first : NULL))
			fatal("pthread_create");
		if (alone)
			pthread_exit(NULL);
		for (;;)
			pause();
	}
	succeeds("a thread", child);
}

static void
threads(void)
{
	run_thread(0);
}

/* From Linux 6.9 on a thread can be had, without its process. */
static void
lone_threads(void)
{
	run_thread(1);
	threads_own = 1;
	run_thread(0);
}

/* In a pid namespace the numbers are its own; in the log they are those of the machine. */
static void
namespaces(void)
{
	/* /proc is that of the machine, and so is the number there. */
	volatile pid_t *sleeping = mmap(NULL, sizeof *sleeping, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t outer = fork();

	if (outer == 0) {
		pid_t inner;

		if (unshare(CLONE_NEWPID))
			fatal("unshare");
		if ((inner = fork()) == 0) {
			int dev = device(), log = make(LOG);
			pid_t child = fork();
			char number[16] = "";

			if (child == 0) {
				if (readlink("/proc/self", number, sizeof number - 1) < 0)
					fatal("/proc/self");
				for (*sleeping = atoi(number);;)
					pause();
			}
			while (*sleeping == 0)
				sched_yield();
			if (getpid() != 1)
				wrong("getpid: %d, want 1", getpid());
			want("SET_FD", set_fd(dev, log), 0);
			want("SET_PID 1", set_pid(dev, 1), 0);
			want("SET_PID of a child", set_pid(dev, child), 0);
			want("SET_PID of a stranger", set_pid(dev, 4000), ESRCH);
			want("SET_PID 1", set_pid(dev, 1), 0);
			end(child);
			_exit(failed);
		}
		succeeds("process 1", inner);
		holds(LOG, HEADER "# Follow %d\n# Unfollow\n# Follow %d\n# Unfollow\n# Follow %d\n# Unfollow\n" END,
		    inner, inner, *sleeping, inner);
		_exit(failed);
	}
	succeeds("who makes a namespace", outer);
}

/* When the service ends, so do the waits, and the logs say so. */
static void
gone(void)
{
	int dev = device(), log = make(LOG), status;
	pid_t child;

	want("SET_FD", set_fd(dev, log), 0);
	want("SET_PID", set_pid(dev, getpid()), 0);
	/* One that is in a call then. */
	if (mkfifo(LOG ".2.follow", 0600))
		fatal("mkfifo");
	if ((child = fork()) == 0) {
		int second = device();

		want("SET_FD", set_fd(second, make(LOG ".2")), 0);
		if (set_pid(second, getpid()) == 0)
			wrong("SET_PID succeeded though the service has ended");
		_exit(failed);
	}
	int gate = open(LOG ".2.follow", O_WRONLY | O_CLOEXEC);
	asleep(child, SYS_ioctl);
	kill(getppid(), SIGTERM);
	status = reap(child);
	if (status != 0)
		wrong("who was in a call: wait status %#x", status);
	close(gate);
	while (strstr(contents(LOG), "Incomplete") == NULL)
		sched_yield();
	holds(LOG, HEADER "# Follow %d\n# Unfollow\n# Incomplete: the device is gone\n", getpid(), getpid());
	if (set_pid(dev, getpid()) == 0)
		wrong("SET_PID succeeded after the service has ended");
	want("close", close(dev), 0);
	if (open("/dev/filemon", O_RDWR) != -1)
		wrong("the device is there after the service has ended");
	unlink(LOG ".2.follow");
}

int
main(int argc, char *argv[])
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "errors", errors }, { "early", early }, { "permissions", permissions }, { "waiting", waiting }, { "closing", closing },
		{ "killed", killed }, { "inherited", inherited }, { "hundred", hundred }, { "threads", threads }, { "lone-threads", lone_threads },
		{ "namespaces", namespaces }, { "gone", gone },
	};

	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof cases[0]; i++)
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return failed;
		}
	fprintf(stderr, "usage: device CASE\n");
	return 2;
}
