// Package later closes descriptors whose release takes long, and has nobody wait.
package later

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Close closes descriptors, at most 252. They are sent through a socket that is then
// itself in flight in its own queue and open nowhere: the kernel's collector of such
// sockets (unix_gc) drops all of them, in a worker since 6.10.
func Close(fds ...int) error {
	var errs []error
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		errs = append(errs, unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(append(fds, pair[1])...), nil, 0))
	} else {
		errs = append(errs, err)
	}
	for _, fd := range fds {
		errs = append(errs, unix.Close(fd))
	}
	if err == nil {
		// In this order: the last one, of the other end, starts the collector.
		errs = append(errs, unix.Close(pair[1]), unix.Close(pair[0]))
	}
	return errors.Join(errs...)
}
