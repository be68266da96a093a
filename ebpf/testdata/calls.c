// Makes every call of calls.h, in the working directory, where there must be
// an empty directory "sub". Compiled three times: for native calls, with
// -DINT80 for int 0x80 out of a 64-bit program (not position independent:
// pointers must fit into 32 bits), and with -m32.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "call.h"

enum {
	OPEN = NR(2, 5), CREAT = NR(85, 8), OPENAT = NR(257, 295), OPENAT2 = 437, BY_HANDLE = NR(304, 342), NAME_TO_HANDLE = NR(303, 341),
	CHDIR = NR(80, 12), FCHDIR = NR(81, 133), CHROOT = NR(161, 61), RENAME = NR(82, 38), RENAMEAT = NR(264, 302), RENAMEAT2 = NR(316, 353),
	UNLINK = NR(87, 10), UNLINKAT = NR(263, 301), RMDIR = NR(84, 40), MKDIR = NR(83, 39), MKDIRAT = NR(258, 296), MKNOD = NR(133, 14),
	MKNODAT = NR(259, 297), LINK = NR(86, 9), LINKAT = NR(265, 303), SYMLINK = NR(88, 83), SYMLINKAT = NR(266, 304), TRUNCATE = NR(76, 92),
	SOCKET = NR(41, 359), BIND = NR(49, 361), SOCKETCALL = 102, TRUNCATE64 = 193,
};

static struct open_how how = { .flags = O_RDONLY };
static struct sockaddr_un named = { AF_UNIX, "sock" }, full = { AF_UNIX, "" }, abstract = { AF_UNIX, "\0abstract" };
static struct {
	struct file_handle h;
	char room[128];
} handle = { .h = { .handle_bytes = 128 } };
static int mount_id;
static unsigned in[3] __attribute__((unused));
static char below[4096], beside[4096]; // absolute paths

int main(int argc, char **argv)
{
	long dfd, fd;

	// The path of the working directory.
	strcat(strcpy(below, argv[1]), "/d3");
	strcat(strcpy(beside, argv[1]), "/n3");
	dfd = DO(OPEN, "sub", O_RDONLY | O_DIRECTORY, 0, 0, 0);

	DO(OPEN, "new", O_RDWR | O_CREAT | O_TRUNC, 0600, 0, 0);
	DO(OPEN, "new", O_WRONLY | O_APPEND, 0, 0, 0);
	DO(CREAT, "made", 0600, 0, 0, 0);
	DO(OPENAT, dfd, "f", O_WRONLY | O_CREAT | O_EXCL, 0600, 0);
	DO(OPENAT2, AT_FDCWD, "sub/../sub/f", &how, sizeof(how), 0);
	DO(NAME_TO_HANDLE, dfd, "f", &handle, &mount_id, 0);
	DO(BY_HANDLE, dfd, &handle, O_RDONLY, 0, 0);
	DO(OPEN, "new", O_PATH, 0, 0, 0); // not opened, only named
	FAIL(OPEN, "nothing", O_RDONLY, 0);
	FAIL(MKDIR, "sub", 0700, 0);

	DO(MKDIR, "d1", 0700, 0, 0, 0);
	DO(MKDIRAT, dfd, "d2/", 0700, 0, 0);
	DO(MKDIRAT, dfd, below, 0700, 0, 0); // relative to nothing
	DO(MKNOD, "n1", S_IFIFO | 0600, 0, 0, 0);
	DO(MKNODAT, dfd, "../n2", S_IFREG | 0600, 0, 0);
	DO(LINK, "new", "sub/l1", 0, 0, 0);
	DO(LINKAT, dfd, "f", AT_FDCWD, "l2", AT_SYMLINK_FOLLOW);
	DO(SYMLINK, "/no where", "s1", 0, 0, 0);
	DO(SYMLINKAT, "sub", dfd, "s2", 0, 0);

	DO(RENAME, "l2", "l3", 0, 0, 0);
	DO(RENAMEAT, dfd, "l1", AT_FDCWD, "./sub/l4", 0);
	DO(RENAMEAT2, AT_FDCWD, "l3", dfd, "l4", 2 /* RENAME_EXCHANGE */);
	DO(RENAME, "n2", beside, 0, 0, 0);
	DO(RENAMEAT, dfd, beside, dfd, "n4", 0);

	DO(TRUNCATE, "new", 3, 0, 0, 0);
#if COMPAT
	DO(TRUNCATE64, "new", 5, 0, 0, 0);
#endif
	DO(UNLINK, "made", 0, 0, 0, 0);
	DO(UNLINKAT, dfd, "s2", 0, 0, 0);
	DO(UNLINKAT, dfd, "d2", AT_REMOVEDIR, 0, 0);
	DO(RMDIR, "d1", 0, 0, 0, 0);

	// A name of the full length has no NUL behind it.
	memset(full.sun_path, 'x', sizeof(full.sun_path));
	fd = DO(SOCKET, AF_UNIX, SOCK_DGRAM, 0, 0, 0);
	DO(BIND, fd, &full, sizeof(full), 0, 0);
	fd = DO(SOCKET, AF_UNIX, SOCK_DGRAM, 0, 0, 0);
	DO(BIND, fd, &abstract, sizeof(short) + 9, 0, 0); // no file
	fd = DO(SOCKET, AF_UNIX, SOCK_DGRAM, 0, 0, 0);
	DO(BIND, fd, &named, sizeof(short), 0, 0); // a name of the kernel's choice, no file
	fd = DO(SOCKET, AF_UNIX, SOCK_DGRAM, 0, 0, 0);
#if COMPAT
	in[0] = fd, in[1] = (unsigned)(long)&named, in[2] = sizeof(named);
	DO(SOCKETCALL, 2 /* SYS_BIND */, in, 0, 0, 0);
	DO(SOCKETCALL, 3 /* SYS_CONNECT */, in, 0, 0, 0);
#else
	DO(BIND, fd, &named, sizeof(named), 0, 0);
#endif
	fd = DO(OPEN, ".", O_RDONLY | O_DIRECTORY, 0, 0, 0);
	DO(CHDIR, "sub", 0, 0, 0, 0);
	DO(FCHDIR, fd, 0, 0, 0, 0);
	DO(CHROOT, "sub", 0, 0, 0, 0);
	DO(MKDIR, "/in", 0700, 0, 0, 0); // relative to the new root
	DO(MKDIR, "out", 0700, 0, 0, 0);
	return 0;
}
