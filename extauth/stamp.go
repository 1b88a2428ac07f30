package extauth

import (
	"os"
	"path/filepath"
)

// A stamp is a file that a command names, as it was when a process was started from it.
type stamp struct {
	path string
	info os.FileInfo
}

// stampFiles looks at the files that a command names: the program, and a script that it may be given.
func stampFiles(command []string, dir string) []stamp {
	var stamps []stamp
	for _, path := range command {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			stamps = append(stamps, stamp{path, info})
		}
	}
	return stamps
}

// changed says whether one of the files was written, replaced or removed.
func changed(stamps []stamp) bool {
	for _, s := range stamps {
		now, err := os.Stat(s.path)
		if err != nil || !os.SameFile(now, s.info) || !now.ModTime().Equal(s.info.ModTime()) || now.Size() != s.info.Size() {
			return true
		}
	}
	return false
}
