package main

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestWholeLines: what is read ends with the last end of a line, however it comes.
func TestWholeLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\n")), -1, 50, -1).Draw(t, "text")
		if rapid.Bool().Draw(t, "long") {
			text = strings.ReplaceAll(text, "b", strings.Repeat("b", 50_000))
		}
		var from io.Reader = strings.NewReader(text)
		for _, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			if len(text) < 1000 && rapid.Bool().Draw(t, "wrap") {
				from = wrap(from)
			}
		}
		lines := &wholeLines{from: from}
		got, err := io.ReadAll(lines)
		want := text[:strings.LastIndexByte(text, '\n')+1]
		if err != nil || string(got) != want || lines.any != (want != "") {
			t.Fatalf("%v, %d bytes of %d", err, len(got), len(want))
		}
	})
}
