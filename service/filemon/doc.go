// Package filemon is /dev/filemon: what FreeBSD's filemon(4) does with an open,
// an ioctl and a close, in terms of recordings that somebody else makes. One
// open is one recording.
//
// What is not as on FreeBSD:
//   - close(2) returns no error: the kernel drops what a CUSE device says then. A log
//     that is not complete has no end, and FILEMON_FLUSH_IOCTL returns EIO.
//   - Of a process that is set before there is a log, only what it does and forks
//     from then on is recorded, and that it may not be followed is not said.
//   - A process of a pid namespace below the caller's is not found.
package filemon
