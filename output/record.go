// Package output is what a recording consists of: the Record, and the formats
// that it is written in and read from. It knows nothing of where records come
// from, so that whatever reads logs needs neither fanotify nor BPF.
package output

// Kind says what happened. Each kind has its filemon letter.
type Kind uint8

// The kinds of records.
const (
	Fork   Kind = iota + 1 // F: Child was made
	Exec                   // E: the image that runs now
	Exit                   // X
	Chdir                  // C
	Read                   // R: opened for reading
	Write                  // W: opened for writing, or made, or truncated by name
	Delete                 // D: the name was removed
	Rename                 // M: from Path to Target
	Link                   // L: Target is the new name of, or the symbolic link to, Path
	Absent                 // N: Path was looked for, and nothing was there
	Modify                 // written to or cut; a W if nothing else said that the process writes to it
	Attrib                 // mode, owner, times, extended attributes; a comment

	Kinds = int(iota + 1) // so many, with none
)

var kinds = [...]struct {
	letter byte
	name   string
}{
	Fork: {'F', "fork"}, Exec: {'E', "exec"}, Exit: {'X', "exit"}, Chdir: {'C', "chdir"}, Read: {'R', "read"},
	Write: {'W', "write"}, Delete: {'D', "delete"}, Rename: {'M', "rename"}, Link: {'L', "link"},
	Absent: {'N', "absent"}, Modify: {'W', "modify"}, Attrib: {'A', "attrib"},
}

// Letter returns the filemon letter of a kind.
func (k Kind) Letter() byte { return kinds[k].letter }

// String returns the name of a kind, as JSON has it.
func (k Kind) String() string { return kinds[k].name }

// Op says how it was done, where a kind has several ways.
type Op uint8

// The operations.
const (
	NoOp     Op = iota
	Open        // of a file that was there
	Create      // open(2) that made the file
	Mkdir       //
	Mknod       // a device, a fifo, a socket or a regular file
	Bind        // bind(2) of a Unix socket
	Truncate    // truncate(2) by name
	Unlink      //
	Rmdir       //
	Exchange    // one half of renameat2(RENAME_EXCHANGE)
	Hard        // a hard link
	Symbolic    // a symbolic link; Path is its text
	Loader      // opened by the kernel for execve: a script or an ELF interpreter
	// Modify: through a descriptor that the process did not open itself.
	Inherited
	Held   // what a process held when it was attached to, by a descriptor
	Mapped // likewise, in its memory only
)

var ops = [...]string{
	Open: "open", Create: "create", Mkdir: "mkdir", Mknod: "mknod", Bind: "bind", Truncate: "truncate", Unlink: "unlink",
	Rmdir: "rmdir", Exchange: "exchange", Hard: "hard", Symbolic: "symbolic", Loader: "loader", Inherited: "inherited", Held: "held", Mapped: "mapped",
}

// String returns the name of an operation, as JSON has it; "" for NoOp.
func (o Op) String() string { return ops[o] }

// Record is one thing that a process of the tree did. Whoever is handed a
// Record may keep neither it nor its slices: they are used again.
type Record struct {
	Time   int64  // ns since 1970, by the clock of the machine
	PID    uint32 // thread group, in the initial pid namespace
	PPID   uint32 // who forked it; 0 if not known
	NSPID  uint32 // PID in its own pid namespace, the innermost where it has one; 0 if it is the same, or not known
	Start  uint64 // start_boottime: with PID the identity of the process
	UID    uint32
	Kind   Kind
	Op     Op
	Comm   string
	Exe    []byte // path of the image it ran then
	Path   []byte // absolute, bytes as they are; of a symbolic link its text
	Target []byte // Rename, Link: the new name
	// Path and Target as the process itself calls them, if it was chrooted or is in
	// another mount namespace and has other names for them; filled only if asked for.
	Seen, SeenTarget []byte
	Child            uint32 // Fork
	ChildStart       uint64 // Fork: its start_boottime; 0 if not known
	ChildNSPID       uint32 // Fork: as NSPID
	Code             int    // Exit: exit code
	Signal           int    // Exit: what killed it, 0 if nothing did
	Args             []byte // Exec: argv, each with a NUL, if asked for
	Handle           string // of the file, fsid:type:bytes in hexadecimal; filled only if asked for
	// The container that the process is in, of docker, podman, containerd and the like: its
	// number, and its name if that was found; empty if there is none. Filled only if asked for.
	Container, ContainerName string
	// First: of Modify, no Write or Modify of this process on this file came before.
	First bool
	// Inferred: there was no call record; kind, order or path rest on reasoning.
	Inferred bool
	// Attached: it was not done but so when the recording began (fanrec attach).
	Attached bool
}

// Writer writes a recording. Its methods are for one goroutine.
type Writer interface {
	// Begin is called once, before all records.
	Begin(h *Header) error
	// Write appends a record.
	Write(r *Record) error
	// Comment appends a line of text that is no record.
	Comment(text string) error
	// Flush hands what was appended to the system.
	Flush() error
	// End is called once, after all records. A recording that is not complete
	// must not look as if it were.
	End(t *Trailer) error
}

// Header begins a recording.
type Header struct {
	Target  uint32   // pid of the command
	Start   int64    // ns since 1970
	Command []string // argv
	Notes   []string // what this recording cannot have
	Key     string   // what its maker calls it; may be empty
	Origin
}

// Origin is where a recording was made. What is empty is not known.
type Origin struct {
	Host    string // name of the machine
	Boot    string // boot_id of random(4), since when numbers and times of start count
	Version string // of fanrec
}

// Trailer ends a recording.
type Trailer struct {
	Stop       int64    // ns since 1970
	Incomplete []string // why, one reason a line; empty if nothing is missing
}
