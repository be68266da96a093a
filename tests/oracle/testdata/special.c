// Opens and names out of the ordinary.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int touch(const char *name) { return open(name, O_WRONLY | O_CREAT, 0600); }

int main(void) {
	char fd[64];
	int tmp = open(".", O_TMPFILE | O_RDWR, 0600);
	snprintf(fd, sizeof fd, "/proc/self/fd/%d", tmp);
	linkat(AT_FDCWD, fd, AT_FDCWD, "tmp1", AT_SYMLINK_FOLLOW);
	linkat(tmp, "", AT_FDCWD, "tmp2", AT_EMPTY_PATH);
	rename("tmp1", "tmp2"); // names of one file: nothing happens
	unlink("tmp1");
	unlink("tmp2");

	touch("file");
	mkdir("dir", 0700);
	syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "dir", RENAME_EXCHANGE);
	mkdir("file/in", 0700);
	rmdir("file/in");
	rmdir("file");
	truncate("dir", 5);
	syscall(SYS_openat2, AT_FDCWD, "dir", &(unsigned long[3]){O_RDWR}, 24);
	struct {
		struct file_handle h;
		char bytes[128];
	} h = {{.handle_bytes = 128}};
	int mount;
	name_to_handle_at(AT_FDCWD, "dir", &h.h, &mount, 0);
	mount = open(".", O_RDONLY);
	open_by_handle_at(mount, &h.h, O_RDONLY);
	open("dir", O_PATH);
	open("dir", O_ACCMODE);
	open("dir", O_RDONLY | O_TRUNC);
	open("dir", O_RDONLY | O_CREAT, 0600);
	creat("dir", 0600);
	int gone = open("dir", O_RDONLY);
	unlink("dir");
	snprintf(fd, sizeof fd, "/proc/self/fd/%d", gone);
	open(fd, O_RDONLY);

	int p[2];
	pipe(p);
	snprintf(fd, sizeof fd, "/dev/fd/%d", p[0]);
	open(fd, O_RDONLY);
	snprintf(fd, sizeof fd, "/proc/self/fd/%d", memfd_create("mem", 0));
	open(fd, O_RDWR);
	open("/proc/self/status", O_RDONLY);
	open("/dev/null", O_RDWR);
	open("/nowhere", O_RDONLY);

	struct sockaddr_un un = {AF_UNIX, "sock"}, abstract = {AF_UNIX, "\0sock"};
	bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un);
	bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&abstract, 8);
	unlink("sock");
	mknod("node", S_IFREG | 0600, 0);
	unlink("node");
}
