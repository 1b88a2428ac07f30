package extauth

import (
	"os"
	"slices"
	"syscall"
)

// A stamp is a file that a process is made of, as it was when one was started.
type stamp struct {
	path string
	info os.FileInfo
}

// stampFiles looks at the files of a script: its program, and what that runs.
func stampFiles(cfg *Config) []stamp {
	var stamps []stamp
	for _, path := range append([]string{cfg.Command[0]}, cfg.Files...) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			stamps = append(stamps, stamp{path, info})
		}
	}
	return stamps
}

// changed says whether one of the files was written, replaced or removed.
func changed(stamps []stamp) bool {
	return slices.ContainsFunc(stamps, func(s stamp) bool {
		now, err := os.Stat(s.path)
		return err != nil || !s.is(now)
	})
}

// sameStamps says whether two looks at the files of a command found the same: none of them was written, replaced,
// removed or made in between.
func sameStamps(a, b []stamp) bool {
	return slices.EqualFunc(a, b, func(a, b stamp) bool { return a.path == b.path && a.is(b.info) })
}

// is says whether the file is still the one that now tells of. The time of the last change of status counts as well:
// whoever copies times along with files sets back the other one, and an inode may have been that of a file which is gone.
func (s stamp) is(now os.FileInfo) bool {
	return os.SameFile(now, s.info) && now.ModTime().Equal(s.info.ModTime()) && now.Size() == s.info.Size() &&
		statusTime(now) == statusTime(s.info)
}

func statusTime(info os.FileInfo) syscall.Timespec {
	st, _ := info.Sys().(*syscall.Stat_t) // os.Stat gives no other
	return st.Ctim
}
