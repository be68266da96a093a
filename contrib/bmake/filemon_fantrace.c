/*
 * Copyright (c) 2026 The fanrec authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all
 * copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 */

/*
 * A filemon for bmake(1) on Linux: the service of fanrec records, this file
 * tells it what. One filemon is one connection; docs/service.md has the
 * protocol. bmake's configure takes it unpatched: put this file into filemon/
 * and use --with-filemon=fantrace.
 *
 * What bmake makes of an error is not always a target that is made again, so
 * the log is spoiled, too: a record without a path is malformed for bmake, and
 * then the target is out of date whatever else is said.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE		/* syscall */
#endif

#include "filemon.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SERVICE	"/run/fanrec/fanrec.sock"

/* A request is words parted by NUL; sizeof counts the one at the end. */
#define REQUEST(words)	(words), sizeof(words)

struct filemon {
	int	connection;	/* -1 if there is none */
	int	log;		/* bmake's; -1 before filemon_setfd */
	int	refused;	/* why there is no recording, an errno value */
	bool	told;		/* by a child that therefore failed */
	int	error;		/* why the records are not complete */
};

struct answer {
	char	text[4096];	/* words, each ended by NUL */
	size_t	size;
};

/*
 * Says what happened in one line on stderr, and why if that is not NULL. Here
 * and below: only system calls and the stack, for the child after vfork.
 */
static void
say(const char *what, const char *why)
{
	const char *part[] = { "fanrec: ", filemon_path(), ": ", what,
	    why != NULL ? ": " : "", why != NULL ? why : "" };
	char line[1024];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		for (const char *p = part[i];
		    *p != '\0' && n < sizeof(line) - 1; p++)
			line[n++] = *p == '\n' ? ' ' : *p;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) == -1)
		return;		/* there is no other place to say it */
}

/* Makes the target of the log out of date for ever. */
static void
spoil(int log)
{
	/* The service may have died in the middle of a line. */
	static const char record[] = "\n# INCOMPLETE: filemon failed\nR 0\n";
	ssize_t n;

	do
		n = write(log, record, sizeof(record) - 1);
	while (n == -1 && errno == EINTR);
}

/* The word behind one of an answer, or NULL. */
static const char *
next_word(const struct answer *a, const char *word)
{
	word += strlen(word) + 1;
	return word < a->text + a->size ? word : NULL;
}

/* The value of the first word key=value of an answer, or NULL. */
static const char *
value(const struct answer *a, const char *key)
{
	size_t n = strlen(key);

	for (const char *w = a->text; w != NULL; w = next_word(a, w))
		if (strncmp(w, key, n) == 0 && w[n] == '=')
			return w + n + 1;
	return NULL;
}

/* The errno value of an answer, 0 for ok, with the sentence of the service. */
static int
verdict(const struct answer *a, const char **why)
{
	const char *number;
	int error = 0;

	*why = "it does not speak the protocol of this bmake";
	if (strcmp(a->text, "ok") == 0)
		return 0;
	if (strcmp(a->text, "error") != 0 || (number = next_word(a, a->text)) == NULL)
		return EPROTO;
	for (const char *p = number; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || error > 9999)
			return EPROTO;
		error = 10 * error + (*p - '0');
	}
	if (error == 0)
		return EPROTO;
	*why = next_word(a, number);
	return error;
}

/*
 * Sends a request, with a descriptor unless that is -1, and waits for its
 * answer. What fails is said in the words of what. Returns 0 or an errno value.
 */
static int
ask(int connection, const char *what, const char *request, size_t size,
    int descriptor, struct answer *a)
{
	union {
		struct cmsghdr	header;		/* aligns */
		char		room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)request, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	const char *why;
	ssize_t n;
	int error;

	if (descriptor != -1) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
		message.msg_control = control.room;
		message.msg_controllen = sizeof(control.room);
	}
	do
		n = sendmsg(connection, &message, MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n != -1)
		do
			n = recv(connection, a->text, sizeof(a->text) - 1, 0);
		while (n == -1 && errno == EINTR);
	if (n == 0 || (n == -1 && (errno == EPIPE || errno == ECONNRESET))) {
		say(what, "the service has ended; start `fanrec serve` and make again");
		return ECONNRESET;
	}
	if (n == -1) {
		error = errno;
		say(what, "the service cannot be asked");
		return error;
	}
	a->size = (size_t)n;
	a->text[a->size] = '\0';	/* the last word need not be ended */
	error = verdict(a, &why);
	if (error != 0)
		say(what, why);
	return error;
}

/*
 * Makefiles see it as .MAKE.PATH_FILEMON and ask whether it exists. bmake asks
 * first, before it reads them: the child after vfork finds it known.
 */
const char *
filemon_path(void)
{
	static const char *path;

	/* Once: a makefile may export another value for what it runs. */
	if (path == NULL) {
		const char *given = getenv("FANREC_SOCKET");

		path = given != NULL && *given != '\0' ? strdup(given) : PATH_SERVICE;
		if (path == NULL)
			path = PATH_SERVICE;
	}
	return path;
}

/* Returns a connection to the service or -1. */
static int
dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = filemon_path();
	int fd, high, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	/* A bmake without standard output would print its messages into it. */
	if (fd <= STDERR_FILENO) {
		high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		error = errno;
		close(fd);
		errno = error;
		if (high == -1)
			return -1;
		fd = high;
	}
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
		if (errno == EINTR)
			continue;
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/*
 * NULL makes bmake warn and go on without records, for good. That is right
 * where there is no service, and only there: a service that was there, or a
 * socket that nobody listens to, is an error, which filemon_setfd keeps.
 */
struct filemon *
filemon_open(void)
{
	static bool reached;
	struct filemon *F;

	F = calloc(1, sizeof(*F));
	if (F == NULL)
		return NULL;
	F->log = -1;
	F->connection = dial();
	if (F->connection != -1) {
		reached = true;
		return F;
	}
	F->refused = errno;
	if (F->refused == ENOENT && !reached) {
		free(F);
		errno = ENOENT;
		return NULL;
	}
	return F;
}

/*
 * Returns 0 also if there is no recording; then the child fails. Were it told
 * here, bmake would end where it stands, and leave a .meta file without records:
 * by that the target is up to date. The descriptor is kept to spoil the log.
 */
int
filemon_setfd(struct filemon *F, int fd)
{
	struct answer a;

	F->log = fd;
	if (F->connection == -1)
		say("no service; start `fanrec serve`, or put nofilemon into .MAKE.MODE",
		    strerror(F->refused));
	else
		F->refused = ask(F->connection, "no recording",
		    REQUEST("open\0version=1"), fd, &a);
	return 0;
}

/* The child has asked for itself, and ended if there is no recording. */
void
filemon_setpid_parent(struct filemon *F, pid_t pid)
{
	(void)pid;
	F->told = true;
}

/*
 * Runs in the child after vfork, in the memory of its parent. Does not return
 * if it fails: bmake would leave by exit(3) or by Punt, which write, and may
 * free, what is the parent's; and Punt of newer versions kills the process
 * group of a job that has none yet: its own. The parent sees that the child
 * failed; the log, which it may use all the same, is spoiled here.
 *
 * A child that is killed here leaves an answer that nobody waits for. The next
 * request takes it for its own, and in the end that of close is not there: an
 * error, too.
 */
int
filemon_setpid_child(const struct filemon *F, pid_t pid)
{
	struct answer a;
	int pidfd;

	if (F->refused == 0) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (pidfd == -1)
			say("command not followed",
			    "no pidfd (Linux before 5.3, or too many open files)");
		else if (ask(F->connection, "command not followed",
		    REQUEST("follow"), pidfd, &a) == 0) {
			close(pidfd);
			return 0;
		}
	}
	spoil(F->log);
	_exit(1);
}

/* The service writes the log: there is nothing to be read meanwhile. */
int
filemon_readfd(const struct filemon *F)
{
	(void)F;
	return -1;
}

/* Returns when all that the command did is in the log. */
int
filemon_process(struct filemon *F)
{
	struct answer a;

	F->error = F->refused;
	if (F->error == 0)
		F->error = ask(F->connection, "records not complete",
		    REQUEST("drain"), -1, &a);
	if (F->error == 0)
		return 0;
	errno = F->error;
	return -1;
}

/* EIO is a recording that is not complete. */
int
filemon_close(struct filemon *F)
{
	const char *complete;
	struct answer a;
	int error = F->error;

	if (error == 0)
		error = ask(F->connection, "records not complete",
		    REQUEST("close"), -1, &a);
	if (error == 0) {
		complete = value(&a, "complete");
		if (complete == NULL || strcmp(complete, "1") != 0) {
			say("records not complete; the target is made again next time",
			    value(&a, "incomplete"));
			error = EIO;
		}
	}
	if (error != 0)
		spoil(F->log);
	if (F->told && F->refused != 0)
		error = 0;	/* so that bmake copies the log, and goes on to the child's exit */
	if (F->connection != -1)
		close(F->connection);
	close(F->log);
	free(F);
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}
