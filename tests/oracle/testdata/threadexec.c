// execve by a thread, while the leader blocks in an open that never returns. The image is a program, then, after a fork, one whose
// leader idles: there strace 6.1 loses the end of execve and the call after it.
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void *run(void *arg) {
	usleep(3000);
	execl("/bin/true", "true", (char *)0);
	return 0;
}

int main(void) {
	pthread_t t;
	if (fork()) {
		wait(0);
		mkfifo("fifo", 0600);
		pthread_create(&t, 0, run, 0);
		open("fifo", O_RDONLY);
	}
	pthread_create(&t, 0, run, 0);
	pthread_join(t, 0);
}
