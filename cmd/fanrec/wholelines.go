package main

import (
	"bytes"
	"io"
)

// wholeLines reads lines, but not what follows the last end of one.
type wholeLines struct {
	from  io.Reader
	buf   []byte
	at    int // what is before has been handed out
	whole int // so much of buf is whole lines
	any   bool
}

func (w *wholeLines) Read(b []byte) (int, error) {
	for w.at == w.whole {
		w.buf = append(w.buf[:0], w.buf[w.whole:]...)
		w.at, w.whole = 0, 0
		n, end := len(w.buf), 0
		w.buf = append(w.buf, make([]byte, 64<<10)...)
		m, err := w.from.Read(w.buf[n:])
		w.buf = w.buf[:n+m]
		if end = bytes.LastIndexByte(w.buf[n:], '\n'); end >= 0 {
			w.whole, w.any = n+end+1, true
		} else if err != nil {
			return 0, err
		}
	}
	n := copy(b, w.buf[w.at:w.whole])
	w.at += n
	return n, nil
}
