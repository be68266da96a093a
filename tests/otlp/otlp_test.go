// Package otlp sends recordings to the OTLP receiver of the OpenTelemetry Collector,
// and compares what arrives there with the log.
package otlp

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanrec/output"
	"fanrec/tests/logs"

	"github.com/google/go-cmp/cmp"
)

// dir has the programs: fanrec, fanrec-otlp, collector.
var dir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "fanrec-otlp-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for name, build := range map[string][]string{"fanrec": {"fanrec/cmd/fanrec"}, "fanrec-otlp": {"fanrec/cmd/fanrec-otlp"}, "collector": {"-C", "collector", "."}} {
		args := []string{"build", "-o", filepath.Join(dir, name)}
		if build[0] == "-C" { // must be first
			args = append([]string{"build", "-C", build[1]}, args[1:]...)
			build = build[2:]
		}
		if out, err := exec.Command("go", append(args, build...)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// collector is one that runs.
type collector struct {
	cmd      *exec.Cmd
	received bytes.Buffer
}

// addresses returns two that are free: for HTTP and for gRPC.
func addresses(t *testing.T) (http, grpc string) {
	t.Helper()
	var free [2]string
	for i := range free {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		do(t, err)
		defer l.Close()
		free[i] = l.Addr().String()
	}
	return free[0], free[1]
}

func start(t *testing.T, http, grpc, how string) *collector {
	t.Helper()
	c := &collector{cmd: exec.Command(filepath.Join(dir, "collector"), http, grpc, how)}
	c.cmd.Stdout, c.cmd.Stderr = &c.received, os.Stderr
	do(t, c.cmd.Start())
	t.Cleanup(func() { c.cmd.Process.Kill(); c.cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", http); err == nil {
			conn.Close()
			return c
		}
		if time.Now().After(end) {
			t.Fatal("the collector does not listen")
		}
	}
}

// stop ends the collector. Only then it may be asked for what it has received.
func (c *collector) stop(t *testing.T) {
	t.Helper()
	c.cmd.Process.Signal(os.Interrupt)
	do(t, c.cmd.Wait())
}

// value is an attribute as OTLP has it in JSON.
type value struct {
	StringValue *string
	IntValue    *string
	BoolValue   *bool
	BytesValue  *string
	ArrayValue  *struct{ Values []value }
}

type keyValues []struct {
	Key   string
	Value value
}

func (kv keyValues) get(key string) (v value) {
	for _, a := range kv {
		if a.Key == key {
			return a.Value
		}
	}
	return value{}
}

func (v value) text() string {
	switch {
	case v.StringValue != nil:
		return *v.StringValue
	case v.IntValue != nil:
		return *v.IntValue
	case v.BoolValue != nil:
		return strconv.FormatBool(*v.BoolValue)
	case v.ArrayValue != nil:
		var all []string
		for _, v := range v.ArrayValue.Values {
			all = append(all, v.text())
		}
		return strings.Join(all, "\x00")
	}
	return ""
}

// name returns a name byte for byte.
func (kv keyValues) name(t *testing.T, key string) []byte {
	raw := kv.get("fanrec." + strings.TrimPrefix(key, "fanrec.") + "_raw").BytesValue
	if raw == nil {
		if text := kv.get(key).text(); text != "" {
			return []byte(text)
		}
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(*raw)
	do(t, err)
	return b
}

func (kv keyValues) number(key string) int {
	n, _ := strconv.Atoi(kv.get(key).text())
	return n
}

// received is a log record that has arrived.
type received struct {
	TimeUnixNano, EventName, SeverityText string
	Body                                  value
	Attributes                            keyValues
	resource                              keyValues
}

// records returns what has arrived.
func (c *collector) records(t *testing.T) (all []received) {
	t.Helper()
	in := bufio.NewReader(&c.received)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return all
		}
		var request struct {
			ResourceLogs []struct {
				Resource  struct{ Attributes keyValues }
				ScopeLogs []struct{ LogRecords []received }
			}
		}
		do(t, err, json.Unmarshal(line, &request))
		for _, r := range request.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, l := range s.LogRecords {
					l.resource = r.Resource.Attributes
					all = append(all, l)
				}
			}
		}
	}
}

// record makes of a log record what it was made of.
func (l *received) record(t *testing.T) output.Record {
	a := l.Attributes
	r := output.Record{
		PID: uint32(a.number("process.pid")), PPID: uint32(a.number("process.parent_pid")), UID: uint32(a.number("process.real_user.id")),
		Start: uint64(a.number("fanrec.start")), Comm: string(a.name(t, "fanrec.comm")), Exe: a.name(t, "process.executable.path"),
		Seen: a.name(t, "fanrec.seen"), SeenTarget: a.name(t, "fanrec.seen_target"), Handle: a.get("fanrec.handle").text(),
		Inferred: a.get("fanrec.inferred").text() == "true", Attached: a.get("fanrec.attached").text() == "true",
		NSPID: uint32(a.number("process.vpid")), Container: a.get("container.id").text(), ContainerName: string(a.name(t, "container.name")),
		Child: uint32(a.number("fanrec.child")), ChildStart: uint64(a.number("fanrec.child_start")), ChildNSPID: uint32(a.number("fanrec.child_vpid")), Code: a.number("process.exit.code"), Signal: a.number("fanrec.signal"),
	}
	r.Time, _ = strconv.ParseInt(l.TimeUnixNano, 10, 64)
	for k := output.Kind(1); int(k) < output.Kinds; k++ {
		if l.EventName == "fanrec."+k.String() && a.get("fanrec.kind").text() == k.String() {
			r.Kind = k
		}
	}
	for op := output.NoOp; op <= output.Mapped; op++ {
		if op.String() == a.get("fanrec.op").text() {
			r.Op = op
		}
	}
	switch r.Kind {
	case output.Chdir:
		r.Path = a.name(t, "process.working_directory")
	case output.Link:
		if r.Target = a.name(t, "file.path"); r.Op == output.Symbolic {
			r.Path = a.name(t, "file.symbolic_link.target_path")
		} else {
			r.Path = a.name(t, "fanrec.linked")
		}
	default:
		r.Path, r.Target = a.name(t, "file.path"), a.name(t, "fanrec.target")
	}
	if args := a.get("process.command_args"); args.ArrayValue != nil {
		r.Args = append(a.name(t, "fanrec.args"), 0)
		if len(r.Args) == 1 {
			r.Args = []byte(args.text() + "\x00")
		}
	}
	return r
}

// logged returns the records of a log.
func logged(t *testing.T, name string) (all []output.Record) {
	t.Helper()
	_, _, err := logs.Each(name, func(r *output.Record) { all = append(all, *r) }) // of JSON: it stays
	do(t, err)
	return all
}

// split takes apart what has arrived: records, how often a recording began, and what
// was said at ends.
func split(t *testing.T, all []received) (records []output.Record, begins int, ends []string) {
	for i := range all {
		switch all[i].EventName {
		case "fanrec.begin":
			begins++
		case "fanrec.end":
			ends = append(ends, all[i].SeverityText+" "+all[i].Body.text())
		default:
			records = append(records, all[i].record(t))
		}
	}
	return records, begins, ends
}

// hostile does a bit of everything, with names that are no text.
const hostile = `cd $1; unshare -pf true; printf x >"$(printf 'a\377b')"; mkdir d.d; mv "$(printf 'a\377b')" d.d/new.tar.gz; ln -s ../x s; ln d.d/new.tar.gz .hidden; cat .hidden s
rm -r d.d; printf x >'line
two'; chmod 600 .hidden; kill -9 $$`

// TestSend: what arrives by either protocol is the log, record by record.
func TestSend(t *testing.T) {
	root(t)
	tmp := t.TempDir()
	log := filepath.Join(tmp, "log.jsonl")
	cmd := exec.Command(filepath.Join(dir, "fanrec"), "-q", "--args", "--attrib", "-f", "jsonl", "-o", log, "--", "sh", "-c", hostile, "sh", tmp)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 128+9 {
		t.Fatal(err)
	}
	want := logged(t, log)
	http, grpc := addresses(t)
	for _, url := range []string{"http://" + http, "grpc://" + grpc} {
		c := start(t, http, grpc, "take")
		in, err := os.Open(log)
		do(t, err)
		send := exec.Command(filepath.Join(dir, "fanrec-otlp"), "--resource", "service.name=web", "--resource", "deployment.environment.name=test", url)
		send.Stdin, send.Stderr = in, os.Stderr
		do(t, send.Run(), in.Close())
		c.stop(t)
		all := c.records(t)
		got, begins, ends := split(t, all)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the log and what arrived differ:\n%s", url, diff)
		}
		if begins != 1 || !slices.Equal(ends, []string{"INFO the recording is complete"}) {
			t.Errorf("%d begins, ends: %q", begins, ends)
		}
		host, _ := os.Hostname()
		if r := all[0].resource; r.get("service.name").text() != "web" || r.get("host.name").text() != host || r.get("deployment.environment.name").text() != "test" {
			t.Errorf("the resource is %+v", r)
		}
		if !slices.ContainsFunc(all, func(l received) bool {
			a := l.Attributes
			return a.get("file.name").text() == "new.tar.gz" && a.get("file.extension").text() == "gz" && strings.HasSuffix(a.get("file.directory").text(), "/d.d")
		}) {
			t.Error("no record has a name, a directory and an extension apart")
		}
	}
}

func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("recording needs root")
	}
}

// attached is a shell that reads and writes until it is told to end, and its
// recording.
type attached struct {
	shell, fanrec *exec.Cmd
	log           string
	said          bytes.Buffer
}

// attach attaches to such a shell, writes a log, and sends the same to a URL.
func attach(t *testing.T, url string, more ...string) *attached {
	t.Helper()
	root(t)
	tmp := t.TempDir()
	a := &attached{shell: exec.Command("sh", "-c", "n=0; while [ ! -e stop ]; do n=$((n+1)); cat /etc/passwd >file$n; rm file$n; done"), log: filepath.Join(tmp, "log.jsonl")}
	a.shell.Dir = tmp
	do(t, a.shell.Start())
	t.Cleanup(func() { a.shell.Process.Kill(); a.shell.Wait() })
	args := append([]string{"attach", strconv.Itoa(a.shell.Process.Pid), "-q", "-f", "jsonl", "-o", a.log, "--otlp", url}, more...)
	a.fanrec = exec.Command(filepath.Join(dir, "fanrec"), args...)
	a.fanrec.Stderr = &a.said
	do(t, a.fanrec.Start())
	t.Cleanup(func() { a.fanrec.Process.Kill(); a.fanrec.Wait() })
	a.until(t, "the log begins", func() bool { return a.lines() > 100 })
	return a
}

func (a *attached) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited too long; fanrec says: %s", what, a.said.String())
		}
	}
}

func (a *attached) lines() int {
	b, _ := os.ReadFile(a.log)
	return bytes.Count(b, []byte{'\n'})
}

// more waits until so much more was recorded.
func (a *attached) more(t *testing.T, lines int) {
	t.Helper()
	want := a.lines() + lines
	a.until(t, "more records", func() bool { return a.lines() > want })
}

// end ends the shell, and with it the recording. It returns the exit status.
func (a *attached) end(t *testing.T) int {
	t.Helper()
	do(t, os.WriteFile(filepath.Join(filepath.Dir(a.log), "stop"), nil, 0o600))
	a.fanrec.Wait()
	return a.fanrec.ProcessState.ExitCode()
}

// exporter returns the number of the process that sends, once there is one.
func (a *attached) exporter(t *testing.T) (pid int) {
	t.Helper()
	a.until(t, "the exporter", func() bool {
		out, _ := exec.Command("pgrep", "-P", strconv.Itoa(a.fanrec.Process.Pid), "fanrec-otlp").Output()
		pid, _ = strconv.Atoi(strings.TrimSpace(string(out)))
		return pid != 0
	})
	return pid
}

// TestAway: the collector is away at first, comes, goes, and comes back: everything
// arrives, once and in order.
func TestAway(t *testing.T) {
	http, grpc := addresses(t)
	a := attach(t, "http://"+http, "--resource", "rack=7")
	a.more(t, 500)
	first := start(t, http, grpc, "take")
	a.more(t, 2000)
	first.stop(t)
	a.more(t, 2000)
	second := start(t, http, grpc, "take")
	a.more(t, 1000)
	if status := a.end(t); status != 0 {
		t.Errorf("exit status %d: %s", status, a.said.String())
	}
	second.stop(t)
	all := append(first.records(t), second.records(t)...)
	got, begins, ends := split(t, all)
	if diff := cmp.Diff(logged(t, a.log), got); diff != "" {
		t.Errorf("the log and what arrived differ:\n%.3000s", diff)
	}
	if begins != 1 || len(ends) != 1 || all[0].resource.get("rack").text() != "7" {
		t.Errorf("%d begins, ends: %q", begins, ends)
	}
}

// TestKilled: the process that sends is killed: another one goes on, and nothing is
// missing.
func TestKilled(t *testing.T) {
	http, grpc := addresses(t)
	c := start(t, http, grpc, "take")
	a := attach(t, "grpc://"+grpc)
	for range 3 {
		a.more(t, 500)
		do(t, syscall.Kill(a.exporter(t), syscall.SIGKILL))
	}
	a.more(t, 500)
	if status := a.end(t); status != 0 {
		t.Errorf("exit status %d: %s", status, a.said.String())
	}
	c.stop(t)
	got, begins, _ := split(t, c.records(t))
	// What was sent and not confirmed came twice.
	var once []output.Record
	seen := map[string]bool{}
	for _, r := range got {
		if text := fmt.Sprintf("%+v", r); !seen[text] {
			seen[text] = true
			once = append(once, r)
		}
	}
	if diff := cmp.Diff(logged(t, a.log), once); diff != "" {
		t.Errorf("the log and what arrived differ:\n%.3000s", diff)
	}
	if begins < 2 || begins > 4 {
		t.Errorf("%d begins", begins)
	}
}

// TestRefused: what the collector refuses is said to be missing.
func TestRefused(t *testing.T) {
	http, grpc := addresses(t)
	for _, url := range []string{"http://" + http, "grpc://" + grpc} {
		c := start(t, http, grpc, "refuse")
		a := attach(t, url)
		a.more(t, 500)
		if status := a.end(t); status != 125 || !strings.Contains(a.said.String(), "INCOMPLETE: not all records could be sent: the collector has refused ") {
			t.Errorf("%s: exit status %d, %q", url, status, a.said.String())
		}
		c.stop(t)
	}
}

// TestNever: the collector never comes: what does not fit into the spool is dropped,
// that is said, the log is complete, and nobody waits long at the end.
func TestNever(t *testing.T) {
	http, _ := addresses(t)
	a := attach(t, "http://"+http, "--spool", "100K")
	a.more(t, 3000)
	begin := time.Now()
	status := a.end(t)
	if said := a.said.String(); status != 125 || !strings.Contains(said, "records were dropped: the collector did not take them in time") {
		t.Errorf("exit status %d, %q", status, said)
	}
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("the end took %v", took)
	}
	b, err := os.ReadFile(a.log)
	do(t, err)
	if !bytes.Contains(b, []byte(`"kind":"trailer"`)) {
		t.Error("the log has no end")
	}
}

// TestMachine: of the whole machine, what the exporter itself does is left out: it
// would go on for ever.
func TestMachine(t *testing.T) {
	http, grpc := addresses(t)
	c := start(t, http, grpc, "take")
	root(t)
	f := exec.Command(filepath.Join(dir, "fanrec"), "attach", "--all", "-q", "--duration", "3s", "--otlp", "http://"+http)
	var said bytes.Buffer
	f.Stderr = &said
	do(t, f.Start())
	exporter := (&attached{fanrec: f}).exporter(t)
	if err := f.Wait(); err != nil {
		t.Fatal(err, said.String())
	}
	c.stop(t)
	got, _, _ := split(t, c.records(t))
	if len(got) == 0 {
		t.Error("nothing came")
	}
	for _, r := range got {
		if int(r.PID) == exporter {
			t.Fatalf("of the exporter: %s", output.Line(&r))
		}
	}
}

// TestWrong: what is wrong with the arguments is said before anything is recorded.
func TestWrong(t *testing.T) {
	root(t)
	for url, want := range map[string]string{
		"collector:4317":     "want a URL",
		"http://a:99999":     "there is no port 99999",
		"ftp://collector:21": "ftp is not known",
		"http://":            "want a URL",
	} {
		out, err := exec.Command(filepath.Join(dir, "fanrec"), "attach", strconv.Itoa(os.Getpid()), "--otlp", url).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %s", url, err, out)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "fanrec-otlp"), "http://127.0.0.1:1")
	cmd.Stdin = strings.NewReader("{\"kind\":\"read\"}\n")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), `fanrec-otlp: line 1: `) {
		t.Errorf("%v, %s", err, out)
	}
}
