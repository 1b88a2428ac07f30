package logging

import (
	"fmt"
	"log/slog"
	"path/filepath"
)

// state is where lines go. It is not changed once it is in use.
type state struct {
	routes  []route
	targets map[string]*target // what is open, by name; the journal, but not standard error
	stderr  *target
	console *target // stderr, or the journal in its place
}

// A route brings lines of some levels to a target.
type route struct {
	levels Levels
	to     *target
}

// toConsole writes to the console, which is the last resort of all others; its own is standard error. A line that
// cannot be written there is counted and dropped.
func (s *state) toConsole(r *record) {
	if _, err := s.console.write(r); err != nil && s.console != s.stderr {
		_, _ = s.stderr.write(r)
	}
}

// add adds levels to those that a target has already.
func (s *state) add(levels Levels, to *target) {
	for i := range s.routes {
		if s.routes[i].to == to {
			s.routes[i].levels |= levels
			return
		}
	}
	s.routes = append(s.routes, route{levels, to})
}

// apply builds the state that l.config asks for and exchanges it for the present one. The caller holds l.changing, so
// nobody else changes l.state.
func (l *Log) apply(reopen bool) (warnings []error) {
	old := l.state
	next := state{targets: make(map[string]*target)}
	if err := l.addConsole(&next, old); err != nil {
		warnings = append(warnings, err)
	}
	sinks := l.config.Sinks
	if len(sinks) == 0 {
		sinks = []Sink{{To: Console, Levels: AtLeast(slog.LevelInfo)}}
	}
	for _, s := range sinks {
		if err := l.addSink(&next, old, s, reopen); err != nil {
			warnings = append(warnings, err)
		}
	}
	var enabled Levels
	for _, r := range next.routes {
		enabled |= r.levels
	}

	l.mu.Lock()
	for name, t := range next.targets {
		t.takeOver(old.targets[name])
	}
	next.stderr.takeOver(old.stderr)
	l.state = next
	l.enabled.Store(uint32(enabled))
	l.mu.Unlock()

	// Nobody writes any more to what only the old state has.
	for name, t := range old.targets {
		if now := next.targets[name]; now == nil || now.out != t.out {
			if err := t.out.close(); err != nil {
				warnings = append(warnings, fmt.Errorf("closing the log %s: %w", name, err))
			}
		}
	}
	return warnings
}

// addConsole decides what lines on standard error look like, and whether they go to the journal's socket instead.
func (l *Log) addConsole(next *state, old state) error {
	next.stderr = &target{name: "standard error", out: l.stderr, encode: l.consoleForm()}
	next.console = next.stderr
	if l.config.Format != Journald && (l.config.Format != Auto || !l.journal) {
		return nil
	}
	const name = "the journal"
	t, err := exchange(old.targets[name], name, encodeJournal, false, func() (output, error) {
		return openSocket(l.journalPath)
	})
	if err != nil {
		return fmt.Errorf("log lines for the journal go to standard error: %w", err)
	}
	next.targets[name] = t
	next.console = t
	return nil
}

// consoleForm is the form of lines on standard error.
func (l *Log) consoleForm() encoder {
	format := l.config.Format
	switch {
	case format == JSON:
		return encodeJSON
	case l.colour:
		return encodeColour
	case l.terminal:
		return encodeTerminal
	case format == Text:
		return encodeText
	case l.journal:
		return encodePriority
	}
	return encodeJSON
}

// addSink finds or opens what a sink writes to. If that fails its lines go to the console.
func (l *Log) addSink(next *state, old state, s Sink, reopen bool) error {
	var (
		name   string
		encode encoder
		open   func() (output, error)
	)
	switch s.To {
	case Nowhere:
		return nil
	case File:
		name, encode = filepath.Clean(s.File), encodeText
		if l.config.Format == JSON {
			encode = encodeJSON
		}
		open = func() (output, error) { return openFile(name) }
	case Syslog:
		name, encode = "the syslog", encodeSyslog
		open = func() (output, error) { return openSocket(l.syslogPath) }
		reopen = false // it finds its daemon again by itself
	default:
		next.add(s.Levels, next.console)
		return nil
	}
	if t := next.targets[name]; t != nil {
		next.add(s.Levels, t)
		return nil
	}
	t, err := exchange(old.targets[name], name, encode, reopen, open)
	if t == nil {
		next.add(s.Levels, next.console)
		return fmt.Errorf("log lines for %s go to standard error: %w", name, err)
	}
	next.targets[name] = t
	next.add(s.Levels, t)
	return err
}

// exchange returns the target that follows old, which may be nil. It has old's output, unless that is to be opened
// again and can be; if not, both target and error are set.
func exchange(old *target, name string, encode encoder, reopen bool, open func() (output, error)) (*target, error) {
	if old != nil && !reopen {
		return &target{name: name, encode: encode, out: old.out}, nil
	}
	out, err := open()
	if err == nil {
		return &target{name: name, encode: encode, out: out}, nil
	}
	if old == nil {
		return nil, err
	}
	return &target{name: name, encode: encode, out: old.out}, fmt.Errorf("log lines go to the file that was open: %w", err)
}
