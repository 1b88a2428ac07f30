package config

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// The values of LogSink.To.
const (
	LogToConsole = "console" // standard error
	LogToFile    = "file"
	LogToSyslog  = "syslog"
	LogToNowhere = "nowhere"
)

// The values of Config.LogFormat, besides "": by itself, after what standard error is.
const (
	LogFormatText     = "text"
	LogFormatJSON     = "json"
	LogFormatJournald = "journald"
)

// LogSink is one place that log lines go to.
type LogSink struct {
	// To is one of the LogTo constants.
	To string
	// File is the absolute path of a LogToFile, else empty. Two sinks may have one file.
	File string
	// Levels are those that the sink takes. They need not be neighbours.
	Levels LevelSet
	// Pos is where the option was set; the zero Pos when it was not.
	Pos Pos
}

// LevelSet is a set of the four levels that Prosody has: debug, info, warn, error.
type LevelSet uint8

var levelNames = []string{"debug", "info", "warn", "error"}

// levelOf is the place of a slog level in levelNames: a level between two counts as the lower one.
func levelOf(level slog.Level) int {
	return min(max(int(level-slog.LevelDebug), 0)/int(slog.LevelInfo-slog.LevelDebug), len(levelNames)-1)
}

// levelsFrom are the named level and all above it; none when there is no such level.
func levelsFrom(name string) LevelSet {
	i := slices.Index(levelNames, name)
	if i < 0 {
		return 0
	}
	return allLevels &^ (1<<i - 1)
}

const allLevels LevelSet = 1<<4 - 1

// Has says whether a line of this level belongs to the set. A level between two of the four counts as the lower one.
func (s LevelSet) Has(level slog.Level) bool { return s&(1<<levelOf(level)) != 0 }

// Lowest is the lowest level of the set; above slog.LevelError when the set is empty.
func (s LevelSet) Lowest() slog.Level {
	for i := range levelNames {
		if s&(1<<i) != 0 {
			return slog.LevelDebug + slog.Level(i)*(slog.LevelInfo-slog.LevelDebug)
		}
	}
	return slog.LevelError + 1
}

// String names the levels, as in "info, warn, error".
func (s LevelSet) String() string {
	var names []string
	for i, name := range levelNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// logSinks reads `gatehouse_log`, or else `log`, as Prosody's core/loggingmanager.lua does (the same in 0.12 and 13.0).
// There is always at least one sink; dataDir is what relative file names are relative to.
func (s section) logSinks(dataDir string) []LogSink {
	option := "gatehouse_log"
	if !s.has(option) {
		option = "log"
	}
	lowest := "info"
	if s.bool("debug", false) {
		lowest = "debug"
	}
	console := LogSink{To: LogToConsole, Levels: levelsFrom(lowest)}
	o, ok := s.lookup(option)
	if !ok {
		return []LogSink{console}
	}
	console.Pos = o.Pos
	r := logReader{s, option, dataDir, nil}
	switch o.Value.Kind {
	case luaconf.String:
		r.one(o.Value.Str, lowest)
	case luaconf.Table:
		r.table(o.Value)
	default:
		s.problem(option, "want a string or a table, got %s", describe(option, o.Value))
	}
	switch {
	case len(r.sinks) > 0:
		return r.sinks
	case o.Value.Kind == luaconf.Table && len(o.Value.List)+len(o.Value.Map) == 0:
		s.warn(option, "is empty, so that nothing is logged")
		return []LogSink{{To: LogToNowhere, Pos: o.Pos}}
	}
	// All of it is Prosody's, or of no use: a daemon that is mute would help nobody.
	return []LogSink{console}
}

// logReader collects the sinks of one option.
type logReader struct {
	section
	option  string
	dataDir string
	sinks   []LogSink
}

// one reads an option that is one string: a file, or the name of a sink after a star.
func (r *logReader) one(text, lowest string) {
	if name, ok := strings.CutPrefix(text, "*"); ok {
		r.add(name, "", allLevels)
		return
	}
	if levelsFrom(text) != 0 {
		r.warn(r.option, `%q is the name of a file here, as in Prosody; for a level write { %s = "*console" }`, text, text)
	}
	r.add(LogToFile, text, levelsFrom(lowest))
}

// table reads an option that is a table: by level, by sink, or both.
func (r *logReader) table(v luaconf.Value) {
	for _, key := range v.Keys() {
		if levelsFrom(key) == 0 {
			r.warn(r.option, "there is no level %q; the levels are debug, info, warn, error", clip(key))
		}
	}
	for _, level := range levelNames {
		to, ok := v.Map[level]
		switch {
		case !ok:
		case to.Kind != luaconf.String:
			r.warn(r.option, `%s: want the name of a file or "*" and the name of a sink, got %s; it is not used`, level, describe(r.option, to))
		default:
			if name, ok := strings.CutPrefix(to.Str, "*"); ok {
				r.add(name, "", levelsFrom(level))
			} else {
				r.add(LogToFile, to.Str, levelsFrom(level))
			}
		}
	}
	for _, item := range v.List {
		name, star := strings.CutPrefix(item.Str, "*")
		switch {
		case star:
			r.add(name, "", allLevels)
		case item.Kind == luaconf.Table && item.Map["to"].Kind == luaconf.String:
			r.add(item.Map["to"].Str, item.Map["filename"].Str, r.levels(item))
		default:
			r.warn(r.option, `want a name after a star ("*console") or a table with the field "to", got %s; it is not used`, describe(r.option, item))
		}
	}
}

// levels reads the field `levels` of a sink. get_levels of Prosody has its own ways, which are kept: a string is that one
// level; `max` bounds only with a lower `min`, else it is a single level; where `max` counts, names in a list do not.
func (r *logReader) levels(sink luaconf.Value) LevelSet {
	v, ok := sink.Map["levels"]
	if !ok {
		return allLevels
	}
	if v.Kind != luaconf.String && v.Kind != luaconf.Table {
		r.problem(r.option, `levels: want the name of a level or a table such as { min = "info" }, got %s`, describe(r.option, v))
		return allLevels
	}
	lowest, highest := v.Map["min"].Str, v.Map["max"].Str
	for _, name := range append([]luaconf.Value{{Str: v.Str}, {Str: lowest}, {Str: highest}}, v.List...) {
		if name.Str != "" && levelsFrom(name.Str) == 0 {
			r.warn(r.option, "there is no level %q; the levels are debug, info, warn, error", clip(name.Str))
		}
	}
	if v.Kind == luaconf.String {
		return level(v.Str)
	}
	set := levelsFrom(lowest)
	if top := level(highest); top != 0 && highest != lowest {
		if set&top == 0 {
			return top // no min, or one above max: Prosody meets max first, and stops there
		}
		return set&^levelsFrom(highest) | top
	}
	for _, name := range v.List {
		set |= level(name.Str)
	}
	return set
}

// level is the set of one level; empty when there is none of this name.
func level(name string) LevelSet {
	if i := slices.Index(levelNames, name); i >= 0 {
		return 1 << i
	}
	return 0
}

func (r *logReader) add(to, file string, levels LevelSet) {
	sink := LogSink{To: to, Levels: levels, Pos: r.pos(r.option)}
	switch to {
	case "stdout":
		sink.To = LogToConsole
	case LogToConsole, LogToSyslog, LogToNowhere:
	case LogToFile:
		switch {
		case file == "":
			r.problem(r.option, "a sink to a file needs a filename")
			return
		case strings.ContainsRune(file, 0):
			r.problem(r.option, "a filename holds a NUL character, which no path can")
			return
		case !filepath.IsAbs(file):
			file = filepath.Join(r.dataDir, file)
		}
		sink.File = filepath.Clean(file)
	default:
		if r.option == "log" {
			r.warn(r.option, "the sink %q is left to Prosody", clip(to))
		} else {
			r.problem(r.option, `there is no sink %q; there are "file", "console", "syslog", "nowhere"`, clip(to))
		}
		return
	}
	r.sinks = append(r.sinks, sink)
}

// lowestLevel is the lowest level that any of the sinks writes.
func lowestLevel(sinks []LogSink) slog.Level {
	lowest := slog.LevelError
	for _, sink := range sinks {
		if sink.To != LogToNowhere {
			lowest = min(lowest, sink.Levels.Lowest())
		}
	}
	return lowest
}
