package oracle

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"strings"
)

// Program is what execve(2) makes of a file.
type Program struct {
	Script bool   // starts with #!
	Interp string // of a script the file behind #!, of an ELF file its PT_INTERP, empty if it has none
}

// scriptHead is how much of a file execve(2) looks at (BINPRM_BUF_SIZE).
const scriptHead = 256

// ReadProgram looks at a file like the kernel's binfmt_script and binfmt_elf do. Files of other formats are programs without interpreter.
func ReadProgram(r io.ReaderAt) (Program, error) {
	head := make([]byte, scriptHead)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Program{}, err
	}
	head = head[:n]
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		return Program{Script: true, Interp: interpreter(string(line))}, nil
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return Program{}, nil
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return Program{}, err
	}
	for _, seg := range f.Progs {
		if seg.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(seg.Open())
		if err != nil {
			return Program{}, err
		}
		return Program{Interp: strings.TrimRight(string(name), "\x00")}, nil
	}
	return Program{}, nil
}

// interpreter returns the first word behind #!.
func interpreter(line string) string {
	line, _, _ = strings.Cut(line, "\n")
	line = strings.TrimLeft(line, " \t")
	if end := strings.IndexAny(line, " \t\x00"); end >= 0 {
		line = line[:end]
	}
	return line
}
