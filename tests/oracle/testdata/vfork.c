// vfork, fork and clone3; a parent that is killed in vfork, so that strace never tells the child's id.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	if (!vfork())
		_exit(3);
	if (!vfork()) {
		execl("/bin/true", "true", (char *)0);
		_exit(1);
	}
	long args[11] = {[4] = SIGCHLD};
	if (!syscall(SYS_clone3, args, sizeof args))
		_exit(7);
	if (!fork()) {
		if (!vfork()) {
			kill(getppid(), SIGKILL);
			usleep(20000);
			close(open("after", O_CREAT | O_WRONLY, 0600));
			unlink("after");
			_exit(0);
		}
		_exit(1);
	}
	usleep(60000);
	while (wait(0) > 0)
		;
}
