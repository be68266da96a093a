package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanrec/output"
)

// TestSalvage: wherever a write stops, what stands in the log is whole records
// and the end of an incomplete one, and no more than there was.
func TestSalvage(t *testing.T) {
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "R %d /some/directory/file\n", i+1)
	}
	h := &output.Header{Target: 42}
	end := &output.Trailer{Incomplete: []string{"no room"}}
	for _, size := range []int{0, 1, 30, 200, 4096, 65000, 65536, 70000, text.Len()} {
		name := filepath.Join(t.TempDir(), "log")
		l, err := openLog(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for rest := []byte(text.String()[:size]); len(rest) > 0; { // in pieces, as bufio does
			n := min(len(rest), 65536)
			if _, err := l.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := salvage("filemon", l, h, end); err != nil {
			t.Fatal(err)
		}
		l.Close()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		records, tail, ok := bytes.Cut(b, []byte("# INCOMPLETE: no room\nR 42\n# Stop "))
		if !ok || bytes.Contains(tail, []byte("Bye")) || !bytes.HasSuffix(b, []byte("\n")) {
			t.Fatalf("size %d: the end is not that of an incomplete log: %q", size, b[max(0, len(b)-100):])
		}
		if !strings.HasPrefix(text.String(), string(records)) || len(records) > 0 && records[len(records)-1] != '\n' {
			t.Errorf("size %d: records are cut: %q", size, records[max(0, len(records)-100):])
		}
		if size > 200 && (len(b) > size || len(b) < size-200) {
			t.Errorf("size %d: %d bytes are left", size, len(b))
		}
	}
}

// TestSalvageStream: standard output is left alone.
func TestSalvageStream(t *testing.T) {
	l, err := openLog("-", nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.regular {
		t.Error("standard output is taken for a file of its own")
	}
}
