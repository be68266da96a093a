package later

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// All are closed, though not by us: who reads the other end of a pipe sees its end.
func TestClose(t *testing.T) {
	var readers []*os.File
	var fds []int
	for range 3 {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		r := os.NewFile(uintptr(p[0]), "pipe")
		defer r.Close()
		readers, fds = append(readers, r), append(fds, p[1])
	}
	if err := Close(fds...); err != nil {
		t.Fatal(err)
	}
	for i, r := range readers {
		if _, err := unix.FcntlInt(uintptr(fds[i]), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("descriptor %d is still ours: %v", fds[i], err)
		}
		if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
			t.Errorf("descriptor %d is open: read %d, %v", fds[i], n, err)
		}
	}
}
