package fanrec

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"fanrec/ebpf"
)

// play does the steps of a script.
func (m *model) play(t *testing.T, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "epoch":
			m.epoch()
			continue
		case "depth":
			m.sim.depth, _ = strconv.Atoi(words[1])
			m.join.depth = uint64(m.sim.depth)
			continue
		case "split":
			m.sim.split = true
			continue
		case "jitter":
			m.sim.jitter = true
			continue
		}
		st, err := parseStep(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		m.do(st)
	}
}

// Histories that once came out wrong, shrunk. With HISTORY=FILE it is that one,
// and what the joiner holds after each step of the recorder is shown.
func TestHistories(t *testing.T) {
	files, err := filepath.Glob("testdata/history/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no histories", err)
	}
	if file := os.Getenv("HISTORY"); file != "" {
		files = []string{file}
		onRecord = func(m *model, st step) { m.show(t, st) }
		defer func() { onRecord = nil }()
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			m := playFile(t, file)
			if onRecord != nil {
				t.Log(m.story())
			}
			if m.verdict() != nil {
				t.Error(m.story())
			}
		})
	}
}

func playFile(t *testing.T, file string) *model {
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel()
	text, _, _ := strings.Cut(string(script), "---")
	m.play(t, text)
	m.finish()
	return m
}

func (m *model) show(t *testing.T, st step) {
	j := m.join
	t.Logf("%v: closed %d, sealed %d, asked %v, %d records", st, j.closed, j.sealed, m.asked, len(m.log))
	for i := range j.now.events {
		e := &j.now.events[i]
		t.Logf("   event %d mask %x pid %d name %s to %s dir %v target %v claimed %x maybe %x anchor %d named %d bound %d begin %d end %d floor %d outside %v done %v settled %v mixed %v",
			e.seq, e.mask, e.pid, j.now.get(e.name), j.now.get(e.to), e.dir, e.target, e.claimed, e.maybe, e.anchor, e.named, e.bound, e.begin, e.end, e.floor, e.outside, e.done, e.settled, e.mixed)
	}
	for i := range j.now.calls {
		c := &j.now.calls[i]
		t.Logf("   call %d op %d pid %d prev %d %s %s event %d first %v made %v maybe %v ready %v alone %v",
			c.Time, c.op, c.ID.TGID, c.prev, j.now.get(c.text[0]), j.now.get(c.text[1]), c.event, c.first, c.made, c.maybe, c.ready, c.Flags&ebpf.Alone != 0)
	}
	for _, o := range j.ops {
		t.Logf("   op %+v", o)
	}
}
