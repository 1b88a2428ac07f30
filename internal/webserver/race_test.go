//go:build race

package webserver_test

// raceEnabled: the race detector's memory is not what is measured.
const raceEnabled = true
