package fan

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"fanrec/later"
)

var update = flag.Bool("update", false, "write the events of this kernel as seeds of FuzzDecode")

var maskNames = []struct {
	bit  uint64
	name string
}{
	{unix.FAN_CREATE, "CREATE"},
	{unix.FAN_DELETE, "DELETE"},
	{unix.FAN_RENAME, "RENAME"},
	{unix.FAN_OPEN, "OPEN"},
	{unix.FAN_OPEN_EXEC, "OPEN_EXEC"},
	{unix.FAN_MODIFY, "MODIFY"},
	{unix.FAN_CLOSE_WRITE, "CLOSE_WRITE"},
	{unix.FAN_Q_OVERFLOW, "Q_OVERFLOW"},
	{unix.FAN_ONDIR, "ONDIR"},
}

func maskString(mask uint64) string {
	var names []string
	for _, m := range maskNames {
		if mask&m.bit != 0 {
			names = append(names, m.name)
			mask &^= m.bit
		}
	}
	if mask != 0 {
		names = append(names, fmt.Sprintf("%#x", mask))
	}
	return strings.Join(names, "|")
}

// labels name handles in what a test expects.
type labels map[string]string

func (l labels) name(h *Handle) string {
	if name, ok := l[h.String()]; ok {
		return name
	}
	return h.String()
}

// format is an event as the tests write it: the mask, the name as
// directory/name, to where, and the file in brackets.
func (l labels) format(ev *Event) string {
	s := maskString(ev.Mask)
	if len(ev.Dir.Bytes) > 0 {
		s += fmt.Sprintf(" %s/%s", l.name(&ev.Dir), ev.Name)
	}
	if len(ev.NewDir.Bytes) > 0 {
		s += fmt.Sprintf(" -> %s/%s", l.name(&ev.NewDir), ev.NewName)
	}
	if len(ev.Target.Bytes) > 0 {
		s += fmt.Sprintf(" [%s]", l.name(&ev.Target))
	}
	return s
}

// TestEvents does one thing after the other and says what each is told as. With
// -update the bytes become seeds of FuzzDecode.
func TestEvents(t *testing.T) {
	long := strings.Repeat("\xff", 255)
	onEach(t, func(t *testing.T, dir string, _ bool) {
		w := watch(t, Names|Opens, dir)
		in := func(name string) string { return filepath.Join(dir, name) }
		known := labels{}
		top := handleOf(t, dir)
		known[top.String()] = "top"

		for _, step := range []struct {
			name string
			do   func() error
			// A new file, and what it is called in what is wanted.
			path, label string
			want        []string
		}{
			{"mkdir", func() error { return os.Mkdir(in("d"), 0o700) }, "d", "d", []string{"CREATE|ONDIR top/d [d]"}},
			{"create", func() error { return os.WriteFile(in("d/f"), []byte("x"), 0o700) }, "d/f", "f", []string{"CREATE|OPEN d/f [f]"}},
			{"open", func() error { f, err := os.Open(in("d/f")); return errors.Join(err, f.Close()) }, "", "", []string{"OPEN d/f [f]"}},
			{"list", func() error { _, err := os.ReadDir(in("d")); return err }, "", "", []string{"OPEN|ONDIR d/."}},
			{"rename", func() error { return os.Rename(in("d/f"), in("g")) }, "", "", []string{"RENAME d/f -> top/g [f]"}},
			{"rename a directory", func() error { return os.Rename(in("d"), in("e")) }, "", "", []string{"RENAME|ONDIR top/d -> top/e [d]"}},
			{"link", func() error { return os.Link(in("g"), in("h")) }, "", "", []string{"CREATE top/h [f]"}},
			{"symlink", func() error { return os.Symlink("no where", in("s")) }, "s", "s", []string{"CREATE top/s [s]"}},
			{"mkfifo", func() error { return unix.Mkfifo(in("p"), 0o600) }, "p", "p", []string{"CREATE top/p [p]"}},
			{"exchange", func() error {
				return unix.Renameat2(unix.AT_FDCWD, in("g"), unix.AT_FDCWD, in("s"), unix.RENAME_EXCHANGE)
			}, "", "", []string{"RENAME top/g -> top/s [f]", "RENAME top/s -> top/g [s]"}},
			{"rename onto", func() error { return os.Rename(in("p"), in("s")) }, "", "", []string{"RENAME top/p -> top/s [p]"}},
			{"unlink", func() error { return os.Remove(in("h")) }, "", "", []string{"DELETE top/h [f]"}},
			{"rmdir", func() error { return os.Remove(in("e")) }, "", "", []string{"DELETE|ONDIR top/e [d]"}},
			{"newline", func() error { return os.Mkdir(in("new\nline"), 0o700) }, "new\nline", "n", []string{"CREATE|ONDIR top/new\nline [n]"}},
			{"longest name", func() error { return os.WriteFile(in(long), nil, 0o600) }, long, "long", []string{"CREATE|OPEN top/" + long + " [long]"}},
			{"rename of the longest name", func() error { return os.Rename(in(long), in("new\nline/"+long)) }, "", "", []string{
				"RENAME top/" + long + " -> n/" + long + " [long]",
			}},
			{"failures", func() error {
				if os.Remove(in("nothing")) == nil || os.Mkdir(in("g"), 0o700) == nil {
					return errors.New("this cannot be")
				}
				_, err := os.Lstat(in("g"))
				return err
			}, "", "", nil},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if step.label != "" {
				h := handleOf(t, in(step.path))
				known[h.String()] = step.label
			}
			var got []string
			for _, ev := range w.events() {
				if ev.PID != int32(os.Getpid()) {
					t.Errorf("%s: of process %d, want %d", step.name, ev.PID, os.Getpid())
				}
				got = append(got, known.format(&ev))
			}
			if diff := cmp.Diff(step.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
		if *update {
			seed := filepath.Join("testdata", "fuzz", "FuzzDecode", mountOn(t, dir).Type)
			do(t, os.MkdirAll(filepath.Dir(seed), 0o777))
			do(t, os.WriteFile(seed, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", w.raw), 0o666))
		}
	})
}

// The events of an execution are those of the process that executes.
func TestExecEvents(t *testing.T) {
	dir := tmpfs(t)
	do(t, os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\nexit 3\n"), 0o700))
	w := watch(t, Names|Opens, dir)
	cmd := exec.Command(filepath.Join(dir, "script"))
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("the script: %v", err)
	}
	var mask uint64
	for _, ev := range w.events() {
		if string(ev.Name) != "script" || ev.PID != int32(cmd.Process.Pid) {
			t.Errorf("%q by %d, want script by %d", ev.Name, ev.PID, cmd.Process.Pid)
		}
		mask |= ev.Mask
	}
	// Once by the kernel and once by the shell, perhaps merged.
	if want := uint64(unix.FAN_OPEN | unix.FAN_OPEN_EXEC); mask != want {
		t.Errorf("mask %s, want %s", maskString(mask), maskString(want))
	}
}

// A filesystem says of its handles what they mean, and this is proved with the
// root directory only. Here it is for files: as the kernel says it.
func TestHandles(t *testing.T) {
	onEach(t, func(t *testing.T, dir string, decodes bool) {
		w := watch(t, Names, dir)
		fs := w.Filesystems.Get(1)
		if fs.Decodes() != decodes {
			t.Fatalf("handles can be decoded: %v, want %v", fs.Decodes(), decodes)
		}
		m := mountOn(t, dir)
		if w.Filesystems.ByDev(m.Dev) != 1 || fs.Mount != m {
			t.Errorf("device %#x is filesystem %d, mount %+v", m.Dev, w.Filesystems.ByDev(m.Dev), fs.Mount)
		}
		if w.Filesystems.ByDev(m.Dev+1) != 0 {
			t.Error("another device is a filesystem")
		}
		var st unix.Stat_t
		do(t, unix.Stat(dir, &st))
		if fs.Dev != st.Dev {
			t.Errorf("device %#x, stat says %#x", fs.Dev, st.Dev)
		}
		if h := handleOf(t, dir); fs.Root != w.Filesystems.Inode(&h) {
			t.Errorf("root %+v has the handle %v", fs.Root, h)
		}
		if _, err := w.Watch(m); !errors.Is(err, ErrClash) {
			t.Errorf("watched a second time: %v", err)
		}

		seen := map[Inode]string{}
		for i := range 50 {
			path := filepath.Join(dir, fmt.Sprint(i))
			if i%2 == 0 {
				touch(t, path)
			} else {
				do(t, os.Mkdir(path, 0o700))
			}
			evs := w.events()
			if len(evs) != 1 {
				t.Fatalf("%d events", len(evs))
			}
			target, asked := evs[0].Target, handleOf(t, path)
			if diff := cmp.Diff(asked, target); diff != "" {
				t.Fatalf("handle (-name_to_handle_at +event):\n%s", diff)
			}
			inode := w.Filesystems.Inode(&target)
			if back, ok := w.Filesystems.Handle(inode); !ok || back.String() != target.String() {
				t.Fatalf("%v became %+v and then %v, %v", target, inode, back, ok)
			}
			if other, ok := seen[inode]; ok {
				t.Fatalf("%+v is %s and %s", inode, path, other)
			}
			seen[inode] = path
			if inode.Opaque() == decodes {
				t.Fatalf("%+v: opaque is %v", inode, inode.Opaque())
			}
			if !decodes {
				continue
			}
			do(t, unix.Stat(path, &st))
			if inode.Ino != st.Ino || inode.FS != 1 {
				t.Errorf("%+v, stat says %d", inode, st.Ino)
			}
			if gen, ok := generation(t, path); ok && inode.Gen != gen {
				t.Errorf("%+v, FS_IOC_GETVERSION says %d", inode, gen)
			}
		}
	})
}

// generation asks for the generation of a file, which tmpfs does not tell.
func generation(t *testing.T, path string) (uint32, bool) {
	t.Helper()
	const getVersion = 0x80087601 // FS_IOC_GETVERSION of linux/fs.h
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gen, err := unix.IoctlGetUint32(int(f.Fd()), getVersion)
	if errors.Is(err, unix.ENOTTY) {
		return 0, false
	}
	if err != nil {
		t.Fatalf("FS_IOC_GETVERSION: %v", err)
	}
	return gen, true
}

// Two files with one inode number, one after the other, are two.
func TestReusedInode(t *testing.T) {
	dir := onLoop(t, "ext4", 16<<20, "-F")
	w := watch(t, Names, dir)
	path := filepath.Join(dir, "f")
	// The filesystem says when a number is used again.
	seen := map[uint64]Inode{}
	for range 100 {
		touch(t, path)
		evs := w.events()
		inode := w.Filesystems.Inode(&evs[0].Target)
		before, again := seen[inode.Ino]
		if before == inode {
			t.Errorf("two files are both %+v", inode)
		}
		if again {
			return
		}
		seen[inode.Ino] = inode
		do(t, os.Remove(path))
		w.events()
	}
	t.Errorf("no inode number was used again in %d files", len(seen))
}

// Files of a subvolume, whose inode numbers begin anew, are not those of another.
func TestSubvolume(t *testing.T) {
	dir := onLoop(t, "btrfs", 128<<20)
	btrfs, err := exec.LookPath("btrfs")
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"one", "two"} {
		if out, err := exec.Command(btrfs, "subvolume", "create", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w := watch(t, Names, dir)
	touch(t, filepath.Join(dir, "one/f"))
	touch(t, filepath.Join(dir, "two/f"))
	evs := w.events()
	if len(evs) != 2 {
		t.Fatalf("%d events of the subvolumes, want 2", len(evs))
	}
	var paths []string
	graph := NewGraph(100)
	graph.AddRoot(w.Filesystems.Get(1).Root, "")
	for i := range evs {
		parent := w.Filesystems.Inode(&evs[i].Dir)
		links, err := w.Filesystems.Lookup(parent, graph.Known)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			graph.Set(l.Dir, l.Parent, []byte(l.Name))
		}
		path, _ := graph.Path(parent)
		paths = append(paths, string(path))
	}
	if diff := cmp.Diff([]string{"/one", "/two"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}

	// Where only subvolumes are mounted, none of them can be marked: the top
	// level is, through a mount that nobody sees.
	sub := t.TempDir()
	mount(t, mountSource(t, dir), sub, "btrfs", 0, "subvol=one")
	do(t, unix.Unmount(dir, 0))
	before := openFDs(t)
	w = newWitness(t, Options{Mask: Names})
	index, err := w.Watch(mountOn(t, sub))
	do(t, err)
	fs := w.Filesystems.Get(index)
	if fs.Mount.Root != "/" || !fs.Subvolumes() {
		t.Errorf("watched through %+v, subvolumes %v", fs.Mount, fs.Subvolumes())
	}
	if ms, err := Mounts(); err != nil || slices.ContainsFunc(ms, func(m Mount) bool { return m.Dev == fs.Mount.Dev && m.Root == "/" }) {
		t.Errorf("the mount of the top level is visible, or %v", err)
	}
	touch(t, filepath.Join(sub, "g"))
	evs = w.events()
	if len(evs) != 1 {
		t.Fatalf("%d events of the mounted subvolume, want 1", len(evs))
	}
	parent := w.Filesystems.Inode(&evs[0].Dir)
	links, err := w.Filesystems.Lookup(parent, func(Inode) bool { return false })
	if want := []Link{{Dir: parent, Parent: fs.Root, Name: "one"}}; err != nil || !slices.Equal(links, want) {
		t.Errorf("looked up %v, %v; want %v", links, err, want)
	}
	tree := uint32(0)
	fmt.Sscan(optionOf(t, sub, "subvolid"), &tree)
	if got := w.Filesystems.BySubvol(fs.Mount.Dev, tree); got != parent.FS {
		t.Errorf("subvolume %d is filesystem %d, want %d", tree, got, parent.FS)
	}
	do(t, w.Unwatch(index))
	touch(t, filepath.Join(sub, "h"))
	if evs := w.events(); len(evs) != 0 || len(w.Filesystems.All()) != 0 || w.Filesystems.ByDev(fs.Mount.Dev) != 0 {
		t.Errorf("%d events, filesystems %v after Unwatch", len(evs), w.Filesystems.All())
	}
	do(t, w.Close())
	w.Group = nil
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func optionOf(t *testing.T, dir, name string) string {
	t.Helper()
	m := mountOn(t, dir)
	value, _ := m.Option(name)
	return value
}

// mountSource returns the device of a mount.
func mountSource(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == dir {
			return f[0]
		}
	}
	t.Fatalf("nothing is mounted on %s", dir)
	return ""
}

// What cannot be watched is refused with a reason, and leaves nothing behind.
func TestWatchRefused(t *testing.T) {
	needMounts(t)
	for _, c := range []struct {
		name, fstype string
		data         func(t *testing.T) string
	}{
		{"no handles at all", "ramfs", nil},
		{"objects of the kernel", "proc", nil},
		{"overlay without nfs_export", "overlay", func(t *testing.T) string {
			base := tmpfs(t)
			for _, d := range []string{"lower", "upper", "work"} {
				do(t, os.Mkdir(filepath.Join(base, d), 0o700))
			}
			return fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", base)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := ""
			if c.data != nil {
				data = c.data(t)
			}
			dir := t.TempDir()
			mount(t, "none", dir, c.fstype, 0, data)
			w := newWitness(t, Options{Mask: Names})
			before := openFDs(t)
			index, err := w.Watch(mountOn(t, dir))
			if !errors.Is(err, ErrNotSupported) || index != 0 {
				t.Errorf("watched as %d, error %v", index, err)
			}
			if err != nil && !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not say where: %v", err)
			}
			if n := len(w.Filesystems.All()); n != 0 {
				t.Errorf("%d filesystems are kept", n)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
			// The next one gets its place.
			if index, err := w.Watch(mountOn(t, tmpfs(t))); err != nil || index != 1 {
				t.Errorf("a tmpfs after it is watched as %d: %v", index, err)
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		w := newWitness(t, Options{Mask: Names})
		if _, err := w.Watch(Mount{Mountpoint: filepath.Join(t.TempDir(), "x")}); !errors.Is(err, unix.ENOENT) {
			t.Errorf("watched what is not there: %v", err)
		}
	})
}

// A copied image has the fsid of the original: events would be taken for those
// of the other.
func TestClash(t *testing.T) {
	original := image(t, "ext4", 16<<20, "-F")
	b, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	replica := filepath.Join(t.TempDir(), "copy")
	do(t, os.WriteFile(replica, b, 0o600))
	var dirs []string
	for _, file := range []string{original, replica} {
		dir := t.TempDir()
		mount(t, loop(t, file), dir, "ext4", 0, "")
		dirs = append(dirs, dir)
	}
	w := watch(t, Names, dirs[0])
	before := openFDs(t)
	second := mountOn(t, dirs[1])
	_, err = w.Watch(second)
	if !errors.Is(err, ErrClash) {
		t.Fatalf("two filesystems with one fsid are watched: %v", err)
	}
	for _, dir := range dirs {
		if !strings.Contains(err.Error(), dir) {
			t.Errorf("the error does not tell of %s: %v", dir, err)
		}
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	if n := w.Filesystems.ByDev(second.Dev); n != 0 {
		t.Errorf("the second is known as filesystem %d", n)
	}
	touch(t, filepath.Join(dirs[0], "a"))
	touch(t, filepath.Join(dirs[1], "b"))
	evs := w.events()
	if len(evs) != 1 || string(evs[0].Name) != "a" {
		t.Errorf("events %+v, want one of a", evs)
	}
}

// Who unmounts what is watched does not notice, and when the group is gone so
// is the filesystem.
func TestUmount(t *testing.T) {
	onEach(t, func(t *testing.T, dir string, _ bool) {
		before := mountOn(t, dir)
		w := watch(t, Names|Opens, dir)
		touch(t, filepath.Join(dir, "f"))
		if now := mountOn(t, dir); now != before {
			t.Errorf("the mount is %+v, was %+v", now, before)
		}
		mounts, err := Mounts()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			if m.Dev == before.Dev && m != before {
				t.Errorf("watching has mounted %+v", m)
			}
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatalf("umount: %v", err)
		}
		if mounts, err = Mounts(); err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			if m.Dev == before.Dev {
				t.Errorf("after umount there is still %+v", m)
			}
		}
		// The superblock is alive: what happened on it can still be resolved.
		evs := w.events()
		if len(evs) != 1 || string(evs[0].Name) != "f" {
			t.Errorf("events %+v, want one of f", evs)
		}
		parent := w.Filesystems.Inode(&evs[0].Dir)
		if links, err := w.Filesystems.Lookup(parent, func(Inode) bool { return false }); err != nil || len(links) != 0 {
			t.Errorf("lookup of the root: %v, %v", links, err)
		}
	})
}

// An unmounted filesystem goes with the group, and the loop device with it. It
// goes when the kernel gets to it, so this waits, as long as the test may take.
func TestCloseFreesFilesystem(t *testing.T) {
	dev := loop(t, image(t, "ext4", 16<<20, "-F"))
	dir := t.TempDir()
	mount(t, dev, dir, "ext4", 0, "")
	w := watch(t, Names, dir)
	do(t, unix.Unmount(dir, 0))
	do(t, w.Close())
	// Only a device whose filesystem is gone can be opened exclusively.
	for {
		fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err == nil {
			do(t, unix.Close(fd))
			return
		}
		if !errors.Is(err, unix.EBUSY) {
			t.Fatal(err)
		}
	}
}

// A mount that another one hides has a path that leads elsewhere: to watch it
// would be to take the files there for its own.
func TestHiddenMount(t *testing.T) {
	top := tmpfs(t)
	sub := filepath.Join(top, "sub")
	do(t, os.Mkdir(sub, 0o700))
	mount(t, "none", sub, "tmpfs", 0, "")
	hidden := mountOn(t, sub)
	mount(t, "none", top, "tmpfs", 0, "")
	do(t, os.Mkdir(sub, 0o700))
	over := mountOn(t, top)

	mounts, err := Mounts()
	if err != nil {
		t.Fatal(err)
	}
	table := NewMountTable(mounts)
	for _, list := range table.Superblocks() {
		if list[0].Dev == hidden.Dev {
			t.Errorf("the hidden filesystem is to be watched through %+v", list[0])
		}
	}
	if path, ok := table.Append(nil, hidden.Dev, []byte("/f")); ok {
		t.Errorf("a file in the hidden filesystem is %s", path)
	}
	if path, ok := table.Append(nil, over.Dev, []byte("/sub/f")); !ok || string(path) != sub+"/f" {
		t.Errorf("a file in the one above is %s, want %s/f", path, sub)
	}
}

// TestIgnore: the log is on a filesystem that is watched, and each write to it
// would be an event that makes another write.
func TestIgnore(t *testing.T) {
	dir := tmpfs(t)
	w := watch(t, Names|Opens|Writes|Changes, dir)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	w.events()
	if err := w.Ignore(int(log.Fd())); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a write must not end it
		for _, f := range []*os.File{log, other} {
			if _, err := f.WriteString("x"); err != nil {
				t.Fatal(err)
			}
			do(t, f.Chmod(0o600))
		}
		if got := formatted(w.events()); len(got) != 1 || !strings.HasPrefix(got[0], "MODIFY|") || !strings.Contains(got[0], "other") {
			t.Errorf("events %v, want one of the other file", got)
		}
	}
	do(t, log.Close(), other.Close())
	if got := formatted(w.events()); len(got) != 1 || !strings.HasPrefix(got[0], "CLOSE_WRITE") || !strings.Contains(got[0], "other") {
		t.Errorf("events %v, want the close of the other file", got)
	}
	// It is the file that is ignored, not what happens to its name.
	do(t, os.Rename(filepath.Join(dir, "log"), filepath.Join(dir, "log.old")))
	if got := formatted(w.events()); len(got) != 1 || !strings.HasPrefix(got[0], "RENAME") {
		t.Errorf("events %v, want a rename", got)
	}
}

func formatted(evs []Event) []string {
	var all []string
	for i := range evs {
		all = append(all, labels{}.format(&evs[i]))
	}
	return all
}

func TestRead(t *testing.T) {
	dir := tmpfs(t)
	w := watch(t, Names, dir)
	buf := make([]byte, 4096)
	if n, err := w.Read(buf); n != 0 || err != nil {
		t.Errorf("of an empty queue: %d, %v", n, err)
	}
	touch(t, filepath.Join(dir, "f"))
	// Too small for an event: it stays in the queue.
	if n, err := w.Read(buf[:metadataSize+1]); !errors.Is(err, unix.EINVAL) {
		t.Errorf("into too small a buffer: %d, %v", n, err)
	}
	p := []unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); n != 1 || err != nil {
		t.Errorf("poll with an event in the queue: %d, %v", n, err)
	}
	n, err := w.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var ev Event
	if size, err := Decode(buf[:n], &ev); err != nil || size != n || string(ev.Name) != "f" {
		t.Errorf("decoded %d of %d bytes, %q: %v", size, n, ev.Name, err)
	}
	if n, err := unix.Poll(p, 0); n != 0 || err != nil {
		t.Errorf("poll of an empty queue: %d, %v", n, err)
	}
}

// A queue with a limit overflows, and says so at its end.
func TestOverflow(t *testing.T) {
	var limit int
	b, err := os.ReadFile("/proc/sys/fs/fanotify/max_queued_events")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscan(string(b), &limit); err != nil || limit > 1<<17 {
		t.Skipf("max_queued_events is %s", b)
	}
	dir := tmpfs(t)
	w := newWitness(t, Options{Mask: Names, Limited: true})
	if _, err := w.Watch(mountOn(t, dir)); err != nil {
		t.Fatal(err)
	}
	for i := range limit + 10 {
		do(t, unix.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700))
	}
	made, overflows := 0, 0
	for buf := make([]byte, 64<<10); ; {
		n, err := w.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for b := buf[:n]; len(b) > 0; {
			var ev Event
			size, err := Decode(b, &ev)
			if err != nil {
				t.Fatal(err)
			}
			b = b[size:]
			if ev.Mask == unix.FAN_Q_OVERFLOW {
				overflows++
			} else {
				made++
			}
		}
	}
	if made != limit || overflows != 1 {
		t.Errorf("%d events and %d overflows, want %d and 1", made, overflows, limit)
	}
}

// What was done before Raise is in front of the mark, what is done after it
// returned is behind, while another thread writes all the time.
func TestBarrier(t *testing.T) {
	const marks = 1000
	dir := tmpfs(t)
	w := watch(t, Names, dir)
	var (
		begun, done atomic.Uint64 // files
		stop        = make(chan struct{})
		stopped     = make(chan error)
	)
	go func() {
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			begun.Store(n)
			// A name each, so that nothing is merged.
			if err := unix.Mknod(fmt.Sprintf("%s/%d", dir, n), unix.S_IFREG|0o600, 0); err != nil {
				stopped <- err
				return
			}
			done.Store(n)
			if n%100 == 0 { // the test is of order, not of memory
				for k := n - 99; k <= n; k++ {
					unix.Unlink(fmt.Sprintf("%s/%d", dir, k))
				}
			}
		}
	}()
	defer func() {
		close(stop)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	var (
		seen   uint64 // files whose event was read
		before [marks + 1]uint64
		after  [marks + 1]uint64
		at     = uint64(0) // the last mark read
		buf    = make([]byte, 64<<10)
	)
	raise := func() uint64 {
		was := done.Load()
		mark, err := w.Barrier.Raise()
		if err != nil {
			t.Fatal(err)
		}
		before[mark], after[mark] = was, begun.Load()
		return mark
	}
	for at < marks {
		// Two at once now and then: they are not merged either.
		last := raise()
		if last%7 == 0 && last < marks {
			last = raise()
		}
		for at < last {
			n, err := w.Read(buf)
			if err != nil || n == 0 {
				t.Fatalf("read up to mark %d: %d, %v", last, n, err)
			}
			for b := buf[:n]; len(b) > 0; {
				var ev Event
				size, err := Decode(b, &ev)
				if err != nil {
					t.Fatal(err)
				}
				b = b[size:]
				mark := w.Barrier.Mark(&ev)
				switch {
				case mark == at+1:
					at = mark
					if seen < before[mark] || seen > after[mark] {
						t.Errorf("mark %d came after the event of file %d; %d were done before it was raised, %d begun until after",
							mark, seen, before[mark], after[mark])
					}
				case mark != 0:
					t.Fatalf("mark %d came after mark %d", mark, at)
				case ev.Mask&unix.FAN_CREATE != 0:
					var n uint64
					if _, err := fmt.Sscan(string(ev.Name), &n); err != nil || n != seen+1 {
						t.Fatalf("file %q came after file %d", ev.Name, seen)
					}
					seen = n
				}
			}
		}
	}
	if seen == 0 {
		t.Error("the other thread has done nothing: nothing was tested")
	}
}

// A rename that somebody else makes is no mark, whatever the names.
func TestNotAMark(t *testing.T) {
	dir := tmpfs(t)
	w := watch(t, Names, dir)
	touch(t, filepath.Join(dir, "0"))
	do(t, os.Rename(filepath.Join(dir, "0"), filepath.Join(dir, "m1"))) // as the first mark does
	if got := formatted(w.events()); len(got) != 2 || !strings.HasPrefix(got[1], "RENAME") {
		t.Errorf("events %v, want a file made and renamed", got)
	}

	b := w.Barrier
	own := b.dir
	elsewhere := Handle{FSID: own.FSID + 1, Type: own.Type, Bytes: own.Bytes}
	beside := Handle{FSID: own.FSID, Type: own.Type, Bytes: make([]byte, len(own.Bytes))}
	for name, ev := range map[string]Event{
		"of another filesystem": {Mask: unix.FAN_RENAME, Dir: elsewhere, NewName: []byte("m7")},
		"of another directory":  {Mask: unix.FAN_RENAME, Dir: beside, NewName: []byte("m7")},
		"without a new name":    {Mask: unix.FAN_RENAME, Dir: own, Name: []byte("m7")},
		"with a short name":     {Mask: unix.FAN_RENAME, Dir: own, NewName: []byte("m")},
		"with another name":     {Mask: unix.FAN_RENAME, Dir: own, NewName: []byte("m7x")},
	} {
		if got := b.Mark(&ev); got != 0 {
			t.Errorf("a rename %s is mark %d", name, got)
		}
	}
	if got := b.Mark(&Event{Mask: unix.FAN_RENAME, Dir: own, NewName: []byte("m18446744073709551615")}); got != 1<<64-1 {
		t.Errorf("the last mark is %d", got)
	}
}

// A Raise that fails, for want of memory say, does not spoil the next one.
func TestRaiseFails(t *testing.T) {
	w := newWitness(t, Options{Mask: Names})
	fd := w.Barrier.fd
	for range 3 {
		w.Barrier.fd = -1
		if mark, err := w.Barrier.Raise(); !errors.Is(err, unix.EBADF) {
			t.Fatalf("without a directory: mark %d, %v", mark, err)
		}
		w.Barrier.fd = fd
		mark, err := w.Barrier.Raise()
		if err != nil {
			t.Fatal(err)
		}
		w.until(mark, func(ev *Event) { t.Errorf("event %+v", *ev) })
	}
}

func TestRaiseAllocs(t *testing.T) {
	w := newWitness(t, Options{Mask: Names})
	if n := testing.AllocsPerRun(100, func() {
		if _, err := w.Barrier.Raise(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// later.Close leaves the end of a group to the kernel's collector. It does come:
// the number of groups that a user may have is not used up.
func TestClose(t *testing.T) {
	w := watch(t, Names, tmpfs(t))
	fds := openFDs(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if left := openFDs(t); left != fds-3 { // the group, the tmpfs, the barrier's
		t.Errorf("%d descriptors are open, %d were: want 3 less", left, fds)
	}

	// More groups than a user may have at a time. They are somebody else's, as
	// other programs need theirs; a thread with another user id does not
	// come back.
	var limit int
	b, err := os.ReadFile("/proc/sys/fs/fanotify/max_user_groups")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscan(string(b), &limit); err != nil || limit > 4096 {
		t.Skipf("max_user_groups is %s", b)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- makeGroups(2 * limit)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// makeGroups makes groups as another user, who may make them without
// privileges, and closes each at once.
func makeGroups(n int) error {
	const user = 65533
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), user, ^uintptr(0)); errno != 0 {
		return fmt.Errorf("setresuid: %w", errno)
	}
	for range n {
		fd, err := unix.FanotifyInit(initFlags, unix.O_RDONLY)
		for errors.Is(err, unix.EMFILE) { // those before are not gone yet
			fd, err = unix.FanotifyInit(initFlags, unix.O_RDONLY)
		}
		if err != nil {
			return fmt.Errorf("fanotify_init: %w", err)
		}
		if err := later.Close(fd); err != nil {
			return fmt.Errorf("close the group: %w", err)
		}
	}
	return nil
}

func TestProbe(t *testing.T) {
	newWitness(t, Options{Mask: Names}) // skips where there is no fanotify
	for _, f := range Probe() {
		if f.Err != nil && f.Without == "" {
			t.Errorf("a group can be made, and %s is said to be missing: %v", f.Name, f.Err)
		}
	}
}

// What is watched loosely can be looked up, is not kept alive, and is known
// again; another filesystem in its place is not taken for it.
func TestWatchLoosely(t *testing.T) {
	needMounts(t)
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", 0, "")
	do(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	w := newWitness(t, Options{Mask: Names})
	m := mountOn(t, dir)
	before := openFDs(t)
	index, err := w.WatchLoosely(m)
	do(t, err)
	if after := openFDs(t); after != before || w.Filesystems.Kept(index) {
		t.Errorf("%d descriptors, %d before; kept %v", after, before, w.Filesystems.Kept(index))
	}
	touch(t, filepath.Join(dir, "a/b/f"))
	evs := w.events()
	if len(evs) != 1 {
		t.Fatalf("%d events, want 1", len(evs))
	}
	parent := w.Filesystems.Inode(&evs[0].Dir)
	if links, err := w.Filesystems.Lookup(parent, func(Inode) bool { return false }); err != nil || len(links) != 2 || links[0].Name != "b" {
		t.Errorf("looked up %v, %v", links, err)
	}
	if !w.WatchAgain(index, m) {
		t.Error("it is not the same")
	}

	// Another one has its place, and perhaps its device.
	do(t, unix.Unmount(dir, 0))
	mount(t, "none", dir, "tmpfs", 0, "")
	if _, err := w.Filesystems.Lookup(parent, func(Inode) bool { return false }); !errors.Is(err, ErrGone) && !errors.Is(err, errMoved) {
		t.Errorf("looked up in another filesystem: %v", err)
	}
	if now := mountOn(t, dir); now.Dev == m.Dev && w.WatchAgain(index, now) {
		t.Error("another filesystem is the same")
	} else if now.Dev != m.Dev {
		t.Logf("device %#x was not given away again at once", m.Dev)
	}
	do(t, w.Unwatch(index))
	if len(w.Filesystems.All()) != 0 || w.Filesystems.Inode(&evs[0].Dir) != (Inode{}) {
		t.Error("it is still watched")
	}
	if h, ok := w.Filesystems.Handle(parent); !ok || !bytes.Equal(h.Bytes, evs[0].Dir.Bytes) {
		t.Error("what is pending can no longer be named")
	}
}
