// Package fan listens to whole filesystems with fanotify and tells which file
// an event was about, by handle and by the path that its directory had then.
//
// Decoding (event.go, handle.go) and the directory graph (graph.go) are pure.
// The rest is thin: the group and its marks (group.go), the mounts
// (mounts.go), the barrier (barrier.go), and the lookup of directories that no
// event told of (lookup.go). It knows nothing of processes or of filemon.
package fan
