package export

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanrec/output"
)

// The program on the other side is this test again.
func TestMain(m *testing.M) {
	if how := os.Getenv("FANREC_EXPORT_TEST"); how != "" {
		os.Exit(program1(how, os.Args[1]))
	}
	os.Exit(m.Run())
}

// program1 appends what it is given to a file, and behaves in a way.
func program1(how, file string) int {
	switch how {
	case "bad":
		fmt.Fprintln(os.Stderr, "no such endpoint")
		return 1
	case "babbles":
		fmt.Println("ready\nhow are you")
		time.Sleep(time.Hour)
	}
	to, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0
		}
		switch {
		case how == "dies" && n == 100:
			return 1
		case how == "stuck" && n == 100:
			time.Sleep(time.Hour)
		case how == "waits" && n%100 == 0:
			fmt.Println("waits for a bus")
		case how == "refuses" && n%100 == 0:
			fmt.Println("refused 2 they are ugly")
		}
		to.WriteString(line)
		if n%7 == 0 || in.Buffered() == 0 {
			fmt.Println("sent", n)
		}
	}
}

func open(t *testing.T, how string, limit int) (e *Export, file string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "got")
	t.Setenv("FANREC_EXPORT_TEST", how)
	e, err = Open(Options{Argv: []string{self, file}, Spool: limit, Log: func(err error) { t.Log(err) }, retry: time.Millisecond}, &output.Header{Start: 1, Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return e, file
}

func write(e *Export, from, to int) {
	for i := from; i < to; i++ {
		e.Write(&output.Record{Kind: output.Read, PID: 1, Time: 1, Path: fmt.Appendf(nil, "/%d", i)})
		if i%13 == 0 {
			e.Flush()
		}
	}
	e.Flush()
}

// got returns the numbers of the records that the program was given, with those that
// it was given again.
func got(t *testing.T, file string) (numbers []int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if _, rest, ok := strings.Cut(line, `"path":"/`); ok {
			number, _, _ := strings.Cut(rest, `"`)
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// TestAll: the program gets everything in order, whatever it says meanwhile. One that
// dies again and again gets some of it twice.
func TestAll(t *testing.T) {
	for _, how := range []string{"takes", "waits", "refuses", "dies"} {
		t.Run(how, func(t *testing.T) {
			e, file := open(t, how, 0)
			pid := e.to.pid.Load()
			write(e, 0, 1000)
			for e.Waits() > 0 {
				time.Sleep(time.Millisecond)
			}
			if now := e.to.pid.Load(); now == 0 || (now != pid) != (how == "dies") {
				t.Errorf("its number was %d and is %d", pid, now)
			}
			end := &output.Trailer{Stop: 1}
			err := e.End(end)
			next := 0
			for _, n := range got(t, file) {
				if n > next || n < next && how != "dies" {
					t.Fatalf("%d comes where %d should be", n, next)
				}
				next = max(next, n+1)
			}
			if next != 1000 {
				t.Errorf("%d came", next)
			}
			if refused := how == "refuses"; (err != nil) != refused || refused && !strings.Contains(end.Incomplete[0], "refused 20 records: they are ugly") {
				t.Errorf("%v, %q", err, end.Incomplete)
			}
		})
	}
}

// TestStuck: one that takes nothing any more keeps nobody, and is ended at last.
func TestStuck(t *testing.T) {
	e, file := open(t, "stuck", 100_000)
	write(e, 0, 10_000)
	if !e.Losing() || e.Waits() > 100_000 {
		t.Errorf("%d bytes wait", e.Waits())
	}
	// It is ended, and another one takes the rest.
	t.Setenv("FANREC_EXPORT_TEST", "takes")
	e.to.Abandon()
	for e.Losing() {
		time.Sleep(time.Millisecond)
		e.Flush()
	}
	write(e, 10_000, 10_010)
	end := &output.Trailer{Stop: 1}
	if err := e.End(end); err != nil || len(end.Incomplete) != 1 {
		t.Error(err, end.Incomplete)
	}
	seen := map[int]bool{}
	for _, n := range got(t, file) {
		seen[n] = true
	}
	if len(seen)+e.Dropped() != 10_010 || !seen[10_009] {
		t.Errorf("%d came, %d were dropped", len(seen), e.Dropped())
	}
}

// TestStart: what is wrong with the arguments is said at once.
func TestStart(t *testing.T) {
	self, _ := os.Executable()
	for how, want := range map[string]string{"bad": "no such endpoint"} {
		t.Setenv("FANREC_EXPORT_TEST", how)
		if _, err := Open(Options{Argv: []string{self, "x"}}, &output.Header{}); err == nil || err.Error() != want {
			t.Error(how, err)
		}
	}
	if _, err := Open(Options{Argv: []string{"/nonexistent"}}, &output.Header{}); err == nil {
		t.Error("started what is not there")
	}
	e, _ := open(t, "babbles", 0)
	write(e, 0, 1)
	if err := e.End(&output.Trailer{}); err == nil || !strings.Contains(err.Error(), "how are you") {
		t.Error(err)
	}
}
