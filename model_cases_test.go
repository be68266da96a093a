package fanrec

import (
	"os"
	"strconv"
	"strings"
	"testing"
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

func TestX(t *testing.T) {
	script, err := os.ReadFile(os.Getenv("SCRIPT"))
	if err != nil {
		t.Skip()
	}
	m := newModel()
	text, _, _ := strings.Cut(string(script), "---")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "depth") {
			continue
		}
		m.play(t, line)
		if strings.HasPrefix(line, "rec") {
			t.Log(line, m.stage, m.asked, "log", len(m.log), "closed", m.join.closed, "sealed", m.join.sealed)
			for _, e := range m.join.now.events {
				t.Logf("   event %d mask %x name %s dir %v target %v  claimed %x maybe %x anchor %d named %d bound %d begin %d end %d floor %d out %v done %v settled %v", e.seq, e.mask, m.join.now.get(e.name), e.dir, e.target, e.claimed, e.maybe, e.anchor, e.named, e.bound, e.begin, e.end, e.floor, e.outside, e.done, e.settled)
			}
			for _, c := range m.join.now.calls {
				t.Logf("   call %d op %d prev %d %s %s event %d first %v ready %v", c.Time, c.op, c.prev, m.join.now.get(c.text[0]), m.join.now.get(c.text[1]), c.event, c.first, c.ready)
			}
			for _, o := range m.join.ops {
				t.Logf("   op %+v", o)
			}
		}
	}
	m.finish()
	t.Log(m.verdict())
	for i := range m.log {
		t.Log(i, &m.log[i])
	}
}
