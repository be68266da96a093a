/*
 * filemon(4) for Linux: what a program asks of /dev/filemon, which fanrec
 * serves. Programs written for FreeBSD need no change.
 *
 *	int device = open("/dev/filemon", O_RDWR | O_CLOEXEC);
 *	ioctl(device, FILEMON_SET_FD, &log);	where the records go
 *	ioctl(device, FILEMON_SET_PID, &pid);	whom to follow
 *	close(device);				the log has its end
 */
#ifndef FANREC_FILEMON_H
#define FANREC_FILEMON_H

#include <sys/ioctl.h>
#include <sys/types.h>

/* The numbers are FreeBSD's. */
#define FILEMON_SET_FD	_IOWR('S', 1, int)
#define FILEMON_SET_PID	_IOWR('S', 2, pid_t)

/*
 * Ends the log now: everything is in it when this returns. Not in FreeBSD. The
 * last close(2) does the same, but is the last only if no process that was
 * forked meanwhile has the descriptor still; a make that runs several
 * jobs cannot know. bmake(1) calls it if it is defined.
 *
 * EIO: the log is not complete, or could not be written.
 */
#define FILEMON_FLUSH_IOCTL	_IO('S', 3)

/* The layout of the log. */
#define FILEMON_VERSION	5

#endif
