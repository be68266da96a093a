package service

import (
	"errors"
	"os"
	"strings"

	"fanrec/service/filemon"

	"golang.org/x/sys/unix"
)

// Device returns what makes the recordings of /dev/filemon.
func (s *Service) Device() filemon.Recorder { return deviceRecorder{s} }

type deviceRecorder struct{ *Service }

// Open implements filemon.Recorder.
func (d deviceRecorder) Open(log *os.File, by filemon.Client) (filemon.Recording, error) {
	r, err := d.Service.Open(log, Client(by), Options{Unfinished: true})
	if err != nil {
		return nil, err
	}
	return deviceRecording{r}, nil
}

type deviceRecording struct{ *Recording }

// Follow implements filemon.Recording.
func (d deviceRecording) Follow(pidfd int, by filemon.Client, exclusive bool) error {
	fd, err := unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	return d.followFor(Client(by), f, FollowOptions{Exclusive: exclusive})
}

// Close implements filemon.Recording.
func (d deviceRecording) Close(why string) error {
	var reasons []string
	if why != "" {
		reasons = append(reasons, why)
	}
	res, err := d.Recording.Close(reasons...)
	if err == nil && why == "" && len(res.Incomplete) > 0 {
		err = errors.New(strings.Join(res.Incomplete, "; "))
	}
	return err
}
