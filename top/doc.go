// Package top counts records by process and file, in a bounded memory, for a screen
// that shows who does how much to what.
//
// A Model is fed with records (model.go). It has a count for each pair of a process
// and a file (pairs.go), so any question is a sum: the files of one process and its
// descendants, the processes that use one directory. What does not fit is not lost
// but told less exactly: the quietest pairs are counted as others of their directory
// (pairs.go), processes that have ended as their parent (processes.go), and so every
// sum over all rows is exact. A View is the answer to a Query (view.go), put in order
// (order.go) and written (text.go). All of it is pure: time is told to it.
package top
