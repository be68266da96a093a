package oracle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Two compilers at a time, each with a temporary file of its own, and a script that uses its process id.
const freeTrace = `50 execve("/bin/sh", [], 0x1) = 0
50 fork() = 51
51 execve("/bin/cp", [], 0x1) = 0
50 fork() = 52
52 openat(AT_FDCWD</tmp/t>, "/tmp/ccAbCdEf.s", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</tmp/ccAbCdEf.s>
51 openat(AT_FDCWD</tmp/t>, "/tmp/ccx1y2z3.s", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</tmp/ccx1y2z3.s>
51 openat(AT_FDCWD</tmp/t>, "/tmp/cc000051.s", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</tmp/cc000051.s>
52 unlink("/tmp/ccAbCdEf.s") = 0
51 unlink("/tmp/ccx1y2z3.s") = 0
51 unlink("/tmp/cc000051.s") = 0
52 +++ exited with 0 +++
51 +++ exited with 0 +++
50 openat(AT_FDCWD</tmp/t>, ".", O_WRONLY|O_TMPFILE, 0600) = 3</tmp/t/#7>(deleted)
50 openat(AT_FDCWD</tmp/t>, ".", O_WRONLY|O_TMPFILE, 0600) = 3</tmp/t/#8>(deleted)
50 openat(AT_FDCWD</tmp/t>, "/dev/pts/4", O_WRONLY) = 3</dev/pts/4>
50 mkdir("x.50", 0700) = 0
50 mkdir("x.50-abcdef0123", 0700) = 0
50 openat(AT_FDCWD</tmp/t>, "/proc/self/stat", O_RDONLY) = 3</proc/50/stat>
50 +++ exited with 0 +++
`

const freeLog = `E 300 /usr/bin/dash
R 300 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
F 300 301
F 300 302
E 301 /usr/bin/cp
R 301 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
R 301 /tmp/cc1.s
R 301 /tmp/ccffffff.s
W 301 /tmp/ccffffff.s
R 301 /tmp/ccgggggg.s
W 301 /tmp/ccgggggg.s
D 301 /tmp/ccffffff.s
D 301 /tmp/ccgggggg.s
X 301 0 0
R 302 /tmp/ccqqqqqq.s
W 302 /tmp/ccqqqqqq.s
D 302 /tmp/ccqqqqqq.s
X 302 0 0
W 300 /tmp/t/#8
W 300 /tmp/t/#9
W 300 /dev/pts/7
W 300 /tmp/t/x.300
W 300 /tmp/t/x.300-abcdef0123
R 300 /proc/300/stat
X 300 0 0
`

func TestCompareFree(t *testing.T) {
	log := edited(freeLog, without1("R 301 /tmp/cc1.s"))
	for name, c := range map[string]struct {
		log  string
		want []string
	}{
		"same":            {log, nil},
		"short name":      {freeLog, []string{"extra R /tmp/cc1.s"}},
		"mixed up":        {edited(log, replaced("D 302 /tmp/ccqqqqqq.s", "D 302 /tmp/ccgggggg.s")), []string{"extra D /tmp/ccgggggg.s", "missing D /tmp/ccAbCdEf.s"}},
		"other process":   {edited(log, replaced("R 300 /proc/300/stat", "R 300 /proc/301/stat")), []string{"extra R /proc/301/stat", "missing R /proc/50/stat"}},
		"other path":      {edited(log, replaced("W 300 /tmp/t/x.300", "W 300 /tmp/x.300")), []string{"extra W /tmp/x.300", "missing W /tmp/t/x.50"}},
		"other suffix":    {edited(log, replaced("W 300 /tmp/t/x.300", "W 300 /tmp/t/x.o")), []string{"extra W /tmp/t/x.o", "missing W /tmp/t/x.50"}},
		"beside random":   {edited(log, replaced("W 300 /tmp/t/x.300-abcdef0123", "W 300 /tmp/t/x.301-abcdef0123")), []string{"extra W /tmp/t/x.301-abcdef0123", "missing W /tmp/t/x.50-abcdef0123"}},
		"without a name":  {edited(log, replaced("W 300 /tmp/t/#9", "W 300 /tmp/#9")), []string{"extra W /tmp/#9", "missing W /tmp/t/#8"}},
		"same inode":      {edited(log, replaced("W 300 /tmp/t/#9", "W 300 /tmp/t/#8")), nil},
		"other terminal":  {edited(log, replaced("W 300 /dev/pts/7", "W 300 /dev/tty7")), []string{"extra W /dev/tty7", "missing W /dev/pts/4"}},
		"order on a path": {edited(log, moved("D 302 /tmp/ccqqqqqq.s", "W 302 /tmp/ccqqqqqq.s")), []string{"order W /tmp/ccqqqqqq.s"}},
		"other order":     {edited(log, moved("W 300 /tmp/t/x.300", "F 300 302")), nil},
		"no child": {
			edited(log, without1("F 300 302"), without1("R 302 /tmp/ccqqqqqq.s"), without1("W 302 /tmp/ccqqqqqq.s"), without1("D 302 /tmp/ccqqqqqq.s"), without1("X 302 0 0")),
			[]string{"missing D /tmp/ccAbCdEf.s", "missing F 52", "missing R /tmp/ccAbCdEf.s", "missing W /tmp/ccAbCdEf.s", "missing X 0 0"},
		},
		"no exit": {edited(log, without1("X 302 0 0")), []string{"frame D /tmp/ccqqqqqq.s", "missing X 0 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			report := CompareFree(parseTrace(t, freeTrace), parseLog(t, c.log))
			if diff := cmp.Diff(c.want, diffs(report)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
