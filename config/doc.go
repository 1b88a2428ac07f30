// Package config turns Prosody's config file into one typed, validated, immutable value.
//
// Load evaluates the file (internal/luaconf) and reads from it the options that gatehouse knows; they are listed in
// Options. The rest of the file belongs to Prosody and is left alone. A host inherits what is set in the global section.
// A value of the wrong type, a missing script, a key that does not match its certificate are problems with file, line,
// host and option, and Load reports all of them in one Error. What works but looks wrong is a warning.
//
// Certificates are found as Prosody's core/certmanager.lua and mod_tls find them, and loaded.
//
// A Watcher tells when to Load anew, and Diff what that changed.
//
// The package has no state, and no goroutines but those of a Watcher, which end with Close. It does not create directories
// or files, does not start the script, and does not listen: a Config only says what is to be done.
package config
