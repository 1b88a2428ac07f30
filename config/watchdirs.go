package config

import (
	"os"
	"path/filepath"
	"strings"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// dirTree says which directories lead to the Sources, and what in each of them is of interest. The keys are absolute paths
// without symbolic links.
//
// Directories are watched, for files are replaced; and every directory on the way from the root is, for directories and
// links are replaced as well. The mount of a Kubernetes volume has file -> ..data/file and ..data -> ..2026_01_31/, and
// what changes is ..data.
//
// The files at the end of the way are in the tree too. A directory does not tell of what is written to a file by another
// name, one in another directory: that of a hard link, or of the file that Docker mounted over this one.
type dirTree map[string]*dirInterest

// dirInterest is what matters in one directory. In a file it is nothing but the file.
type dirInterest struct {
	names map[string]bool
	globs []dirGlob
}

type dirGlob struct {
	glob  string
	certs bool // see Sources
}

// wants says whether it is of interest that an entry of the directory has come or gone, or, with written, that it is not
// what it was.
func (d *dirInterest) wants(name string, written bool) bool {
	if d.names[name] {
		return true
	}
	for _, g := range d.globs {
		if luaconf.Match(g.glob, name) && (!written || !g.certs || namesCertificate(name)) {
			return true
		}
	}
	return false
}

// maxLinks is how many symbolic links a path may lead through, as in path_resolution(7).
const maxLinks = 40

// treeWalk makes a dirTree. It looks at each entry of a directory once.
type treeWalk struct {
	tree  dirTree
	kinds map[string]entryKind
}

// entryKind is what one directory entry is.
type entryKind struct {
	dir, file bool
	link      string // the target of a symbolic link
}

// directories returns the tree of the Sources as the directories are now. Where one is missing, the tree ends with the
// nearest that is there, and the name to wait for in it.
func (s Sources) directories() dirTree {
	w := treeWalk{make(dirTree), make(map[string]entryKind)}
	for _, pattern := range s.Patterns {
		if dir, kind := w.visit(filepath.Dir(pattern)); kind.dir {
			w.glob(dir, dirGlob{filepath.Base(pattern), s.certs[pattern]})
		}
	}
	for _, path := range s.Files {
		if file, kind := w.visit(path); kind.file {
			w.at(file)
		}
	}
	return w.tree
}

// glob notes a pattern in a directory, and follows the links that match it.
func (w *treeWalk) glob(dir string, g dirGlob) {
	w.at(dir).globs = append(w.at(dir).globs, g)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries[:min(len(entries), maxMatches)] {
		path := filepath.Join(dir, entry.Name())
		if entry.Type()&os.ModeSymlink == 0 {
			w.kinds[path] = entryKind{dir: entry.IsDir(), file: entry.Type().IsRegular()}
		} else if luaconf.Match(g.glob, entry.Name()) {
			w.visit(path)
		}
	}
}

func (w *treeWalk) at(dir string) *dirInterest {
	if w.tree[dir] == nil {
		w.tree[dir] = &dirInterest{names: make(map[string]bool)}
	}
	return w.tree[dir]
}

// visit goes from the root to a path, through all the links, and notes each step. It returns where that led, and what is
// there.
func (w *treeWalk) visit(path string) (string, entryKind) {
	at, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		w.at(at).names[name] = true
		next := filepath.Join(at, name)
		kind := w.kind(next)
		switch {
		case kind.link != "":
			if links++; links > maxLinks {
				return "", entryKind{}
			}
			if filepath.IsAbs(kind.link) {
				at = "/"
			}
			rest = append(strings.Split(kind.link, "/"), rest...)
		case kind.dir:
			at = next
		case len(rest) > 0:
			return "", entryKind{} // not a directory
		default:
			return next, kind
		}
	}
	return at, entryKind{dir: true}
}

func (w *treeWalk) kind(path string) entryKind {
	if kind, known := w.kinds[path]; known {
		return kind
	}
	var kind entryKind
	if info, err := os.Lstat(path); err == nil {
		kind.dir, kind.file = info.IsDir(), info.Mode().IsRegular()
		if info.Mode()&os.ModeSymlink != 0 {
			kind.link, _ = os.Readlink(path) // gone in the meantime: nothing
		}
	}
	w.kinds[path] = kind
	return kind
}
