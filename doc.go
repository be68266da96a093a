// Package fanrec records what a process tree does to files.
//
// A Recorder joins three witnesses: fanotify events of whole filesystems
// (package fan), which know the file; process records and call records of a
// BPF tracker (package ebpf), which know who, how and when. Time is cut into
// epochs by barriers in the event queue. Of each epoch the calls are matched
// with the events that they made (match.go), everything gets the upper bound
// of its true time and is sorted by it (order.go), what no call explains is
// inferred (infer.go), and records come out with the paths that directories
// had at that moment (paths.go, emit.go). All of that is pure (join.go); the
// I/O around it is in recorder.go and command.go.
//
// docs/design.md has the reasons.
package fanrec
