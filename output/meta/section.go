package meta

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"fanrec/output"
)

// section is the section of a .meta file while it is written.
type section struct {
	f    *os.File
	w    *bufio.Writer
	log  *output.Filemon
	job  *Job
	size int64     // of the file before
	at   int64     // of the log in the file
	time time.Time // of its last change before
	head []byte    // of the log, where unfinished stands for now
	err  error     // the first
}

// unfinished makes the log malformed to make(1), and so its target out of date,
// should the writer die.
const unfinished = "R 1\n"

// newSection begins the section of a job at the end of its .meta file, which was
// opened for reading and writing, or not. What goes wrong, close tells.
func newSection(f *os.File, err error, job *Job, notes []string) *section {
	s := &section{f: f, w: bufio.NewWriter(f), job: job, err: err}
	s.log = output.NewFilemon(s, 5)
	var end [1]byte
	if err == nil {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil {
			s.size, s.time = st.Size(), st.ModTime()
			_, err = f.ReadAt(end[:], s.size-1) // it has a head
		}
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if s.err = err; err == nil {
		s.at = s.size + int64(len(marker))
		if end[0] != '\n' { // make was killed
			s.w.WriteString("\n")
			s.at++
		}
		s.w.WriteString(marker)
		s.log.Begin(&output.Header{Target: job.Make, Start: job.Start, Notes: notes})
		s.keep(s.log.Flush())
	}
	return s
}

func (s *section) keep(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Write appends to the log.
func (s *section) Write(text []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n := len(text)
	if s.head == nil && n >= len(unfinished) {
		s.head = append(s.head, text[:len(unfinished)]...)
		s.w.WriteString(unfinished)
		text = text[len(unfinished):]
	}
	_, err := s.w.Write(text)
	s.keep(err)
	return n, s.err
}

// close ends the log, as an incomplete one if there are reasons, and closes the
// file, whose time stays what it was: others may depend on it. If the log cannot
// be written, or make may write over it, the file is spoilt.
func (s *section) close(incomplete ...string) error {
	if s.f == nil {
		return s.err
	}
	s.keep(s.log.End(&output.Trailer{Stop: s.job.Stop, Incomplete: incomplete}))
	s.keep(s.w.Flush())
	if s.err == nil {
		_, s.err = s.f.WriteAt(s.head, s.at)
	}
	err := s.err
	if err != nil || s.job.Open {
		err = errors.Join(err, spoil(s.f, s.size))
	}
	self := fmt.Sprintf("/proc/self/fd/%d", s.f.Fd()) // whatever its name leads to now
	return errors.Join(err, os.Chtimes(self, time.Time{}, s.time), s.f.Close())
}

// spoil makes a .meta file of some size one that has make(1) rebuild its target,
// with no more room than it has.
func spoil(f *os.File, size int64) error {
	const malformed = "-- filemon\n" + unfinished
	_, err := f.WriteAt([]byte(malformed), 0)
	return errors.Join(err, f.Truncate(max(size, int64(len(malformed)))))
}
