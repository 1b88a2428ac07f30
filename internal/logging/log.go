package logging

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// A Log is a logger whose sinks can be exchanged. Its methods may be called at any time from any goroutine.
type Log struct {
	file     *os.File // standard error; only held so that it stays open
	stderr   *descriptor
	terminal bool
	colour   bool
	journal  bool // standard error is the journal
	logger   *slog.Logger
	enabled  atomic.Uint32 // the Levels that any sink takes

	// Where the two daemons listen; other than usual in tests.
	journalPath, syslogPath string

	changing sync.Mutex // held by Set, Reopen and Close, and guards config
	config   Config

	mu    sync.RWMutex // held for reading while a line is written; guards state
	state state
}

// New returns a log that writes what is of level info or above to stderr, in the format [Auto]. It neither closes
// stderr nor changes it. Colours need a terminal, no NO_COLOR in the environment, and a TERM other than "dumb".
func New(stderr *os.File) *Log {
	return newLog(stderr, journalSocket, syslogSocket)
}

func newLog(stderr *os.File, journalPath, syslogPath string) *Log {
	fd := int(stderr.Fd())
	l := &Log{
		file:        stderr,
		stderr:      newDescriptor(fd),
		terminal:    term.IsTerminal(fd),
		journal:     isJournal(stderr),
		journalPath: journalPath,
		syslogPath:  syslogPath,
	}
	l.colour = l.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	l.logger = slog.New(&handler{log: l})
	for _, warning := range l.Set(Config{}) {
		l.logger.Warn("log", "warning", warning)
	}
	return l
}

// Logger returns the logger, which is the same for ever.
func (l *Log) Logger() *slog.Logger { return l.logger }

// Set makes the log as cfg wants it. What cannot be had is a warning, and its lines go to standard error. Files and
// sockets that stay are not opened again. It may wait as long as a line that is being written: seconds, if at all.
func (l *Log) Set(cfg Config) (warnings []error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.config = Config{Sinks: slices.Clone(cfg.Sinks), Format: cfg.Format}
	return l.apply(false)
}

// Reopen opens all files again at their names, for the sake of a program that has moved them away. A file that cannot
// be opened is a warning, and its lines go where they went. It also looks again for what was missing in Set.
func (l *Log) Reopen() (warnings []error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	return l.apply(true)
}

// Close closes files and sockets. Lines that come later go to standard error. The error is that of a close.
func (l *Log) Close() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.config.Sinks = []Sink{{To: Console, Levels: Levels(l.enabled.Load())}} // #nosec G115 -- stored as Levels
	return errors.Join(l.apply(false)...)
}

// write brings a record to all sinks of its level.
func (l *Log) write(r *record) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	toConsole := false
	for _, route := range l.state.routes {
		if !route.levels.Has(r.level) {
			continue
		}
		if route.to == l.state.console {
			toConsole = true
			continue
		}
		if news, err := route.to.write(r); err != nil {
			toConsole = true
			if news {
				l.state.toConsole(&record{time: time.Now(), level: slog.LevelError,
					msg: "log cannot be written; its lines come here",
					fields: []field{
						{"log", slog.StringValue(route.to.name)},
						{"cause", slog.StringValue(err.Error())},
					}})
			}
		}
	}
	if toConsole {
		l.state.toConsole(r)
	}
}
