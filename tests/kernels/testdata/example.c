/*
 * What the manual page of filemon(4) shows: a program for FreeBSD that records
 * what a child does, closes the device and reads the log. It includes only what FreeBSD
 * has, too.
 *
 *	example LOG COMMAND [ARGUMENTS]
 */
#include <sys/types.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/ioctl.h>
#include <dev/filemon/filemon.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	char text[65536];
	ssize_t n;
	pid_t child;
	int device, log, status;

	if (argc < 3)
		errx(2, "usage: example LOG COMMAND [ARGUMENTS]");
	if ((device = open("/dev/filemon", O_RDWR | O_CLOEXEC)) == -1)
		err(1, "open /dev/filemon");
	if ((log = open(argv[1], O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, DEFFILEMODE)) == -1)
		err(1, "open %s", argv[1]);
	if (ioctl(device, FILEMON_SET_FD, &log) == -1)
		err(1, "FILEMON_SET_FD");
	switch (child = fork()) {
	case -1:
		err(1, "fork");
	case 0:
		child = getpid();
		if (ioctl(device, FILEMON_SET_PID, &child) == -1)
			err(1, "FILEMON_SET_PID");
		execvp(argv[2], argv + 2);
		err(1, "%s", argv[2]);
	}
	if (waitpid(child, &status, 0) == -1)
		err(1, "waitpid");
	if (close(device) == -1)
		err(1, "close");
	lseek(log, 0, SEEK_SET);
	while ((n = read(log, text, sizeof text)) > 0)
		fwrite(text, 1, n, stdout);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
