package depfile

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// Rule is what is written: a target and what it was made from.
type Rule struct {
	Target  string
	Inputs  []string
	Outputs []string // for JSON only
	Absent  []string // what was looked for in vain; nil: not asked for
}

// WriteMake writes a rule for GNU make, and for each input an empty one, so that
// make goes on when it is removed. What is absent becomes a prerequisite when it is
// there, and so does its directory: that tells of a file that is older than the target
// and was moved there. A name that no makefile can have is an error.
func (r *Rule) WriteMake(w io.Writer) error {
	var b bytes.Buffer
	if err := r.write(&b, makeName); err != nil {
		return err
	}
	if n := len(r.Inputs); n > 0 && strings.TrimRight(r.Inputs[n-1], " \t\\") != r.Inputs[n-1] {
		b.Truncate(b.Len() - 1)
		b.WriteString(" | /\n") // or the end of the name would be trimmed; this orders only
	}
	for _, name := range r.Inputs {
		target, _ := makeName(name, true)
		b.WriteString("\n" + target + ":\n")
	}
	if err := r.writeAbsent(&b); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writeAbsent writes what is absent: at once what make's functions take as it is, else
// one by one, as they lose the quotes of a name. Of a directory d the name is d/., or
// make would think of making it out of d.c.
func (r *Rule) writeAbsent(b *bytes.Buffer) error {
	target, err := makeName(r.Target, true)
	if err != nil {
		return err
	}
	var plain, odd []string
	for _, name := range r.Absent {
		if strings.Trim(name, plainBytes) == "" {
			plain = append(plain, name)
		} else {
			odd = append(odd, name)
		}
	}
	if len(plain) > 0 {
		fmt.Fprintf(b, "\nfanrec.absent := $(wildcard \\\n %s)\n", strings.Join(plain, " \\\n "))
		fmt.Fprintf(b, "%s: $(fanrec.absent) $(addsuffix .,$(dir $(fanrec.absent)))\n", target)
	}
	for _, name := range odd {
		pattern, err := makePattern(name)
		if err != nil {
			return err
		}
		text, err := makeName(name, false)
		if err != nil {
			return err
		}
		dir, err := makeName(path.Dir(name)+"/.", false)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "\nfanrec.absent := %s\nifdef fanrec.absent\n%s: %s %s\nendif\n", pattern, target, text, dir)
	}
	return nil
}

// plainBytes are what a name of a makefile can have anywhere, without a quote.
const plainBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@"

// makePattern returns the call of make's wildcard that tells whether a name is there.
func makePattern(name string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; c {
		case '$':
			b.WriteString("$$")
		case '\\':
			b.WriteString(`[\\]`) // in front of a blank it would have another meaning
		case ' ', '\t', '#', '*', '?', '[':
			b.WriteString(`\`)
			fallthrough
		default:
			b.WriteByte(c)
		}
	}
	text := b.String()
	if strings.HasPrefix(name, "~") {
		text = "./" + text
	}
	switch {
	case !strings.ContainsAny(name, "()"):
		return "$(wildcard " + text + ")", nil
	case !strings.ContainsAny(name, "{}"):
		return "${wildcard " + text + "}", nil
	}
	return "", unnamed("a makefile", name)
}

// ErrAbsent is returned by WriteNinja for a rule with Absent.
var ErrAbsent = errors.New("ninja makes a target again for as long as a file of its depfile is missing: leave out --absent, or choose --format make or json")

// WriteNinja writes a rule that ninja reads as a depfile. A name that it cannot
// read is an error.
func (r *Rule) WriteNinja(w io.Writer) error {
	if r.Absent != nil {
		return ErrAbsent
	}
	var b bytes.Buffer
	if err := r.write(&b, ninjaName); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Rule) write(b *bytes.Buffer, escape func(name string, target bool) (string, error)) error {
	target, err := escape(r.Target, true)
	if err != nil {
		return err
	}
	b.WriteString(target + ":")
	for _, name := range r.Inputs {
		text, err := escape(name, false)
		if err != nil {
			return err
		}
		b.WriteString(" \\\n " + text)
	}
	b.WriteString("\n")
	return nil
}

// makeName escapes a name for GNU make, whose rules are: a backslash protects what
// has a meaning, and backslashes in front of that, or of the end, are doubled.
func makeName(name string, target bool) (string, error) {
	if strings.ContainsAny(name, "\n\r\x00;") || strings.HasSuffix(name, ")") && strings.IndexByte(name, '(') > 0 {
		return "", unnamed("a makefile", name)
	}
	if strings.HasPrefix(name, "~") {
		name = "./" + name
	}
	special := " \t#:|*?["
	if target {
		special += "%"
	}
	text := escaped(name, special)
	if end := len(name) - len(strings.TrimRight(name, `\`)); end > 0 {
		text += strings.Repeat(`\`, end)
	}
	if !target && strings.TrimRight(name, " \t") != name {
		text += " $()" // or the line's end would take the blank away
	}
	if !target && strings.Contains(name, "=") {
		text = "$() " + text // or it would set a variable, if it is the first
	}
	return text, nil
}

// ninjaName escapes a name as ninja's reader of depfiles wants it; what that takes
// for the end of a name cannot be escaped.
func ninjaName(name string, _ bool) (string, error) {
	for _, c := range []byte(name) {
		if c < 0x80 && !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && strings.IndexByte(`+,/_:.~(){}%=@[]!- #$\`, c) < 0 {
			return "", unnamed("a depfile of ninja", name)
		}
	}
	if strings.HasSuffix(name, `\`) {
		return "", unnamed("a depfile of ninja", name)
	}
	name = escaped(name, " ")
	name = strings.ReplaceAll(name, "#", `\#`)
	return strings.ReplaceAll(name, `\:`, `\\:`), nil
}

func unnamed(where, name string) error {
	return fmt.Errorf("%s cannot name %q: leave it out with --exclude, or choose --format json", where, name)
}

// escaped doubles each $, puts a backslash in front of special bytes, and doubles
// those that were there.
func escaped(name, special string) string {
	var b strings.Builder
	slashes := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '$' {
			b.WriteByte('$')
		}
		if strings.IndexByte(special, c) >= 0 {
			b.WriteString(strings.Repeat(`\`, slashes+1))
		}
		b.WriteByte(c)
		if slashes++; c != '\\' {
			slashes = 0
		}
	}
	return b.String()
}

// WriteJSON writes the rule as one JSON object. Beside a list with names that are
// not UTF-8 stands one of all of them in base64, with "_raw" behind its key.
func (r *Rule) WriteJSON(w io.Writer) error {
	o := map[string]any{"target": r.Target}
	put := func(key string, names []string) {
		o[key] = append([]string{}, names...)
		var raw []string
		valid := true
		for _, name := range names {
			valid = valid && utf8.ValidString(name)
			raw = append(raw, base64.StdEncoding.EncodeToString([]byte(name)))
		}
		if !valid {
			o[key+"_raw"] = raw
		}
	}
	put("inputs", r.Inputs)
	put("outputs", r.Outputs)
	if r.Absent != nil {
		put("absent", r.Absent)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(o)
}
