package fanrec

import (
	"fmt"
	"testing"

	"fanrec/fan"
	"fanrec/proctree"
)

// mountedOn returns a table with one filesystem of device 9, mounted there by
// mounts with IDs from 10 on, and the root filesystem.
func mountedOn(places ...string) *fan.MountTable {
	mounts := []fan.Mount{{ID: 1, Dev: 8, Root: "/", Mountpoint: "/"}}
	for i, p := range places {
		mounts = append(mounts, fan.Mount{ID: 10 + i, Parent: 1, Dev: 9, Root: "/", Mountpoint: p})
	}
	return fan.NewMountTable(mounts)
}

// What happened before a change of mounts has its path by the table before, and
// what is no longer mounted anywhere by the last that had it.
func TestMountTables(t *testing.T) {
	m := mountTables{now: mountedOn("/a")}
	m.set(mountedOn("/b"), 100)
	m.set(mountedOn(), 200)
	m.set(mountedOn("/c"), 300)
	m.earlier(250) // the record of the call came after the table was read
	m.earlier(150) // not before the table before it
	here := &proctree.Process{}
	for _, c := range []struct {
		at         int64
		path, seen string
	}{{50, "/a/f", "/a/f"}, {99, "/a/f", "/a/f"}, {100, "/b/f", "/b/f"}, {200, "/c/f", "/f"}, {249, "/c/f", "/f"}, {250, "/c/f", "/c/f"}} {
		if got, _ := m.of(here, c.at).Append(nil, 9, []byte("/f")); string(got) != c.seen {
			t.Errorf("table of %d: %s, want %s", c.at, got, c.seen)
		}
		m.advance(c.at)
		if got := m.append([]byte("x"), 9, []byte("/f")); string(got) != "x"+c.path {
			t.Errorf("at %d: %s, want x%s", c.at, got, c.path)
		}
	}
	m.set(mountedOn(), 400)
	m.advance(400)
	if got := m.append(nil, 9, []byte("/f")); string(got) != "/c/f" {
		t.Errorf("not mounted: %s, want /c/f", got)
	}
	for i := range 10 * formerTables {
		m.set(mountedOn(fmt.Sprintf("/%d", i)), int64(500+i))
	}
	m.advance(5000)
	if len(m.former) != formerTables || len(m.next) != 0 {
		t.Errorf("%d tables are kept, %d are ahead", len(m.former), len(m.next))
	}
}

// A path is only steady if one and the same mount names it before and after.
func TestSteady(t *testing.T) {
	for name, c := range map[string]struct {
		now  *fan.MountTable
		next []*fan.MountTable
		want bool
	}{
		"no change":             {mountedOn("/a"), nil, true},
		"another mount":         {mountedOn("/a"), []*fan.MountTable{mountedOn("/a", "/b/c")}, true},
		"moved":                 {mountedOn("/a"), []*fan.MountTable{mountedOn("/b")}, false},
		"a better one":          {mountedOn("/aa"), []*fan.MountTable{mountedOn("/aa", "/b")}, false},
		"moved later":           {mountedOn("/a"), []*fan.MountTable{mountedOn("/a"), mountedOn("/b")}, false},
		"unmounted":             {mountedOn("/a"), []*fan.MountTable{mountedOn()}, false},
		"back by another mount": {mountedOn("/a"), []*fan.MountTable{mountedOn("/z/z", "/a")}, false},
		"not mounted":           {mountedOn(), nil, false},
	} {
		m := mountTables{now: c.now}
		for i, next := range c.next {
			m.set(next, int64(i))
		}
		if got := m.steady(9, []byte("/f")); got != c.want {
			t.Errorf("%s: steady %v, want %v", name, got, c.want)
		}
	}
}

// A process in a mount namespace of its own has the table of that, if it could
// be read.
func TestTableOfNamespace(t *testing.T) {
	m := mountTables{now: mountedOn("/a"), others: map[uint32]*fan.MountTable{7: mountedOn("/own")}}
	for ns, want := range map[uint32]string{0: "/a/f", 7: "/own/f", 8: "/a/f"} {
		if got, _ := m.of(&proctree.Process{MountNS: ns}, 1).Append(nil, 9, []byte("/f")); string(got) != want {
			t.Errorf("namespace %d: %s, want %s", ns, got, want)
		}
	}
}
