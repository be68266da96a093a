package oracle

import (
	"path/filepath"
	"slices"
	"strings"
)

// describe tells what a call does, as names are now, and what the tree of names must learn if it did. The result is unknown before the call, and
// for one that never returned.
func (r *replay) describe(t *thread, c *call, res result) description {
	d := description{replay: r, t: t, c: c, result: res}
	switch c.name {
	case "open", "creat":
		d.open(-1, 0)
	case "openat", "openat2":
		d.open(0, 1)
	case "open_by_handle_at":
		d.open(-1, -1)
	case "mkdir", "mknod":
		d.create('W', d.place(-1, 0, false))
	case "mkdirat", "mknodat":
		d.create('W', d.place(0, 1, false))
	case "bind":
		d.bind()
	case "truncate", "truncate64":
		d.touch('W', d.place(-1, 0, true))
	case "unlink", "rmdir":
		d.remove(d.place(-1, 0, false))
	case "unlinkat":
		d.remove(d.place(0, 1, false))
	case "rename":
		d.rename(d.place(-1, 0, false), d.place(-1, 1, false), false)
	case "renameat", "renameat2":
		d.rename(d.place(0, 1, false), d.place(2, 3, false), c.has(4, "RENAME_EXCHANGE"))
	case "link":
		d.link(d.place(-1, 0, false), d.place(-1, 1, false))
	case "linkat":
		d.link(d.linkSource(), d.place(2, 3, false))
	case "symlink":
		d.symlink(0, d.place(-1, 1, false))
	case "symlinkat":
		d.symlink(0, d.place(1, 2, false))
	case "chdir":
		d.chdir(d.place(-1, 0, true))
	case "fchdir":
		d.chdir(d.descriptor(0))
	case "chroot":
		d.chroot(d.place(-1, 0, true))
	case "unshare":
		d.unshare()
	case "execve":
		d.exec(d.place(-1, 0, true))
	case "execveat":
		d.exec(d.execPlace())
	case "fork", "vfork", "clone", "clone3":
		d.fork()
	}
	return d
}

// description is the answer of describe while it is made.
type description struct {
	*replay
	t      *thread
	c      *call
	result result
	ops    []Op
	effect func()    // nil if the names stay as they are
	moves  *[2]place // of a rename: from, to
}

// somewhere is a place that may not be known.
type somewhere struct {
	place
	known bool
}

func (s somewhere) path() string {
	if !s.known {
		return ""
	}
	return s.place.path()
}

// place finds the place that a path argument stands for, relative to a directory argument, or to the working directory if that is -1.
func (d *description) place(dirArg, pathArg int, follow bool) somewhere {
	path, ok := parseString(d.c.arg(pathArg))
	if !ok {
		return somewhere{}
	}
	if path == "" { // AT_EMPTY_PATH: the descriptor itself
		return d.descriptor(dirArg)
	}
	base := d.t.fs.cwd
	if dirArg >= 0 {
		if node := d.t.entered.base[dirArg]; node != nil {
			base = node
		} else if !strings.HasPrefix(path, "/") && !strings.HasPrefix(d.c.arg(dirArg), "AT_FDCWD") {
			return somewhere{}
		}
	}
	v := d.view(d.t)
	if d.c.name == "openat2" && d.c.has(2, "RESOLVE_IN_ROOT") {
		v.root = base
	}
	p, ok := d.tree.walk(v, base, path, follow)
	return somewhere{p, ok}
}

// descriptor is the place of the file that a descriptor argument refers to.
func (d *description) descriptor(arg int) somewhere {
	f := parseFile(d.c.arg(arg))
	if f.path == "" {
		return somewhere{}
	}
	return somewhere{d.tree.locate(f.path), true}
}

func (d *description) add(op Op) {
	op.PID = d.t.proc.pid
	op.Path, op.Target = Spell(op.Path), Spell(op.Target)
	d.ops = append(d.ops, op)
}

// touch is an operation on one name that leaves the names as they are.
func (d *description) touch(letter byte, at somewhere) {
	d.add(Op{Record: Record{Letter: letter, Path: at.path()}, AnyName: !at.known})
}

func (d *description) create(letter byte, at somewhere) {
	d.touch(letter, at)
	if at.known {
		d.effect = func() { d.tree.create(at.place) }
	}
}

func (d *description) remove(at somewhere) {
	d.touch('D', at)
	if at.known {
		d.effect = func() { d.tree.remove(at.place) }
	}
}

func (d *description) rename(from, to somewhere, exchange bool) {
	known := from.known && to.known
	m := Op{Record: Record{Letter: 'M', Path: from.path(), Target: to.path()}, AnyName: !known}
	// Between names of one file the call succeeds and does nothing (rename(2)).
	m.Optional = known && d.tree.same(from.place, to.place)
	if m.Optional {
		d.add(m)
		return
	}
	d.add(m)
	if exchange {
		m.Path, m.Target = m.Target, m.Path
		d.add(m)
	}
	if !known {
		return
	}
	if exchange {
		d.effect = func() { d.tree.exchange(from.place, to.place) }
		return
	}
	d.moves = &[2]place{from.place, to.place}
	d.effect = func() { d.tree.rename(from.place, to.place) }
}

func (d *description) link(from, to somewhere) {
	known := from.known && to.known
	d.add(Op{Record: Record{Letter: 'L', Path: from.path(), Target: to.path()}, AnyName: !known})
	if known {
		d.effect = func() { d.tree.hardlink(from.place, to.place) }
	}
}

// linkSource is the existing file of linkat.
func (d *description) linkSource() somewhere {
	return d.place(0, 1, d.c.has(4, "AT_SYMLINK_FOLLOW"))
}

func (d *description) symlink(textArg int, at somewhere) {
	text, ok := parseString(d.c.arg(textArg))
	d.add(Op{Record: Record{Letter: 'L', Path: text, Target: at.path()}, AnyName: !at.known || !ok})
	if at.known {
		d.effect = func() { d.tree.symlink(at.place, text) }
	}
}

// bind makes a name if the address is one of AF_UNIX that has a path.
func (d *description) bind() {
	_, rest, found := strings.Cut(d.c.arg(1), `sun_path="`)
	if !found {
		return
	}
	quoted := `"` + rest
	end := stringEnd(quoted)
	if end < 0 {
		return
	}
	path, ok := parseString(quoted[:end])
	if !ok {
		return
	}
	p, ok := d.tree.walk(d.view(d.t), d.t.fs.cwd, path, false)
	d.create('W', somewhere{p, ok})
}

func (d *description) chdir(to somewhere) {
	d.touch('C', to)
	if to.known {
		d.effect = func() { d.t.fs.cwd = d.enterPlace(to.place) }
	}
}

func (d *description) chroot(to somewhere) {
	if to.known {
		d.effect = func() { d.t.fs.root = d.enterPlace(to.place) }
	}
}

// enterPlace returns the directory that a place is.
func (d *description) enterPlace(p place) *node {
	if p.name == "" {
		return p.dir
	}
	return d.tree.enter(p.dir, p.name)
}

// unshare parts the thread from others that share its directories.
func (d *description) unshare() {
	if d.c.has(0, "CLONE_FS") || d.c.has(0, "CLONE_NEWNS") || d.c.has(0, "CLONE_NEWUSER") {
		d.effect = func() {
			fs := *d.t.fs
			d.t.fs = &fs
		}
	}
}

func (d *description) fork() {
	switch {
	case d.result.unknown: // the child, if there is one, tells
	case d.c.cloneFlag("CLONE_THREAD"):
		d.effect = d.bear
	default:
		d.add(Op{Record: Record{Letter: 'F', Child: d.result.value}})
		d.effect = d.bear
	}
}

// bear lets the child begin to live, unless it was seen already.
func (d *description) bear() {
	if births := d.births[d.result.value]; slices.Contains(births, d.c) {
		d.born(d.result.value, d.c)
	}
}

// openFlags is the argument of the call that has the flags, -1 if it has none.
func (c *call) openFlags() int {
	switch c.name {
	case "open":
		return 1
	case "creat":
		return -1
	}
	return 2 // openat, openat2 (in a struct), open_by_handle_at
}

// open is the letters of an open. The path is what the descriptor turned out to be.
func (d *description) open(dirArg, pathArg int) {
	flags := d.c.openFlags()
	if d.c.has(flags, "O_PATH") {
		return
	}
	at := somewhere{}
	if pathArg >= 0 && !d.c.has(flags, "O_TMPFILE") { // its file has no name yet
		at = d.place(dirArg, pathArg, !d.c.has(flags, "O_NOFOLLOW"))
	}
	op := Op{Record: Record{Path: at.path()}, AnyName: !at.known}
	if d.result.ok {
		got := d.result.file
		if got.known && got.path == "" {
			return // a pipe, a socket: no name in a file system
		}
		if got.path != "" {
			op.Path, op.AnyName = got.path, false
			d.effect = func() { d.opened(at, got.path) }
		}
	}
	for _, letter := range d.c.letters(flags) {
		op.Letter, op.Optional = letter.name, letter.optional
		d.add(op)
	}
}

type letter struct {
	name     byte
	optional bool
}

// letters returns the letters of an open by its flags. One that only reads may have made or emptied the file, which is a W, too.
func (c *call) letters(flags int) []letter {
	switch {
	case flags < 0 || c.has(flags, "O_WRONLY"):
		return []letter{{name: 'W'}}
	case c.has(flags, "O_RDWR"):
		return []letter{{name: 'R'}, {name: 'W'}}
	case c.has(flags, "O_ACCMODE"): // neither may be done, as ioctl(2) is all it is for
		return []letter{{'R', true}, {'W', true}}
	case c.has(flags, "O_CREAT") || c.has(flags, "O_TRUNC"):
		return []letter{{name: 'R'}, {'W', true}}
	}
	return []letter{{name: 'R'}}
}

// opened learns from a descriptor: its path proves or disproves what the tree of names made of the argument.
func (d *description) opened(at somewhere, path string) {
	d.t.proc.fds[d.result.value] = path
	if !at.known {
		return
	}
	switch {
	case at.place.path() == path:
		d.trace.Proven++
	case len(d.renamesDuring(d.c)) == 0:
		d.doubt(d.c, "opened %q, but the names lead to %q", path, at.place.path())
	}
	if d.c.has(d.c.openFlags(), "O_CREAT") || d.c.name == "creat" {
		p := d.tree.locate(path)
		if n, seen := p.dir.kids[p.name]; !seen || n == nil {
			d.tree.create(p)
		}
	}
}

func (d *description) execPlace() somewhere {
	return d.place(0, 1, !d.c.has(4, "AT_SYMLINK_NOFOLLOW"))
}

// maxScripts is how many interpreters of interpreters the kernel follows (exec_binprm).
const maxScripts = 5

// exec is the image that runs after an execve, and what the kernel opened to get there.
func (d *description) exec(at somewhere) {
	op := Op{Record: Record{Letter: 'E', Path: at.path()}, AnyName: !at.known, Exec: &Exec{Asked: Spell(at.path()), Unsure: !at.known}}
	if image, ok := memory(d.c.arg(0)); ok && d.c.name == "execveat" {
		op.Path, op.AnyName = Spell(image), false
	}
	for range maxScripts {
		prog, ok := Program{}, false
		if at.known {
			prog, ok = d.tree.disk.Program(at.path())
		}
		if !ok {
			op.Exec.Unsure = true
			break
		}
		op.Path = at.path()
		if !prog.Script {
			if interp := d.lookup(prog.Interp); interp.known {
				op.Exec.Opens = append(op.Exec.Opens, Spell(interp.path()))
			}
			break
		}
		op.Exec.Opens = append(op.Exec.Opens, Spell(at.path()))
		at = d.lookup(prog.Interp)
	}
	image := op.Path
	d.effect = func() { d.t.proc.image = image }
	d.add(op)
}

// memory is what an image is called that is in a memfd.
func memory(fd string) (string, bool) {
	_, name, found := strings.Cut(fd, "</memfd:")
	name, deleted := strings.CutSuffix(name, ">(deleted)")
	if name, ok := unescape(name); found && deleted && ok {
		return "/memfd:" + name, true
	}
	return "", false
}

// lookup finds a path that the kernel opens for the process.
func (d *description) lookup(path string) somewhere {
	if path == "" {
		return somewhere{}
	}
	p, ok := d.tree.walk(d.view(d.t), d.t.fs.cwd, path, true)
	return somewhere{p, ok}
}

// markChanged finds the executed files that something was done to during or after the execve, or to a directory above: what they are now need
// not be what ran.
func markChanged(ops []Op) {
	last := map[string]int{}
	for _, op := range ops {
		if strings.IndexByte("WDML", op.Letter) >= 0 {
			last[op.Path] = max(last[op.Path], op.End)
			last[op.Target] = max(last[op.Target], op.End)
		}
	}
	for _, op := range ops {
		if op.Exec == nil {
			continue
		}
		for _, file := range append([]string{op.Exec.Asked, op.Path}, op.Exec.Opens...) {
			for ; len(file) > 1; file = filepath.Dir(file) {
				op.Exec.Unsure = op.Exec.Unsure || last[file] > op.Begin
			}
		}
	}
}
