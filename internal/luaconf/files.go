package luaconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// maxFileBytes bounds a file that a config reads as data.
const maxFileBytes = 1 << 20

// readTime bounds the reading of what only looks like a file, such as /proc/kmsg, which waits for more.
const readTime = time.Second

// OpenFile opens a regular file to read, and waits for nothing but the file system, nor does who reads it, for longer than
// a second. Anything else is an error: reading a device, a FIFO or a socket may block, or never end.
func OpenFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("is a directory, not a file")
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	_ = f.SetReadDeadline(time.Now().Add(readTime)) // an error says that it is an ordinary file, which needs none
	return f, nil
}

// open reads a regular file of at most limit bytes and notes its name.
func (e *evaluator) open(path string, limit int) (string, error) {
	if len(e.files) >= maxFiles {
		return "", fmt.Errorf("the config reads more than %d files", maxFiles)
	}
	if abs, err := filepath.Abs(path); err == nil {
		e.noteFile(abs)
	}
	f, err := OpenFile(path)
	if err != nil {
		return "", plainError(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return "", plainError(path, err)
	case len(data) > limit:
		return "", fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return string(data), nil
}

func (e *evaluator) noteFile(path string) {
	for _, known := range e.files {
		if known == path {
			return
		}
	}
	e.files = append(e.files, path)
	if info, err := os.Stat(path); err == nil {
		e.infos[path] = info
	}
}

// noteGlob notes the wildcards of an Include and what they stand for.
func (e *evaluator) noteGlob(glob Glob) {
	for _, known := range e.globs {
		if known.Pattern == glob.Pattern {
			return
		}
	}
	e.globs = append(e.globs, glob)
}

// plainError is "path: what the system says", as in C and in Lua.
func plainError(path string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// readFile reads a file that has to be there.
func (e *evaluator) readFile(L *lua.LState, path string, limit int) string {
	data, err := e.open(path, limit)
	if errors.Is(err, fs.ErrPermission) {
		L.RaiseError("%s: may not be read by this user (uid %d); check its permissions and those of the directories on the way", path, os.Geteuid())
	} else if err != nil {
		L.RaiseError("%s", err.Error())
	}
	e.budget.makeString(L, len(data))
	return data
}

func (f *configFile) include(L *lua.LState) int {
	name := L.CheckString(1)
	if !strings.ContainsAny(name, "*?") {
		f.includeFile(L, f.resolve(name))
		return 0
	}
	// Wildcards stand for files of one directory only. Prosody takes them in the order of the directory; sorted is
	// the order that people expect, and the same everywhere.
	path := f.resolve(name)
	dir, glob := filepath.Split(path)
	info, _ := os.Stat(filepath.Clean(dir)) // nil with an error, which ReadDir tells; also of a file, as those do who watch it
	entries, err := os.ReadDir(dir)
	var names []string
	if err == nil {
		names = []string{}
	}
	for _, entry := range entries {
		if Match(glob, entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	if abs, err := filepath.Abs(path); err == nil {
		f.e.noteGlob(Glob{abs, names, info})
	}
	if err != nil {
		L.RaiseError("Include: %s", plainError(filepath.Clean(dir), err).Error())
	}
	for _, name := range names {
		f.includeFile(L, filepath.Join(dir, name))
	}
	return 0
}

func (f *configFile) includeFile(L *lua.LState, path string) {
	if _, err := os.Stat(path); err != nil {
		f.e.noteFile(path)
		L.RaiseError("Error loading included %s", plainError(path, err).Error())
	}
	f.e.runConfig(L, path)
}

// runScript runs a file with Lua's own globals: what it assigns is no option.
func (f *configFile) runScript(L *lua.LState) int {
	return f.e.doFile(L, f.resolve(L.CheckString(1)))
}

func (e *evaluator) doFile(L *lua.LState, path string) int {
	if e.nest++; e.nest > maxIncludeNest {
		L.RaiseError("scripts run each other more than %d deep", maxIncludeNest)
	}
	defer func() { e.nest-- }()
	top := L.GetTop()
	L.Push(L.NewFunctionFromProto(e.load(L, path, true)))
	L.Call(0, lua.MultRet)
	return L.GetTop() - top
}

func (f *configFile) fileContents(L *lua.LState) int {
	return f.readAs(L, f.resolve(L.CheckString(1)), L.OptString(2, "*a"))
}

func (f *configFile) fileLine(L *lua.LState) int {
	return f.readAs(L, f.resolve(L.CheckString(1)), L.OptString(2, "*l"))
}

func (f *configFile) readAs(L *lua.LState, path, mode string) int {
	r := &reader{e: f.e, data: f.e.readFile(L, path, maxFileBytes)}
	value := r.read(L, lua.LString(mode))
	if value == lua.LNil {
		L.RaiseError("%s: the file is empty", path)
	}
	L.Push(value)
	return 1
}

func (f *configFile) fileLines(L *lua.LState) int {
	path := f.resolve(L.CheckString(1))
	r := &reader{e: f.e, data: f.e.readFile(L, path, maxFileBytes)}
	list := L.NewTable()
	for line := r.read(L, lua.LString("l")); line != lua.LNil; line = r.read(L, lua.LString("l")) {
		list.Append(line)
	}
	L.Push(list)
	return 1
}

// credential reads a file of the directory that systemd gives a service for its secrets (systemd.exec(5)).
func (f *configFile) credential(L *lua.LState) int {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		L.RaiseError("Credential() requires the $CREDENTIALS_DIRECTORY environment variable to be set")
	}
	path := L.CheckString(1)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return f.readAs(L, path, L.OptString(2, "*a"))
}

// reader is a file that a config has open: all of it is in memory, so closing it frees nothing.
type reader struct {
	e    *evaluator
	data string
	pos  int
}

// read returns the next item as file:read(format) does; LNil at the end.
func (r *reader) read(L *lua.LState, format lua.LValue) lua.LValue {
	rest := r.data[r.pos:]
	if n, ok := format.(lua.LNumber); ok {
		if rest == "" {
			return lua.LNil
		}
		return r.take(L, min(max(int(n), 0), len(rest)), 0)
	}
	switch mode := strings.TrimPrefix(format.String(), "*"); {
	case strings.HasPrefix(mode, "a"):
		return r.take(L, len(rest), 0)
	case rest == "":
		return lua.LNil
	case strings.HasPrefix(mode, "l"):
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			return r.take(L, i, 1)
		}
		return r.take(L, len(rest), 0)
	case strings.HasPrefix(mode, "L"):
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			return r.take(L, i+1, 0)
		}
		return r.take(L, len(rest), 0)
	case strings.HasPrefix(mode, "n"):
		return r.readNumber()
	}
	L.RaiseError("bad format of read: %s", format.String())
	return lua.LNil
}

// take returns the next n bytes and passes over skip more.
func (r *reader) take(L *lua.LState, n, skip int) lua.LValue {
	r.e.budget.spend(L, 1+n/64)
	s := r.data[r.pos : r.pos+n]
	r.pos += n + skip
	return lua.LString(s)
}

func (r *reader) readNumber() lua.LValue {
	rest := strings.TrimLeft(r.data[r.pos:], " \t\r\n")
	n := 0
	for n < len(rest) && n < 64 && strings.IndexByte("0123456789+-.eExXabcdefABCDEF", rest[n]) >= 0 {
		n++
	}
	r.pos = len(r.data) - len(rest) + n
	return parseNumber(rest[:n], 0)
}

// ioFuncs is the part of the io library that reads.
func (e *evaluator) ioFuncs() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"open": func(L *lua.LState) int {
			path, mode := L.CheckString(1), L.OptString(2, "r")
			if strings.Trim(mode, "rb") != "" {
				L.RaiseError("io.open of %q for writing: a config that gatehouse evaluates can only read files", path)
			}
			data, err := e.open(path, maxFileBytes)
			if err != nil {
				L.Push(lua.LNil)
				L.Push(lua.LString(err.Error()))
				return 2
			}
			e.budget.makeString(L, len(data))
			L.Push(e.fileHandle(L, &reader{e: e, data: data}))
			return 1
		},
		"lines": func(L *lua.LState) int {
			r := &reader{e: e, data: e.readFile(L, L.CheckString(1), maxFileBytes)}
			return r.lines(L)
		},
		"type": func(L *lua.LState) int {
			if ud, ok := L.Get(1).(*lua.LUserData); ok {
				if _, ok := ud.Value.(*reader); ok {
					return pushOne(L, "file")
				}
			}
			L.Push(lua.LNil)
			return 1
		},
	}
}

// lines pushes an iterator; the format is argument 2, lines without their ends by default.
func (r *reader) lines(L *lua.LState) int {
	format := lua.LValue(lua.LString("l"))
	if L.Get(2) != lua.LNil {
		format = L.Get(2)
	}
	L.Push(L.NewFunction(func(L *lua.LState) int {
		L.Push(r.read(L, format))
		return 1
	}))
	return 1
}

// fileHandle makes the object that io.open returns.
func (e *evaluator) fileHandle(L *lua.LState, r *reader) *lua.LUserData {
	methods := L.SetFuncs(L.NewTable(), map[string]lua.LGFunction{
		"read": func(L *lua.LState) int {
			if L.GetTop() < 2 {
				L.Push(r.read(L, lua.LString("l")))
				return 1
			}
			n := L.GetTop()
			for i := 2; i <= n; i++ {
				L.Push(r.read(L, L.Get(i)))
			}
			return n - 1
		},
		"lines": func(L *lua.LState) int { return r.lines(L) },
		"close": func(L *lua.LState) int { L.Push(lua.LTrue); return 1 },
	})
	mt := L.NewTable()
	mt.RawSetString("__index", methods)
	ud := L.NewUserData()
	ud.Value = r
	ud.Metatable = mt
	return ud
}
