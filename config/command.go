package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// command resolves external_auth_command to an absolute path and its arguments.
func (s section) command() []string {
	const name = "external_auth_command"
	o, ok := s.lookup(name)
	if !ok {
		s.problem(name, "is missing; it names the script that checks passwords")
		return nil
	}
	var words []string
	var err error
	if o.Value.Kind == luaconf.String {
		words, err = s.commandLine(o.Value.Str)
	} else {
		if words, ok = s.strings(name); !ok {
			return nil
		}
		if len(words) == 0 || words[0] == "" {
			err = errors.New("is empty; it names the script that checks passwords")
		} else {
			words[0], err = s.program(words[0])
		}
	}
	if err != nil {
		s.problem(name, "%v", err)
		return nil
	}
	for _, word := range words {
		if strings.ContainsRune(word, 0) {
			s.problem(name, "holds a NUL character, which no command can")
			return nil
		}
	}
	s.checkScript(words[0])
	return words
}

// scriptNames are the ends of names by which a script is known that may have no #! line.
var scriptNames = []string{".sh", ".py", ".pl", ".php", ".rb", ".js", ".mjs", ".cjs", ".ts", ".lua", ".tcl", ".r", ".jar"}

// scripts returns the arguments of a command that are scripts: interpreters are given them, and wrappers like sudo.
// Relative ones start in the config's directory, where the script will run. One that is missing may be a script as soon as
// it is there.
func (s section) scripts(command []string) []string {
	var found []string
	for _, word := range command[min(1, len(command)):] {
		path := s.resolve(word)
		if slices.Contains(scriptNames, strings.ToLower(filepath.Ext(path))) || beginsAsScript(path) {
			s.sources.file(path)
			found = append(found, path)
		} else if _, err := os.Stat(path); strings.Contains(word, "/") && errors.Is(err, os.ErrNotExist) {
			s.sources.file(path)
		}
	}
	return found
}

func beginsAsScript(path string) bool {
	f, err := luaconf.OpenFile(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 2)
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == "#!"
}

// commandLine resolves a command that is one string: a path if there is such a file, a command line otherwise.
func (s section) commandLine(line string) ([]string, error) {
	if strings.TrimSpace(line) == "" {
		return nil, errors.New("is empty; it names the script that checks passwords")
	}
	whole, wholeErr := s.program(line)
	if wholeErr == nil {
		return []string{whole}, nil
	}
	if strings.HasPrefix(line, "@") {
		return nil, errors.New("begins with @, which is a socket for a changed mod_auth_external; gatehouse starts a program: name the one behind the socket")
	}
	if _, err := os.Stat(s.resolve(line)); err == nil {
		return nil, wholeErr
	}
	words, special, err := splitCommand(line)
	if err != nil {
		return nil, err
	}
	if len(words) == 1 && words[0] == line {
		return nil, wholeErr
	}
	if words[0] == "" {
		return nil, errors.New("begins with an empty word")
	}
	// From here on nothing shows the line: there may be a password in it.
	if name, _, found := strings.Cut(words[0], "="); found && identifier(name) {
		return nil, fmt.Errorf("begins with a value for %s, which only a shell would set; write { \"/usr/bin/env\", \"%[1]s=...\", \"...\" }, or a script of its own", clip(name))
	}
	program, err := s.program(words[0])
	if err != nil {
		return nil, fmt.Errorf("%w (there is no file that has all of the line as its name either)", err)
	}
	words[0] = program
	if special != "" {
		s.warn("external_auth_command", "there is no shell, so %s is an argument like any other; "+
			"for a shell write { \"/bin/sh\", \"-c\", \"...\" }, or a script of its own", special)
	}
	return words, nil
}

// program finds an executable file: a bare name in PATH, then beside the config file; anything else relative to it.
func (s section) program(name string) (string, error) {
	path := name
	if !strings.Contains(name, "/") {
		found, err := exec.LookPath(name)
		// Where it is not, it may come, or come back; not where this user cannot go, as in the PATH of somebody else.
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			try := filepath.Join(dir, name)
			if _, err := os.Stat(try); !filepath.IsAbs(try) || errors.Is(err, os.ErrPermission) {
				continue
			}
			s.sources.file(try)
			if err == nil && try == found {
				return found, nil
			}
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.dir, path)
	}
	s.sources.file(path)
	info, err := os.Stat(path)
	switch {
	case err != nil && !strings.Contains(name, "/"):
		return "", fmt.Errorf("no program %q in PATH, and no file %s", clip(name), path)
	case errors.Is(err, os.ErrPermission):
		return "", fmt.Errorf("%s: a directory on the way to it may not be entered by this user (uid %d)", path, os.Geteuid())
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("there is no file %s", path)
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, unwrapPath(err))
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory; want the path of a program", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file; want the path of a program", path) // to open a pipe would wait
	}
	if _, err := exec.LookPath(path); err != nil && info.Mode()&0o111 != 0 {
		return "", fmt.Errorf("%s may not be executed by this user (uid %d); check its owner and permissions", path, os.Geteuid())
	} else if err != nil {
		return "", fmt.Errorf("%s is not executable; chmod +x %s", path, path)
	}
	return path, nil
}

func unwrapPath(err error) error {
	var perr *os.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

// byteOrderMark is what some editors put before a text in UTF-8.
const byteOrderMark = "\ufeff"

// checkScript warns of a script that the system will refuse to run: one without a #! line, or with an interpreter that is
// not there, which the system reports as the script missing.
func (s section) checkScript(path string) {
	f, err := luaconf.OpenFile(path)
	if err != nil {
		return // to run a program one need not be able to read it
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if err != nil && n == 0 {
		s.warn("external_auth_command", "%s is empty", path)
		return
	}
	line, isScript := strings.CutPrefix(string(head[:n]), "#!")
	if isScript {
		line, _, _ = strings.Cut(line, "\n")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			s.warn("external_auth_command", "the #! line of %s names no interpreter", path)
		} else if _, err := os.Stat(strings.TrimSuffix(fields[0], "\r")); err != nil || strings.HasSuffix(line, "\r") {
			s.warn("external_auth_command", "%s cannot run: its #! line names %q%s", path, fields[0], whyNot(line))
		}
		return
	}
	if strings.HasPrefix(string(head[:n]), byteOrderMark+"#!") {
		s.warn("external_auth_command", "%s cannot run: it begins with a byte order mark, behind which the system does not see the #! line; "+
			"save it as UTF-8 without one", path)
		return
	}
	for _, c := range head[:n] {
		if c < '\t' || c == 0x7f {
			return // some binary format; the system knows which
		}
	}
	s.warn("external_auth_command", "%s is a text without a #! line, which the system does not run; begin it with #!/bin/sh or the like", path)
}

func whyNot(line string) string {
	if strings.HasSuffix(line, "\r") {
		return " with a carriage return at its end (the file has the line ends of Windows)"
	}
	return ", which does not exist"
}

// splitCommand splits a line into words as a POSIX shell does, with quotes and backslashes and without any expansion. It
// also returns the first thing that a shell would have treated as special and we do not.
func splitCommand(line string) (words []string, special string, err error) {
	var word strings.Builder
	inWord := false
	flush := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n', '\r':
			flush()
			continue
		case '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, "", errors.New("has a ' without its counterpart")
			}
			word.WriteString(line[i+1 : i+1+end])
			i += end + 1
		case '"':
			n, err := doubleQuoted(line[i+1:], &word)
			if err != nil {
				return nil, "", err
			}
			i += n
		case '\\':
			if i++; i == len(line) {
				return nil, "", errors.New("ends with a backslash")
			}
			word.WriteByte(line[i])
		default:
			if special == "" && strings.IndexByte("|&;<>()$`*?", c) >= 0 {
				special = string(c)
			}
			word.WriteByte(c)
		}
		inWord = true
	}
	flush()
	if len(words) == 0 {
		return nil, "", errors.New("is empty; it names the script that checks passwords")
	}
	return words, special, nil
}

// doubleQuoted reads up to the closing quote and returns how many bytes that took.
func doubleQuoted(line string, word *strings.Builder) (int, error) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\' && i+1 < len(line) && strings.IndexByte("\\\"$`", line[i+1]) >= 0:
			i++
			word.WriteByte(line[i])
		default:
			word.WriteByte(c)
		}
	}
	return 0, errors.New("has a \" without its counterpart")
}
