package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// serviceUser is the user that the packages make for the daemon.
const serviceUser = "gatehouse"

// identity is somebody whose rights to files are asked for.
type identity struct {
	name   string
	uid    int
	groups []int
	// self says that it is who runs this program, so that trying is better than
	// reckoning.
	self bool
}

// nobody has the rights that everybody has: no file and no group is its own.
var nobody = identity{name: "everybody", uid: -1}

// findIdentity returns the one of a name; without a name that of the service,
// if that can be told, or else one's own.
func findIdentity(name string) (identity, error) {
	uid := os.Geteuid()
	own := identity{name: userName(uid), uid: uid, self: true}
	if name == own.name {
		return own, nil
	}
	if name == "" {
		if a, err := lookupIdentity(serviceUser); uid == 0 && err == nil {
			return a, nil
		}
		return own, nil
	}
	return lookupIdentity(name)
}

func lookupIdentity(name string) (identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return identity{}, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return identity{}, err
	}
	a := identity{name: u.Username, uid: uid, self: uid == os.Geteuid()}
	ids, err := u.GroupIds()
	if err != nil {
		return identity{}, err
	}
	for _, id := range append(ids, u.Gid) {
		if gid, err := strconv.Atoi(id); err == nil {
			a.groups = append(a.groups, gid)
		}
	}
	return a, nil
}

// describe says whose rights the report is about.
func (a identity) describe() string {
	switch {
	case a.self && a.uid == 0:
		return "root (you), and so the scripts; --user NAME shows what another user may read and run"
	case a.self:
		return a.name + " (you)"
	}
	return a.name + ", whose rights are looked at below"
}

// The kinds of access, as in the last three bits of a file's mode.
const (
	mayRun   fs.FileMode = 1
	mayWrite fs.FileMode = 2
	mayRead  fs.FileMode = 4
)

// may is an error that says what keeps somebody from a file, on the way to
// it or there. It reckons with owners and modes; where access control lists say
// more than these, it finds nothing wrong.
func (a identity) may(path string, want fs.FileMode) error {
	steps, err := walk(path)
	if err != nil {
		return err
	}
	for i, s := range steps {
		need, verb := want, "read"
		switch {
		case i < len(steps)-1:
			need, verb = mayRun, "enter"
		case want&mayWrite != 0:
			verb = "write to"
		case want&mayRun != 0:
			verb = "run"
		}
		if a.rights(s)&need != need && !s.acl {
			return fmt.Errorf("user %s may not %s %s (%s)", a.name, verb, s.path, s)
		}
	}
	return nil
}

// rights are the bits of a file's mode that count for the identity.
func (a identity) rights(s step) fs.FileMode {
	switch {
	case a.uid == 0 && s.mode.IsRegular() && s.mode&0o111 == 0:
		return mayRead | mayWrite
	case a.uid == 0:
		return mayRead | mayWrite | mayRun
	case a.uid == s.uid:
		return s.mode >> 6 & 7
	case slices.Contains(a.groups, s.gid):
		return s.mode >> 3 & 7
	}
	return s.mode & 7
}

// step is a directory on the way to a file, or at last the file.
type step struct {
	path     string
	mode     fs.FileMode
	uid, gid int
	acl      bool // it has an access control list
	readOnly bool // its file system is mounted so, as a container's config is
}

// String is "rwxr-x--- root:staff".
func (s step) String() string {
	return s.mode.Perm().String()[1:] + " " + userName(s.uid) + ":" + groupName(s.gid)
}

// walk returns the real way to a file, from the root down.
func walk(path string) ([]step, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	var steps []step
	for {
		info, err := os.Stat(real)
		if err != nil {
			return nil, err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil, errors.ErrUnsupported
		}
		n, err := unix.Getxattr(real, "system.posix_acl_access", nil)
		var fs unix.Statfs_t
		readOnly := unix.Statfs(real, &fs) == nil && fs.Flags&unix.ST_RDONLY != 0
		steps = append(steps, step{real, info.Mode(), int(stat.Uid), int(stat.Gid), err == nil && n > 0, readOnly})
		if real == "/" {
			slices.Reverse(steps)
			return steps, nil
		}
		real = filepath.Dir(real)
	}
}

// exposure is somebody who may change a file, or put another in its place.
type exposure struct {
	step
	everybody bool // otherwise the group
}

// who is how a person would name him.
func (x exposure) who() string {
	if x.everybody {
		return "everybody"
	}
	return "group " + groupName(x.gid)
}

// level is danger if it is everybody.
func (x exposure) level() level {
	if x.everybody {
		return danger
	}
	return warning
}

// changers returns who may change a file besides its owner and root, the widest
// first. A group that is the owner's own, and root's, do not count. In a sticky
// directory (/tmp) only the owner of a file may replace it.
func changers(steps []step) []exposure {
	var found []exposure
	for i, s := range steps {
		sticky := s.mode.IsDir() && s.mode&fs.ModeSticky != 0
		switch {
		case s.readOnly, sticky && i < len(steps)-2:
		case s.mode&0o002 != 0:
			if nobody.reaches(steps[:i]) {
				found = append(found, exposure{s, true})
			}
		case !sticky && !s.acl && s.mode&0o020 != 0 && s.gid != 0 && groupName(s.gid) != userName(s.uid):
			found = append(found, exposure{s, false})
		}
	}
	slices.SortStableFunc(found, func(a, b exposure) int {
		return map[bool]int{true: 0, false: 1}[a.everybody] - map[bool]int{true: 0, false: 1}[b.everybody]
	})
	return found
}

// problem says what somebody else can do to a file that decides who comes in, and how bad that is; what is the word for such
// a file.
func (x exposure) problem(path, what string) (level, string) {
	switch {
	case !x.mode.IsDir():
		return x.level(), fmt.Sprintf("%s may change %s, and so decide who comes in; chmod go-w %[2]s", x.who(), path)
	case x.everybody && x.mode&fs.ModeSticky != 0:
		return warning, fmt.Sprintf("%s is in %s, where everybody may put files and old ones get deleted; move it", path, x.path)
	}
	return x.level(), fmt.Sprintf("%s may write to %s (%s), and so put another %s in the place of %s; chmod go-w %[2]s", x.who(), x.path, x.step, what, path)
}

// reaches says whether somebody may pass all these directories.
func (a identity) reaches(steps []step) bool {
	for _, s := range steps {
		if a.rights(s)&mayRun == 0 {
			return false
		}
	}
	return true
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return g.Name
	}
	return strconv.Itoa(gid)
}
