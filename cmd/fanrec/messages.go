package main

import (
	"bytes"
	"io"
	"sync"
)

// messages keeps what is said while a screen has the terminal, and says it when that is
// gone. Its methods are for any goroutine.
type messages struct {
	to     io.Writer
	mu     sync.Mutex
	held   bool
	waits  bytes.Buffer
	latest string
}

// heldBytes is how much is kept: what is said first is often why the rest is.
const heldBytes = 16 << 10

func (m *messages) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.held {
		return m.to.Write(b)
	}
	m.latest = string(bytes.TrimSpace(b))
	if m.waits.Len()+len(b) <= heldBytes {
		m.waits.Write(b)
	}
	return len(b), nil
}

// hold begins to keep what is said.
func (m *messages) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
}

// release says what was kept.
func (m *messages) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = false
	m.to.Write(m.waits.Bytes())
	m.waits.Reset()
}

// last returns what was said last while it was held.
func (m *messages) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest
}
