package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fanrec/output/series"

	"github.com/spf13/pflag"
)

// rotateFlags say how a recording is written that lasts.
type rotateFlags struct {
	rotate []string
	keep   []string
	spool  string
}

func (f *rotateFlags) add(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.rotate, "rotate", nil, "begin another file at a `SIZE` or after a TIME, as 100M, 24h or 1G,7d; SIGHUP does, too")
	fl.StringSliceVar(&f.keep, "keep", nil, "keep so `MANY` earlier files, or those of so much time, as 10, 30d or 10,30d")
	fl.StringVar(&f.spool, "spool", "64M", "`SIZE` of what may wait in memory for a slow or full disk, or a collector that is away")
}

// wanted tells whether there is to be more than one file.
func (f *rotateFlags) wanted() bool { return len(f.rotate)+len(f.keep) > 0 }

// options understands the flags.
func (f *rotateFlags) options(name, format string) (series.Options, error) {
	o := series.Options{Name: name, Format: format}
	if name == "-" {
		return o, errors.New("--rotate and --keep are for files; name one with -o")
	}
	for _, text := range f.rotate {
		if d, err := span(text); err == nil {
			o.Every = d
		} else if o.Size, err = size(text); err != nil {
			return o, fmt.Errorf("--rotate %s: want a size, as 100M, or a time, as 24h or 7d", text)
		}
	}
	for _, text := range f.keep {
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			o.Keep = n
		} else if o.Age, err = span(text); err != nil {
			return o, fmt.Errorf("--keep %s: want a number of files, as 10, or a time, as 30d", text)
		}
	}
	var err error
	o.Spool, err = f.spoolBytes()
	return o, err
}

// spoolBytes is how much may wait for who takes it.
func (f *rotateFlags) spoolBytes() (int, error) {
	n, err := size(f.spool)
	if err != nil || n > 1<<40 {
		return 0, fmt.Errorf("--spool %s: want a size, as 64M", f.spool)
	}
	return int(n), nil
}

// size understands a number of bytes with a unit of 1024: K, M, G, T. The least is 4096.
func size(text string) (int64, error) {
	digits := strings.TrimRight(text, "kKmMgGtTiB")
	shift := 0
	if unit := strings.TrimSuffix(strings.TrimSuffix(text[len(digits):], "B"), "i"); unit != "" {
		shift = 10 * (1 + strings.Index("KMGT", strings.ToUpper(unit)))
		if len(unit) > 1 || shift == 0 {
			return 0, errors.New("unknown unit")
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift || n<<shift < 4096 {
		return 0, errors.New("no size")
	}
	return n << shift, nil
}

// span understands a duration, also in days (d) and weeks (w).
func span(text string) (time.Duration, error) {
	for unit, hours := range map[string]time.Duration{"d": 24, "w": 7 * 24} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.Atoi(number)
			if err != nil || n <= 0 || n > 10_000 {
				return 0, errors.New("no time")
			}
			return time.Duration(n) * hours * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < time.Second {
		err = errors.New("less than a second")
	}
	return d, err
}
