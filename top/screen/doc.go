// Package screen shows a top.Model on a terminal, and does what the keys say.
//
// What is shown, and what a key does, is a display (display.go, keys.go, draw.go),
// which knows of time only what it is told. Run has the terminal, the clock and the
// signals (run.go, stop.go).
package screen
