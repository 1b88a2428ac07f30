package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// Sources are the files whose change may change what Load returns. Load returns them with each Config and each Error.
// They also hold what Load saw of the files just before it read them, so that Watcher.Watch can tell whether something
// has changed since.
type Sources struct {
	// Files are absolute paths, each once: what was read, or looked for in vain. The config file, what it includes and
	// reads, certificates and keys, the program and the scripts that external_auth_command names.
	Files []string
	// Patterns are absolute paths whose last part has wildcards, '*' and '?', as in Include: the files that match count,
	// and which they are. A name that begins with a dot matches nothing.
	Patterns []string

	// certs are those Patterns that stand for a directory of certificates. Of what cannot be one, such as a log, only the
	// name counts there.
	certs map[string]bool
	seen  fingerprint
}

// fingerprint says what files are like. Two of the same files are equal when nobody touched these.
type fingerprint struct {
	files   map[string]stamp    // by path: of files, of what matches patterns, and of the directories of patterns
	matches map[string][]string // by pattern: the names, sorted; nil where the directory may not be listed, or is none
}

// stamp is what the system says of one file; the zero stamp stands for none.
type stamp struct {
	mode         os.FileMode
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// maxMatches bounds the work for a pattern, as maxCertFiles does in Load.
const maxMatches = maxCertFiles

// stampOf makes the stamp of a file; info is nil when the system said nothing. Of a directory only its identity counts:
// what is in it has stamps of its own.
func stampOf(info os.FileInfo) stamp {
	if info == nil {
		return stamp{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{mode: info.Mode(), size: info.Size(), mtime: syscall.NsecToTimespec(info.ModTime().UnixNano())}
	}
	if info.IsDir() {
		return stamp{mode: os.ModeDir, dev: st.Dev, ino: st.Ino}
	}
	return stamp{info.Mode(), st.Dev, st.Ino, info.Size(), st.Mtim, st.Ctim}
}

// stampFile looks at a file now, at the end of all links.
func stampFile(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stampOf(info)
}

// identity is what stays the same however often the file is written.
func (s stamp) identity() stamp { return stamp{mode: s.mode.Type(), dev: s.dev, ino: s.ino} }

// take looks at all the files now.
func (s Sources) take() fingerprint {
	now := fingerprint{make(map[string]stamp, len(s.Files)), make(map[string][]string, len(s.Patterns))}
	for _, path := range s.Files {
		now.files[path] = stampFile(path)
	}
	for _, pattern := range s.Patterns {
		dir := filepath.Dir(pattern)
		now.files[dir] = stampFile(dir)
		names := matching(pattern)
		now.matches[pattern] = names
		for _, name := range names[:min(len(names), maxMatches)] {
			path := filepath.Join(dir, name)
			if _, known := now.files[path]; known {
				continue
			}
			at := stampFile(path)
			if s.certs[pattern] && !at.counts(name) {
				at = stamp{}
			}
			now.files[path] = at
		}
	}
	return now
}

// counts says whether it matters in a directory of certificates that a file of this name is like that.
func (s stamp) counts(name string) bool { return s.mode.IsDir() || namesCertificate(name) }

// matching returns the names that match a pattern now, sorted; nil if nobody says.
func matching(pattern string) []string {
	dir, glob := filepath.Split(pattern)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	return matchingOf(entries, glob)
}

func matchingOf(entries []os.DirEntry, glob string) []string {
	names := []string{} // also of an empty directory
	for _, entry := range entries {
		if luaconf.Match(glob, entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names
}

func (f fingerprint) equal(other fingerprint) bool {
	return maps.Equal(f.files, other.files) && maps.EqualFunc(f.matches, other.matches, func(a, b []string) bool {
		return (a == nil) == (b == nil) && slices.Equal(a, b)
	})
}

// over lays a fingerprint over another one, which it may be a part of.
func (f fingerprint) over(below fingerprint) fingerprint {
	all := fingerprint{maps.Clone(below.files), maps.Clone(below.matches)}
	maps.Copy(all.files, f.files)
	maps.Copy(all.matches, f.matches)
	return all
}

// sources collects what a Load looks at: each before it is read, and only the first look counts.
type sources struct {
	known map[string]bool
	Sources
}

func newSources() *sources {
	return &sources{make(map[string]bool), Sources{
		certs: make(map[string]bool),
		seen:  fingerprint{make(map[string]stamp), make(map[string][]string)},
	}}
}

// evaluated adds what the evaluation of the config read.
func (s *sources) evaluated(eval *luaconf.Result) {
	for _, path := range eval.Files {
		s.known[path] = true
		s.Files = append(s.Files, path)
		s.seen.files[path] = stampOf(eval.Infos[path])
	}
	for _, glob := range eval.Globs {
		s.pattern(glob.Pattern, stampOf(glob.Dir), glob.Names)
	}
}

// has says whether a path was looked at.
func (s *sources) has(path string) bool {
	_, seen := s.seen.files[path]
	return seen
}

// file adds a file that is going to be read, or looked for.
func (s *sources) file(path string) {
	if s.known[path] {
		return
	}
	s.known[path] = true
	s.Files = append(s.Files, path)
	if !s.has(path) {
		s.seen.files[path] = stampFile(path)
	}
}

// pattern adds a pattern with its directory, as it was before it was read, and the names that matched.
func (s *sources) pattern(pattern string, dir stamp, names []string) {
	if _, known := s.seen.matches[pattern]; known {
		return
	}
	s.Patterns = append(s.Patterns, pattern)
	s.seen.matches[pattern] = names
	if path := filepath.Dir(pattern); !s.has(path) {
		s.seen.files[path] = dir
	}
}

// certDir adds a directory of certificates, as it was before it was read, and what was in it; nil if it could not be read.
func (s *sources) certDir(dir string, before stamp, names []string) {
	all := filepath.Join(dir, "*")
	if _, included := s.seen.matches[all]; !included {
		s.certs[all] = true
	}
	s.pattern(all, before, names)
}

// match notes what a file of a directory of certificates is like before it is read, if it counts.
func (s *sources) match(path string, info os.FileInfo) {
	name := filepath.Base(path)
	if at := stampOf(info); !s.has(path) && luaconf.Match("*", name) && at.counts(name) {
		s.seen.files[path] = at
	}
}
