package oracle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadProgram(t *testing.T) {
	for text, want := range map[string]Program{
		"":                            {},
		"echo\n":                      {},
		"#!/bin/sh\n":                 {Script: true, Interp: "/bin/sh"},
		"#! \t/usr/bin/env -S a b\nx": {Script: true, Interp: "/usr/bin/env"},
		"#!./x":                       {Script: true, Interp: "./x"},
		"#!\n/bin/sh":                 {Script: true},
		"#!/" + strings.Repeat("x", 400) + "\n/y": {Script: true, Interp: "/" + strings.Repeat("x", 253)},
	} {
		if got, err := ReadProgram(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%.40q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	if _, err := ReadProgram(strings.NewReader("\x7fELF?")); err == nil {
		t.Error("a broken ELF file is taken for a program")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := (&Live{known: map[string]known{}}).Program(self); !ok || got.Script {
		t.Errorf("%s: got %+v, %v", self, got, ok)
	}
}

func TestLiveDisk(t *testing.T) {
	dir := t.TempDir()
	link := func(text, name string) {
		t.Helper()
		if err := os.Symlink(text, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(d *Live, name, text string, ok bool) {
		t.Helper()
		if got, is := d.Readlink(filepath.Join(dir, name)); got != text || is != ok {
			t.Errorf("%s: got %q %v, want %q %v", name, got, is, text, ok)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	link("text", "in/before")
	link("text", "outside")
	disk, err := NewLive(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "in/before")); err != nil {
		t.Fatal(err)
	}
	link("text", "in/after")
	check(disk, "in/before", "text", true)
	check(disk, "in/after", "", false)
	check(disk, "outside", "text", true)
	check(disk, "nothing", "", false)
}
