// Every system call that opens, makes, renames, links or removes names, in each of its forms. It works in the empty directory where it is started.
#include "must.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char here[4096]; // the directory where it was started

static int touch(const char *name) { return must(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600)); }

static const char *magic(int fd) {
	static char path[4][64];
	static int n;
	n = (n + 1) % 4;
	snprintf(path[n], sizeof path[n], "/proc/self/fd/%d", fd);
	return path[n];
}

// in runs a function in a child, from whose state (directory, root, descriptors) the parent is safe.
static void in(void (*child)(void)) {
	pid_t pid = must(fork());
	if (!pid) {
		child();
		exit(0);
	}
	int status;
	must(waitpid(pid, &status, 0));
	if (status) {
		fprintf(stderr, "child: status %x\n", status);
		exit(1);
	}
}

static void opens(void) {
	must(mkdir("open", 0700));
	must(chdir("open"));
	close(touch("file"));
	static const int flags[] = {
		O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE, O_PATH, O_RDONLY | O_TRUNC, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC, O_RDONLY | O_CREAT,
		O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT, O_RDONLY | O_NOFOLLOW, O_RDWR | O_NONBLOCK | O_CLOEXEC, O_PATH | O_NOFOLLOW,
	};
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
		close(must(open("file", flags[i], 0600)));
	close(must(open("new1", O_RDONLY | O_CREAT | O_EXCL, 0600)));
	close(must(open("new2", O_WRONLY | O_CREAT | O_EXCL, 0600)));
	close(must(open("new3", O_RDWR | O_CREAT | O_EXCL, 0600)));
	close(must(open("new4", O_ACCMODE | O_CREAT, 0600)));
#ifdef SYS_open
	close(must(syscall(SYS_open, "file", O_RDWR)));
	close(must(syscall(SYS_open, "new5", O_WRONLY | O_CREAT, 0600)));
#endif
#ifdef SYS_creat
	close(must(syscall(SYS_creat, "file", 0600)));
	close(must(syscall(SYS_creat, "new6", 0600)));
#endif
	int dir = must(open(".", O_RDONLY | O_DIRECTORY)), path = must(open("..", O_PATH | O_DIRECTORY));
	close(must(openat(dir, "file", O_RDONLY)));
	close(must(openat(dir, "../open/./file", O_WRONLY)));
	close(must(openat(path, "open/file", O_RDWR)));
	close(must(openat(path, "open/new7", O_RDWR | O_CREAT, 0600)));
	close(must(openat(AT_FDCWD, "..//open///file", O_RDONLY)));
	close(must(openat(-1, "/dev/null", O_RDWR))); // the descriptor is not looked at
	close(must(openat(dir, "/dev/zero", O_RDONLY)));
	struct open_how how = {.flags = O_RDWR};
	close(must(syscall(SYS_openat2, dir, "file", &how, sizeof how)));
	how = (struct open_how){.flags = O_WRONLY | O_CREAT, .mode = 0600, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	close(must(syscall(SYS_openat2, dir, "new8", &how, sizeof how)));
	how = (struct open_how){.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
	close(must(syscall(SYS_openat2, dir, "/../file", &how, sizeof how)));
	how = (struct open_how){.flags = O_PATH};
	close(must(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how)));

	// By links, those of proc(5) too.
	must(symlink("file", "link"));
	must(symlink("made", "dangling"));
	must(symlink(".", "loop"));
	close(must(open("link", O_RDWR)));
	close(must(open("dangling", O_WRONLY | O_CREAT, 0600)));
	close(must(open("loop/loop/../open/link", O_RDONLY)));
	close(must(open("link", O_PATH | O_NOFOLLOW)));
	int file = must(open("file", O_RDONLY)), node = must(open("file", O_PATH));
	close(must(open(magic(file), O_WRONLY)));
	close(must(open(magic(node), O_RDWR)));
	close(must(openat(dir, magic(path), O_RDONLY | O_DIRECTORY)));
	close(must(open("/proc/self/cwd/file", O_RDONLY)));
	close(must(open("/proc/thread-self/cwd/link", O_RDONLY)));
	close(must(open("/dev/fd/../cwd/file", O_RDONLY)));
	char through[128];
	snprintf(through, sizeof through, "%s/file", magic(dir));
	close(must(open(through, O_RDONLY)));
	close(must(open("/proc/self/exe", O_RDONLY)));
	close(must(open("/proc/self/status", O_RDONLY)));
	close(must(open("/sys/kernel", O_RDONLY | O_DIRECTORY)));

	// Of a file that has another name by now, or none.
	must(rename("new1", "new1.moved"));
	must(rename("new2", "file"));
	close(must(open(magic(file), O_RDONLY)));
	int gone = must(open("new3", O_RDWR));
	must(unlink("new3"));
	close(must(open(magic(gone), O_RDONLY)));
	close(must(open(magic(gone), O_WRONLY)));

	// What is no file.
	int p[2], mem = must(memfd_create("file", 0)), sock = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(pipe(p));
	close(must(open(magic(p[0]), O_RDONLY | O_NONBLOCK)));
	close(must(open(magic(mem), O_RDWR)));
	fails(open(magic(sock), O_RDWR), ENXIO);

	fails(open("nowhere", O_RDWR), ENOENT);
	fails(open("nowhere/file", O_RDWR | O_CREAT, 0600), ENOENT);
	fails(open("file", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	fails(open("file/", O_RDONLY), ENOTDIR);
	fails(open(".", O_WRONLY), EISDIR);
	fails(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	how = (struct open_how){.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
	fails(syscall(SYS_openat2, dir, "../open/file", &how, sizeof how), EXDEV);
}

static void temporaries(void) {
	must(mkdir("tmpfile", 0700));
	must(chdir("tmpfile"));
	int a = must(open(".", O_TMPFILE | O_RDWR, 0600)), b = must(open("..", O_TMPFILE | O_WRONLY, 0600));
	must(linkat(AT_FDCWD, magic(a), AT_FDCWD, "a1", AT_SYMLINK_FOLLOW));
	must(linkat(a, "", AT_FDCWD, "a2", AT_EMPTY_PATH));
	must(linkat(b, "", AT_FDCWD, "b1", AT_EMPTY_PATH));
	close(must(open(magic(a), O_RDONLY)));
	close(must(open("a2", O_RDWR)));
	must(rename("a1", "a2")); // names of one file: nothing happens
	must(rename("a1", "b1"));
	must(unlink("a2"));
	must(unlink("b1"));
}

static void directories(void) {
	must(mkdir("dirs", 0700));
	must(chdir("dirs"));
	int dir = must(open(".", O_RDONLY));
	must(mkdirat(dir, "a", 0700));
	must(mkdir("a/b/", 0700));
	must(mkdirat(AT_FDCWD, "a/b/../c", 0700));
	must(chdir("a/b"));
	must(mkdir("../../d", 0700));
	must(rename("../../a", "../../moved")); // the working directory is another by name
	close(touch("in"));
	must(chdir(".."));
	must(mkdir("x", 0700));
	must(fchdir(dir));
	must(chdir("moved/b"));
	must(fchdir(dir));
	int b = must(open("moved/b", O_PATH));
	must(rename("moved/b", "b"));
	close(must(openat(b, "in", O_RDONLY)));
	must(fchdir(b));
	must(chdir("."));
	must(fchdir(dir));
	must(symlink("b", "link"));
	must(chdir("link"));
	must(chdir("/"));
	must(fchdir(dir));
	fails(mkdir("b", 0700), EEXIST);
	fails(rmdir("b"), ENOTEMPTY);
	fails(unlink("b"), EISDIR);
	fails(chdir("nowhere"), ENOENT);
	must(unlink("link"));
	must(unlink("b/in"));
	must(rmdir("b"));
	must(unlinkat(dir, "moved/c", AT_REMOVEDIR));
	must(rmdir("moved/x/"));
	must(rmdir("d"));
	must(rmdir("moved"));
}

static void nodes(void) {
	must(mkdir("nodes", 0700));
	must(chdir("nodes"));
	int dir = must(open(".", O_RDONLY));
	must(mknod("regular", S_IFREG | 0600, 0));
	must(mknod("plain", 0600, 0));
	must(mknod("fifo", S_IFIFO | 0600, 0));
	must(mknod("socket", S_IFSOCK | 0600, 0));
	must(mknod("null", S_IFCHR | 0600, makedev(1, 3)));
	must(mknod("whiteout", S_IFCHR | 0600, 0));
	must(mknod("block", S_IFBLK | 0600, makedev(7, 250)));
	must(mknodat(dir, "at", S_IFREG | 0600, 0));
	must(mknodat(AT_FDCWD, "../nodes/at2", S_IFIFO | 0600, 0));
	must(mkfifo("fifo2", 0600));
	close(must(open("regular", O_RDWR)));
	close(must(open("fifo", O_RDWR)));
	close(must(open("fifo", O_RDONLY | O_NONBLOCK)));
	close(must(open("null", O_RDWR)));
	close(must(open("socket", O_PATH)));
	fails(open("socket", O_RDWR), ENXIO);
	fails(mknod("fifo", S_IFREG | 0600, 0), EEXIST);
	static const char *const names[] = {"regular", "plain", "fifo", "socket", "null", "whiteout", "block", "at", "at2", "fifo2"};
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		must(i & 1 ? unlink(names[i]) : unlinkat(dir, names[i], 0));
}

static int sock(int type, const char *name, int len) {
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	memcpy(un.sun_path, name, len);
	int fd = must(socket(AF_UNIX, type, 0));
	must(bind(fd, (void *)&un, sizeof un.sun_family + len));
	return fd;
}

static void sockets(void) {
	must(mkdir("sockets", 0700));
	must(chdir("sockets"));
	sock(SOCK_STREAM, "stream", sizeof "stream");
	sock(SOCK_DGRAM, "../sockets/dgram", strlen("../sockets/dgram")); // without NUL
	sock(SOCK_SEQPACKET, "./packet", 108);
	sock(SOCK_STREAM, "\0abstract", 9);
	must(bind(must(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&(sa_family_t){AF_UNIX}, sizeof(sa_family_t))); // the kernel's choice
	char name[108];
	memset(name, 'n', sizeof name); // the longest there is
	sock(SOCK_STREAM, name, sizeof name);
#ifdef SYS_socketcall
	struct sockaddr_un un = {AF_UNIX, "socketcall"};
	must(syscall(SYS_socketcall, 2, (long[]){must(socket(AF_UNIX, SOCK_STREAM, 0)), (long)&un, sizeof un}));
#endif
	must(unlink("stream"));
	must(rename("dgram", "packet"));
}

static void links(void) {
	must(mkdir("links", 0700));
	must(chdir("links"));
	int dir = must(open(".", O_RDONLY)), file = touch("file");
	must(mkdir("sub", 0700));
	must(link("file", "hard1"));
	must(linkat(dir, "file", AT_FDCWD, "sub/hard2", 0));
	must(linkat(AT_FDCWD, magic(file), dir, "hard3", AT_SYMLINK_FOLLOW));
	must(linkat(file, "", dir, "hard4", AT_EMPTY_PATH));
	must(symlink("file", "soft1"));
	must(symlinkat("../links/sub/hard2", dir, "soft2"));
	must(symlinkat("/nowhere at all", dir, "soft3"));
	must(link("soft1", "soft.hard"));
	close(touch("kept"));
	must(symlink("kept", "soft4"));
	must(linkat(dir, "soft4", dir, "hard5", AT_SYMLINK_FOLLOW));
	close(must(open("soft2", O_WRONLY)));
	close(must(open("soft.hard", O_RDONLY)));
	close(must(open("hard1", O_RDWR)));
	fails(link("nowhere", "hard6"), ENOENT);
	fails(link("file", "hard1"), EEXIST);
	must(unlink("file"));
	close(must(open("hard1", O_RDONLY)));
	close(must(open(magic(file), O_RDONLY)));
	must(link("hard1", "file"));
	must(unlink("soft1"));
	must(unlinkat(dir, "sub/hard2", 0));
	must(rename("hard1", "file")); // names of one file: nothing happens
	must(unlink("hard1"));
	must(unlink("hard3"));
}

static void renames(void) {
	must(mkdir("renames", 0700));
	must(chdir("renames"));
	int dir = must(open(".", O_RDONLY)), sub;
	must(mkdir("sub", 0700));
	must(mkdir("empty", 0700));
	sub = must(open("sub", O_RDONLY));
	close(touch("a"));
	close(touch("b"));
	close(touch("sub/in"));
	must(rename("a", "a"));
	must(rename("a", "c"));
	must(rename("c", "b")); // over another
#ifdef SYS_renameat
	must(syscall(SYS_renameat, dir, "b", sub, "b"));
#endif
	must(syscall(SYS_renameat2, sub, "b", AT_FDCWD, "d", 0));
	must(syscall(SYS_renameat2, dir, "d", dir, "e", RENAME_NOREPLACE));
	must(syscall(SYS_renameat2, dir, "e", sub, "in", RENAME_EXCHANGE));
	must(syscall(SYS_renameat2, dir, "e", dir, "sub", RENAME_EXCHANGE)); // a file and a directory
	close(must(open("e/in", O_RDONLY)));
	close(must(openat(sub, "in", O_RDWR)));
	must(rename("e", "empty")); // over an empty directory
	close(must(openat(sub, "in", O_RDWR)));
	must(rename("empty/in", "empty/../in"));
	must(symlink("in", "link"));
	must(rename("link", "link2"));
	must(syscall(SYS_renameat2, dir, "in", dir, "in2", RENAME_WHITEOUT)); // a device 0/0 stays
	must(unlink("in"));
	for (int i = 0; i < 5; i++) { // to and fro
		must(rename("in2", "in3"));
		must(rename("in3", "in2"));
	}
	fails(rename("nowhere", "x"), ENOENT);
	fails(syscall(SYS_renameat2, dir, "in2", dir, "sub", RENAME_NOREPLACE), EEXIST);
	must(unlink("in2"));
}

static void truncates(void) {
	must(mkdir("truncate", 0700));
	must(chdir("truncate"));
	int fd = touch("file");
	must(symlink("file", "link"));
	must(truncate("file", 5));
	must(truncate("../truncate/link", 5)); // nothing changes, but it was written to
	must(syscall(SYS_truncate, "file", 7));
#ifdef SYS_truncate64
	must(syscall(SYS_truncate64, "link", 9, 0));
#endif
	must(ftruncate(fd, 3)); // the open said W
	must(fallocate(fd, 0, 0, 100));
	int in = must(open("file", O_RDONLY));
	must(copy_file_range(in, 0, fd, &(loff_t){200}, 50, 0));
	must(mmap(0, 4096, PROT_READ, MAP_PRIVATE, in, 0) == MAP_FAILED ? -1 : 0);
	fails(truncate("nowhere", 5), ENOENT);
	fails(truncate(".", 5), EISDIR);
}

static void handles(void) {
	must(mkdir("handles", 0700));
	must(chdir("handles"));
	close(touch("file"));
	struct {
		struct file_handle h;
		char bytes[128];
	} file = {.h.handle_bytes = 128}, dir = {.h.handle_bytes = 128};
	int mount;
	must(name_to_handle_at(AT_FDCWD, "file", &file.h, &mount, 0));
	must(name_to_handle_at(AT_FDCWD, ".", &dir.h, &mount, 0));
	mount = must(open("..", O_RDONLY));
	close(must(open_by_handle_at(mount, &file.h, O_RDONLY)));
	close(must(open_by_handle_at(mount, &file.h, O_RDWR)));
	close(must(open_by_handle_at(mount, &file.h, O_PATH)));
	int fd = must(open_by_handle_at(mount, &dir.h, O_RDONLY | O_DIRECTORY));
	close(must(openat(fd, "file", O_WRONLY)));
	must(fchdir(fd));
	must(rename("file", "moved"));
	close(must(open_by_handle_at(mount, &file.h, O_RDONLY)));
	must(unlink("moved"));
	fails(open_by_handle_at(mount, &file.h, O_RDONLY), ESTALE);
}

static void send_fd(int to, int fd) {
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec byte = {"x", 1};
	struct msghdr m = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	must(sendmsg(to, &m, 0));
}

static int receive_fd(int from) {
	char control[CMSG_SPACE(sizeof(int))], x;
	struct iovec byte = {&x, 1};
	struct msghdr m = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	must(recvmsg(from, &m, 0));
	int fd;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}

static void descriptors(void) {
	must(mkdir("descriptors", 0700));
	must(chdir("descriptors"));
	int s[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t pid = must(fork());
	if (!pid) {
		must(chdir("/"));
		int dir = receive_fd(s[1]), file = receive_fd(s[1]);
		close(must(openat(dir, "file", O_RDWR)));
		must(mkdirat(dir, "sub", 0700));
		close(must(open(magic(file), O_RDONLY)));
		must(linkat(file, "", dir, "hard", AT_EMPTY_PATH));
		must(unlinkat(dir, "file", 0));
		must(fchdir(dir));
		must(rename("hard", "sub/hard"));
		exit(0);
	}
	int dir = must(open(".", O_PATH)), file = touch("file");
	send_fd(s[0], dir);
	send_fd(s[0], file);
	must(waitpid(pid, 0, 0));
	int self = must(syscall(SYS_pidfd_open, getpid(), 0)), twin = must(syscall(SYS_pidfd_getfd, self, dir, 0));
	close(must(openat(twin, "sub/hard", O_RDONLY)));
	must(dup2(dir, 100));
	close(must(openat(100, "sub", O_RDONLY)));
}

static void roots(void) {
	must(mkdir("root", 0700));
	must(mkdir("root/dir", 0700));
	must(symlink("/dir/file", "root/link"));
	int out = must(open(".", O_RDONLY));
	must(chroot("root"));
	close(must(openat(out, "outside", O_WRONLY | O_CREAT, 0600))); // still outside
	must(chdir("/"));
	close(touch("/dir/file"));
	close(must(open("link", O_RDWR)));
	close(must(open("/../../dir/../link", O_RDONLY)));
	must(rename("/dir/file", "/file"));
	must(symlink("/file", "/dir/link"));
	close(must(open("/dir/link", O_RDONLY)));
	close(touch("/kept"));
	must(symlink("/kept", "/dir/kept")); // its text is resolved when the record is written
	must(truncate("/dir/kept", 3));
	must(linkat(AT_FDCWD, "/dir/kept", AT_FDCWD, "/dir/hard", AT_SYMLINK_FOLLOW));
	must(unlink("/../file"));
	must(chdir("/dir"));
	must(fchdir(out));
	must(chdir("../../.."));
	close(must(open("/dir", O_RDONLY)));
}

static void names(void) {
	must(mkdir("names", 0700));
	must(chdir("names"));
	char longest[256];
	memset(longest, 'l', 255);
	longest[255] = 0;
	static const char *const odd[] = {
		" ", " lead", "trail ", "a b", "it's", "' '", "\"", "a\nb", "\\012", "#1", "tab\there", "\xff\xfe", "gr\xc3\xbc\xc3\x9f", "-n", "...", "a (deleted)",
	};
	for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
		close(touch(odd[i]));
		must(link(odd[i], "twin"));
		must(rename(odd[i], longest));
		must(symlink(odd[i], odd[i]));
		must(unlink("twin"));
		must(unlink(longest));
		must(unlink(odd[i]));
		must(mkdir(odd[i], 0700));
		must(chdir(odd[i]));
		close(touch("in"));
		must(chdir(".."));
	}
}

// longs are texts of nearly 4096 bytes, for a path and for a link.
static void longs(void) {
	must(mkdir("longs", 0700));
	must(chdir("longs"));
	char path[4096] = "", text[4096];
	while (strlen(path) < sizeof path - 30)
		strcat(path, "./");
	char *end = path + strlen(path);
	strcpy(end, "dir"), must(mkdir(path, 0700));
	strcpy(end, "dir/file"), close(touch(path));
	must(truncate(path, 5));
	must(link(path, "dir/hard"));
	strcpy(end, "dir/moved"), must(rename("dir/hard", path));
	must(unlink(path));
	memset(text, 't', sizeof text);
	text[4095] = 0;
	strcpy(end, "link"), must(symlink(text, path));
	must(chdir("dir"));
	for (int i = 0; i < 20; i++) { // a path of 4000 bytes that no call can name at once
		memset(text, 'a' + i, 200), text[200] = 0;
		must(mkdir(text, 0700));
		must(chdir(text));
	}
	close(touch("deep"));
	must(rename("deep", "../deep"));
}

static void terminals(void) {
	int ptmx = must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	must(unlockpt(ptmx));
	close(must(open(ptsname(ptmx), O_RDWR | O_NOCTTY)));
	close(must(shm_open("/fanrec-oracle-calls", O_RDWR | O_CREAT, 0600)));
	must(shm_unlink("/fanrec-oracle-calls"));
}

static int chdir_in(void *dir) {
	must(chdir(dir));
	close(touch("there"));
	return 0;
}

static void clones(void) {
	must(mkdir("clones", 0700));
	must(chdir("clones"));
	must(mkdir("dir", 0700));
	static char stack[65536] __attribute__((aligned(16)));
	char *top = stack + sizeof stack;
	pid_t pid = must(clone(chdir_in, top, SIGCHLD, "dir"));
	must(waitpid(pid, 0, 0));
	close(touch("here"));
	pid = must(clone(chdir_in, top, CLONE_FS | CLONE_FILES | SIGCHLD, "dir"));
	must(waitpid(pid, 0, 0));
	close(touch("there too")); // the child's directory is ours
	must(chdir(".."));
	pid = must(clone(chdir_in, top, CLONE_VM | CLONE_VFORK | SIGCHLD, "dir"));
	must(waitpid(pid, 0, 0));
	pid = must(fork());
	if (!pid) { // its child is our child
		must(clone(chdir_in, top, CLONE_PARENT | SIGCHLD, "dir"));
		_exit(0);
	}
	must(wait(0)), must(wait(0));
	must(unshare(CLONE_FS | CLONE_FILES));
	struct {
		unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} args = {.exit_signal = SIGCHLD};
	pid = must(syscall(SYS_clone3, &args, sizeof args));
	if (!pid) {
		close(touch("clone3"));
		_exit(7);
	}
	must(waitpid(pid, 0, 0));
}

static void exec(void (*how)(int self), int self) {
	pid_t pid = must(fork());
	if (!pid) {
		how(self);
		_exit(1);
	}
	int status;
	must(waitpid(pid, &status, 0));
	if (status) {
		fprintf(stderr, "exec: status %x\n", status);
		exit(1);
	}
}

static char *done[] = {"calls", "done", 0}, *shell[] = {"sh", "-c", "exec 3<script", 0};
static char *none[] = {0};

static void exec_path(int self) { (void)self, execve("prog", done, none); }
static void exec_link(int self) { (void)self, execve("link", done, none); }
static void exec_empty(int self) { execveat(self, "", done, none, AT_EMPTY_PATH); }
static void exec_at(int self) { (void)self, execveat(must(open(".", O_PATH)), "prog", done, none, AT_SYMLINK_NOFOLLOW); }
static void exec_magic(int self) { execve(magic(self), done, none); }
static void exec_script(int self) { (void)self, execve("script", none, none); }
static void exec_memfd(int self) {
	int mem = must(memfd_create("prog", 0));
	while (must(sendfile(mem, self, 0, 1 << 20)) > 0)
		;
	execveat(mem, "", done, none, AT_EMPTY_PATH);
}
static void exec_gone(int self) {
	(void)self;
	must(rename("again", "going"));
	int gone = must(open("going", O_RDONLY | O_CLOEXEC));
	must(unlink("going"));
	execveat(gone, "", done, none, AT_EMPTY_PATH);
}
static void exec_script_link(int self) { (void)self, execve("script.link", none, none); }
static void exec_script_at(int self) { (void)self, execveat(must(open("..", O_PATH)), "execs/script.link", none, none, 0); }
static void exec_script_fd(int self) { (void)self, execveat(must(open("script", O_PATH)), "", none, none, AT_EMPTY_PATH); }
static void exec_nested(int self) { (void)self, execve("nested", none, none); }
static void exec_chain(int self) { (void)self, execve("chain", none, none); }
static void exec_shell(int self) { (void)self, execve("/bin/sh", shell, none); }
static void exec_again(int self) {
	fails(execve("nowhere", done, none), ENOENT);
	fails(execve("data", done, none), ENOEXEC);
	fails(execve(".", done, none), EACCES);
	exec_path(self);
}

static void copy(const char *from, const char *to) {
	int in = must(open(from, O_RDONLY)), out = must(open(to, O_WRONLY | O_CREAT, 0700));
	while (must(sendfile(out, in, 0, 1 << 20)) > 0)
		;
	close(in), close(out);
}

static void write_file(const char *name, const char *text) {
	int fd = must(open(name, O_WRONLY | O_CREAT, 0700));
	must(write(fd, text, strlen(text)));
	close(fd);
}

static void execs(void) {
	must(mkdir("execs", 0700));
	must(chdir("execs"));
	copy("/proc/self/exe", "prog");
	copy("/proc/self/exe", "again");
	must(symlink("prog", "link"));
	write_file("script", "#!./prog done\n");
	write_file("data", "data\n");
	write_file("nested", "#!./script x\n");
	write_file("chain", "#!/bin/sh\n[ \"$1\" ] || exec ./chain.link x\n");
	must(symlink("script", "script.link"));
	must(symlink("chain", "chain.link"));
	int self = must(open("prog", O_RDONLY | O_CLOEXEC));
	static void (*const all[])(int) = {
		exec_path, exec_link, exec_empty, exec_at, exec_magic, exec_script, exec_script_link, exec_script_at,
		exec_script_fd, exec_nested, exec_chain, exec_shell, exec_again, exec_memfd, exec_gone,
	};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		exec(all[i], self);
}

static void again(void) { must(chdir(here)); }

int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		return 0;
	}
	must(getcwd(here, sizeof here) ? 0 : -1);
	static void (*const all[])(void) = {
		opens, temporaries, directories, nodes, sockets, links, renames, truncates, handles, descriptors, names,
		longs, terminals, clones, execs,
	};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		all[i]();
		again();
	}
	in(roots);
}
