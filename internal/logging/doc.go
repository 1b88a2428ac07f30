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
// Logging never ends the daemon, and never stops it for long: with each place, lines may wait for a second altogether,
// and for a tenth of the time after that. That goes for a pipe that nobody reads, or somebody does too slowly, for a
// log daemon that hangs, and for the disk of a log file that does (but not for that of a file that standard error has been
// sent to). A file or a syslog that fails has its lines on standard error
// instead, until it works again; then it says how many it misses. Lines that standard error does not take are dropped,
// and counted likewise.
//
// # Exchange
//
// [Log.Set] opens what is new, exchanges, and closes what is not used any more; [Log.Reopen] does the same to all
// files. A line is written under the lock that the exchange takes, so it goes to the old or to the new.
//
// Each file has a goroutine that writes, which ends when the file is closed. No line is kept in memory: who logs waits
// until the kernel has it, so that nothing is lost in a crash. The package does not rotate files and does not read the
// config.
package logging
