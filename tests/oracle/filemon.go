package oracle

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"fanrec/output"
)

// ErrIncomplete says that the recorder lost something or did not finish.
var ErrIncomplete = errors.New("log is incomplete")

// ReadFilemon reads a log of version 5.
func ReadFilemon(r io.Reader) ([]Op, error) {
	in, err := output.NewFilemonReader(r)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if in.Version() != 5 {
		return nil, fmt.Errorf("log of version %d: its X have no signal", in.Version())
	}
	var ops []Op
	for {
		var rec output.Record
		switch err := in.Read(&rec); err {
		case nil:
			ops = append(ops, Op{PID: int(rec.PID), Line: in.Line(), Record: Record{
				Letter: rec.Kind.Letter(), Path: Spell(string(rec.Path)), Target: Spell(string(rec.Target)),
				Child: int(rec.Child), Code: rec.Code, Signal: rec.Signal,
			}})
		case io.EOF:
			if why := in.Trailer().Incomplete; len(why) > 0 {
				return nil, fmt.Errorf("%w: %s", ErrIncomplete, strings.Join(why, "; "))
			}
			return ops, nil
		default:
			return nil, fmt.Errorf("log: %w", err)
		}
	}
}
