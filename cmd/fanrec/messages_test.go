package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestMessages(t *testing.T) {
	var out strings.Builder
	m := &messages{to: &out}
	fmt.Fprintln(m, "before")
	m.hold()
	fmt.Fprintln(m, "first")
	long := strings.Repeat("x", heldBytes)
	fmt.Fprintln(m, long) // there is no room for it
	if out.String() != "before\n" || m.last() != long {
		t.Errorf("while it is held: %q", out.String())
	}
	m.release()
	fmt.Fprintln(m, "after")
	if out.String() != "before\nfirst\nafter\n" {
		t.Errorf("in all: %q", out.String())
	}
}
