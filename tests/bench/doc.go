// Package bench measures what recorders cost: the same job bare and under each of them, in interleaved rounds, so that
// whatever else the machine does falls on all alike. Ratios are made in each round and only then put together.
package bench
