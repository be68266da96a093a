package oracle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCall(t *testing.T) {
	for _, c := range []struct {
		text string
		want call
	}{
		{`vfork()                           = 7`, call{name: "vfork", result: result{ok: true, value: 7}}},
		{`unlink("a\"), (\\") = 0`, call{name: "unlink", args: []string{`"a\"), (\\"`}, result: result{ok: true}}},
		{`openat(AT_FDCWD</a, b) = 1>, "x", O_RDONLY) = 3</a, b) = 1/x>`, call{
			name: "openat", args: []string{"AT_FDCWD</a, b) = 1>", `"x"`, "O_RDONLY"},
			result: result{ok: true, value: 3, file: file{"/a, b) = 1/x", true}},
		}},
		{`openat2(AT_FDCWD</>, "x", {flags=O_RDWR, resolve=0}, 24) = 4</x>(deleted)`, call{
			name: "openat2", args: []string{"AT_FDCWD</>", `"x"`, "{flags=O_RDWR, resolve=0}", "24"},
			result: result{ok: true, value: 4, file: file{"/x", true}},
		}},
		{`execve("/bin/x", ["a)", "b"...], 0x7ffe /* 39 vars (, */) = 0`, call{
			name: "execve", args: []string{`"/bin/x"`, `["a)", "b"...]`, "0x7ffe /* 39 vars (, */"}, result: result{ok: true},
		}},
		{`fork() = 2 /* 10932 in strace's PID NS */`, call{name: "fork", result: result{ok: true, value: 10932}}},
		{`open("f", O_RDONLY) = ?`, call{name: "open", args: []string{`"f"`, "O_RDONLY"}, result: result{unknown: true}}},
		{`rmdir("d") = ? <unavailable>`, call{name: "rmdir", args: []string{`"d"`}, result: result{unknown: true}}},
		{`open("f", O_RDONLY`, call{name: "open", args: []string{`"f"`, "O_RDONLY"}, result: result{unknown: true}}},
		{`open("f", O_RDONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)`, call{name: "open", args: []string{`"f"`, "O_RDONLY"}}},
		{`open("f", O_RDONLY) = -1 ENOENT (No such file or directory)`, call{name: "open", args: []string{`"f"`, "O_RDONLY"}}},
		{`???()                               = ?`, call{name: "???", result: result{unknown: true}}},
	} {
		got, err := parseCall(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(call{}, result{}, file{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestParseFile(t *testing.T) {
	for text, want := range map[string]file{
		`3</a\74\76\n\\\"\377>`:         {"/a<>\n\\\"\377", true},
		`3</a (deleted)>`:               {"/a (deleted)", true}, // a name
		`3</a>(deleted)`:                {"/a", true},
		`3</memfd:x>(deleted)`:          {"", true},
		`3</memfd:x>`:                   {"/memfd:x", true},
		`3<pipe:[12]>`:                  {"", true},
		`3<anon_inode:[eventfd]>`:       {"", true},
		`AT_FDCWD</tmp>`:                {"/tmp", true},
		`3`:                             {},
		`-1 EBADF (Bad file descriptor`: {},
	} {
		if got := parseFile(text); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		`plain`: "plain", `\n\t\v\f\r\"\\`: "\n\t\v\f\r\"\\", `\0\7\101\3778`: "\x00\aA\xff8", `\0019`: "\x019",
	} {
		if got, ok := unescape(text); !ok || got != want {
			t.Errorf("%s: got %q %v, want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{`\`, `\x`, `\8`, `\777`} {
		if got, ok := unescape(text); ok {
			t.Errorf("%s: got %q, want none", text, got)
		}
	}
}

func TestFlags(t *testing.T) {
	c, err := parseCall(`openat2(AT_FDCWD</>, "O_PATH", {flags=O_RDWR|O_CREAT|O_CLOEXEC, mode=0600, resolve=RESOLVE_BENEATH}, 24)`)
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]bool{"O_RDWR": true, "O_CREAT": true, "O_PATH": false, "O_RDONLY": false, "RESOLVE_BENEATH": true} {
		if got := c.has(2, flag); got != want {
			t.Errorf("%s: %v", flag, got)
		}
	}
	if c, err = parseCall(`clone(child_stack=NULL, flags=CLONE_VM|CLONE_THREAD|SIGCHLD, child_tidptr=0x7f)`); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]bool{"CLONE_VM": true, "CLONE_THREAD": true, "CLONE_FS": false} {
		if got := c.cloneFlag(flag); got != want {
			t.Errorf("%s: %v", flag, got)
		}
	}
}
