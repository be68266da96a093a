package service

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestPacket(t *testing.T) {
	p := &packet{word: "open"}
	p.add("version", "1")
	p.add("arg", "a=b\n")
	p.add("arg", "")
	b, err := p.encode()
	if err != nil || string(b) != "open\x00version=1\x00arg=a=b\n\x00arg=\x00" {
		t.Fatalf("%q, %v", b, err)
	}
	for _, b := range [][]byte{b, b[:len(b)-1]} { // the last NUL may be missing
		got, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, got, cmp.AllowUnexported(packet{}, value{})); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPacketRejects(t *testing.T) {
	for _, b := range []string{"", "\x00", "\x00a=b", "open\x00a", "open\x00=b", "open\x00\x00"} {
		if p, err := decode([]byte(b)); !errors.Is(err, unix.EPROTO) {
			t.Errorf("%q: %+v, %v", b, p, err)
		}
	}
	p := &packet{word: "open"}
	p.add("arg", "a\x00b")
	if _, err := p.encode(); err == nil {
		t.Error("a value with a NUL byte was sent")
	}
	p.values[0].value = strings.Repeat("x", MaxPacket)
	if _, err := p.encode(); err == nil {
		t.Error("a packet that is too large was sent")
	}
}

func TestAnswer(t *testing.T) {
	b, err := answer(&packet{word: "ok", values: []value{{"complete", "1"}}}, nil)
	if err != nil || string(b) != "ok\x00complete=1\x00" {
		t.Fatalf("%q, %v", b, err)
	}
	if p, err := decodeAnswer(b); err != nil || p.values[0] != (value{"complete", "1"}) {
		t.Errorf("%+v, %v", p, err)
	}
	b, err = answer(nil, fmt.Errorf("process 7 has ended: %w", unix.ESRCH))
	if err != nil || string(b) != "error\x003\x00process 7 has ended: no such process\x00" {
		t.Fatalf("%q, %v", b, err)
	}
	_, err = decodeAnswer(b)
	if !errors.Is(err, unix.ESRCH) || err.Error() != "process 7 has ended: no such process" {
		t.Errorf("%v", err)
	}
	if b, _ := answer(nil, errors.New("what\x00ever")); string(b) != "error\x005\x00whatever\x00" {
		t.Errorf("%q", b)
	}
	for _, b := range []string{"", "no", "error\x00", "error\x00x\x00y", "error\x000\x00y", "error\x00-1\x00y", "error\x0099999\x00y"} {
		if _, err := decodeAnswer([]byte(b)); !errors.Is(err, unix.EPROTO) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("open\x00version=1\x00arg=a=b\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decode(b); err == nil {
			if again, err := p.encode(); err == nil && strings.TrimSuffix(string(again), "\x00") != strings.TrimSuffix(string(b), "\x00") {
				t.Errorf("%q became %q", b, again)
			}
		}
		decodeAnswer(b)
	})
}
