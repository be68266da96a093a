// Makes every call of the lookups of calls.h find nothing, in the working
// directory, where there must be an empty directory "sub" and a file "file". Compiled
// as calls.c is.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "call.h"

#define WITHOUT(error, nr, a, b, c, d, e)                                                             \
	do {                                                                                          \
		long ret_ = call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e));          \
		if (ret_ != -error) {                                                                 \
			fprintf(stderr, "line %d: %ld, want %s\n", __LINE__, ret_, strerror(error)); \
			exit(1);                                                                      \
		}                                                                                     \
	} while (0)
#define ABSENT(nr, a, b, c, d, e) WITHOUT(ENOENT, nr, a, b, c, d, e)

enum {
	OPEN = NR(2, 5), CREAT = NR(85, 8), OPENAT = NR(257, 295), OPENAT2 = 437, STAT = NR(4, 106), LSTAT = NR(6, 107), NEWFSTATAT = NR(262, 300),
	STATX = NR(332, 383), ACCESS = NR(21, 33), FACCESSAT = NR(269, 307), FACCESSAT2 = 439, READLINK = NR(89, 85), READLINKAT = NR(267, 305),
	EXECVE = NR(59, 11), EXECVEAT = NR(322, 358), CHDIR = NR(80, 12), CLOSE = NR(3, 6), RMDIR = NR(84, 40), MKDIR = NR(83, 39), FCHDIR = NR(81, 133),
	PIPE = NR(22, 42), OLDSTAT = 18, OLDLSTAT = 84, STAT64 = 195, LSTAT64 = 196,
};

static struct open_how how = { .flags = O_RDONLY };
static int fds[2];
static char *argv0[] = { "x", 0 };
static char buf[4096], below[4096], distant[4096];

int main(int argc, char **argv)
{
	long dfd, top, file;

	strcat(strcpy(below, argv[1]), "/absolute");
	memset(distant, '/', 4000);
	strcpy(distant + 4000, "distant");
	top = DO(OPEN, ".", O_RDONLY | O_DIRECTORY, 0, 0, 0);
	dfd = DO(OPEN, "sub", O_RDONLY | O_DIRECTORY, 0, 0, 0);
	file = DO(OPEN, "file", O_RDONLY, 0, 0, 0);
	DO(PIPE, fds, 0, 0, 0, 0);

	ABSENT(OPEN, "open", O_RDONLY, 0, 0, 0);
	ABSENT(CREAT, "creat/x", 0600, 0, 0, 0);
	ABSENT(OPENAT, dfd, "openat", O_RDONLY, 0, 0);
	ABSENT(OPENAT2, dfd, "openat2", &how, sizeof(how), 0);
	ABSENT(STAT, "stat", buf, 0, 0, 0);
	ABSENT(LSTAT, "lstat", buf, 0, 0, 0);
	ABSENT(NEWFSTATAT, dfd, "newfstatat", buf, 0, 0);
	ABSENT(STATX, dfd, "statx", 0, 0xfff, buf);
	ABSENT(ACCESS, "access", 0, 0, 0, 0);
	ABSENT(FACCESSAT, dfd, "faccessat", 0, 0, 0);
	ABSENT(FACCESSAT2, dfd, "faccessat2", 0, 0, 0);
	ABSENT(READLINK, "readlink", buf, sizeof(buf), 0, 0);
	ABSENT(READLINKAT, dfd, "readlinkat", buf, sizeof(buf), 0);
	ABSENT(EXECVE, "execve", argv0, argv0 + 1, 0, 0);
	ABSENT(EXECVEAT, dfd, "execveat", argv0, argv0 + 1, 0);
	ABSENT(CHDIR, "chdir", 0, 0, 0, 0);
#if COMPAT
	ABSENT(OLDSTAT, "oldstat", buf, 0, 0, 0);
	ABSENT(OLDLSTAT, "oldlstat", buf, 0, 0, 0);
	ABSENT(STAT64, "stat64", buf, 0, 0, 0);
	ABSENT(LSTAT64, "lstat64", buf, 0, 0, 0);
#endif
	WITHOUT(ENOTDIR, STAT, "file/x", buf, 0, 0, 0);
	WITHOUT(ENOTDIR, CHDIR, "file", 0, 0, 0, 0);
	WITHOUT(ENOTDIR, OPENAT, file, "below", O_RDONLY, 0, 0);
	ABSENT(OPENAT, dfd, below, O_RDONLY, 0, 0); // relative to nothing
	ABSENT(STAT, distant, buf, 0, 0, 0);
	ABSENT(STAT, "", buf, 0, 0, 0); // names nothing

	// Other calls, other reasons, and what is in no directory.
	ABSENT(RMDIR, "rmdir", 0, 0, 0, 0);
	WITHOUT(ENOTDIR, OPENAT, fds[0], "below", O_RDONLY, 0, 0);
	WITHOUT(EBADF, NEWFSTATAT, 1000, "nowhere", buf, 0, 0);
	WITHOUT(EINVAL, READLINK, "sub", buf, sizeof(buf), 0, 0);
	WITHOUT(EISDIR, OPEN, "sub", O_WRONLY, 0, 0, 0);
	WITHOUT(EFAULT, ACCESS, 8, 0, 0, 0, 0);
	WITHOUT(EACCES, EXECVE, "file", argv0, argv0 + 1, 0, 0);
	DO(ACCESS, "file", 0, 0, 0, 0);

	DO(MKDIR, "dead", 0700, 0, 0, 0);
	DO(CHDIR, "dead", 0, 0, 0, 0);
	DO(RMDIR, "../dead", 0, 0, 0, 0);
	ABSENT(STAT, "in", buf, 0, 0, 0);
	DO(FCHDIR, top, 0, 0, 0, 0);
	return 0;
}
