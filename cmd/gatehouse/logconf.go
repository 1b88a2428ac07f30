package main

import (
	"cmp"
	"log/slog"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/logging"
)

// logConfig is the log as the config wants it; format goes before the config's,
// if it is not empty.
func logConfig(cfg *config.Config, format string) logging.Config {
	c := logging.Config{Format: logging.Format(cmp.Or(format, cfg.LogFormat))}
	for _, s := range cfg.Log {
		sink := logging.Sink{To: places[s.To], File: s.File}
		for level, bit := range levelBits {
			if s.Levels.Has(level) {
				sink.Levels |= bit
			}
		}
		c.Sinks = append(c.Sinks, sink)
	}
	return c
}

var places = map[string]logging.To{
	config.LogToConsole: logging.Console,
	config.LogToFile:    logging.File,
	config.LogToSyslog:  logging.Syslog,
	config.LogToNowhere: logging.Nowhere,
}

var levelBits = map[slog.Level]logging.Levels{
	slog.LevelDebug: logging.Debug,
	slog.LevelInfo:  logging.Info,
	slog.LevelWarn:  logging.Warn,
	slog.LevelError: logging.Error,
}
