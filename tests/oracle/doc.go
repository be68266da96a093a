// Package oracle judges a fanrec log by what strace(1) saw of the same processes.
//
// In a same-run comparison fanrec records strace, which runs the command, so that both witnesses saw the very same calls: every
// record, its place and its path must agree ([Compare]). In a free run each witness had a run of its own; processes are then matched by
// their place in the fork tree, and names that differ from run to run are folded ([CompareFree]).
//
// What is done without system calls a program can tell of itself (told.go).
//
// The package only reads logs and compares them. Running the programs is the work of cmd/oracle, and package programs has many to run.
package oracle
