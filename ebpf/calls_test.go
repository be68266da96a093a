package ebpf

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

var opNames = map[Op]string{
	OpOpen: "open", OpChdir: "chdir", OpChroot: "chroot", OpRename: "rename", OpUnlink: "unlink", OpRmdir: "rmdir",
	OpMkdir: "mkdir", OpMknod: "mknod", OpLink: "link", OpSymlink: "symlink", OpTruncate: "truncate", OpBind: "bind",
	OpMount: "mount", OpRing: "ring", OpAbsent: "absent",
}

// A naming says what the files in records are called: by the path that was
// walked or, on marked filesystems, by the inodes of the directories that are
// known.
type naming map[inodeKey]string

type inodeKey struct {
	dev, gen uint32
	ino      uint64
}

// walked is the naming of files on filesystems that are not marked.
var walked = naming(nil)

// add names a directory of a tmpfs.
func (n naming) add(t *testing.T, path, name string) {
	t.Helper()
	ino, gen := inode(t, path)
	n[inodeKey{deviceOf(t, path), gen, ino}] = name
}

func (n naming) dir(f *File) string {
	if n == nil {
		return string(AppendPath(nil, f.Walk))
	}
	if name, ok := n[inodeKey{f.Dev, f.Gen, f.Ino}]; ok && len(f.Walk) == 0 {
		return name
	}
	return fmt.Sprintf("%+v", *f)
}

func (n naming) file(f *File) string {
	if _, ok := n[inodeKey{f.Dev, f.Gen, f.Ino}]; ok || n == nil {
		return n.dir(f)
	}
	return n.dir(&File{Dev: f.Dev, Ino: f.ParentIno, Gen: f.ParentGen, Walk: f.Walk}) + "/" + string(f.Name)
}

// format is a call as the tests write it: what was opened or entered, or for
// each path what it is relative to, and the text.
func (n naming) format(c *Call) string {
	s := opNames[c.Op]
	switch c.Op {
	case OpOpen:
		for _, m := range []struct {
			bit  uint32
			name string
		}{{FModeRead, " r"}, {FModeWrite, " w"}, {FModeCreated, " created"}} {
			if c.FMode&m.bit != 0 {
				s += m.name
			}
		}
		if c.Flags&unix.O_APPEND != 0 {
			s += " append"
		}
		return s + " " + n.file(&c.File[0])
	case OpChdir, OpChroot:
		return s + " " + n.file(&c.File[0])
	case OpSymlink:
		s += fmt.Sprintf(" %q %s:%s", c.Text[0], n.dir(&c.File[1]), c.Text[1])
	case OpAbsent:
		dir := &c.File[0]
		if dir.Ino == 0 { // it was removed, or is a file
			return s + fmt.Sprintf(" %s:%s", AppendPath(nil, dir.Walk), c.Text[0])
		}
		s += fmt.Sprintf(" %s:%s", n.dir(dir), c.Text[0])
	case OpRename, OpLink:
		s += fmt.Sprintf(" %s:%s %s:%s", n.dir(&c.File[0]), c.Text[0], n.dir(&c.File[1]), c.Text[1])
	default:
		s += fmt.Sprintf(" %s:%s", n.dir(&c.File[0]), c.Text[0])
	}
	if c.Flags != 0 {
		s += fmt.Sprintf(" %#x", c.Flags)
	}
	return s
}

func formatAll(n naming, calls []Call) []string {
	var all []string
	for i := range calls {
		all = append(all, n.format(&calls[i]))
	}
	return all
}

// wantCalls are the records of testdata/calls.c, ABSOLUTE being its working
// directory's path. Lines that begin with "32: " are of 32-bit calls only.
const wantCalls = `open r top/sub
open r w created top/new
open w append top/new
open w created top/made
open w created top/sub/f
open r top/sub/f
open r top/sub/f
mkdir top:d1
mkdir top/sub:d2/
mkdir /:ABSOLUTE/d3
mknod top:n1
mknod top/sub:../n2
link top:new top:sub/l1
link top/sub:f top:l2 0x400
symlink "/no where" top:s1
symlink "sub" top/sub:s2
rename top:l2 top:l3
rename top/sub:l1 top:./sub/l4
rename top:l3 top/sub:l4 0x2
rename top:n2 /:ABSOLUTE/n3
rename /:ABSOLUTE/n3 top/sub:n4
truncate top:new
32: truncate top:new
unlink top:made
unlink top/sub:s2
rmdir top/sub:d2 0x200
rmdir top:d1
bind top:` + longSocket + `
bind top:sock
open r top
chdir top/sub
chdir top
chroot top/sub
mkdir top/sub:/in
mkdir top:out`

const longSocket = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

// TestCalls makes every call that is recorded, in each way that a program can.
// With -update the records become seeds of FuzzDecodeCall.
func TestCalls(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("testdata/calls.c makes the calls of x86")
	}
	for _, c := range []struct {
		name   string
		args   []string
		compat bool
	}{
		{"native", []string{"-static"}, false},
		{"int 0x80", []string{"-static", "-no-pie", "-fno-pie", "-DINT80", "-Wno-pointer-to-int-cast"}, true},
		{"32-bit program", []string{"-static", "-m32"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := compile(t, "calls.c", c.args...)
			for _, marked := range []bool{true, false} {
				t.Run(fmt.Sprintf("marked %v", marked), func(t *testing.T) {
					dir, _ := tmpfs(t)
					top := filepath.Join(dir, "top")
					do(t, os.MkdirAll(filepath.Join(top, "sub"), 0o700))
					w := newWitness(t, Options{})
					n := walked
					if marked {
						n = naming{}
						w.watch(dir, "/")
						n.add(t, top, "top")
						n.add(t, filepath.Join(top, "sub"), "top/sub")
					}
					before := monotonic(t)
					pid := w.succeed(top, bin, top)
					after := monotonic(t)
					if c.name == "native" {
						w.seeds(fmt.Sprintf("marked-%v", marked))
					}

					// The root directory is on no tmpfs, whose handles tell
					// the generation: it is what the call says it is.
					for i := range w.calls {
						if f := &w.calls[i].File[0]; marked && f.Dev == deviceOf(t, "/") {
							var st unix.Stat_t
							do(t, unix.Stat("/", &st))
							if f.Ino != st.Ino {
								t.Errorf("the root is inode %d, want %d", f.Ino, st.Ino)
							}
							n[inodeKey{f.Dev, f.Gen, f.Ino}] = "/"
						}
					}
					var want []string
					for line := range strings.SplitSeq(wantCalls, "\n") {
						line, only32 := strings.CutPrefix(line, "32: ")
						if only32 && !c.compat {
							continue
						}
						if !marked {
							line = strings.ReplaceAll(line, "top:", top+":")
							line = strings.ReplaceAll(line, "top/sub", top+"/sub")
							line = strings.ReplaceAll(line, " top/", " "+top+"/")
							if line == "open r top" || line == "chdir top" {
								line = strings.ReplaceAll(line, "top", top)
							}
						}
						want = append(want, strings.ReplaceAll(line, "ABSOLUTE", top))
					}
					if diff := cmp.Diff(want, formatAll(n, w.calls)); diff != "" {
						t.Errorf("calls (-want +got):\n%s", diff)
					}

					fork := w.one(Fork, pid)
					flags := Alone
					if c.compat {
						flags |= Compat
					}
					for _, c := range w.calls {
						if c.ID != fork.ID || c.TID != uint32(pid) || c.UID != uint32(os.Getuid()) || c.Header.Flags != flags {
							t.Errorf("header %+v, want one of %+v with flags %#x", c.Header, fork.ID, flags)
						}
						if c.Time < before || c.Time > after {
							t.Errorf("at %d, between %d and %d it ran", c.Time, before, after)
						}
						before = c.Time
					}
				})
			}
		})
	}
}

// wantAbsent are the records of testdata/lookups.c.
const wantAbsent = `absent top:open
absent top:creat/x
absent top/sub:openat
absent top/sub:openat2
absent top:stat
absent top:lstat
absent top/sub:newfstatat
absent top/sub:statx
absent top:access
absent top/sub:faccessat
absent top/sub:faccessat2
absent top:readlink
absent top/sub:readlinkat
absent top:execve
absent top/sub:execveat
absent top:chdir
32: absent top:oldstat
32: absent top:oldlstat
32: absent top:stat64
32: absent top:lstat64
absent top:file/x
absent top:file
absent ABSOLUTE/file:below
absent /:ABSOLUTE/absolute
absent /:DISTANT
absent ABSOLUTE/dead:in`

// TestAbsent makes every call that looks something up find nothing, in each way
// that a program can. Nothing tells of it if it is not asked for.
func TestAbsent(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("testdata/lookups.c makes the calls of x86")
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"native", []string{"-static"}},
		{"int 0x80", []string{"-static", "-no-pie", "-fno-pie", "-DINT80", "-Wno-pointer-to-int-cast"}},
		{"32-bit program", []string{"-static", "-m32"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := compile(t, "lookups.c", c.args...)
			dir, _ := tmpfs(t)
			top := filepath.Join(dir, "top")
			do(t, os.MkdirAll(filepath.Join(top, "sub"), 0o700), os.WriteFile(filepath.Join(top, "file"), nil, 0o600))
			for _, asked := range []bool{true, false} {
				w := newWitness(t, Options{Absent: asked})
				w.watch(dir)
				n := naming{}
				n.add(t, top, "top")
				n.add(t, filepath.Join(top, "sub"), "top/sub")
				w.succeed(top, bin, top)
				if c.name == "native" && asked {
					w.seeds("absent")
				}
				var got, want []string
				for i := range w.calls {
					if c := &w.calls[i]; c.Op == OpAbsent {
						if len(c.Text[0]) > 0 && c.Text[0][0] == '/' { // the root is on no tmpfs
							n[inodeKey{c.File[0].Dev, c.File[0].Gen, c.File[0].Ino}] = string(AppendPath(nil, c.File[0].Walk))
							c.File[0].Walk = nil
						}
						got = append(got, n.format(c))
					}
				}
				for line := range strings.SplitSeq(wantAbsent, "\n") {
					line, only32 := strings.CutPrefix(line, "32: ")
					if asked && (!only32 || c.name != "native") {
						line = strings.ReplaceAll(line, "DISTANT", strings.Repeat("/", 4000)+"distant")
						want = append(want, strings.ReplaceAll(line, "ABSOLUTE", top))
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("asked for: %v (-want +got):\n%s", asked, diff)
				}
			}
		})
	}
}

// What a file is, the record says as stat(2) does.
func TestOpenedFile(t *testing.T) {
	dir, dev := tmpfs(t)
	path := filepath.Join(dir, "f")
	do(t, os.WriteFile(path, nil, 0o640))
	w := newWitness(t, Options{})
	w.watch(dir)
	w.succeed(dir, "/bin/sh", "-c", ": <f; : <.")
	ino, gen := inode(t, path)
	root, rootGen := inode(t, dir)
	want := []File{
		{Ino: ino, Gen: gen, Dev: dev, Mode: unix.S_IFREG | 0o640, ParentIno: root, ParentGen: rootGen, Name: []byte("f")},
		// The root of a filesystem is its own parent, and is called so.
		{Ino: root, Gen: rootGen, Dev: dev, Mode: unix.S_IFDIR | 0o777 | unix.S_ISVTX, ParentIno: root, ParentGen: rootGen, Name: []byte("/")},
	}
	var got []File
	for _, c := range w.calls {
		if c.Op == OpOpen && c.File[0].Dev == dev {
			got = append(got, c.File[0])
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// The number of a device is no proof: another superblock may have it by now,
// which has no mark.
func TestOpenedFileOfAnotherSuperblock(t *testing.T) {
	dir, dev := tmpfs(t)
	do(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o640))
	w := newWitness(t, Options{})
	do(t, w.Mark(dev, 0))
	w.succeed(dir, "/bin/sh", "-c", ": <f")
	if paths, _ := w.opened("f"); !slices.Equal(paths, []string{dir + "/f"}) {
		t.Errorf("walked %q, want %s/f", paths, dir)
	}
	w.calls = nil
	w.watch(dir)
	do(t, w.Unmark(dev), w.Unmark(dev))
	w.succeed(dir, "/bin/sh", "-c", ": <f")
	if paths, _ := w.opened("f"); !slices.Equal(paths, []string{dir + "/f"}) {
		t.Errorf("walked after Unmark %q, want %s/f", paths, dir)
	}
}

// Whatever changes a mount table, or takes a process into another, is told of.
func TestMountCalls(t *testing.T) {
	dir, _ := tmpfs(t)
	w := newWitness(t, Options{})
	// unshare(1) makes all of its mounts private, too; mount(8) may do it by mount(2) or move_mount(2).
	w.succeed(dir, "/usr/bin/unshare", "-m", "/bin/sh", "-c", "mkdir m && mount -t tmpfs none m && umount m")
	var own unix.Stat_t
	do(t, unix.Stat("/proc/self/ns/mnt", &own))
	n := 0
	for _, c := range w.calls {
		if c.Op == OpMount {
			n++
			if c.FMode == 0 || uint64(c.FMode) == own.Ino {
				t.Errorf("in the mount namespace %d, which is %d here", c.FMode, own.Ino)
			}
		}
	}
	if n != 4 {
		t.Errorf("%d calls, want unshare, mount, mount, umount", n)
	}
	alarmed := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.Alarm()), Events: unix.POLLIN}}, 0)
		do(t, err)
		return n > 0
	}
	if !alarmed() {
		t.Error("no alarm")
	}
	do(t, w.Calm())
	w.succeed(dir, "/bin/true")
	if alarmed() {
		t.Error("an alarm without such a call")
	}
	w.calls = nil
	w.succeed(dir, "/bin/sh", "-c", "mkdir -p m && mount -t tmpfs none m && umount m")
	for _, c := range w.calls {
		if c.Op == OpMount && uint64(c.FMode) != own.Ino {
			t.Errorf("in the mount namespace %d, which is %d", c.FMode, own.Ino)
		}
	}
}

// Once mounts have changed, a path is walked wherever it is, until the reader
// has seen the new mount table.
func TestWalkedAfterRemount(t *testing.T) {
	dir, dev := tmpfs(t)
	do(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o640))
	w := newWitness(t, Options{})
	w.watch(dir)
	opens := func(what string, walked bool) {
		t.Helper()
		w.calls = nil
		w.succeed(dir, "/bin/sh", "-c", ": <f")
		for _, c := range w.calls {
			f := &c.File[0]
			if c.Op != OpOpen || string(f.Name) != "f" {
				continue
			}
			want := ""
			if walked {
				want = dir + "/f"
			}
			if got := string(AppendPath(nil, f.Walk)); f.Walked || (len(f.Walk) > 0) != walked || walked && got != want {
				t.Errorf("%s: walked %s, %v; want %q", what, got, f.Walked, want)
			}
			return
		}
		t.Errorf("%s: no open of f", what)
	}
	opens("first", false)
	w.succeed(dir, "/bin/sh", "-c", "mkdir m; mount -t tmpfs none m; umount m")
	opens("after a mount", true)
	n, err := w.Remounts()
	do(t, err)
	if n != 2 {
		t.Errorf("%d changes, want 2", n)
	}
	do(t, w.SawRemounts(n-1))
	opens("one of two seen", true)
	do(t, w.SawRemounts(n))
	opens("seen", false)
	w.succeed(dir, "/usr/bin/unshare", "-m", "/bin/sh", "-c", "mount -t tmpfs none m; umount m")
	opens("after a mount in another namespace", false)
	do(t, w.Mark(dev, WalkToo))
	opens("if it was asked for", true)
}

// opened returns the walked path and the flags of each open of a name.
func (w *witness) opened(name string) (paths []string, flags Flags) {
	for _, c := range w.calls {
		if c.Op != OpOpen {
			continue
		}
		path := string(AppendPath(nil, c.File[0].Walk))
		if filepath.Base(path) == name {
			paths = append(paths, path)
			flags |= c.Header.Flags
		}
	}
	return paths, flags
}

// Where fanotify does not watch, the path is walked in the kernel: through bind
// mounts, out of what is mounted, and however deep.
func TestWalkedPaths(t *testing.T) {
	dir, _ := tmpfs(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	do(t, os.MkdirAll(in("a/b"), 0o700), os.MkdirAll(in("bound"), 0o700), os.Mkdir(in("mnt"), 0o700))
	do(t, unix.Mount(in("a"), in("bound"), "", unix.MS_BIND, ""))
	do(t, unix.Mount("none", in("mnt"), "tmpfs", 0, ""))
	long := strings.Repeat("n", 255)
	deep := strings.Repeat("d/", 100)
	do(t, os.MkdirAll(in(deep), 0o700))
	for _, name := range []string{"a/b/via-bind", "mnt/mounted", "top", deep + "deep", long, "new\nline \xff"} {
		do(t, os.WriteFile(in(name), nil, 0o600))
	}

	w := newWitness(t, Options{})
	w.succeed(dir, "/bin/sh", "-c", `: <bound/b/via-bind; : <mnt/mounted; cd mnt; : <../top; cd ..; : <"$1"; : <"$2"; : <"$3"; : </proc/self/stat`,
		"sh", deep+"deep", long, "new\nline \xff")
	for name, want := range map[string]string{
		"via-bind":       in("bound/b/via-bind"),
		"mounted":        in("mnt/mounted"),
		"top":            in("top"),
		"deep":           in(deep + "deep"),
		long:             in(long),
		"new\nline \xff": in("new\nline \xff"),
		"stat":           fmt.Sprintf("/proc/%d/stat", w.of(Fork, 0)[0].ID.TGID),
	} {
		paths, flags := w.opened(name)
		if len(paths) != 1 || paths[0] != want {
			t.Errorf("paths %q, want %q", paths, want)
		}
		if flags&Cut != 0 {
			t.Errorf("%s is said to be cut", name)
		}
	}
}

// A path that is longer than the kernel side walks is said to be.
func TestWalkedPathCut(t *testing.T) {
	dir, _ := tmpfs(t)
	deep := strings.Repeat("d/", 300)
	do(t, os.MkdirAll(filepath.Join(dir, deep), 0o700), os.WriteFile(filepath.Join(dir, deep, "deep"), nil, 0o600))
	w := newWitness(t, Options{})
	w.succeed(dir, "/bin/sh", "-c", `: <"$1"`, "sh", deep+"deep")
	paths, flags := w.opened("deep")
	if len(paths) != 1 || flags&Cut == 0 {
		t.Fatalf("paths %q, flags %#x: want one that is cut", paths, flags)
	}
	if whole := filepath.Join(dir, deep, "deep"); !strings.HasSuffix(whole, paths[0]) || len(paths[0]) < 400 {
		t.Errorf("path %q is not the end of %q", paths[0], whole)
	}
}

// Texts arrive whole, up to the longest that the kernel takes, both of them,
// and so do names.
func TestLongTexts(t *testing.T) {
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("marked %v", marked), func(t *testing.T) {
			dir, _ := tmpfs(t)
			w := newWitness(t, Options{})
			if marked {
				w.watch(dir)
			}
			name := strings.Repeat("n", 255)
			for _, n := range []int{1, 254, 255, 256, 257, 509, 510, 511, 1000, 4094, 4095} {
				w.calls = nil
				text := func(c string) string { // of n bytes, some name in dir
					last := strings.Repeat(c, min(n, 255))
					rest := n - len(last)
					return strings.Repeat("./", rest/2) + strings.Repeat("/", rest%2*min(rest/2, 1)) + last
				}
				a, b := text("a"), text("b")
				w.succeed(dir, "/bin/sh", "-c", `mkdir "$1" && mv -T "$1" "$2" && rmdir "$2"`, "sh", a, b)
				var got []string
				for _, c := range w.calls {
					switch c.Op {
					case OpMkdir, OpRename, OpRmdir:
						if c.Header.Flags&(Fault|Cut) != 0 {
							t.Errorf("%d bytes: flags %#x", n, c.Header.Flags)
						}
						got = append(got, string(c.Text[0])+string(c.Text[1]))
					}
				}
				if diff := cmp.Diff([]string{a, a + b, b}, got); diff != "" {
					t.Errorf("texts of %d bytes (-want +got):\n%s", n, diff)
				}
			}
			w.calls = nil
			w.succeed(dir, "/bin/sh", "-c", `: >"$1"`, "sh", name)
			last := w.calls[len(w.calls)-1]
			if marked && string(last.File[0].Name) != name {
				t.Errorf("name %q", last.File[0].Name)
			}
			if !marked && string(AppendPath(nil, last.File[0].Walk)) != dir+"/"+name {
				t.Errorf("path %q", AppendPath(nil, last.File[0].Walk))
			}
		})
	}
}

// The largest record there can be: two texts and two walked paths.
func TestLargestRecord(t *testing.T) {
	dir, _ := tmpfs(t)
	name := strings.Repeat("n", 250)
	var deep []string
	for c := 'a'; c < 'a'+14; c++ {
		deep = append(deep, name+string(c))
	}
	sub := strings.Join(deep, "/")
	do(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	w := newWitness(t, Options{})
	pad := strings.Repeat("./", 2000)
	w.succeed(dir, "/bin/sh", "-c", `cd "$1" && : >from && mv -T "$2from" "$2to"`, "sh", sub, pad)
	for _, c := range w.calls {
		if c.Op != OpRename {
			continue
		}
		want := filepath.Join(dir, sub)
		for i, text := range []string{pad + "from", pad + "to"} {
			if string(c.Text[i]) != text {
				t.Errorf("text %d has %d bytes, want %d", i, len(c.Text[i]), len(text))
			}
			if got := string(AppendPath(nil, c.File[i].Walk)); got != want {
				t.Errorf("base %d has a path of %d bytes, want %d", i, len(got), len(want))
			}
		}
		if c.Header.Flags&(Fault|Cut) != 0 {
			t.Errorf("flags %#x", c.Header.Flags)
		}
		return
	}
	t.Error("no rename")
}

// Calls that are not recorded, because they open no file or are of nobody in
// the tree.
func TestNoCalls(t *testing.T) {
	dir, _ := tmpfs(t)
	w := newWitness(t, Options{})
	pid := (&command{argv: []string{"/bin/sh", "-c", "mkdir outside"}, dir: dir}).start(t)
	if status := waitFor(t, pid); status != 0 {
		t.Fatalf("status %#x", status)
	}
	w.drain()
	if len(w.processes)+len(w.calls) > 0 {
		t.Errorf("of a process that is not in the tree: %+v, %+v", w.processes, w.calls)
	}

	// A pipe that is opened through /proc is on no filesystem.
	w = newWitness(t, Options{})
	w.succeed(dir, "/bin/sh", "-c", "true | : </dev/fd/0; : <.")
	for _, c := range w.calls {
		if c.File[0].Mode&unix.S_IFMT == unix.S_IFIFO {
			t.Errorf("of a pipe: %s", walked.format(&c))
		}
	}
	if len(w.calls) == 0 {
		t.Error("no call at all")
	}

	w = newWitness(t, Options{NoCalls: true})
	w.succeed(dir, "/bin/sh", "-c", "mkdir inside")
	if len(w.calls) > 0 {
		t.Errorf("with NoCalls: %v", formatAll(walked, w.calls))
	}
	if len(w.of(Fork, 0)) == 0 {
		t.Error("with NoCalls there are no process records")
	}
}
