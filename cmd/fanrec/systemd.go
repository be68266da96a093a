package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// What systemd wants of a service is done here, and not by its Go library: that
// brings crypto/tls along, whose start every recording would pay for.

// givenSocket returns the socket that systemd has made for this process, nil if
// it has made none: sd_listen_fds(3).
func givenSocket() (*net.UnixListener, error) {
	pid, err := strconv.Atoi(os.Getenv("LISTEN_PID"))
	if err != nil || pid != os.Getpid() {
		return nil, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if err != nil || n != 1 {
		return nil, fmt.Errorf("take the socket of systemd: it gave %d, want one: fanrec.socket", n)
	}
	const firstFD = 3
	f := os.NewFile(firstFD, "fanrec.socket")
	defer f.Close()
	l, err := net.FileListener(f) // a duplicate, closed on exec
	if err != nil {
		return nil, fmt.Errorf("take the socket of systemd: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok || l.Addr().Network() != "unixpacket" {
		l.Close()
		return nil, errors.New("take the socket of systemd: it is not what fanrec.socket asks for, ListenSequentialPacket=")
	}
	u.SetUnlinkOnClose(false)
	return u, nil
}

// notify tells systemd how the service is: sd_notify(3). Without systemd it does
// nothing.
func notify(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	if c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}); err == nil {
		defer c.Close()
		c.Write([]byte(state))
	}
}
