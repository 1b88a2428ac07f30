package logging

import "log/slog"

// Levels is a set of levels: what a sink takes. The zero value takes nothing.
type Levels uint8

// The four levels that there are. A level of slog between two of them counts as the lower one, as slog does.
const (
	Debug Levels = 1 << iota
	Info
	Warn
	Error
)

// AtLeast is the set of a level and those above it.
func AtLeast(level slog.Level) Levels {
	only := only(level)
	return (Debug | Info | Warn | Error) &^ (only - 1)
}

// Has tells whether the set has the level.
func (l Levels) Has(level slog.Level) bool { return l&only(level) != 0 }

// only is the set of one level.
func only(level slog.Level) Levels {
	switch {
	case level < slog.LevelInfo:
		return Debug
	case level < slog.LevelWarn:
		return Info
	case level < slog.LevelError:
		return Warn
	}
	return Error
}

// levelName is a level as Prosody's `log` option spells it.
func levelName(level slog.Level) string {
	switch only(level) {
	case Debug:
		return "debug"
	case Info:
		return "info"
	case Warn:
		return "warn"
	}
	return "error"
}

// priority is a level as syslog(3) and the journal count.
func priority(level slog.Level) byte {
	switch only(level) {
	case Debug:
		return '7'
	case Info:
		return '6'
	case Warn:
		return '4'
	}
	return '3'
}

// To says what kind of place a sink is.
type To int

// The places. Nowhere takes its levels and drops them.
const (
	Console To = iota // standard error
	File
	Syslog // /dev/log
	Nowhere
)

// A Sink is a place for the lines of some levels.
type Sink struct {
	To To
	// File is the path, if To is File. Other programs may append to the same file.
	File string
	// Levels are those it takes.
	Levels Levels
}

// Format is what lines look like.
type Format string

// The formats. Auto is text on a terminal, Journald where standard error is the journal (see systemd.exec(5),
// JOURNAL_STREAM), and JSON on standard error elsewhere; files get text, unless the format is JSON. A syslog gets text
// in every case.
const (
	Auto     Format = ""
	Text     Format = "text"
	JSON     Format = "json"
	Journald Format = "journald"
)

// Config is what [Log.Set] brings about. Sinks that are the same place are one, with the levels of both, so that no line is there
// twice. Without any sink, levels from info on go to the console.
type Config struct {
	Sinks  []Sink
	Format Format
}
