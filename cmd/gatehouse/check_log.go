package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"gatehouse.im/gatehouse/config"
)

// checkLog finds log files that serve may not write to, as Prosody's are for another user: their lines go to standard
// error then.
func (r *report) checkLog(cfg *config.Config) {
	for _, sink := range cfg.Log {
		if sink.To != config.LogToFile {
			continue
		}
		if err := r.mayLog(sink.File); err != nil {
			r.add(warning, config.Problem{Pos: sink.Pos, Option: "log",
				Msg: err.Error() + ", so its lines go to standard error; gatehouse_log names other places for gatehouse only"})
		}
	}
}

// serviceLogs is the directory that systemd makes at the start (LogsDirectory= of the unit).
const serviceLogs = "/var/log/gatehouse"

// mayLog is an error if serve can neither append to a file nor make it.
func (r *report) mayLog(path string) error {
	want := mayWrite
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path, want = filepath.Dir(path), mayWrite|mayRun
		if _, err := os.Stat(path); path == serviceLogs && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if !r.who.self {
		return r.who.may(path, want)
	}
	if err := unix.Access(path, unix.W_OK); err != nil {
		return &fs.PathError{Op: "write to", Path: path, Err: err}
	}
	return nil
}
