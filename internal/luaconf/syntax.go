package luaconf

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yuin/gopher-lua/parse"
)

// The messages here go to logs, so none has a text of the config but Lua's own words and signs: what stands where Lua does
// not expect it may be a piece of a secret whose quotes are amiss.

// luaWords are the words and signs of Lua's own.
var luaWords = strings.Fields("and break do else elseif end false for function goto if in local nil not or repeat return then " +
	"true until while + - * / % ^ # == ~= <= >= < > = ( ) { } [ ] ; : , . .. ...")

// luaSigns are the characters that may stand outside of strings and comments, besides those of words.
var luaSigns = []byte("+-*/%^#=~<>(){}[];:,.&|")

// encodingFault says that a file is not in the encoding that Lua reads, if it is not.
func encodingFault(src []byte) string {
	switch {
	case bytes.HasPrefix(src, []byte("\xef\xbb\xbf")):
		return "the file begins with a byte order mark, which Lua does not take; save it as plain UTF-8"
	case bytes.HasPrefix(src, []byte("\xff\xfe")), bytes.HasPrefix(src, []byte("\xfe\xff")):
		return "the file is UTF-16, which Lua does not read; save it as plain UTF-8"
	}
	return ""
}

// strayCharacter is the error about the character at the start of src, which has no meaning outside of quotes.
func strayCharacter(src []byte) error {
	c, _ := utf8.DecodeRune(src)
	switch {
	case strings.ContainsRune("\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2033\u2032", c):
		return errors.New(`a curly quote, as word processors make them; write " instead`)
	case c == '\u00a0' || c == '\u202f' || c == '\u200b' || c == '\ufeff':
		return errors.New("a no-break space or one without width, which Lua does not take; write an ordinary space")
	case c == '\u2013' || c == '\u2014':
		return errors.New("a long dash, as word processors make them; write - instead (-- begins a comment)")
	}
	return errors.New("a character that means nothing to Lua outside of quotes; is a quote missing?")
}

// syntaxLine is the line of an error of the parser, which has none for the end of the file.
func syntaxLine(syntax *parse.Error, text string) int {
	if syntax.Pos.Line < 1 {
		return strings.Count(strings.TrimRight(text, "\n"), "\n") + 1
	}
	return syntax.Pos.Line
}

// explainSyntax is what a person needs to mend an error of the parser: where it stopped, if that is one of Lua's own
// words or signs, and what is open there.
func explainSyntax(syntax *parse.Error, text string) string {
	msg := strings.Replace(syntax.Message, "parse error", "syntax error", 1)
	atEnd := syntax.Pos.Line < 1
	switch {
	case atEnd:
		msg += " near 'end of file'"
	case slices.Contains(luaWords, syntax.Token):
		msg += " near '" + syntax.Token + "'"
	}
	open, ok := openBefore(text, syntaxLine(syntax, text), atEnd)
	switch {
	case ok && open.what == 'b':
		if atEnd {
			return msg + fmt.Sprintf("; the block (function, do, then or repeat) of line %d is not closed: is an end missing?", open.line)
		}
	case ok:
		closing := map[byte]string{'{': "}", '(': ")", '[': "]"}[open.what]
		return msg + fmt.Sprintf("; the %c of line %d is still open here: is a %s or a comma missing?", open.what, open.line, closing)
	}
	switch {
	case syntax.Token == "#" || syntax.Token == "/":
		return msg + "; a comment begins with -- in Lua"
	case !slices.Contains(luaWords, syntax.Token):
		return msg + "; is a quote, a comma or a = missing?"
	}
	return msg
}

// syntaxBefore returns the first error of the parser in the lines before the one that the scanner stopped in: of a file that
// is no Lua at all, such as a template, the first line tells more than a later one.
func syntaxBefore(file string, scanned []byte, text string) *Error {
	whole := scanned[:bytes.LastIndexByte(scanned, '\n')+1]
	_, err := parse.Parse(bytes.NewReader(whole), file)
	var syntax *parse.Error
	if !errors.As(err, &syntax) || syntax.Pos.Line < 1 {
		return nil
	}
	return &Error{Pos{file, syntax.Pos.Line}, explainSyntax(syntax, text)}
}

// openBefore returns the innermost bracket or block that is open where a line begins, or at the end of the text.
func openBefore(text string, line int, atEnd bool) (opener, bool) {
	s := &scanner{src: []byte(text), line: 1, count: &sourceCount{}, known: make(map[string]bool)}
	for s.pos < len(s.src) && (atEnd || s.line < line) {
		if s.token() != nil {
			break
		}
	}
	if len(s.open) == 0 {
		return opener{}, false
	}
	return s.open[len(s.open)-1], true
}
