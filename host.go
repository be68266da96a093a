package fanrec

import (
	"fanrec/proctree"

	"golang.org/x/sys/unix"
)

// What the kernel walked, and what a text says, is a path as the process has it. A
// container has the recorder's filesystems under names of its own: an overlay that its
// runtime mounted is "/" in it. A record has the recorder's name, where there is one.

// byWalk tells whether appendFile takes the path that was walked in the kernel.
func (j *joiner) byWalk(f *file) bool {
	if f.self.FS == 0 {
		return true
	}
	if f.mode&unix.S_IFMT == unix.S_IFDIR {
		return j.walked(f, f.self)
	}
	return j.walked(f, f.parent)
}

// appendHost appends the path of a file that a process used, as the recorder has it.
func (j *joiner) appendHost(dst []byte, p *proctree.Process, f *file) ([]byte, bool) {
	n := len(dst)
	dst, ok := j.appendFile(dst, f)
	if ok && j.byWalk(f) {
		dst = j.host(dst, n, p, f.dev)
	}
	return dst, ok
}

// host turns the path of a process in another mount namespace, from n on, into the
// recorder's, if that has one for it. dev is the device that the path must be on, 0 if
// any will do.
func (j *joiner) host(dst []byte, n int, p *proctree.Process, dev uint32) []byte {
	if p == nil || p.MountNS == 0 || len(dst) == n || dst[n] != '/' {
		return dst
	}
	theirs := j.mounts.others[p.MountNS]
	if theirs == nil {
		return dst
	}
	on, ok := theirs.On(dst[n:])
	if !ok || dev != 0 && on.Dev != dev {
		return dst // it is on no mount: a memfd; or the table is of another time
	}
	out, ok := j.mounts.appendShown(j.hosted[:0], on.Dev, on.Inside(dst[n:]))
	if j.hosted = out; !ok {
		return dst // only they have it
	}
	if len(out) == 0 {
		out = []byte{'/'}
	}
	return append(dst[:n], out...)
}
