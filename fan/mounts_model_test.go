package fan

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"pgregory.net/rapid"
)

// namespace is a model of a mount namespace: paths are walked as the kernel
// does, name by name, and over to what is mounted there.
type namespace struct {
	mounts []Mount // the first is the root
}

// on returns what is on top at a place: mounts can be stacked.
func (n namespace) on(mount int, inside string) int {
	for over := true; over; {
		over = false
		for i, m := range n.mounts {
			if i > 0 && m.Parent == n.mounts[mount].ID && n.insideParent(i) == inside {
				mount, inside, over = i, m.Root, true
				break
			}
		}
	}
	return mount
}

// insideParent returns the directory of its parent's filesystem that a mount is on.
func (n namespace) insideParent(mount int) string {
	m := n.mounts[mount]
	at := slices.IndexFunc(n.mounts, func(o Mount) bool { return o.ID == m.Parent })
	parent := n.mounts[at]
	return path.Join(parent.Root, strings.TrimPrefix(m.Mountpoint, parent.Mountpoint))
}

// walk returns the filesystem and the directory in it that a path leads to.
func (n namespace) walk(name string) (dev uint32, inside string) {
	mount := n.on(0, n.mounts[0].Root)
	inside = n.mounts[mount].Root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		inside = path.Join(inside, part)
		if over := n.on(mount, inside); over != mount {
			mount, inside = over, n.mounts[over].Root
		}
	}
	return n.mounts[mount].Dev, inside
}

// drawNamespace makes one as mount(8) would, one mount after the other, each on
// a path as it leads at that time.
func drawNamespace(t *rapid.T) namespace {
	dirs := rapid.SampledFrom([]string{"/", "/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a", "/a/b/a", "/ab"})
	n := namespace{[]Mount{{ID: 10, Parent: 1, Dev: 1, Root: dirs.Draw(t, "root of all"), Mountpoint: "/"}}}
	for i := range rapid.IntRange(0, 6).Draw(t, "mounts") {
		at := dirs.Draw(t, "mount point")
		parent := n.on(0, n.mounts[0].Root)
		inside := n.mounts[parent].Root
		for part := range strings.SplitSeq(strings.Trim(at, "/"), "/") {
			inside = path.Join(inside, part)
			if over := n.on(parent, inside); over != parent {
				parent, inside = over, n.mounts[over].Root
			}
		}
		n.mounts = append(n.mounts, Mount{
			ID: 11 + i, Parent: n.mounts[parent].ID, Dev: rapid.Uint32Range(1, 3).Draw(t, "dev"), Root: dirs.Draw(t, "root"), Mountpoint: at,
		})
	}
	return n
}

// A path that the table gives for a directory leads there; if it gives none,
// there is none.
func TestMountTableModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNamespace(t)
		lines := slices.Clone(n.mounts)
		shuffled := rapid.Permutation(lines).Draw(t, "order") // the order of the table tells nothing
		table := NewMountTable(shuffled)
		dev := rapid.Uint32Range(1, 3).Draw(t, "filesystem")
		inside := rapid.SampledFrom([]string{"/a", "/b", "/a/a", "/a/b", "/a/b/a", "/a/a/b/a", "/ab/a"}).Draw(t, "inside")

		got, ok := table.Append(nil, dev, []byte(inside))
		if ok {
			gotDev, gotInside := n.walk(string(got))
			// What is mounted below is not the table's affair: the directory may
			// have been used before.
			if covered := gotDev != dev || gotInside != inside; covered && !n.coveredBelow(string(got), dev, inside) {
				t.Fatalf("%d:%s is said to be %s, which is %d:%s\n%+v", dev, inside, got, gotDev, gotInside, n.mounts)
			}
			return
		}
		for _, m := range n.mounts {
			rest, found := below([]byte(inside), m.Root)
			if m.Dev != dev || !found {
				continue
			}
			name := path.Join(m.Mountpoint, string(rest))
			if atDev, at := n.walk(name); atDev == dev && at == inside {
				t.Fatalf("%d:%s is at %s, and the table does not find it\n%+v", dev, inside, name, n.mounts)
			}
		}
	})
}

// coveredBelow tells whether a directory above one, or it itself, is reached by
// the beginning of a path, and something is mounted on the way from there.
func (n namespace) coveredBelow(name string, dev uint32, inside string) bool {
	for {
		d, i := n.walk(name)
		if d == dev && i == inside {
			return true
		}
		if inside == "/" || name == "/" {
			return false
		}
		name, inside = path.Dir(name), path.Dir(inside)
	}
}

// mangle writes a name as show_mountinfo does.
func mangle(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(" \t\n\\", c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Names of mount points and roots are read as they are.
func TestMountLines(t *testing.T) {
	name := rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 12), func(b []byte) string { return "/" + string(b) })
	rapid.Check(t, func(t *rapid.T) {
		want := []Mount{{
			ID: rapid.IntRange(1, 1<<20).Draw(t, "id"), Parent: rapid.IntRange(1, 1<<20).Draw(t, "parent"),
			Dev: rapid.Uint32().Draw(t, "dev"), Root: name.Draw(t, "root"), Mountpoint: name.Draw(t, "mount point"),
			Type:   rapid.SampledFrom([]string{"ext4", "fuse.sshfs", "tmpfs"}).Draw(t, "type"),
			Source: "none", Options: rapid.SampledFrom([]string{"rw", "rw,subvol=/@"}).Draw(t, "options"),
		}}
		m := want[0]
		line := fmt.Sprintf("%d %d %d:%d %s %s rw,noatime %s- %s %s %s\n", m.ID, m.Parent, m.Dev>>20, m.Dev&0xfffff, mangle(m.Root), mangle(m.Mountpoint),
			rapid.SampledFrom([]string{"", "shared:1 ", "shared:1 master:2 "}).Draw(t, "fields"), m.Type, m.Source, m.Options)
		infos, err := mountinfo.GetMountsFromReader(strings.NewReader(line), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, fromInfo(infos)); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", line, diff)
		}
	})
}

// FuzzMounts feeds any text as a mount table. Whatever it says, looking up ends,
// and a path that is found begins with a mount point of that filesystem.
func FuzzMounts(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(string(own), "/a/b")
	}
	f.Add("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:1 /a\\040b /mnt rw shared:1 - ext4 /dev/sda1 rw\n3 2 0:5 / /mnt rw - tmpfs none rw\n", "/a b/c")
	f.Add("1 2 8:1 / /a rw - ext4 x rw\n2 1 8:2 / /b rw - ext4 x rw\n", "")
	f.Fuzz(func(t *testing.T, text, inside string) {
		infos, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
		if err != nil {
			return
		}
		mounts := fromInfo(infos)
		table := NewMountTable(mounts)
		seen := map[uint32]bool{}
		for _, list := range table.Superblocks() {
			if seen[list[0].Dev] {
				t.Fatalf("filesystem %d comes twice", list[0].Dev)
			}
			seen[list[0].Dev] = true
			for _, m := range list {
				if m.Dev != list[0].Dev || !slices.Contains(mounts, m) {
					t.Fatalf("%+v is among the mounts of %d", m, list[0].Dev)
				}
			}
		}
		for _, m := range mounts {
			got, ok := table.Append([]byte("before:"), m.Dev, []byte(inside))
			name, kept := strings.CutPrefix(string(got), "before:")
			if !kept {
				t.Fatalf("%q", got)
			}
			shown := slices.ContainsFunc(mounts, func(o Mount) bool {
				rest, under := below([]byte(inside), o.Root)
				return under && o.Dev == m.Dev && (name == o.Mountpoint+string(rest) || o.Mountpoint == "/" && name == string(rest))
			})
			if ok && !shown || !ok && name != inside {
				t.Errorf("%d:%q: %q, %v", m.Dev, inside, name, ok)
			}
		}
	})
}
