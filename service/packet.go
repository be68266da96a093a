package service

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Version is that of the protocol.
const Version = 1

// MaxPacket is the size of the largest packet, in bytes.
const MaxPacket = 64 << 10

// Socket is where the service listens unless it is told otherwise.
const Socket = "/run/fanrec/fanrec.sock"

// packet is a request or an answer: a word, and keys with values.
type packet struct {
	word   string
	values []value
}

type value struct{ key, value string }

func (p *packet) add(key, v string) { p.values = append(p.values, value{key, v}) }

// encode returns it as it is sent.
func (p *packet) encode() ([]byte, error) {
	b := append([]byte(p.word), 0)
	for _, v := range p.values {
		if strings.IndexByte(v.value, 0) >= 0 {
			return nil, fmt.Errorf("%s: a value with a NUL byte", v.key)
		}
		b = append(b, v.key...)
		b = append(b, '=')
		b = append(b, v.value...)
		b = append(b, 0)
	}
	if len(b) > MaxPacket {
		return nil, fmt.Errorf("a packet of %d bytes, of which %d are the limit", len(b), MaxPacket)
	}
	return b, nil
}

// decode takes a packet apart. Errors wrap unix.EPROTO.
func decode(b []byte) (*packet, error) {
	words := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
	p := &packet{word: string(words[0])}
	if p.word == "" {
		return nil, fmt.Errorf("a packet without a word: %w", unix.EPROTO)
	}
	for _, w := range words[1:] {
		key, v, ok := strings.Cut(string(w), "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%.40q is not key=value: %w", w, unix.EPROTO)
		}
		p.add(key, v)
	}
	return p, nil
}

// answer returns what is sent for the outcome of a request.
func answer(p *packet, err error) ([]byte, error) {
	if err == nil {
		return p.encode()
	}
	errno := unix.EIO
	errors.As(err, &errno)
	text := strings.ReplaceAll(err.Error(), "\x00", "")
	return fmt.Appendf(nil, "error\x00%d\x00%.4000s\x00", int(errno), text), nil
}

// Error is an error that the service told.
type Error struct {
	Errno unix.Errno
	Text  string
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// decodeAnswer takes an answer apart. The error is what the service told, or
// wraps unix.EPROTO.
func decodeAnswer(b []byte) (*packet, error) {
	rest, failed := bytes.CutPrefix(b, []byte("error\x00"))
	if !failed {
		p, err := decode(b)
		if err == nil && p.word != "ok" {
			err = fmt.Errorf("the service answered %.40q: %w", p.word, unix.EPROTO)
		}
		return p, err
	}
	number, text, _ := bytes.Cut(bytes.TrimSuffix(rest, []byte{0}), []byte{0})
	n, err := strconv.ParseUint(string(number), 10, 12)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("the service answered with the error %.40q: %w", number, unix.EPROTO)
	}
	return nil, &Error{Errno: unix.Errno(n), Text: string(text)}
}
