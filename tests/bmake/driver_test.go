package bmake

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// spoiled is what the log ends in when the records are not complete.
const spoiled = "\n# INCOMPLETE: filemon failed\nR 0\n"

// TestFunctions: what each function of filemon.h returns, which is more than
// one version of bmake looks at.
func TestFunctions(t *testing.T) {
	dir := t.TempDir()
	driver := dir + "/driver"
	cmd := exec.Command("cc", "-O1", "-Wall", "-Werror", "-Wl,--wrap=malloc,--wrap=calloc,--wrap=strdup,--wrap=free",
		"-I../workload/.cache/bmake/filemon", "-o", driver, "testdata/driver.c", "../../contrib/bmake/filemon_fantrace.c")
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no cc")
	}
	if _, err := os.Stat("../workload/.cache/bmake"); err != nil {
		t.Skip("no source of bmake: make bmake")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}

	for name, test := range map[string]struct {
		answer  behaviour
		returns string
		spoiled int // how often
	}{
		"well":           {obliging, "setfd: 0|child: 0|readfd: 0|process: 0|close: 0", 0},
		"open refused":   {but(open, "error\x0024\x00too many"), "setfd: 0|child: status 100|readfd: 0|process: EMFILE|close: 0", 2},
		"dies at open":   {but(open, dies), "setfd: 0|child: status 100|readfd: 0|process: ECONNRESET|close: 0", 2},
		"follow refused": {but(follow, "error\x003\x00gone"), "setfd: 0|child: status 100|readfd: 0|process: 0|close: 0", 1},
		"dies at follow": {but(follow, dies), "setfd: 0|child: status 100|readfd: 0|process: ECONNRESET|close: ECONNRESET", 2},
		"drain refused":  {but(drain, "error\x005\x00broken"), "setfd: 0|child: 0|readfd: 0|process: EIO|close: EIO", 1},
		"dies at drain":  {but(drain, dies), "setfd: 0|child: 0|readfd: 0|process: ECONNRESET|close: ECONNRESET", 1},
		"close refused":  {but(shut, "error\x0028\x00disk"), "setfd: 0|child: 0|readfd: 0|process: 0|close: ENOSPC", 1},
		"dies at close":  {but(shut, dies), "setfd: 0|child: 0|readfd: 0|process: 0|close: ECONNRESET", 1},
		"incomplete":     {but(shut, "ok\x00incomplete=lost"), "setfd: 0|child: 0|readfd: 0|process: 0|close: EIO", 1},
		"no protocol":    {but(open, "hello"), "setfd: 0|child: status 100|readfd: 0|process: EPROTO|close: 0", 2},
	} {
		t.Run(name, func(t *testing.T) {
			socket, log := dir+"/s", filepath.Join(t.TempDir(), "log")
			s := serve(t, socket, "/header", test.answer)
			cmd := exec.Command(driver, log)
			cmd.Env = append(os.Environ(), "FANREC_SOCKET="+socket)
			out, err := cmd.Output()
			r := s.stop()[0]
			if want := strings.ReplaceAll(test.returns, "|", "\n") + "\n"; err != nil || string(out) != want {
				t.Errorf("%v\n%swant\n%s", err, out, want)
			}
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), spoiled); n != test.spoiled || n == 0 && string(text) != string(r.log) {
				t.Errorf("the log is spoiled %d times, want %d:\n%s", n, test.spoiled, text)
			}
		})
	}
	t.Run("no service", func(t *testing.T) {
		cmd := exec.Command(driver, t.TempDir()+"/log")
		cmd.Env = append(os.Environ(), "FANREC_SOCKET="+dir+"/nowhere")
		if out, err := cmd.Output(); err != nil || string(out) != "open: ENOENT\n" {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
