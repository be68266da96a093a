package meta

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fanrec/output"
)

// Recording is an output.Writer that keeps what concerns the jobs of a make, not in
// memory but in a spool, and writes it into their .meta files when all is over.
type Recording struct {
	jobs    Jobs
	spool   io.ReadWriteSeeker
	w       *bufio.Writer
	lines   *output.Filemon
	b       []byte
	header  *output.Header
	trailer *output.Trailer
}

// NewRecording returns one that has an empty file to itself.
func NewRecording(spool io.ReadWriteSeeker) *Recording {
	return &Recording{spool: spool, w: bufio.NewWriterSize(spool, 64<<10), lines: output.NewFilemon(io.Discard, 5)}
}

// Begin implements output.Writer.
func (r *Recording) Begin(h *output.Header) error {
	r.header = h
	return nil
}

// In the spool, each record has in front the group that it is of and the length of
// its lines. The group is shifted by one bit: whether this is its end.

// Write implements output.Writer.
func (r *Recording) Write(rec *output.Record) error {
	in, end := r.jobs.Add(rec)
	if in == 0 {
		return nil
	}
	flag := uint64(0)
	if end {
		flag = 1
	}
	r.b = r.lines.Append(r.b[:0], rec)
	var head [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(in)<<1|flag)
	n += binary.PutUvarint(head[n:], uint64(len(r.b)))
	r.w.Write(head[:n])
	_, err := r.w.Write(r.b)
	return err
}

// Comment implements output.Writer. Whose job it is about is not known.
func (r *Recording) Comment(string) error { return nil }

// Flush implements output.Writer. The buffer needs nobody to see it before the end.
func (r *Recording) Flush() error { return nil }

// End implements output.Writer.
func (r *Recording) End(t *output.Trailer) error {
	r.trailer = t
	return r.w.Flush()
}

// Begun tells whether a command was recorded.
func (r *Recording) Begun() bool { return r.header != nil }

// Incomplete says what is missing of the recording; nothing, if all is there.
func (r *Recording) Incomplete() []string {
	if r.trailer == nil {
		return []string{"the recording was not kept to its end"}
	}
	return r.trailer.Incomplete
}

// Result says what Sections did.
type Result struct {
	Written int      // sections
	Cut     []*Job   // of them those of jobs that are not done
	Dirs    []string // that they are in
}

// Sections writes the sections of the .meta files that were made in the recording,
// with what opens a file for reading and writing. A file that is gone is passed
// over. If the recording is incomplete, the sections have nothing but that. An
// error about one file does not keep others from having theirs.
func (r *Recording) Sections(open func(path string) (*os.File, error)) (Result, error) {
	w := sections{notes: r.header.Notes, open: open, heads: map[string]*Head{}}
	for _, job := range r.jobs.Assign(w.head) {
		w.left = append(w.left, job)
		w.result.Dirs = append(w.result.Dirs, filepath.Dir(job.Path))
		job.wanted = true
	}
	lost := r.Incomplete()
	if len(lost) == 0 {
		if err := r.replay(&w); err != nil {
			lost = []string{fmt.Sprintf("the records of the jobs could not be read back: %v", err)}
			w.errs = append(w.errs, fmt.Errorf("read the records of the jobs: %w", err))
		}
	}
	for _, job := range w.left {
		if job.wanted {
			w.end(job, lost)
		}
	}
	slices.Sort(w.result.Dirs)
	w.result.Dirs = slices.Compact(w.result.Dirs)
	return w.result, errors.Join(w.errs...)
}

// Unknown marks the .meta files below a directory that were made in the recording
// and have no section, as those of an incomplete one, of which nobody knows who made
// them. It returns how many there are.
func (r *Recording) Unknown(dir string, open func(path string) (*os.File, error)) (int, error) {
	w := sections{notes: r.header.Notes, open: open, heads: map[string]*Head{}}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".meta") {
			return nil
		}
		// File systems have a clock of their own, which is a little behind.
		if st, err := d.Info(); err != nil || st.ModTime().Before(time.Unix(0, r.header.Start).Add(-time.Second)) {
			return nil
		}
		if h := w.head(path); h != nil && !h.Section {
			w.end(&Job{Path: path, Make: r.header.Target, Start: r.header.Start, Stop: r.header.Start}, r.Incomplete())
		}
		return nil
	})
	return w.result.Written, errors.Join(w.errs...)
}

// replay reads the spool, and gives each job what is of it, to the end of its last
// command.
func (r *Recording) replay(w *sections) error {
	if _, err := r.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(r.spool, 64<<10)
	for {
		head, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		r.b = slices.Grow(r.b[:0], int(n))[:n]
		if _, err := io.ReadFull(in, r.b); err != nil {
			return err
		}
		group, end := int(head>>1), head&1 != 0
		job := r.jobs.Of(group)
		if job == nil || !job.wanted {
			continue
		}
		w.begin(job).Write(r.b)
		if end && r.jobs.groups[group].job == job {
			if job.groups--; job.groups == 0 {
				w.end(job, nil)
			}
		}
	}
}

// sections are those that are being written.
type sections struct {
	notes  []string
	open   func(path string) (*os.File, error)
	heads  map[string]*Head
	left   []*Job
	result Result
	errs   []error
}

// head reads the head of a .meta file, nil if there is none.
func (w *sections) head(path string) *Head {
	h, ok := w.heads[path]
	if ok {
		return h
	}
	f, err := w.open(path)
	if err == nil {
		h, err = ReadHead(f, path)
		f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoMeta) {
		w.errs = append(w.errs, err)
	}
	w.heads[path] = h
	return h
}

// begin returns the section of a job.
func (w *sections) begin(job *Job) *section {
	if job.section == nil {
		f, err := w.open(job.Path)
		job.section = newSection(f, err, job, w.notes)
	}
	return job.section
}

// end writes the end of the section of a job, which is then no more wanted.
func (w *sections) end(job *Job, incomplete []string) {
	if job.Cut != "" && len(incomplete) == 0 {
		incomplete = []string{job.Cut}
		w.result.Cut = append(w.result.Cut, job)
	}
	if err := w.begin(job).close(incomplete...); err != nil {
		w.errs = append(w.errs, fmt.Errorf("write %s: %w", job.Path, err))
	} else {
		w.result.Written++
	}
	job.wanted, job.section = false, nil
}
