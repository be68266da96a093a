package main

import (
	"slices"
	"strings"
	"testing"
)

func TestFollow(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: no strace\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestB","Output":"all is well\n"}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestC","Output":"    a_test.go:9: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p","Elapsed":0.1}
{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}
{"Action":"skip","Package":"q","Elapsed":0}
`
	var out strings.Builder
	skipped, err := follow(strings.NewReader(events), &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"p TestA: a_test.go:3: no strace"}; !slices.Equal(skipped, want) {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
	if want := "    a_test.go:9: wrong\nFAIL\nFAIL\tp\t0.1s\n?   \tq\t[no test files]\n"; out.String() != want {
		t.Errorf("it says %q, want %q", out.String(), want)
	}
	if _, err := follow(strings.NewReader(`{"Action":`), &out); err == nil {
		t.Error("no error for half an event")
	}
}
