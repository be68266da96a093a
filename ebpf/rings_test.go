package ebpf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wantRequests are the requests of TestRings, in the order of submission, and
// what each one's completion says. An open's flags are those of the request.
const wantRequests = `open 0x8041 TOP:new -> 0 w created TOP/new
open 0x8002 TOP:new -> 0 r w TOP/new
open 0x8000 /:/proc/self/stat -> 0 r /proc/PID/stat
open 0x8000 TOP:nosuch -> -2
open 0x8041 TOP/sub:f -> 0 w created TOP/sub/f
mkdir TOP:d
rename TOP:new TOP:d/../n2
rename TOP:n2 /:/in/none -> -2
symlink "no_where" TOP:s
link TOP:n2 TOP:l
rename TOP:s TOP:l 0x2
unlink TOP:sub/f
rmdir TOP:d 0x200
open 0x8000 TOP/sub:../s -> 0 r TOP/s`

func ringExit(w *witness, dir, bin string, args ...string) int {
	w.t.Helper()
	pid, status := w.run(dir, append([]string{bin}, args...)...)
	if status.ExitStatus() == 3 {
		w.t.Skip("no rings here")
	}
	if status != 0 {
		w.t.Fatalf("%v: status %#x", args, status)
	}
	return pid
}

// requests pairs submissions and completions and formats them.
func (w *witness) requests(n naming) []string {
	var list []string
	at := map[uint64]int{}
	for i := range w.calls {
		c := &w.calls[i]
		switch c.Stage {
		case Submitted:
			s := *c
			if c.Op == OpOpen { // as the other calls with a path are
				s.Op, s.Flags = OpTruncate, 0
				list = append(list, strings.Replace(n.format(&s), "truncate", fmt.Sprintf("open %#x", c.Flags), 1))
			} else {
				list = append(list, n.format(&s))
			}
			at[c.Request] = len(list) - 1
		case Completed:
			i, ok := at[c.Request]
			if !ok {
				w.t.Errorf("a completion of what was not submitted: %+v", c)
				continue
			}
			delete(at, c.Request)
			if c.Result < 0 {
				list[i] += fmt.Sprintf(" -> %d", c.Result)
			}
			if c.FMode != 0 {
				o := *c
				o.Op, o.Flags = OpOpen, 0
				list[i] += " -> 0" + strings.TrimPrefix(n.format(&o), "open")
			}
		}
	}
	return list
}

// Requests to a ring are told of, whoever of the process does them: the thread
// that submits, a worker, or the ring's own thread.
func TestRings(t *testing.T) {
	bin := compile(t, "ring.c")
	for _, modes := range []string{"", "async", "defer", "defer async", "sqpoll", "sqpoll async"} {
		t.Run(modes, func(t *testing.T) {
			dir, _ := tmpfs(t)
			top := filepath.Join(dir, "top")
			do(t, os.MkdirAll(filepath.Join(top, "sub"), 0o700))
			w := newWitness(t, Options{})
			if !w.Rings() {
				t.Skip("the tracepoints of this kernel do not name requests")
			}
			pid := ringExit(w, top, bin, append(strings.Fields(modes), strings.Fields(
				`open new wc , open2 new + , open /proc/self/stat r , fail open nosuch r , openat sub f wc , mkdir d , rename new d/../n2 ,
				fail rename n2 /in/none , symlink no_where s , link n2 l , exchange s l , unlink sub/f , rmdir d , chdir sub , open ../s r`)...)...)
			want := strings.ReplaceAll(wantRequests, "TOP", top)
			want = strings.ReplaceAll(want, "PID", fmt.Sprint(pid))
			if diff := cmp.Diff(strings.Split(want, "\n"), w.requests(walked)); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			fork := w.one(Fork, pid)
			for _, c := range w.calls {
				if c.Stage != Returned && c.ID != fork.ID {
					t.Errorf("of process %+v, want %+v", c.ID, fork.ID)
				}
			}
		})
	}
}
