// Threads that open and unlink at the same time; the leader leaves first, and the last thread's status is the process's.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *work(void *arg) {
	char name[32];
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof name, "t%ld.%d", (long)arg, i);
		close(open(name, O_RDWR | O_CREAT, 0600));
		unlink(name);
	}
	return 0;
}

static void *last(void *arg) {
	usleep(20000); // the leader is gone by now, its working directory is not
	mkdir("late", 0700);
	rmdir("late");
	syscall(SYS_exit, 4);
	return 0;
}

int main(void) {
	pthread_t t[3];
	for (long i = 0; i < 3; i++)
		pthread_create(t + i, 0, work, (void *)i);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], 0);
	mkdir("d", 0700);
	chdir("d");
	pthread_create(t, 0, last, 0);
	syscall(SYS_exit, 3);
}
