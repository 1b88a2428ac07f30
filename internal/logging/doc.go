// Package logging is where the daemon's log lines go: one stable [slog.Logger] whose sinks and formats can be exchanged
// under it without losing a line.
//
// # A line
//
// A record becomes flat fields first (a group's keys are joined by dots), and then one line for each sink that takes
// its level: text, JSON, fields of the systemd journal, or the text of a syslog message. docs/log.md has the grammar.
// Names that strangers choose stand in these lines, so in every form a record is exactly one line, nothing in a value
// can look like a second attribute, and what a terminal would obey or not show (control characters, bad UTF-8,
// bidirectional and invisible characters) is written as an escape. Values longer than 8 KiB are cut.
//
// # When a sink fails
//
// Logging never ends the daemon and never stops it for longer than a second. A file or a syslog that fails has its
// lines on standard error instead, until it works again; then it says how many it misses. Standard error that nobody
// reads is waited for once, for a second; after that its lines are dropped and counted until it takes lines again.
//
// # Exchange
//
// [Log.Set] opens what is new, exchanges, and closes what is not used any more; [Log.Reopen] does the same to all
// files. A line is written under the lock that the exchange takes, so it goes to the old or to the new.
//
// The package starts no goroutine and keeps no line in memory: what was logged before a crash is in the kernel. It
// does not rotate files and does not read the config.
package logging
