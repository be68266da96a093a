package fan

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ino(n uint64) Inode { return Inode{Ino: n, Gen: 1, FS: 1} }

func wantPath(t *testing.T, g *Graph, n uint64, want string) {
	t.Helper()
	got, ok := g.Path(ino(n))
	if !ok || string(got) != want {
		t.Errorf("path of %d: %q, %v; want %q", n, got, ok, want)
	}
}

func wantNoPath(t *testing.T, g *Graph, n, missing uint64) {
	t.Helper()
	if got, ok := g.Path(ino(n)); ok {
		t.Errorf("path of %d: %q, want none", n, got)
	}
	if got, ok := g.Missing(ino(n)); !ok || got != ino(missing) {
		t.Errorf("missing for %d: %d, %v; want %d", n, got.Ino, ok, missing)
	}
}

func TestGraph(t *testing.T) {
	g := NewGraph(100)
	g.AddRoot(ino(1), "")
	g.AddRoot(ino(2), "/sub/dir") // a mount that shows a part of its filesystem
	wantPath(t, g, 1, "")
	wantPath(t, g, 2, "/sub/dir")
	wantNoPath(t, g, 10, 10)
	if g.Known(ino(10)) {
		t.Error("10 is known")
	}

	g.Set(ino(10), ino(1), []byte("a"))
	g.Set(ino(11), ino(10), []byte("b"))
	g.Set(ino(12), ino(2), []byte("c"))
	wantPath(t, g, 10, "/a")
	wantPath(t, g, 11, "/a/b")
	wantPath(t, g, 12, "/sub/dir/c")
	if missing, ok := g.Missing(ino(11)); ok {
		t.Errorf("missing for 11: %d", missing.Ino)
	}
	if parent, name, ok := g.Where(ino(11)); !ok || parent != ino(10) || name != "b" {
		t.Errorf("11 is %q in %d, %v", name, parent.Ino, ok)
	}
	for _, i := range []uint64{1, 99} {
		if parent, name, ok := g.Where(ino(i)); ok {
			t.Errorf("%d, a root or unknown, is %q in %d", i, name, parent.Ino)
		}
	}

	// A rename moves what is below, too.
	g.Set(ino(10), ino(2), []byte("z"))
	wantPath(t, g, 11, "/sub/dir/z/b")
	wantPath(t, g, 10, "/sub/dir/z")

	// A root stays where it is, whatever an event through another mount says.
	g.Set(ino(2), ino(1), []byte("moved"))
	g.Forget(ino(2))
	wantPath(t, g, 11, "/sub/dir/z/b")

	g.Forget(ino(10))
	wantNoPath(t, g, 11, 10)
	g.Forget(ino(10)) // again: no harm
	g.Set(ino(10), ino(1), []byte("back"))
	wantPath(t, g, 11, "/back/b")
}

// The name may point into a buffer that is used again.
func TestGraphKeepsNames(t *testing.T) {
	g := NewGraph(100)
	g.AddRoot(ino(1), "")
	name := []byte("name")
	g.Set(ino(2), ino(1), name)
	copy(name, "XXXX")
	wantPath(t, g, 2, "/name")
}

// Inodes of different filesystems, or generations, with one number are not one.
func TestGraphIdentity(t *testing.T) {
	g := NewGraph(100)
	for fs := uint32(1); fs <= 2; fs++ {
		root := Inode{Ino: 1, FS: fs}
		g.AddRoot(root, "")
		for gen := uint32(1); gen <= 2; gen++ {
			g.Set(Inode{Ino: 2, Gen: gen, FS: fs}, root, []byte(fmt.Sprintf("%d.%d", fs, gen)))
		}
	}
	for fs := uint32(1); fs <= 2; fs++ {
		for gen := uint32(1); gen <= 2; gen++ {
			want := fmt.Sprintf("/%d.%d", fs, gen)
			if got, ok := g.Path(Inode{Ino: 2, Gen: gen, FS: fs}); !ok || string(got) != want {
				t.Errorf("path %q, %v; want %q", got, ok, want)
			}
		}
	}
}

// A graph that events from elsewhere have damaged must not take forever.
func TestGraphCycle(t *testing.T) {
	g := NewGraph(100)
	g.AddRoot(ino(1), "")
	g.Set(ino(2), ino(3), []byte("a"))
	g.Set(ino(3), ino(2), []byte("b"))
	if got, ok := g.Path(ino(2)); ok {
		t.Errorf("path %q of a directory below itself", got)
	}
	if _, ok := g.Missing(ino(2)); !ok {
		t.Error("nothing is missing for a directory below itself")
	}
}

// The deepest path that the kernel lets anybody make with short names.
func TestGraphDeep(t *testing.T) {
	const depth = 2047
	g := NewGraph(2 * depth)
	g.AddRoot(ino(1), "")
	for i := uint64(2); i < 2+depth; i++ {
		g.Set(ino(i), ino(i-1), []byte("d"))
	}
	wantPath(t, g, 1+depth, strings.Repeat("/d", depth))
}

// What is asked for stays, what is not goes, and roots stay anyway.
func TestGraphForgets(t *testing.T) {
	const limit = 100
	g := NewGraph(limit)
	g.AddRoot(ino(1), "")
	g.AddRoot(ino(2), "/never/asked/for")
	g.Set(ino(3), ino(1), []byte("kept"))
	g.Set(ino(4), ino(1), []byte("dropped"))
	for i := uint64(0); i < 10*limit; i++ {
		g.Set(ino(1000+i), ino(1), []byte("x"))
		wantPath(t, g, 3, "/kept")
		if g.Len() > limit+3 {
			t.Fatalf("%d directories are kept, the limit is %d", g.Len(), limit)
		}
	}
	wantNoPath(t, g, 4, 4)
	wantPath(t, g, 2, "/never/asked/for")
}

// The path of a directory is cached. Its parent, which nobody asks for, is
// forgotten, and then renamed: the cached path would be a wrong one.
func TestGraphRenameOfForgotten(t *testing.T) {
	const limit = 10
	g := NewGraph(limit)
	g.AddRoot(ino(1), "")
	g.Set(ino(2), ino(1), []byte("parent"))
	g.Set(ino(3), ino(2), []byte("child"))
	wantPath(t, g, 3, "/parent/child")
	for i := uint64(0); i < 10*limit; i++ {
		g.Set(ino(1000+i), ino(1), []byte("x"))
		g.Path(ino(3))
	}
	g.Set(ino(2), ino(1), []byte("renamed"))
	wantPath(t, g, 3, "/renamed/child")
}

func TestGraphAllocs(t *testing.T) {
	g := NewGraph(100)
	g.AddRoot(ino(1), "")
	g.Set(ino(2), ino(1), []byte("a"))
	g.Set(ino(3), ino(2), []byte("b"))
	names := [2][]byte{[]byte("b"), []byte("c")}
	if n := testing.AllocsPerRun(100, func() {
		g.Path(ino(3))
		g.Missing(ino(3))
		g.Set(ino(3), ino(2), names[0]) // a lookup that found it where it was
	}); n != 0 {
		t.Errorf("%v allocations for a path that did not change", n)
	}
}

// naive is a graph that forgets and caches nothing: each directory's parent and
// name, the path made anew each time.
type naive struct {
	at    map[Inode]Link
	roots map[Inode]string
}

func (n *naive) path(i Inode) (string, bool) {
	path := ""
	for range len(n.at) + 1 {
		if root, ok := n.roots[i]; ok {
			return root + path, true
		}
		l, ok := n.at[i]
		if !ok {
			return "", false
		}
		path = "/" + l.Name + path
		i = l.Parent
	}
	return "", false
}

// TestGraphModel makes, renames, removes and asks at random. With room for all
// the graph knows what the naive one does. With room for few it may say that it
// does not know, but never a wrong path; told again what is missing, it knows.
func TestGraphModel(t *testing.T) {
	for name, limit := range map[string]int{"room for all": 1000, "room for some": 8, "room for two": 2, "room for none": 0} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				g := NewGraph(limit)
				n := &naive{at: map[Inode]Link{}, roots: map[Inode]string{ino(1): "", ino(2): "/sub"}}
				for i, path := range n.roots {
					g.AddRoot(i, path)
				}
				dir := rapid.Custom(func(t *rapid.T) Inode { return ino(rapid.Uint64Range(1, 8).Draw(t, "dir")) })
				// One is asked for all the time: its parents are forgotten before it.
				favourite := dir.Draw(t, "favourite")
				named := rapid.SampledFrom([]string{"a", "b", "longer name", "\n\xff"})
				ask := func(t *rapid.T, i Inode) {
					want, known := n.path(i)
					got, ok := g.Path(i)
					if ok && (!known || string(got) != want) {
						t.Fatalf("path of %d: %q, want %q, %v", i.Ino, got, want, known)
					}
					if !ok && known && limit > 40 {
						t.Fatalf("path of %d: unknown, want %q", i.Ino, want)
					}
				}
				below := func(i, top Inode) bool {
					for range len(n.at) + 1 {
						if i == top {
							return true
						}
						i = n.at[i].Parent
					}
					return false
				}
				set := func(t *rapid.T) {
					i, parent := dir.Draw(t, "directory"), dir.Draw(t, "parent")
					if _, root := n.roots[i]; root || below(parent, i) {
						t.Skip("the kernel would refuse")
					}
					l := Link{Dir: i, Parent: parent, Name: named.Draw(t, "name")}
					n.at[i] = l
					g.Set(i, parent, []byte(l.Name))
				}
				t.Repeat(map[string]func(*rapid.T){
					"make or move": set,
					"move":         set, // twice as often as the others
					// What nobody asks for meanwhile is forgotten where there is
					// room for some.
					"others": func(t *rapid.T) {
						for k := range uint64(6) {
							g.Set(ino(100+k), ino(1), []byte("x"))
							n.at[ino(100+k)] = Link{Dir: ino(100 + k), Parent: ino(1), Name: "x"}
							ask(t, favourite)
						}
					},
					"forget": func(t *rapid.T) {
						i := dir.Draw(t, "directory")
						delete(n.at, i)
						g.Forget(i)
					},
					"ask": func(t *rapid.T) { ask(t, dir.Draw(t, "directory")) },
					"look up": func(t *rapid.T) {
						i := dir.Draw(t, "directory")
						want, known := n.path(i)
						missing, ok := g.Missing(i)
						for range len(n.at) + 1 {
							if !ok {
								break
							}
							l, there := n.at[missing]
							if !there {
								if known {
									t.Fatalf("%d is missing for %d, whose path is %q", missing.Ino, i.Ino, want)
								}
								return
							}
							g.Set(l.Dir, l.Parent, []byte(l.Name))
							next, again := g.Missing(i)
							if again && next == missing && limit > 40 {
								t.Fatalf("%d is missing though it was just told", missing.Ino)
							}
							missing, ok = next, again
						}
						if got, found := g.Path(i); limit > 40 && known && (!found || string(got) != want) {
							t.Fatalf("path of %d: %q, %v with nothing missing, want %q", i.Ino, got, found, want)
						}
					},
					"": func(t *rapid.T) {
						ask(t, favourite)
						if most := limit + 2*len(n.roots) + 2; g.Len() > most {
							t.Fatalf("%d directories are kept, want %d at most", g.Len(), most)
						}
						for i, want := range n.roots {
							if got, ok := g.Path(i); !ok || string(got) != want {
								t.Fatalf("path of a root: %q, %v; want %q", got, ok, want)
							}
						}
					},
				})
			})
		})
	}
}
