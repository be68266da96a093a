// Ends of processes: exit codes and signals, one in an open that never returns.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	int ends[] = {SIGSEGV, SIGTERM, SIGRTMIN + 3, 64};
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	for (int i = 0; i < sizeof ends / sizeof *ends; i++) {
		if (!fork())
			raise(ends[i]);
		wait(0);
	}
	mkfifo("fifo", 0600);
	int pid = fork();
	if (!pid)
		open("fifo", O_RDONLY);
	usleep(20000);
	kill(pid, SIGKILL);
	wait(0);
	unlink("fifo");
	exit(200);
}
