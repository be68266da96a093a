// storm puts a recorder under stress: what it does to files is known beforehand, to the last record and its place.
//
//	storm flipflop [-pause] DIR N    one process renames one file to and fro, N times
//	storm forest [-pause] [-exec] DIR N    N short-lived processes, eight at a time, in directories that are renamed
//	storm deep [-pause] DIR N    N deep trees, renamed at every level and removed while processes work in them
//	storm reuse [-pause] DIR N    N processes, one after the other, all with the same pid
//	storm churn DIR N    N file operations on names that never come again, to see what a recorder keeps in memory
//	storm flipflops [-pause] DIR N    eight processes at once, twice, that rename a file of their own to and fro, N times each
//	storm scramble [-pause] [-threads] DIR N    eight processes or threads at once, twice, that make, rename, open and remove
//		the same few names, N times each; they tell on stdout what of it succeeded
//	storm threads [-pause] DIR N    eight threads at once, twice, each with names of its own, N times
//	storm users [-pause] DIR N    two deep trees: processes work in them, N times each, while others rename every level
//		and remove it all
//	storm recycle [-pause] DIR N    N processes, four at a time, that share a dozen pids
//	storm opens [-pause] [-same] DIR N    one process that makes and opens N files, ten to a directory; with -same each
//		directory has files of the same names
//	storm names DIR N NAME...    a process for each name, which has it as a file, a link, a directory
//	storm long DIR N    a chain of directories, made and removed step by step, until a path has N bytes
//	storm long-make, long-use DIR N    its parts: the chain is made; it is entered, used and left as it was
//	storm long-exec DIR N COMMAND...    in the last directory of the chain
//
// DIR is an empty directory, named by an absolute path. The program must be started by an absolute path too, as -exec
// executes argv[0]. With -pause it writes a line to stdout halfway and waits for a byte on stdin. Linked statically it
// opens nothing of its own. The records that each storm must leave are in the Go files beside it, by the storm's name.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
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

//
// flipflops
//

enum { PLAYERS = 8, WAVES = 2 };

// wave runs PLAYERS processes at once: play(i, n) for each, numbered through all waves. They begin together.
static void wave(int number, void (*play)(int i, int n), int n)
{
	pid_t pids[PLAYERS];
	int start[2];
	char byte;
	must(pipe(start), "pipe", "");
	for (int i = 0; i < PLAYERS; i++) {
		pids[i] = spawn();
		if (pids[i] == 0) {
			close(start[1]);
			if (read(start[0], &byte, 1) < 0)
				die("read", "start");
			play(number * PLAYERS + i, n);
			_exit(i);
		}
	}
	close(start[0]);
	close(start[1]); // all go
	for (int i = 0; i < PLAYERS; i++)
		reap(pids[i], i);
}

static void flip(int i, int n)
{
	char name[2][4200];
	sprintf(name[0], "%s/a%d", base, i);
	sprintf(name[1], "%s/b%d", base, i);
	open_close(AT_FDCWD, name[0], NEW);
	for (int k = 0; k < n; k++)
		must(rename(name[k & 1], name[~k & 1]), "rename", name[k & 1]);
	must(unlink(name[n & 1]), "unlink", name[n & 1]);
}

static int flipflops(int pause, int n)
{
	for (int w = 0; w < WAVES; w++) {
		if (w == WAVES / 2)
			halfway(pause);
		wave(w, flip, n);
	}
	return 0;
}

//
// scramble
//

enum { SHARED_NAMES = 6 };

// What a player did: the letter of its record, one name or two.
struct deed { char letter, a, b; };

static struct deed *deeds; // n for each player

static unsigned next_random(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	return *state ^= *state << 5;
}

static void scramble_play(int i, int n)
{
	unsigned state = 2463534242u + 1013904223u * i;
	char name[SHARED_NAMES][4200];
	for (int k = 0; k < SHARED_NAMES; k++)
		sprintf(name[k], "%s/s%d", base, k);
	struct deed *d = deeds + (size_t)i * n;
	for (int k = 0; k < n; k++) {
		unsigned r = next_random(&state), a = r % SHARED_NAMES, b = (a + 1 + r / SHARED_NAMES % (SHARED_NAMES - 1)) % SHARED_NAMES;
		int fd = -1, result;
		char letter;
		switch (r / 64 % 8) {
		case 0: case 1: letter = 'W', result = fd = open(name[a], NEW, 0644); break;
		case 2: letter = 'D', result = unlink(name[a]); break;
		case 3: letter = 'R', result = fd = open(name[a], O_RDONLY); break;
		default: letter = 'M', result = rename(name[a], name[b]); break;
		}
		if (fd >= 0)
			close(fd);
		if (result >= 0) {
			d->letter = letter, d->a = a, d->b = b;
			d++;
		} else if (errno != ENOENT && errno != EEXIST) {
			die("scramble", name[a]);
		}
	}
}

struct player { pthread_t thread; void (*play)(int i, int n); int i, n; };

static void *thread_play(void *arg)
{
	struct player *p = arg;
	p->play(p->i, p->n);
	return NULL;
}

static void wave_of_threads(int number, void (*play)(int i, int n), int n)
{
	struct player players[PLAYERS];
	for (int i = 0; i < PLAYERS; i++) {
		players[i] = (struct player){.play = play, .i = number * PLAYERS + i, .n = n};
		if (pthread_create(&players[i].thread, NULL, thread_play, &players[i]))
			die("pthread_create", "");
	}
	for (int i = 0; i < PLAYERS; i++)
		pthread_join(players[i].thread, NULL);
}

static int scramble(int pause, int threads, int n)
{
	size_t size = sizeof *deeds * WAVES * PLAYERS * n;
	deeds = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (deeds == MAP_FAILED)
		die("mmap", "");
	for (int w = 0; w < WAVES; w++) {
		if (w == WAVES / 2)
			halfway(pause);
		(threads ? wave_of_threads : wave)(w, scramble_play, n);
	}
	for (int i = 0; i < WAVES * PLAYERS; i++)
		for (struct deed *d = deeds + (size_t)i * n; d < deeds + (size_t)(i + 1) * n && d->letter; d++)
			printf("%d %c %d %d\n", i, d->letter, d->a, d->b);
	return fflush(stdout) ? 99 : 0;
}

//
// threads
//

static void thread_names(int i, int n)
{
	char name[4][4200];
	for (int k = 0; k < n; k++) {
		for (int j = 0; j < 4; j++)
			sprintf(name[j], "%s/t%d.%d%c", base, i, k, 'a' + j);
		open_close(AT_FDCWD, name[0], NEW);
		must(rename(name[0], name[1]), "rename", name[0]);
		open_close(AT_FDCWD, name[1], O_RDWR);
		must(link(name[1], name[2]), "link", name[1]);
		must(unlink(name[1]), "unlink", name[1]);
		must(mkdir(name[3], 0755), "mkdir", name[3]);
		must(rename(name[2], name[0]), "rename", name[2]);
		must(unlink(name[0]), "unlink", name[0]);
		must(rename(name[3], name[1]), "rename", name[3]);
		must(rmdir(name[1]), "rmdir", name[1]);
	}
}

static int threads(int pause, int n)
{
	for (int w = 0; w < WAVES; w++) {
		if (w == WAVES / 2)
			halfway(pause);
		wave_of_threads(w, thread_names, n);
	}
	return 0;
}

//
// users
//

// A chain of DEPTH directories u0.0/u1.0/..., in which level k is named u<k>.<v>. RENAMERS processes rename the levels,
// each its own, N times, by the directory above: what it is called itself does not matter. USERS processes work in
// levels of their own. Then the users open their working directories again and again while the chain is removed.
enum { DEPTH = 24, RENAMERS = 2, USERS = 4 };

static int chain_dirs[DEPTH];

static int user_level(int u)
{
	return DEPTH - 1 - u * 5;
}

// What level k is called after n renames.
static void level_name(char *name, int k, int n)
{
	sprintf(name, "u%d.%d", k, n);
}

// How often a level is renamed in all.
static int renames_of(int k, int n)
{
	int own = DEPTH / RENAMERS;
	return n / own + (k / RENAMERS < n % own);
}

static void rename_levels(int r, int n)
{
	char from[32], to[32];
	for (int i = 0; i < n; i++) {
		int k = i % (DEPTH / RENAMERS) * RENAMERS + r, times = i / (DEPTH / RENAMERS);
		int above = k ? chain_dirs[k - 1] : AT_FDCWD;
		level_name(from, k, times);
		level_name(to, k, times + 1);
		must(renameat(above, from, above, to), "renameat", from);
	}
}

static void use(int u, int n, int over)
{
	char a[32], b[32], d[32];
	must(fchdir(chain_dirs[user_level(u)]), "fchdir", "");
	for (int i = 0; i < n; i++) {
		sprintf(a, "a%d.%d", u, i);
		sprintf(b, "b%d.%d", u, i);
		sprintf(d, "d%d.%d", u, i);
		open_close(AT_FDCWD, a, NEW);
		must(rename(a, b), "rename", a);
		open_close(AT_FDCWD, b, O_RDONLY);
		must(mkdir(d, 0755), "mkdir", d);
		open_close(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);
		must(rmdir(d), "rmdir", d);
		must(unlink(b), "unlink", b);
	}
	pass(over);
	for (int i = 0; i < n; i++)
		open_close(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);
}

static void users_tree(int n)
{
	char name[32];
	pid_t pids[RENAMERS + USERS];
	int over = new_baton();
	must(chdir(base), "chdir", base);
	for (int k = 0; k < DEPTH; k++) {
		int above = k ? chain_dirs[k - 1] : AT_FDCWD;
		level_name(name, k, 0);
		must(mkdirat(above, name, 0755), "mkdirat", name);
		must(chain_dirs[k] = openat(above, name, O_RDONLY | O_DIRECTORY), "openat", name);
	}
	for (int p = 0; p < RENAMERS + USERS; p++) {
		pids[p] = spawn();
		if (pids[p] == 0) {
			if (p < RENAMERS)
				rename_levels(p, n);
			else
				use(p - RENAMERS, n, over);
			_exit(p);
		}
	}
	for (int r = 0; r < RENAMERS; r++)
		reap(pids[r], r);
	for (uint64_t done = 0, some; done < USERS; done += some)
		must(read(over, &some, sizeof some), "read", "baton");
	for (int k = DEPTH - 1; k >= 0; k--) {
		level_name(name, k, renames_of(k, n));
		must(unlinkat(k ? chain_dirs[k - 1] : AT_FDCWD, name, AT_REMOVEDIR), "unlinkat", name);
	}
	for (int u = 0; u < USERS; u++)
		reap(pids[RENAMERS + u], RENAMERS + u);
	for (int k = 0; k < DEPTH; k++)
		close(chain_dirs[k]);
	close(over);
}

static int users(int pause, int n)
{
	for (int w = 0; w < WAVES; w++) {
		if (w == WAVES / 2)
			halfway(pause);
		users_tree(n);
	}
	return 0;
}

//
// recycle
//

enum { NUMBERS = 12, ALIVE = 4 };

static void use_once(int i)
{
	char a[4200], b[4200];
	sprintf(a, "%s/a%d", base, i);
	sprintf(b, "%s/b%d", base, i);
	open_close(AT_FDCWD, a, NEW);
	must(rename(a, b), "rename", a);
	open_close(AT_FDCWD, b, O_RDONLY);
	must(unlink(b), "unlink", b);
	_exit(i);
}

// spawn_any is a fork with one of the free numbers, or, as others fork too, with one that is free still.
static pid_t spawn_any(pid_t *wanted)
{
	for (;; ++*wanted) {
		struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)wanted, .set_tid_size = 1};
		pid_t us = getpid(), pid = syscall(SYS_clone3, &args, sizeof args);
		if (pid < 0 && errno == EEXIST)
			continue;
		must(pid, "clone3", "");
		if (pid == 0)
			parent = us;
		return pid;
	}
}

static int recycle(int pause, int n)
{
	pid_t numbers[NUMBERS];
	struct { pid_t pid; int i, number; } alive[ALIVE] = {0};
	int last = 0;
	for (int k = 0; k < NUMBERS; k++)
		numbers[k] = getpid() < 20000 ? getpid() + 5000 + 16 * k : getpid() - 10000 + 16 * k;
	for (int i = 0; i < n + ALIVE; i++) {
		int slot = i % ALIVE;
		if (alive[slot].pid) {
			reap(alive[slot].pid, alive[slot].i & 0xff);
			last = alive[slot].number;
		}
		alive[slot].pid = 0;
		if (i >= n)
			continue;
		if (i == n / 2)
			halfway(pause);
		// The number that was just freed, or the next one in turn.
		int k = i % 2 ? last : i / 2 % NUMBERS;
		for (int s = 0; s < ALIVE; s++)
			if (alive[s].pid && alive[s].number == k)
				k = (k + 1) % NUMBERS, s = -1;
		pid_t pid = spawn_any(&numbers[k]);
		if (pid == 0)
			use_once(i);
		alive[slot].pid = pid, alive[slot].i = i, alive[slot].number = k;
	}
	return 0;
}

//
// opens
//

// A directory is removed when KEPT more are there: more than a recorder can keep in memory for ever.
enum { PER_DIR = 10, KEPT = 70000 };

static int same_names;

static void file_in(char *file, const char *dir, int d, int f)
{
	sprintf(file, "%s/f%d", dir, same_names ? f : d * PER_DIR + f);
}

static void remove_dir(int d)
{
	char dir[4200], file[4300];
	sprintf(dir, "%s/d%d", base, d);
	for (int f = 0; f < PER_DIR; f++) {
		file_in(file, dir, d, f);
		must(unlink(file), "unlink", file);
	}
	must(rmdir(dir), "rmdir", dir);
}

static int opens(int pause, int n)
{
	char dir[4200], file[4300];
	int dirs = n / PER_DIR;
	for (int d = 0; d < dirs; d++) {
		if (d == dirs / 2)
			halfway(pause);
		sprintf(dir, "%s/d%d", base, d);
		must(mkdir(dir, 0755), "mkdir", dir);
		for (int pass = 0; pass < 2; pass++)
			for (int f = 0; f < PER_DIR; f++) {
				file_in(file, dir, d, f);
				int fd = open(file, pass ? O_RDONLY : NEW, 0644);
				must(fd, "open", file);
				close(fd); // empty: it is names that count
			}
		if (d >= KEPT)
			remove_dir(d - KEPT);
	}
	for (int d = dirs > KEPT ? dirs - KEPT : 0; d < dirs; d++)
		remove_dir(d);
	return 0;
}

//
// names
//

static void use_name(int i, const char *name)
{
	char top[4200], mid[4300], a[4700], b[4700], f[4800];
	sprintf(top, "%s/%d", base, i);
	sprintf(mid, "%s/mid", top);
	sprintf(a, "%s/%s", top, name);
	sprintf(b, "%s/%s", mid, name);
	sprintf(f, "%s/f", a);
	must(mkdir(top, 0755), "mkdir", top);
	must(mkdir(mid, 0755), "mkdir", mid);
	open_close(AT_FDCWD, a, NEW);
	must(rename(a, b), "rename", a);
	must(link(b, a), "link", b);
	must(unlink(b), "unlink", b);
	must(symlink(name, b), "symlink", b);
	must(unlink(b), "unlink", b);
	open_close(AT_FDCWD, a, O_RDWR);
	must(unlink(a), "unlink", a);
	must(mkdir(a, 0755), "mkdir", a);
	open_close(AT_FDCWD, f, NEW);
	must(chdir(a), "chdir", a);
	must(rename(a, b), "rename", a);
	open_close(AT_FDCWD, "f", O_RDONLY);
	must(unlink("f"), "unlink", "f");
	must(rmdir(b), "rmdir", b);
	must(rmdir(mid), "rmdir", mid);
	must(rmdir(top), "rmdir", top);
}

static int names(int n, char **list)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = spawn();
		if (pid == 0) {
			use_name(i, list[i]);
			_exit(i & 0xff);
		}
		reap(pid, i & 0xff);
	}
	return 0;
}

//
// long
//

enum { STEP = 200 };

// Components of the chain: their names have STEP bytes, but that of the last, which fills up to n.
static int component(char *name, int k, int n)
{
	int left = n - (int)strlen(base) - k * (STEP + 1) - 1, size = left > STEP + 2 ? STEP : left;
	if (left <= 0)
		return 0;
	memset(name, 'a' + k % 26, size);
	name[size] = 0;
	return 1;
}

static int long_chain(int make, int use, int n, char **command)
{
	char name[512], next[512], other[512];
	int k = 0;
	must(chdir(base), "chdir", base);
	for (; component(name, k, n) && component(next, k + 1, n); k++) {
		if (make)
			must(mkdir(name, 0755), "mkdir", name);
		must(chdir(name), "chdir", name);
	}
	if (command) {
		execv(command[0], command);
		die("execve", command[0]);
	}
	// The last component is a file. Its other name is as long.
	strcpy(other, name);
	other[0] = 'Z';
	if (make)
		open_close(AT_FDCWD, name, NEW);
	if (use) {
		open_close(AT_FDCWD, name, O_RDWR);
		must(rename(name, other), "rename", name);
		must(link(other, name), "link", other);
		must(unlink(other), "unlink", other);
		must(symlink("text", other), "symlink", other);
		must(unlink(other), "unlink", other);
		must(mkdir(other, 0755), "mkdir", other);
		must(rmdir(other), "rmdir", other);
		open_close(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);
		// By its whole path, too, if the kernel takes that.
		if (n < 4096) {
			char path[4096];
			char *end = path + sprintf(path, "%s", base);
			for (int j = 0; component(next, j, n); j++)
				end += sprintf(end, "/%s", next);
			open_close(AT_FDCWD, path, O_RDONLY);
			must(truncate(path, 0), "truncate", path);
		}
	}
	if (make && use)
		must(unlink(name), "unlink", name);
	while (k-- > 0) {
		must(chdir(".."), "chdir", "..");
		component(name, k, n);
		if (make && use)
			must(rmdir(name), "rmdir", name);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int pause = 0, exec = 0, in_threads = 0, k = 2;
	self = argv[0];
	for (; k < argc && argv[k][0] == '-'; k++) {
		pause |= !strcmp(argv[k], "-pause");
		exec |= !strcmp(argv[k], "-exec");
		in_threads |= !strcmp(argv[k], "-threads");
		same_names |= !strcmp(argv[k], "-same");
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
		if (!strcmp(argv[1], "flipflops"))
			return flipflops(pause, n);
		if (!strcmp(argv[1], "scramble"))
			return scramble(pause, in_threads, n);
		if (!strcmp(argv[1], "threads"))
			return threads(pause, n);
		if (!strcmp(argv[1], "users"))
			return users(pause, n);
		if (!strcmp(argv[1], "recycle"))
			return recycle(pause, n);
		if (!strcmp(argv[1], "opens"))
			return opens(pause, n);
		if (!strcmp(argv[1], "names"))
			return names(argc - k - 2, argv + k + 2);
		if (!strcmp(argv[1], "long"))
			return long_chain(1, 1, n, NULL);
		if (!strcmp(argv[1], "long-make"))
			return long_chain(1, 0, n, NULL);
		if (!strcmp(argv[1], "long-use"))
			return long_chain(0, 1, n, NULL);
		if (!strcmp(argv[1], "long-exec") && argc - k > 2)
			return long_chain(0, 0, n, argv + k + 2);
		if (!strcmp(argv[1], "second-half") && argc - k == 7)
			return second_half(argv + k + 1);
	}
	fprintf(stderr, "usage: storm NAME [-pause] [-exec] [-threads] [-same] DIR N [NAME...]; the names are in storm.c\n");
	return 2;
}
