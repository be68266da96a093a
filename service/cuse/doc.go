// Package cuse makes a character device whose system calls are answered by this
// process: the protocol of /dev/cuse, as linux/fuse.h and fs/fuse/cuse.c have it.
//
// Open, ioctls that hand data in, and the last close are passed on; read and
// write fail with ENODEV, and poll says that the device is always ready.
//
// Decoding and encoding are pure (protocol.go), the rest is thin (channel.go).
// The package knows nothing of filemon.
package cuse
