// Package series keeps a recording that lasts in one file after another.
//
// Each file is a log of its own, whole, with header and end; the one that is written
// has the name that was asked for, and the others that name and the time at which they
// began. Those are compressed, and removed when they are too many or too old.
package series

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"fanrec/output"
	"fanrec/output/claim"
	"fanrec/output/spool"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// stamp is when an earlier file began, in its name: they sort by it.
const stamp = "20060102T150405.000000000Z"

// Compressed is the end of the name of a file that is.
const Compressed = ".zst"

// fresh is the end of the name of a file that has not yet its own.
const fresh = ".new"

// part is the end of the name of a file that is not yet compressed whole.
const part = ".part"

var stamped = regexp.MustCompile(`^\.\d{8}T\d{6}\.\d{9}Z(\.zst)?$`)

// Options of a series.
type Options struct {
	Name   string        // path of the file that is written
	Format string        // of output.NewWriter
	Size   int64         // begin another file when this one has so many bytes; 0: never
	Every  time.Duration // begin another when this one is so old; 0: never
	Keep   int           // so many earlier files are kept; 0: all
	Age    time.Duration // earlier files are kept so long; 0: for ever
	Spool  int           // bytes that may wait for the disk; 0: 64 MiB
	Log    func(error)   // what goes wrong and is tried again; may be nil

	Now   func() time.Time // nil: time.Now
	retry time.Duration    // how long to wait before what failed is tried again
}

// Open begins a series. The last directory of its name is made if it is not there. A
// file of that name that is there already is kept as an
// earlier one; the header then says that something may be missing in between. To begin
// another file (SIGHUP) is Reopen: what rotates logs has moved away the one that is
// written, or else that becomes an earlier one. A file that is removed is made again.
func Open(o Options, head *output.Header) (*spool.Spool, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(error) {}
	}
	to := spool.Options{
		Format: o.Format, Limit: o.Spool, Slow: "the disk did not take them in time", Log: o.Log, Now: o.Now, Retry: o.retry,
		Due: func(size int64, begun time.Time) bool {
			return o.Size > 0 && size >= o.Size || o.Every > 0 && o.Now().Sub(begun) >= o.Every
		},
	}
	if err := to.Check(); err != nil {
		return nil, err
	}
	f := &files{o: o, head: head}
	// A directory of its own is made; that there is none for that either is a mistake.
	dir := filepath.Dir(o.Name)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		switch err := os.Mkdir(dir, 0o777); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("write the log %s: its directory does not exist; choose another with -o", o.Name)
		case err != nil:
			return nil, fmt.Errorf("write the log: %w", err)
		}
	}
	before, until, err := f.setAside()
	if err != nil {
		return nil, err
	}
	if before == "" {
		before, until = f.lastEarlier() // who wrote it may have been killed between two files
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	var notes []string
	if before != "" {
		notes = append(notes, fmt.Sprintf("continues %s, last written to %s: what was done until now is missing", before, until.UTC().Format(time.RFC3339)))
	}
	return spool.New(to, f, head, notes)
}

// files are the files of a series on the disk. Its methods are for one goroutine.
type files struct {
	o    Options
	head *output.Header

	f       *os.File // the one that is written, nil if there is none
	began   time.Time
	checked time.Time // when it was looked whether that is still there

	tidying sync.Mutex
	tidied  sync.WaitGroup
}

// taken tells whether a recorder writes a file.
func taken(name string) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false // others tell
	}
	defer f.Close()
	return claim.Taken(f)
}

// setAside makes an earlier file of one that is there. It returns its new name and
// when it was last written to.
func (f *files) setAside() (name string, until time.Time, err error) {
	st, err := os.Stat(f.o.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", until, nil
	case err != nil:
		return "", until, fmt.Errorf("write the log: %w", err)
	case !st.Mode().IsRegular():
		return "", until, fmt.Errorf("write the log %s: it is no regular file, and cannot be rotated", f.o.Name)
	case taken(f.o.Name):
		return "", until, fmt.Errorf("write the log %s: %w; choose another with -o", f.o.Name, claim.ErrTaken)
	case st.Size() == 0:
		return "", until, os.Remove(f.o.Name)
	}
	name, err = f.putAside(st.ModTime())
	return filepath.Base(name), st.ModTime(), err
}

// lastEarlier returns the last of the earlier files, and when it was last written to.
func (f *files) lastEarlier() (name string, until time.Time) {
	names, err := Earlier(f.o.Name)
	if err != nil || len(names) == 0 {
		return "", until
	}
	name = names[len(names)-1]
	if st, err := os.Stat(name); err == nil {
		until = st.ModTime()
	}
	return filepath.Base(name), until
}

// putAside renames the file that is written to one of a time.
func (f *files) putAside(at time.Time) (string, error) {
	for ; ; at = at.Add(1) {
		name := f.o.Name + "." + at.UTC().Format(stamp)
		if exists(name) || exists(name+Compressed) {
			continue
		}
		if err := os.Rename(f.o.Name, name); err != nil {
			return "", fmt.Errorf("rotate the log: %w", err)
		}
		return name, nil
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// open makes the file that is written.
func (f *files) open() error {
	if _, _, err := f.setAside(); err != nil {
		return err
	}
	to, err := create(f.o.Name)
	if err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	f.f, f.began, f.checked = to, f.o.Now(), f.o.Now()
	f.tidy()
	return nil
}

// create makes a file that nobody else has. When it has its name it is claimed.
func create(name string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | os.O_APPEND
	before := fmt.Sprintf("%s.%d%s", name, os.Getpid(), fresh)
	f, err := os.OpenFile(before, flags, 0o666)
	if err != nil {
		return nil, err
	}
	claim.Take(f) // nobody else has it
	err = unix.Renameat2(unix.AT_FDCWD, before, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	if err == nil {
		return f, nil
	}
	f.Close()
	os.Remove(before)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return nil, &os.PathError{Op: "create", Path: name, Err: err}
	}
	// A filesystem that cannot say whether there was one.
	if f, err = os.OpenFile(name, flags, 0o666); err == nil {
		claim.Take(f)
	}
	return f, err
}

// checkEvery is how often it is looked whether the file is still there.
const checkEvery = time.Second

// Write writes to the file, or to another one if that was removed.
func (f *files) Write(b []byte) (int, error) {
	if now := f.o.Now(); f.f != nil && now.Sub(f.checked) >= checkEvery {
		f.checked = now
		var st syscall.Stat_t
		if err := syscall.Fstat(int(f.f.Fd()), &st); err == nil && st.Nlink == 0 {
			f.f.Close()
			f.f = nil
		}
	}
	if f.f == nil {
		if err := os.MkdirAll(filepath.Dir(f.o.Name), 0o777); err != nil {
			return 0, fmt.Errorf("write the log: %w", err)
		}
		if err := f.open(); err != nil {
			return 0, err
		}
		var head bytes.Buffer
		spool.Begin(f.o.Format, f.head, &head, f.o.Now(), []string{"the file before this one was removed with all that was in it"}).Flush()
		if _, err := f.f.Write(head.Bytes()); err != nil {
			return 0, fmt.Errorf("write the log: %w", err)
		}
	}
	n, err := f.f.Write(b)
	if err != nil {
		err = fmt.Errorf("write the log: %w", err)
	}
	return n, err
}

// Turn ends the file and begins the next one. It may be called again if it fails.
func (f *files) Turn() error {
	if f.f != nil {
		var closed error
		mine, _ := f.f.Stat()
		now, err := os.Stat(f.o.Name)
		if err == nil && mine != nil && os.SameFile(mine, now) { // else it was moved away
			if _, err := f.putAside(f.began); err != nil {
				return err
			}
		}
		closed = f.f.Close() // some filesystems tell only now that something is not written
		f.f = nil
		if closed != nil {
			return fmt.Errorf("write the log: %w", closed)
		}
	}
	return f.open()
}

// Close ends the last file, and waits until the earlier ones are compressed.
func (f *files) Close() error {
	var err error
	if f.f != nil {
		if err = f.f.Close(); err != nil {
			err = fmt.Errorf("write the log: %w", err)
		}
	}
	f.tidied.Wait()
	return err
}

// tidy compresses earlier files and removes those that are too many or too old,
// while the next one is written.
func (f *files) tidy() {
	f.tidied.Go(func() {
		f.tidying.Lock()
		defer f.tidying.Unlock()
		if err := f.doTidy(); err != nil {
			f.o.Log(fmt.Errorf("tidy up earlier logs: %w", err))
		}
	})
}

func (f *files) doTidy() error {
	names, err := Earlier(f.o.Name)
	if err != nil {
		return err
	}
	var errs []error
	for i, name := range names {
		st, err := os.Stat(name)
		if err != nil {
			continue // somebody else has removed it
		}
		if taken(name) {
			continue // it was moved there from under who writes it
		}
		if f.o.Keep > 0 && i < len(names)-f.o.Keep || f.o.Age > 0 && f.o.Now().Sub(st.ModTime()) > f.o.Age {
			errs = append(errs, os.Remove(name))
		} else if !strings.HasSuffix(name, Compressed) {
			errs = append(errs, compress(name))
		}
	}
	return errors.Join(errs...)
}

// Earlier returns the earlier files of a series, the oldest first.
func Earlier(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(name)) // sorted
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if end, ok := strings.CutPrefix(e.Name(), filepath.Base(name)); ok && stamped.MatchString(end) {
			names = append(names, filepath.Join(filepath.Dir(name), e.Name()))
		}
	}
	return names, nil
}

// compress replaces a file by a compressed one, of the same time.
func compress(name string) (err error) {
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(name+Compressed+part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(to.Name())
		}
	}()
	// One thread and a small window: the machine is others'.
	w, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err == nil {
		_, err = io.Copy(w, from)
		err = cmp.Or(err, w.Close(), to.Sync())
	}
	if err = cmp.Or(err, to.Close()); err != nil {
		return err
	}
	err = cmp.Or(os.Chtimes(to.Name(), st.ModTime(), st.ModTime()), os.Rename(to.Name(), name+Compressed))
	if err != nil {
		return err
	}
	return os.Remove(name)
}

// magic begins a file that is compressed.
var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// maxWindow is how much memory a compressed file may ask for.
const maxWindow = 64 << 20

// Reader reads a file of a series, whether it is compressed or not. Close ends it; it
// does not close what it reads from.
func Reader(from io.Reader) (io.ReadCloser, error) {
	var first [4]byte
	n, err := io.ReadFull(from, first[:])
	whole := io.MultiReader(bytes.NewReader(first[:n]), from)
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, err
	case !bytes.Equal(first[:n], magic):
		return io.NopCloser(whole), nil
	}
	r, err := zstd.NewReader(whole, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return r.IOReadCloser(), nil
}
