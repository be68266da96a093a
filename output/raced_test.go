//go:build race

package output_test

// The race detector has the pools of zerolog lose what is put there: a record of a schema
// takes from them several times, and always allocates.
const raced = true
