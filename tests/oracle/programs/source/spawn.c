// Every way to start a program: fork, vfork, posix_spawn with file actions, system, popen, wordexp, and children that are killed or left behind.
#include "must.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

extern char **environ;

static int wait_for(pid_t pid) {
	int status;
	must(waitpid(pid, &status, 0));
	return status;
}

static void spawn(void) {
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "spawned", O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addchdir_np(&actions, "dir");
	posix_spawn_file_actions_addopen(&actions, 2, "errors", O_WRONLY | O_CREAT | O_APPEND, 0600);
	char *argv[] = {"sh", "-c", "echo out; echo err >&2; : >made", 0};
	pid_t pid;
	must(-posix_spawnp(&pid, "sh", &actions, 0, argv, environ));
	wait_for(pid);
	char *none[] = {"nowhere", 0};
	if (posix_spawn(&pid, "./nowhere", &actions, 0, none, environ) != ENOENT)
		exit(1);
}

static void *vforked(int code) {
	pid_t pid = vfork();
	if (pid == 0) {
		close(open("vforked", O_WRONLY | O_CREAT, 0600));
		if (code < 0)
			execl("/bin/true", "true", (char *)0);
		_exit(code);
	}
	wait_for(must(pid));
	return 0;
}

static void killed(int sig) {
	pid_t pid = must(fork());
	if (!pid) {
		prctl(PR_SET_DUMPABLE, 0); // no core file
		close(must(open("killed", O_WRONLY | O_CREAT, 0600)));
		signal(sig, SIG_DFL); // whoever started us may have had it ignored
		raise(sig);
		_exit(1);
	}
	wait_for(pid);
}

// daemonize leaves a grandchild behind that outlives its parent, and lets it end.
static void daemonize(void) {
	int p[2];
	char c;
	must(pipe(p));
	pid_t pid = must(fork());
	if (!pid) {
		if (must(fork()))
			_exit(0);
		must(setsid());
		must(chdir("/"));
		close(must(open("/dev/null", O_RDWR)));
		close(p[0]);
		_exit(5); // the last writer: the reader wakes up
	}
	close(p[1]);
	wait_for(pid);
	must(read(p[0], &c, 1));
}

int main(void) {
	must(mkdir("dir", 0700));
	for (int i = 0; i < 20; i++) {
		spawn();
		vforked(-1);
		vforked(i);
		daemonize();
	}
	static const int signals[] = {SIGKILL, SIGTERM, SIGABRT, SIGSEGV, SIGPIPE, SIGUSR1, SIGINT, 64};
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		killed(signals[i]);
	must(system("echo system >system; exit 3"));
	FILE *f = popen("cat system; kill -9 $$", "r");
	while (fgetc(f) != EOF)
		;
	pclose(f);
	wordexp_t words;
	must(-wordexp("$(echo word >word; cat word)", &words, 0));
	signal(SIGCHLD, SIG_IGN); // children are reaped by the kernel
	for (int i = 0; i < 20; i++)
		if (!must(fork())) {
			close(must(open("ignored", O_RDWR | O_CREAT, 0600)));
			_exit(i);
		}
	while (wait(0) > 0)
		;
}
