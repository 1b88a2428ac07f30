//go:build race

package webserver_test

// The race detector's memory is not what is measured, and it is slow.
const (
	raceEnabled = true
	idleCount   = 200
)
