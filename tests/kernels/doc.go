// Package kernels runs the scripts of tests/e2e on other kernels: those of
// Debian's suites, booted under qemu without any privilege, each with every
// filesystem that a build may work on.
//
// A guest is an initramfs: fanrec, the compiled tests/e2e with its scripts, the
// programs that these run, and as /init the program in tests/kernels/init. It
// mounts the filesystems, runs the tests on each and writes what they say to
// its second serial port, which is a file here. fetch.sh gets the kernels.
package kernels
