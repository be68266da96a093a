// storm puts a recorder under stress: what it does to files is known beforehand, to the last record and its place.
//
//	storm flipflop [-pause] DIR N    one process renames one file to and fro, N times
//	storm forest [-pause] [-exec] DIR N    N short-lived processes, eight at a time, in directories that are renamed
//	storm deep [-pause] DIR N    N deep trees, renamed at every level and removed while processes work in them
//	storm reuse [-pause] DIR N    N processes, one after the other, all with the same pid
//	storm churn DIR N    N file operations on names that never come again, to see what a recorder keeps in memory
//
// DIR is an empty directory, named by an absolute path. The program must be started by an absolute path too, as -exec
// executes argv[0]. With -pause it writes a line to stdout halfway and waits for a byte on stdin. Linked statically it
// opens nothing of its own. The records that each storm must leave are in flipflop.go, forest.go, deep.go and reuse.go.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self; // argv[0]
static const char *base; // DIR
static pid_t parent;     // of all processes of the storm; 0 in itself

// die ends the whole storm: no process may wait for ever for one that is gone.
static void die(const char *what, const char *on)
{
	fprintf(stderr, "storm: %s %s: %s\n", what, on, strerror(errno));
	if (parent)
		kill(parent, SIGTERM);
	_exit(99);
}

static void must(int result, const char *what, const char *on)
{
	if (result < 0)
		die(what, on);
}

static void halfway(int pause)
{
	char byte;
	if (!pause)
		return;
	must(write(1, "halfway\n", 8), "write", "stdout");
	if (read(0, &byte, 1) < 0)
		die("read", "stdin");
}

// spawn is fork, with a child that does not outlive the storm.
static pid_t spawn(void)
{
	pid_t us = getpid(), pid = fork();
	must(pid, "fork", "");
	if (pid == 0) {
		parent = us;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return pid;
}

// A baton is an eventfd: it outlives execve, and no file system sees it.
static int new_baton(void)
{
	int fd = eventfd(0, 0);
	must(fd, "eventfd", "");
	return fd;
}

static void pass(int baton)
{
	uint64_t one = 1;
	must(write(baton, &one, sizeof one), "write", "baton");
}

static void await(int baton)
{
	uint64_t n;
	must(read(baton, &n, sizeof n), "read", "baton");
}

static void open_close(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags, 0644);
	must(fd, "open", path);
	if ((flags & O_ACCMODE) != O_RDONLY)
		must(write(fd, "storm\n", 6), "write", path);
	close(fd);
}

enum { NEW = O_WRONLY | O_CREAT | O_EXCL };

//
// flipflop
//

static int flipflop(int pause, int n)
{
	char name[2][4096];
	snprintf(name[0], sizeof name[0], "%s/a", base);
	snprintf(name[1], sizeof name[1], "%s/b", base);
	open_close(AT_FDCWD, name[0], NEW);
	for (int i = 0; i < n; i++) {
		if (i == n / 2)
			halfway(pause);
		must(rename(name[i & 1], name[~i & 1]), "rename", name[i & 1]);
	}
	must(unlink(name[n & 1]), "unlink", name[n & 1]);
	return 0;
}

//
// forest
//

// Children come in groups of four. Each child first plays the private script, in a directory of its own, at the same
// time as all others. Then the four play the shared script, in one directory: a baton goes from role to role, so that
// its order is total.
//
// In a script P0, P1 are the names that the private directory of child i gets one after the other (p<i>.0, p<i>.1), D0
// to D3 those of the shared directory of group g (d<g>.0 to d<g>.3). A path that starts with one is made absolute, any
// other is relative to the working directory, whatever its name is by then.
enum op { MKDIR, CREATE, READ, RDWR, TRUNC, CHDIR, RENAME, LINK, SYMLINK, UNLINK, RMDIR, OPENDIR, READAT, UNLINKAT };

struct step {
	int role;
	enum op op;
	const char *a, *b;
};

static const struct step private_script[] = {
	{0, MKDIR, "P0"},
	{0, CREATE, "P0/a"},
	{0, RENAME, "P0/a", "P0/b"},
	{0, RENAME, "P0", "P1"},
	{0, READ, "P1/b"},
	{0, CHDIR, "P1"},
	{0, RDWR, "b"},
	{0, UNLINK, "b"},
	{0, RMDIR, "P1"},
};

static const struct step shared_script[] = {
	{0, MKDIR, "D0"},
	{0, CREATE, "D0/f0"},
	{1, CREATE, "D0/f1"},
	{1, CHDIR, "D0"},
	{2, CREATE, "D0/f2"},
	{3, CHDIR, "D0"},
	{3, CREATE, "f3"},
	{0, RENAME, "D0/f0", "D0/g0"},
	{0, RENAME, "D0", "D1"},
	{1, READ, "f1"},
	{1, RENAME, "f1", "g1"},
	{2, RDWR, "D1/f2"},
	{2, RENAME, "D1/f2", "D1/g2"},
	// the second half: with -exec each role executes the program anew before its first step in here
	{2, RENAME, "D1", "D2"},
	{3, READ, "f3"},
	{3, RENAME, "f3", "../D2/g3"},
	{3, SYMLINK, "g3", "s3"},
	{1, RENAME, "../D2", "../D3"},
	{0, OPENDIR, "D3"},
	{0, READAT, "g0"},
	{0, UNLINKAT, "g0"},
	{1, LINK, "g1", "h1"},
	{1, UNLINK, "g1"},
	{1, READ, "h1"},
	{1, UNLINK, "h1"},
	{2, UNLINK, "D3/g2"},
	{3, TRUNC, "g3"},
	{3, UNLINK, "g3"},
	{3, UNLINK, "s3"},
	{2, RMDIR, "D3"},
};

enum { ROLES = 4, GROUPS = 2, SECOND_HALF = 13, SHARED_STEPS = sizeof shared_script / sizeof *shared_script };

// A killed child must not leave a core file: no signal that makes one.
static const int kills[] = {SIGKILL, SIGTERM, SIGUSR1, 40};

// fate returns the wait status that child i must end with.
static int fate(int i)
{
	return i % 11 == 5 ? kills[i / 11 % 4] : i % 256 << 8;
}

static void expand(char *out, const char *path, int i)
{
	if (*path == 'D' || *path == 'P')
		out += sprintf(out, "%s/", base);
	for (; *path; path++) {
		if (*path == 'D')
			out += sprintf(out, "d%d.", i / ROLES);
		else if (*path == 'P')
			out += sprintf(out, "p%d.", i);
		else
			*out++ = *path;
	}
	*out = 0;
}

static void act(const struct step *s, int i)
{
	static int dir = -1;
	char a[4096], b[4096];
	expand(a, s->a, i);
	if (s->b)
		expand(b, s->b, i);
	switch (s->op) {
	case MKDIR: must(mkdir(a, 0755), "mkdir", a); break;
	case CREATE: open_close(AT_FDCWD, a, NEW); break;
	case READ: open_close(AT_FDCWD, a, O_RDONLY); break;
	case RDWR: open_close(AT_FDCWD, a, O_RDWR); break;
	case TRUNC: open_close(AT_FDCWD, a, O_WRONLY | O_TRUNC); break;
	case CHDIR: must(chdir(a), "chdir", a); break;
	case RENAME: must(rename(a, b), "rename", a); break;
	case LINK: must(link(a, b), "link", a); break;
	case SYMLINK: must(symlink(s->a, b), "symlink", b); break;
	case UNLINK: must(unlink(a), "unlink", a); break;
	case RMDIR: must(rmdir(a), "rmdir", a); break;
	case OPENDIR: must(dir = open(a, O_RDONLY | O_DIRECTORY), "open", a); break;
	case READAT: open_close(dir, a, O_RDONLY); break;
	case UNLINKAT: must(unlinkat(dir, a, 0), "unlinkat", a); break;
	}
}

// play plays child i's role in the shared script from step `from` on, which it need not wait for.
static void play(int i, const int *batons, int exec, int from)
{
	int role = i % ROLES;
	for (int k = from; k < SHARED_STEPS; k++) {
		if (shared_script[k].role != role)
			continue;
		if (k > from && shared_script[k - 1].role != role)
			await(batons[role]);
		if (exec && k >= SECOND_HALF) {
			char args[6][16];
			int values[] = {i, k, batons[0], batons[1], batons[2], batons[3]};
			for (int v = 0; v < 6; v++)
				sprintf(args[v], "%d", values[v]);
			execl(self, self, "second-half", base, args[0], args[1], args[2], args[3], args[4], args[5], NULL);
			die("execve", self);
		}
		act(&shared_script[k], i);
		if (k + 1 < SHARED_STEPS && shared_script[k + 1].role != role)
			pass(batons[shared_script[k + 1].role]);
	}
	int status = fate(i);
	if (status & 0x7f)
		kill(getpid(), status & 0x7f);
	_exit(status >> 8);
}

static void forest_child(int i, const int *batons, int exec)
{
	for (unsigned k = 0; k < sizeof private_script / sizeof *private_script; k++)
		act(&private_script[k], i);
	// Role 0 begins the shared script; the others come to theirs, as from here, with a wait.
	if (i % ROLES != 0)
		await(batons[i % ROLES]);
	int first = 0;
	while (shared_script[first].role != i % ROLES)
		first++;
	play(i, batons, exec, first);
}

static int second_half(char **argv)
{
	int batons[ROLES];
	for (int r = 0; r < ROLES; r++)
		batons[r] = atoi(argv[2 + r]);
	parent = getppid();
	play(atoi(argv[0]), batons, 0, atoi(argv[1]));
	return 99;
}

static int forest(int pause, int exec, int n)
{
	int batons[GROUPS][ROLES], left[GROUPS] = {0};
	struct { pid_t pid; int i; } children[GROUPS][ROLES] = {0};
	if (n % ROLES) {
		fprintf(stderr, "storm: forest: %d is not a multiple of %d\n", n, ROLES);
		return 2;
	}
	for (int g = 0; g < GROUPS; g++)
		for (int r = 0; r < ROLES; r++)
			batons[g][r] = new_baton();
	for (int k = 0; k < 4; k++)
		signal(kills[k], SIG_DFL);
	for (int next = 0, alive = 0; next < n || alive;) {
		for (int g = 0; g < GROUPS && next < n; g++) {
			if (left[g])
				continue;
			if (next == n / 2 / ROLES * ROLES)
				halfway(pause);
			for (int r = 0; r < ROLES; r++, next++) {
				pid_t pid = spawn();
				if (pid == 0)
					forest_child(next, batons[g], exec);
				children[g][r].pid = pid;
				children[g][r].i = next;
			}
			left[g] = ROLES;
			alive += ROLES;
		}
		int status;
		pid_t pid = wait(&status);
		must(pid, "wait", "");
		alive--;
		for (int g = 0; g < GROUPS; g++)
			for (int r = 0; r < ROLES; r++) {
				if (children[g][r].pid != pid)
					continue;
				children[g][r].pid = 0;
				left[g]--;
				if (status != fate(children[g][r].i)) {
					fprintf(stderr, "storm: child %d ended with status %#x\n", children[g][r].i, status);
					_exit(99);
				}
			}
	}
	return 0;
}

//
// deep
//

// A tree is a chain of LEVELS directories with a file "leaf" at the bottom. Level k is named l<k>.<v>, where v counts
// the renames of that level. In each round a short-lived child renames one level, then a walker, whose working
// directory is somewhere in the chain, opens the leaf. At last the walkers remove the chain, from the leaf up, through
// their own working directories. The next tree has the same names again, and file systems like to give it the same
// inodes.
enum { LEVELS = 40, ROUNDS = 60, WALKERS = 3 };

static int renamed_level(int round)
{
	return (round * 17 + 5) % LEVELS;
}

// Appends the names of the levels from..to, as they are before round `round`, to the path.
static void chain(char *path, int from, int to, int round)
{
	int version[LEVELS] = {0};
	for (int r = 0; r < round; r++)
		version[renamed_level(r)]++;
	path += strlen(path);
	for (int k = from; k <= to; k++)
		path += sprintf(path, "%sl%d.%d", path[-1] == '/' ? "" : "/", k, version[k]);
}

static void absolute(char *path, int level, int round)
{
	strcpy(path, base);
	chain(path, 0, level, round);
}

static int walker_level(int w)
{
	return LEVELS - 1 - w * 13;
}

static void walk(int w, const int *dirs, int turn, int done)
{
	char path[8192];
	absolute(path, walker_level(w), 0);
	must(chdir(path), "chdir", path);
	pass(done);
	for (int r = 0; r < ROUNDS; r++) {
		if (r % WALKERS != w)
			continue;
		strcpy(path, "./");
		chain(path, walker_level(w) + 1, LEVELS - 1, r + 1);
		strcat(path, "/leaf");
		await(turn);
		open_close(AT_FDCWD, path, O_RDONLY);
		pass(done);
	}
	for (int k = LEVELS; k >= 0; k--) {
		if (k % WALKERS != w)
			continue;
		await(turn);
		if (k == LEVELS) {
			must(unlinkat(dirs[k - 1], "leaf", 0), "unlinkat", "leaf");
		} else if (k > 0 && k & 1) {
			strcpy(path, "/");
			chain(path, k, k, ROUNDS);
			must(unlinkat(dirs[k - 1], path + 1, AT_REMOVEDIR), "unlinkat", path);
		} else {
			absolute(path, k, ROUNDS);
			must(rmdir(path), "rmdir", path);
		}
		pass(done);
	}
	_exit(w + 1);
}

static void rename_level(int round, const int *dirs)
{
	char from[8192], to[8192];
	int k = renamed_level(round);
	if (k > 0 && round & 1) {
		strcpy(from, "/");
		strcpy(to, "/");
		chain(from, k, k, round);
		chain(to, k, k, round + 1);
		must(renameat(dirs[k - 1], from + 1, dirs[k - 1], to + 1), "renameat", from);
	} else {
		absolute(from, k, round);
		absolute(to, k, round + 1);
		must(rename(from, to), "rename", from);
	}
	_exit(round);
}

static void reap(pid_t pid, int code)
{
	int status;
	must(waitpid(pid, &status, 0), "wait", "");
	if (status != code << 8) {
		fprintf(stderr, "storm: process %d ended with status %#x\n", pid, status);
		_exit(99);
	}
}

static void deep_tree(void)
{
	char path[8192];
	int dirs[LEVELS], turn[WALKERS], done = new_baton();
	pid_t walkers[WALKERS];
	for (int k = 0; k < LEVELS; k++) {
		absolute(path, k, 0);
		must(mkdir(path, 0755), "mkdir", path);
		must(dirs[k] = open(path, O_RDONLY | O_DIRECTORY), "open", path);
	}
	open_close(dirs[LEVELS - 1], "leaf", NEW);
	for (int w = 0; w < WALKERS; w++) {
		turn[w] = new_baton();
		walkers[w] = spawn();
		if (walkers[w] == 0)
			walk(w, dirs, turn[w], done);
		await(done);
	}
	for (int r = 0; r < ROUNDS; r++) {
		pid_t pid = spawn();
		if (pid == 0)
			rename_level(r, dirs);
		reap(pid, r);
		pass(turn[r % WALKERS]);
		await(done);
	}
	for (int k = LEVELS; k >= 0; k--) {
		pass(turn[k % WALKERS]);
		await(done);
	}
	for (int w = 0; w < WALKERS; w++) {
		reap(walkers[w], w + 1);
		close(turn[w]);
	}
	for (int k = 0; k < LEVELS; k++)
		close(dirs[k]);
	close(done);
}

static int deep(int pause, int n)
{
	for (int t = 0; t < n; t++) {
		if (t == n / 2)
			halfway(pause);
		deep_tree();
	}
	return 0;
}

//
// reuse
//

// A fork that gives the child the pid `wanted`, or any if it is 0.
static pid_t spawn_as(pid_t wanted)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	pid_t us = getpid();
	if (wanted) {
		args.set_tid = (uintptr_t)&wanted;
		args.set_tid_size = 1;
	}
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	must(pid, "clone3", "");
	if (pid == 0)
		parent = us;
	return pid;
}

static int reuse(int pause, int n)
{
	pid_t pid = 0;
	char a[4200], b[4200];
	for (int i = 0; i < n; i++) {
		if (i == n / 2)
			halfway(pause);
		pid = spawn_as(pid);
		if (pid == 0) {
			sprintf(a, "%s/a%d", base, i);
			sprintf(b, "%s/b%d", base, i);
			open_close(AT_FDCWD, a, NEW);
			must(rename(a, b), "rename", a);
			open_close(AT_FDCWD, b, O_RDONLY);
			must(unlink(b), "unlink", b);
			_exit(i);
		}
		reap(pid, i & 0xff);
	}
	return 0;
}

//
// churn
//

static int churn(int n)
{
	enum { FILES = 1000 };
	char dir[4096], file[4200];
	for (int i = 0; i < n; i++) {
		int f = i / 3;
		switch (i % 3) {
		case 0:
			if (f % FILES == 0) {
				if (f)
					must(rmdir(dir), "rmdir", dir);
				sprintf(dir, "%s/d%d", base, f / FILES);
				must(mkdir(dir, 0755), "mkdir", dir);
			}
			sprintf(file, "%s/f%d", dir, f);
			open_close(AT_FDCWD, file, NEW);
			break;
		case 1: open_close(AT_FDCWD, file, O_RDONLY); break;
		case 2: must(unlink(file), "unlink", file); break;
		}
	}
	if (n % 3 == 0 && n)
		must(rmdir(dir), "rmdir", dir);
	return 0;
}

int main(int argc, char **argv)
{
	int pause = 0, exec = 0, k = 2;
	self = argv[0];
	for (; k < argc && argv[k][0] == '-'; k++) {
		pause |= !strcmp(argv[k], "-pause");
		exec |= !strcmp(argv[k], "-exec");
	}
	if (argc - k >= 2) {
		base = argv[k];
		int n = atoi(argv[k + 1]);
		if (!strcmp(argv[1], "flipflop"))
			return flipflop(pause, n);
		if (!strcmp(argv[1], "forest"))
			return forest(pause, exec, n);
		if (!strcmp(argv[1], "deep"))
			return deep(pause, n);
		if (!strcmp(argv[1], "reuse"))
			return reuse(pause, n);
		if (!strcmp(argv[1], "churn"))
			return churn(n);
		if (!strcmp(argv[1], "second-half") && argc - k == 7)
			return second_half(argv + k + 1);
	}
	fprintf(stderr, "usage: storm flipflop|forest|deep|reuse|churn [-pause] [-exec] DIR N\n");
	return 2;
}
