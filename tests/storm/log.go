package storm

import (
	"encoding/json"
	"fmt"
	"io"

	"fanrec/output"
)

// A Record is one line of a filemon log. Which fields are set depends on Kind.
type Record struct {
	Kind         byte   // one of C D E F L M R W X
	Pid          int    // thread group id
	Path         string // C D E R W: the path; L M: the first name
	To           string // L M: the second name
	Child        int    // F: pid of the child
	Code, Signal int    // X: exit code and terminating signal
}

// String returns the line of the log.
func (r Record) String() string {
	switch r.Kind {
	case 'F':
		return fmt.Sprintf("F %d %d", r.Pid, r.Child)
	case 'X':
		return fmt.Sprintf("X %d %d %d", r.Pid, r.Code, r.Signal)
	case 'L', 'M':
		return fmt.Sprintf("%c %d '%s' '%s'", r.Kind, r.Pid, r.Path, r.To)
	default:
		return fmt.Sprintf("%c %d %s", r.Kind, r.Pid, r.Path)
	}
}

// A Log is a filemon log.
type Log struct {
	Target     int // pid in the header
	Records    []Record
	Incomplete []string // what the log itself says is missing
}

// Parse reads a log. A line that is none of the format's is an error; that the log is not complete is a fact about it.
func Parse(from io.Reader) (Log, error) {
	in, err := output.NewFilemonReader(from)
	if err != nil {
		return Log{}, err
	}
	log := Log{Target: int(in.Header().Target)}
	for {
		var r output.Record
		switch err := in.Read(&r); err {
		case nil:
			log.Records = append(log.Records, Record{
				Kind: r.Kind.Letter(), Pid: int(r.PID), Path: string(r.Path), To: string(r.Target),
				Child: int(r.Child), Code: r.Code, Signal: r.Signal,
			})
		case io.EOF:
			log.Incomplete = in.Trailer().Incomplete
			return log, nil
		default:
			return log, err
		}
	}
}

// ParseJSON reads a log of JSON lines.
func ParseJSON(from io.Reader) (Log, error) {
	letters := make(map[string]byte)
	for k := output.Fork; k <= output.Absent; k++ {
		letters[k.String()] = k.Letter()
	}
	var log Log
	in := json.NewDecoder(from)
	in.DisallowUnknownFields()
	for {
		var line struct {
			Kind, Op, Comm, Exe, Path, Target, Handle, Time string
			PathRaw                                         []byte `json:"path_raw"`
			TargetRaw                                       []byte `json:"target_raw"`
			ExeRaw                                          []byte `json:"exe_raw"`
			CommRaw                                         []byte `json:"comm_raw"`
			CommandRaw                                      []any  `json:"command_raw"`
			PID, PPID, UID, Child, Code, Signal, Version    int
			Start                                           uint64
			ChildStart                                      uint64 `json:"child_start"`
			Host, Boot, Fanrec                              string
			Inferred                                        bool
			Complete                                        *bool
			Incomplete, Command, Notes                      []string
		}
		if err := in.Decode(&line); err == io.EOF {
			return log, nil
		} else if err != nil {
			return log, err
		}
		switch line.Kind {
		case "header":
			log.Target, log.Incomplete = line.PID, []string{"no trailer"}
			continue
		case "trailer":
			if log.Incomplete = line.Incomplete; line.Complete == nil || *line.Complete != (len(line.Incomplete) == 0) {
				return log, fmt.Errorf("trailer contradicts itself: %+v", line)
			}
			continue
		}
		r := Record{Kind: letters[line.Kind], Pid: line.PID, Path: line.Path, To: line.Target, Child: line.Child, Code: line.Code, Signal: line.Signal}
		if r.Kind == 0 {
			return log, fmt.Errorf("unknown kind %q", line.Kind)
		}
		if line.PathRaw != nil {
			r.Path = string(line.PathRaw)
		}
		if line.TargetRaw != nil {
			r.To = string(line.TargetRaw)
		}
		log.Records = append(log.Records, r)
	}
}
