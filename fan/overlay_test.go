package fan

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLayers(t *testing.T) {
	for text, want := range map[string][]string{
		"":                 nil,
		"/a":               {"/a"},
		"/a:b:/c d":        {"/a", "b", "/c d"},
		`/a\:b:/c\,d:/e\\`: {"/a:b", "/c,d", `/e\`},
		`/a\040b`:          {`/a\040b`}, // an escape of mountinfo, undone later
		"/a::/data":        {"/a", "/data"},
	} {
		if got := layers(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"/a": "/a", `/a\040b\054\134`: `/a b,\`, `/a\04`: `/a\04`, `/a\999`: `/a\999`, `\`: `\`,
	} {
		if got := unescape(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	m := Mount{Options: "ro,lowerdir+=/a,lowerdir+=/b,upperdir=/u=1"}
	if _, ok := m.Option("ro"); !ok {
		t.Error("no ro")
	}
	if v, ok := m.Option("upperdir"); !ok || v != "/u=1" {
		t.Errorf("upperdir %q, %v", v, ok)
	}
	if v, ok := m.Option("upper"); ok {
		t.Errorf("upper %q", v)
	}
	if got, want := m.options("lowerdir+"), []string{"/a", "/b"}; !slices.Equal(got, want) {
		t.Errorf("lowerdir+ %q, want %q", got, want)
	}
}

// The layers are found by what overlayfs opens, whatever its options say, and
// by the options, where these have whole paths.
func TestOverlay(t *testing.T) {
	needMounts(t)
	base := tmpfs(t)
	at := func(name string) string { return filepath.Join(base, name) }
	for _, d := range []string{"lower", "lower2", "upper", "work", "merged", "other"} {
		do(t, os.Mkdir(at(d), 0o700))
	}
	t.Chdir(base)
	absolute := "lowerdir=" + at("lower") + ":" + at("lower2") + ",upperdir=" + at("upper") + ",workdir=" + at("work")
	for _, c := range []struct {
		name, options    string
		upper            bool
		byOptions, works bool
	}{
		{"absolute paths", absolute, true, true, true},
		{"relative paths", "lowerdir=lower:lower2,upperdir=upper,workdir=work", true, false, true},
		{"only lower layers", "lowerdir=lower:lower2", false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			mount(t, "none", at("merged"), "overlay", 0, c.options)
			w := watch(t, Names|Opens, base)
			ms, err := Mounts()
			do(t, err)
			table := NewMountTable(ms)
			inode := func(name string) Inode {
				h := handleOf(t, at(name))
				return w.Filesystems.Inode(&h)
			}
			want := &Overlay{Dev: mountOn(t, at("merged")).Dev, Lower: []Inode{inode("lower"), inode("lower2")}}
			if c.upper {
				want.Upper = inode("upper")
			}
			if c.works {
				want.Work = inode("work")
			}
			got, err := w.Overlay(mountOn(t, at("merged")), table)
			do(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("by what is opened (-want +got):\n%s", diff)
			}
			if !c.byOptions {
				want = &Overlay{Dev: want.Dev}
			}
			if diff := cmp.Diff(want, w.Described("", mountOn(t, at("merged")), table)); diff != "" {
				t.Errorf("by options (-want +got):\n%s", diff)
			}
			if w.Hidden(inode("upper")) || !w.Hidden(Inode{Ino: 1 << 40, FS: 1}) {
				t.Error("a layer is hidden, or what is nowhere is not")
			}
		})
	}
}
