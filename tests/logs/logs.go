// Package logs reads logs of fanrec for tests.
package logs

import (
	"fmt"
	"io"
	"os"

	"fanrec/output"
	"fanrec/output/series"
)

// Each hands every record of a log, compressed or not, to a function, and returns how
// the log begins and ends. What the record refers to is valid until fn returns. Of a log that is cut there
// is no end but an error.
func Each(name string, fn func(*output.Record)) (*output.Header, *output.Trailer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	plain, err := series.Reader(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	defer plain.Close()
	in, err := output.NewReader(plain)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	var r output.Record
	for {
		switch err := in.Read(&r); err {
		case nil:
			fn(&r)
		case io.EOF:
			return in.Header(), in.Trailer(), nil
		default:
			return in.Header(), nil, fmt.Errorf("%s: line %d: %w", name, in.Line(), err)
		}
	}
}
