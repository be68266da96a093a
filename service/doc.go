// Package service lets many clients share one recorder: over a Unix socket, in
// the protocol of docs/service.md, for their own processes.
package service
