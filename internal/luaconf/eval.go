package luaconf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// Bounds of the Lua state: frames of calls, and values in all of them together.
const (
	maxCallDepth   = 150
	maxRegistry    = 16 << 10
	maxFiles       = 1000
	maxIncludeNest = 16
)

// Error says why a config could not be evaluated, and where.
type Error Message

// Error is "file:line: text".
func (e *Error) Error() string { return Message(*e).String() }

// evaluator is one evaluation. It belongs to the goroutine that runs it.
type evaluator struct {
	L       *lua.LState
	budget  *budget
	globals *lua.LTable // Lua's own _G, which Prosody's calls Lua as well

	files    []string
	infos    map[string]os.FileInfo
	globs    []Glob
	source   int // bytes of Lua source read
	count    sourceCount
	nest     int
	tables   []fieldLines
	warnings []Message

	hosts  []*hostState
	byName map[string]*hostState
}

type hostState struct {
	name      string
	pos       Pos
	component bool
	options   map[string]optionState
}

type optionState struct {
	value lua.LValue
	pos   Pos
}

// Eval runs the config file at path and returns what it holds. The values are plain data and belong to the caller.
// Any error is an *Error; the Result then holds what was read up to there, so that Files and Globs can be watched.
//
// Eval takes at most about two seconds and 64 MiB, whatever the file does, and blocks for no other reason than the file
// system. The environment variables that the config asks for are those of the process.
func Eval(path string) (*Result, error) {
	return eval(path, newBudget())
}

func eval(path string, b *budget) (*Result, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return &Result{}, &Error{Pos{File: path}, err.Error()}
	}
	e := newEvaluator(b)
	defer e.L.Close()
	var hosts []*Host
	failed := e.run(path)
	if failed == nil {
		hosts, failed = e.convert()
	}
	r := &Result{Files: e.files, Infos: e.infos, Globs: e.globs, Warnings: e.warnings}
	if failed != nil {
		return r, failed
	}
	r.Hosts = hosts
	return r, nil
}

func newEvaluator(b *budget) *evaluator {
	e := &evaluator{
		L: lua.NewState(lua.Options{
			SkipOpenLibs:    true,
			CallStackSize:   maxCallDepth,
			RegistrySize:    1024,
			RegistryMaxSize: maxRegistry,
		}),
		budget: b,
		infos:  make(map[string]os.FileInfo),
		byName: make(map[string]*hostState),
	}
	e.globals = e.L.G.Global
	e.host("*")
	e.openLibraries()
	e.L.SetContext(e.budget)
	return e
}

// run evaluates the main file.
func (e *evaluator) run(path string) (failed *Error) {
	defer func() {
		// PCall catches the panics of Lua; what comes here is a fault of the parser or compiler.
		if r := recover(); r != nil {
			failed = &Error{Pos{File: path}, fmt.Sprintf("the Lua interpreter failed: %v", r)}
		}
	}()
	main := e.L.NewFunction(func(L *lua.LState) int {
		e.runConfig(L, path)
		return 0
	})
	e.L.Push(main)
	if err := e.L.PCall(0, 0, nil); err != nil {
		failed = e.errorOf(path, err)
	}
	if e.budget.failed != nil {
		// Whatever the config made of the error, this is why it ended.
		if failed == nil {
			failed = &Error{Pos: Pos{File: path}}
		}
		failed.Text = e.budget.failed.Error()
	}
	return failed
}

// errorOf turns what PCall returned into an Error, with the position that the text of a Lua error begins with.
func (e *evaluator) errorOf(path string, err error) *Error {
	msg := err.Error()
	var apiErr *lua.ApiError
	if errors.As(err, &apiErr) {
		if _, ok := apiErr.Object.(*lua.LTable); ok {
			msg = "(the error is a table)"
		} else if apiErr.Object != nil {
			msg = apiErr.Object.String()
		}
	}
	return e.splitPosition(path, msg)
}

func (e *evaluator) splitPosition(path, msg string) *Error {
	for _, file := range e.files {
		rest, ok := strings.CutPrefix(strings.TrimSpace(msg), file+":")
		if !ok {
			continue
		}
		if text, ok := strings.CutPrefix(rest, " "); ok {
			return &Error{Pos{File: file}, printable(text)}
		}
		line := 0
		for len(rest) > 0 && isDigit(rest[0]) && line < 1<<24 {
			line = line*10 + int(rest[0]-'0')
			rest = rest[1:]
		}
		if rest, ok = strings.CutPrefix(rest, ":"); ok {
			return &Error{Pos{file, line}, printable(strings.TrimSpace(rest))}
		}
	}
	return &Error{Pos{File: path}, printable(msg)}
}

// printable bounds a message and keeps the names of the rewriter out of it.
func printable(msg string) string {
	if len(msg) > 1000 {
		msg = msg[:1000] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' {
			return ' '
		}
		return r
	}, msg)
}

// load reads, checks and compiles a Lua file. A failure is raised as a Lua error that begins with its position.
func (e *evaluator) load(L *lua.LState, path string, shebang bool) *lua.FunctionProto {
	text := e.readFile(L, path, maxSourceBytes)
	if e.source += len(text); e.source > maxSourceBytes {
		e.raiseAt(L, Pos{path, 1}, "the config files have more than 1 MiB")
	}
	if shebang && strings.HasPrefix(text, "#") {
		text = "--" + text
	}
	src, failed := scanSource(path, []byte(text), &e.count)
	if failed != nil {
		if earlier := syntaxBefore(path, src, text); earlier != nil {
			failed = earlier
		}
		e.raiseAt(L, failed.Pos, failed.Text)
	}
	chunk, err := parse.Parse(strings.NewReader(string(src)), path)
	if err != nil {
		var syntax *parse.Error
		if !errors.As(err, &syntax) {
			e.raiseAt(L, Pos{path, 1}, err.Error())
		}
		e.raiseAt(L, Pos{path, syntaxLine(syntax, text)}, explainSyntax(syntax, text))
	}
	if failed := rewrite(path, chunk, &e.tables); failed != nil {
		e.raiseAt(L, failed.Pos, failed.Text)
	}
	e.budget.spend(L, len(text)/16)
	proto, err := lua.Compile(chunk, path)
	if err != nil {
		var compile *lua.CompileError
		if errors.As(err, &compile) {
			e.raiseAt(L, Pos{path, compile.Line}, compile.Message)
		}
		e.raiseAt(L, Pos{path, 1}, err.Error())
	}
	return proto
}

func (e *evaluator) raiseAt(L *lua.LState, pos Pos, msg string) {
	L.Error(lua.LString(pos.String()+": "+msg), 0)
}

// at returns the line of the config that runs: the innermost Lua function on the stack, of this file if there is one.
func (e *evaluator) at(L *lua.LState, file string) Pos {
	var found Pos
	for level := 0; ; level++ {
		frame, ok := L.GetStack(level)
		if !ok {
			return found
		}
		if _, err := L.GetInfo("Sl", frame, lua.LNil); err != nil || frame.What == "G" || frame.CurrentLine < 1 {
			continue
		}
		pos := Pos{frame.Source, frame.CurrentLine}
		if pos.File == file {
			return pos
		}
		if found.IsZero() {
			found = pos
		}
	}
}

func (e *evaluator) warn(pos Pos, format string, args ...any) {
	if len(e.warnings) < 1000 {
		e.warnings = append(e.warnings, Message{pos, printable(fmt.Sprintf(format, args...))})
	}
}
