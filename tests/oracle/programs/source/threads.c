// Threads that work on files of their own and on the same ones, one with a directory of its own; at last one of them execs.
#include "must.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { threads = 4, rounds = 50 };

static void *work(void *arg) {
	long me = (long)arg;
	char name[64], other[64];
	if (me == 0) {
		must(unshare(CLONE_FS));
		must(mkdir("alone", 0700));
		must(chdir("alone"));
	}
	for (int i = 0; i < rounds; i++) {
		snprintf(name, sizeof name, "%ld.%d", me, i);
		snprintf(other, sizeof other, "%ld.%d.moved", me, i);
		close(must(open(name, O_WRONLY | O_CREAT, 0600)));
		must(rename(name, other));
		close(must(open(other, O_RDONLY)));
		if (i % 3 == 0)
			must(unlink(other));
		close(must(open("/etc/passwd", O_RDONLY))); // all of them the same file
		snprintf(name, sizeof name, "dir%d", i % 5);
		if (mkdir(name, 0700) == 0)
			rmdir(name); // another thread may be in it, or have made it anew
		open("shared", O_RDWR | O_CREAT, 0600);
	}
	return 0;
}

static void *exec(void *arg) {
	usleep(2000);
	execv(((char **)arg)[0], (char **)arg);
	perror("execv");
	exit(1);
}

int main(int argc, char **argv) {
	if (argc > 1) {
		close(must(open(argv[1], O_WRONLY | O_CREAT, 0600)));
		return 3;
	}
	pthread_t t[threads];
	for (long i = 0; i < threads; i++)
		must(-pthread_create(&t[i], 0, work, (void *)i));
	for (long i = 0; i < threads; i++)
		must(-pthread_join(t[i], 0));
	for (int i = 0; i < 5; i++) {
		pid_t pid = must(fork());
		if (!pid) { // threads, of which one execs while the leader and the other wait
			char *again[] = {argv[0], "ran", 0};
			must(-pthread_create(&t[0], 0, exec, again));
			must(-pthread_create(&t[1], 0, work, (void *)1L));
			pause();
		}
		must(waitpid(pid, 0, 0));
	}
	char *last[] = {"/bin/true", 0};
	must(-pthread_create(&t[0], 0, exec, last));
	pause();
}
