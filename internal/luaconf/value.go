package luaconf

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Pos is a line of a config file. The zero Pos means "not set in any file".
type Pos struct {
	File string
	Line int
}

// String is "file:line", or "file" where no line is known.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// IsZero says whether the position is unknown.
func (p Pos) IsZero() bool { return p == Pos{} }

// Kind is the type of a Value.
type Kind int

// The kinds of values. Opaque is a function, a coroutine or a userdata: a config may hold one for Prosody, and nothing
// here can do anything with it but say that it is there.
const (
	Nil Kind = iota
	Bool
	Number
	String
	Table
	Opaque
)

// Value is one Lua value as plain data. The field of its Kind is set, and no other.
type Value struct {
	Kind   Kind
	Bool   bool
	Number float64
	Str    string // the bytes of a String; the name of the type of an Opaque

	// List holds the elements 1..n of a Table, up to the first that is nil; Map holds everything else in it. The keys of
	// Map are strings, or numbers and booleans as Lua prints them.
	List []Value
	Map  map[string]Value
}

// Keys returns the keys of a table's map part, sorted.
func (v Value) Keys() []string {
	keys := make([]string, 0, len(v.Map))
	for k := range v.Map {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Option is the value of an option with the place where it was last set.
type Option struct {
	Value Value
	Pos   Pos
}

// Host is what the file says of one host, without what it inherits.
type Host struct {
	// Name is prepared (nameprep), or "*" for the global section.
	Name string
	// Pos is where it was first declared; zero for "*".
	Pos Pos
	// Component says that it is a Component, not a VirtualHost.
	Component bool
	Options   map[string]Option
}

// Message is a warning or an error with its place.
type Message struct {
	Pos  Pos
	Text string
}

// String is "file:line: text".
func (m Message) String() string {
	if m.Pos.IsZero() {
		return m.Text
	}
	return m.Pos.String() + ": " + m.Text
}

// Result is what a config file holds.
type Result struct {
	// Hosts begins with the global section "*"; the others follow in the order in which they were first declared.
	Hosts []*Host
	// Files are all the files that were read, or looked for in vain, in the order in which they were opened.
	Files []string
	// Infos holds what the system said of each of Files just before it was opened; nothing where it did not say anything.
	Infos map[string]os.FileInfo
	// Globs are the wildcards of Include, also when nothing matched, in the order in which they were met.
	Globs    []Glob
	Warnings []Message
}

// Glob is an Include with wildcards: '*' and '?' in the last part of the path, which do not stand for a dot at its
// beginning.
type Glob struct {
	Pattern string      // an absolute path
	Names   []string    // what matched in its directory, sorted; nil if that could not be read
	Dir     os.FileInfo // what the system said of the directory before it was read; nil where it did not say anything
}

// Match says whether a wildcard pattern (the last part of a Glob's) stands for a file name, as glob_to_pattern of Prosody's
// util.paths has it: '*' and '?' are special, and nothing else. A name that begins with a dot is never meant.
func Match(pattern, name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	escaped := strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(pattern)
	ok, err := filepath.Match(escaped, name)
	return ok && err == nil
}

// Host returns the section of this prepared name, or nil.
func (r *Result) Host(name string) *Host {
	for _, h := range r.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Get returns what Prosody's configmanager would: the host's own option, else the global one.
func (r *Result) Get(host, option string) (Option, bool) {
	for _, name := range []string{host, "*"} {
		if h := r.Host(name); h != nil {
			if o, ok := h.Options[option]; ok && o.Value.Kind != Nil {
				return o, true
			}
		}
	}
	return Option{}, false
}
