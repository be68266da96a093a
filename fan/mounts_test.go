package fan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		path, root string
		want       string
		ok         bool
	}{
		{"", "/", "", true},
		{"/a", "/", "/a", true},
		{"/a", "/a", "", true},
		{"/a/b", "/a", "/b", true},
		{"/ab", "/a", "", false},
		{"/ab/c", "/a", "", false},
		{"", "/a", "", false},
		{"/", "/a", "", false},
		{"/b", "/a", "", false},
		{"/a/b/c", "/a/b", "/c", true},
		{"/a", "/a/b", "", false},
	} {
		got, ok := below([]byte(c.path), c.root)
		if ok != c.ok || ok && string(got) != c.want {
			t.Errorf("%q below %q: %q, %v; want %q, %v", c.path, c.root, got, ok, c.want, c.ok)
		}
	}
}

// none is where no mount shows a path.
const none = "nowhere"

// What mount tables make of paths. Filesystems are their numbers.
func TestMountTable(t *testing.T) {
	type path struct {
		dev    uint32
		inside string
	}
	root := Mount{ID: 1, Parent: 0, Dev: 8, Root: "/", Mountpoint: "/"}
	for name, c := range map[string]struct {
		mounts []Mount
		paths  map[path]string // where they are, or none
		first  map[uint32]int  // the mount that each filesystem is watched through
	}{
		"one filesystem": {
			[]Mount{root},
			map[path]string{{8, "/a"}: "/a", {8, ""}: "", {9, "/a"}: none},
			map[uint32]int{8: 1},
		},
		"mount points": {
			[]Mount{root, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/mnt"}},
			map[path]string{{8, "/mnt/x"}: "/mnt/x", {9, "/a"}: "/mnt/a", {9, ""}: "/mnt"},
			map[uint32]int{8: 1, 9: 2},
		},
		"a part of a filesystem": {
			[]Mount{root, {ID: 2, Parent: 1, Dev: 9, Root: "/sub", Mountpoint: "/mnt"}},
			map[path]string{{9, "/sub/a"}: "/mnt/a", {9, "/sub"}: "/mnt", {9, "/subway"}: none, {9, "/"}: none, {9, ""}: none},
			map[uint32]int{8: 1, 9: 2},
		},
		// As in a container whose image is one and whose data another
		// directory of the host.
		"two parts of a filesystem": {
			[]Mount{
				{ID: 1, Parent: 0, Dev: 8, Root: "/image", Mountpoint: "/"},
				{ID: 2, Parent: 1, Dev: 8, Root: "/data/x", Mountpoint: "/data"},
			},
			map[path]string{{8, "/image/bin"}: "/bin", {8, "/data/x/f"}: "/data/f", {8, "/data/y/f"}: none, {8, "/image"}: "", {8, ""}: none},
			map[uint32]int{8: 1},
		},
		"bind mount of a part": {
			[]Mount{root, {ID: 2, Parent: 1, Dev: 8, Root: "/home/me", Mountpoint: "/m"}},
			map[path]string{{8, "/home/me/f"}: "/home/me/f"},
			map[uint32]int{8: 1},
		},
		"bind mount of the whole, shorter path": {
			[]Mount{
				root, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/a/long/way"},
				{ID: 3, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/short"}, {ID: 4, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/shore"},
			},
			map[path]string{{9, "/f"}: "/short/f"},
			map[uint32]int{8: 1, 9: 3},
		},
		"the whole is better than a part": {
			[]Mount{
				root, {ID: 2, Parent: 1, Dev: 9, Root: "/sub", Mountpoint: "/s"},
				{ID: 3, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/longer"},
			},
			map[path]string{{9, "/sub/f"}: "/longer/sub/f", {9, "/f"}: "/longer/f"},
			map[uint32]int{8: 1, 9: 3},
		},
		"stacked": {
			[]Mount{
				root, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/mnt"}, {ID: 3, Parent: 2, Dev: 10, Root: "/", Mountpoint: "/mnt"},
			},
			map[path]string{{9, "/f"}: none, {10, "/f"}: "/mnt/f"},
			map[uint32]int{8: 1, 10: 3},
		},
		// MOVE_MOUNT_BENEATH, or a moved mount: the later one is below.
		"stacked the other way": {
			[]Mount{
				root, {ID: 2, Parent: 3, Dev: 9, Root: "/", Mountpoint: "/mnt"}, {ID: 3, Parent: 1, Dev: 10, Root: "/", Mountpoint: "/mnt"},
			},
			map[path]string{{9, "/f"}: "/mnt/f", {10, "/f"}: none},
			map[uint32]int{8: 1, 9: 2},
		},
		"stacked on the root": {
			[]Mount{{ID: 1, Parent: 1, Dev: 7, Root: "/", Mountpoint: "/"}, {ID: 2, Parent: 1, Dev: 8, Root: "/", Mountpoint: "/"}},
			map[path]string{{7, "/f"}: none, {8, "/f"}: "/f"},
			map[uint32]int{8: 2},
		},
		// What was mounted below before cannot be reached any more.
		"hidden by a mount above": {
			[]Mount{
				root, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/a/b/c"}, {ID: 3, Parent: 2, Dev: 10, Root: "/", Mountpoint: "/a/b/c/d"},
				{ID: 4, Parent: 1, Dev: 11, Root: "/", Mountpoint: "/a"}, {ID: 5, Parent: 4, Dev: 12, Root: "/", Mountpoint: "/a/b"},
			},
			map[path]string{{9, "/f"}: none, {10, "/f"}: none, {11, "/f"}: "/a/f", {12, "/f"}: "/a/b/f"},
			map[uint32]int{8: 1, 11: 4, 12: 5},
		},
		"hidden in one place of two": {
			[]Mount{
				root, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/a/b"}, {ID: 3, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/longer"},
				{ID: 4, Parent: 1, Dev: 11, Root: "/", Mountpoint: "/a"},
			},
			map[path]string{{9, "/f"}: "/longer/f"},
			map[uint32]int{8: 1, 9: 3, 11: 4},
		},
		"a name that begins like that of a mount": {
			[]Mount{
				root, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/mnt2"}, {ID: 3, Parent: 1, Dev: 10, Root: "/", Mountpoint: "/mnt"},
			},
			map[path]string{{9, "/f"}: "/mnt2/f", {10, "/f"}: "/mnt/f"},
			map[uint32]int{8: 1, 9: 2, 10: 3},
		},
		// As after switch_root: what is on the root was mounted before it.
		"the root is the youngest": {
			[]Mount{{ID: 2, Parent: 5, Dev: 9, Root: "/", Mountpoint: "/proc"}, {ID: 5, Parent: 1, Dev: 8, Root: "/", Mountpoint: "/"}},
			map[path]string{{8, "/f"}: "/f", {9, "/f"}: "/proc/f"},
			map[uint32]int{8: 5, 9: 2},
		},
		"damaged: each other's parent": {
			[]Mount{{ID: 1, Parent: 2, Dev: 8, Root: "/", Mountpoint: "/a"}, {ID: 2, Parent: 1, Dev: 9, Root: "/", Mountpoint: "/b"}},
			map[path]string{{8, "/f"}: "/a/f", {9, "/f"}: "/b/f"},
			map[uint32]int{8: 1, 9: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewMountTable(c.mounts)
			for p, want := range c.paths {
				ok := want != none
				if !ok {
					want = p.inside // better than nothing
				}
				got, found := table.Append([]byte("before:"), p.dev, []byte(p.inside))
				if string(got) != "before:"+want || found != ok {
					t.Errorf("%d%s: %q, %v; want %q, %v", p.dev, p.inside, got, found, "before:"+want, ok)
				}
			}
			first := map[uint32]int{}
			for _, list := range table.Superblocks() {
				if _, twice := first[list[0].Dev]; twice {
					t.Errorf("filesystem %d comes twice", list[0].Dev)
				}
				first[list[0].Dev] = list[0].ID
			}
			if diff := cmp.Diff(c.first, first); diff != "" {
				t.Errorf("filesystem and mount (-want +got):\n%s", diff)
			}
		})
	}
}

// Filesystems come in the order of the table, the mounts of each in that of
// preference.
func TestSuperblocksOrder(t *testing.T) {
	mounts := []Mount{
		{ID: 3, Parent: 1, Dev: 30, Root: "/", Mountpoint: "/z"}, {ID: 1, Dev: 10, Root: "/", Mountpoint: "/"},
		{ID: 4, Parent: 1, Dev: 30, Root: "/", Mountpoint: "/a"}, {ID: 2, Parent: 1, Dev: 20, Root: "/", Mountpoint: "/b"},
	}
	var got [][]int
	for _, list := range NewMountTable(mounts).Superblocks() {
		var ids []int
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		got = append(got, ids)
	}
	if diff := cmp.Diff([][]int{{3, 4}, {1}, {2}}, got); diff != "" {
		t.Errorf("mounts of each filesystem (-want +got):\n%s", diff)
	}
}

func TestAppendAllocs(t *testing.T) {
	table := NewMountTable([]Mount{{ID: 2, Dev: 9, Root: "/sub", Mountpoint: "/mnt"}})
	dst, inside := make([]byte, 0, 64), []byte("/sub/a")
	if n := testing.AllocsPerRun(100, func() { table.Append(dst, 9, inside) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPseudo(t *testing.T) {
	for _, typ := range []string{"proc", "sysfs", "cgroup2", "devpts", "nsfs"} {
		if !Pseudo(typ) {
			t.Errorf("%s holds files of somebody", typ)
		}
	}
	// devtmpfs is not one: sockets and files are made in /dev.
	for _, typ := range []string{"ext4", "tmpfs", "devtmpfs", "overlay", "fuse", "fuse.sshfs", "ramfs", "nfs4", ""} {
		if Pseudo(typ) {
			t.Errorf("%q holds only objects of the kernel", typ)
		}
	}
}

func TestMountOn(t *testing.T) {
	table := NewMountTable([]Mount{
		{ID: 1, Dev: 8, Root: "/", Mountpoint: "/"},
		{ID: 2, Parent: 1, Dev: 9, Root: "/sub", Mountpoint: "/mnt"},
		{ID: 3, Parent: 2, Dev: 10, Root: "/", Mountpoint: "/mnt/in"},
		{ID: 4, Parent: 1, Dev: 11, Root: "/", Mountpoint: "/mnt2"},
		{ID: 5, Parent: 4, Dev: 12, Root: "/", Mountpoint: "/mnt2"},
	})
	for path, want := range map[string]struct {
		dev    uint32
		inside string
	}{
		"/": {8, "/"}, "/a/b": {8, "/a/b"}, "/mnt": {9, "/sub"}, "/mnt/x": {9, "/sub/x"}, "/mnt/in": {10, "/"}, "/mnt/in/x": {10, "/x"},
		"/mnt/inner": {9, "/sub/inner"}, "/mnt2/x": {12, "/x"}, "/mnt3": {8, "/mnt3"},
	} {
		m, ok := table.On([]byte(path))
		if !ok || m.Dev != want.dev || string(m.Inside([]byte(path))) != want.inside {
			t.Errorf("%s is on %d, %v, as %s; want %d, %s", path, m.Dev, ok, m.Inside([]byte(path)), want.dev, want.inside)
		}
	}
	if m, ok := NewMountTable(nil).On([]byte("/")); ok {
		t.Errorf("on %+v of no mounts", m)
	}
}
