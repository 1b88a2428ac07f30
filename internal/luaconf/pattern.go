package luaconf

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of one pattern match, as in the reference implementation.
const (
	maxCaptures   = 32
	maxMatchDepth = 200
)

// A capture's length is one of these while it is open, or when it is a position.
const (
	captureOpen     = -1
	capturePosition = -2
)

type capture struct{ start, length int }

// matcher matches one Lua pattern (reference manual of Lua 5.4, section 6.4.1). It is our own because gopher-lua's has
// no bound for backtracking. Each step is paid from the budget.
type matcher struct {
	L        *lua.LState
	budget   *budget
	src, pat string
	captures []capture
	depth    int
	steps    int
}

func (m *matcher) fail(format string, args ...any) { m.L.RaiseError(format, args...) }

func (m *matcher) step() {
	if m.steps++; m.steps%1024 == 0 {
		m.budget.spend(m.L, 256)
	}
}

// find looks for the pattern from offset init on and returns the bounds of the match.
func (m *matcher) find(init int) (start, end int, ok bool) {
	anchored := strings.HasPrefix(m.pat, "^")
	p := 0
	if anchored {
		p = 1
	}
	for s := init; ; s++ {
		m.captures = m.captures[:0]
		if end = m.match(s, p); end >= 0 {
			return s, end, true
		}
		if s >= len(m.src) || anchored {
			return 0, 0, false
		}
	}
}

// match returns the end of a match of pat[p:] at s, or -1.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxMatchDepth {
		m.fail("pattern too complex")
	}
	defer func() { m.depth-- }()
	for {
		m.step()
		if p == len(m.pat) {
			return s
		}
		switch c := m.pat[p]; {
		case c == '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capturePosition)
			}
			return m.open(s, p+1, captureOpen)
		case c == ')':
			return m.close(s, p+1)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'b':
			if s = m.balanced(s, p+2); s < 0 {
				return -1
			}
			p += 4
			continue
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'f':
			p += 2
			if p >= len(m.pat) || m.pat[p] != '[' {
				m.fail("missing '[' after '%%f' in pattern")
			}
			end := m.classEnd(p)
			before, here := byte(0), byte(0)
			if s > 0 {
				before = m.src[s-1]
			}
			if s < len(m.src) {
				here = m.src[s]
			}
			if m.inSet(before, p, end-1) || !m.inSet(here, p, end-1) {
				return -1
			}
			p = end
			continue
		case c == '%' && p+1 < len(m.pat) && isDigit(m.pat[p+1]):
			if s = m.backReference(s, m.pat[p+1]); s < 0 {
				return -1
			}
			p += 2
			continue
		}
		end := m.classEnd(p)
		var suffix byte
		if end < len(m.pat) {
			suffix = m.pat[end]
		}
		switch suffix {
		case '?':
			if m.single(s, p, end) {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
		case '+':
			if !m.single(s, p, end) {
				return -1
			}
			return m.greedy(s+1, p, end)
		case '*':
			return m.greedy(s, p, end)
		case '-':
			for {
				if r := m.match(s, end+1); r >= 0 {
					return r
				}
				if !m.single(s, p, end) {
					return -1
				}
				s++
			}
		default:
			if !m.single(s, p, end) {
				return -1
			}
			s++
			p = end
		}
	}
}

// greedy matches as many as possible of the item pat[p:end] at s, and then the rest.
func (m *matcher) greedy(s, p, end int) int {
	n := 0
	for m.single(s+n, p, end) {
		n++
	}
	for ; n >= 0; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

func (m *matcher) open(s, p, length int) int {
	if len(m.captures) >= maxCaptures {
		m.fail("too many captures")
	}
	m.captures = append(m.captures, capture{s, length})
	n := len(m.captures)
	r := m.match(s, p)
	if r < 0 {
		m.captures = m.captures[:n-1]
	}
	return r
}

func (m *matcher) close(s, p int) int {
	for i := len(m.captures) - 1; i >= 0; i-- {
		if m.captures[i].length == captureOpen {
			m.captures[i].length = s - m.captures[i].start
			r := m.match(s, p)
			if r < 0 {
				m.captures[i].length = captureOpen
			}
			return r
		}
	}
	m.fail("invalid pattern capture")
	return -1
}

func (m *matcher) balanced(s, p int) int {
	if p+1 >= len(m.pat) {
		m.fail("malformed pattern (missing arguments to '%%b')")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, shut, level := m.pat[p], m.pat[p+1], 1
	for i := s + 1; i < len(m.src); i++ {
		m.step()
		switch c := m.src[i]; {
		case c == shut:
			if level--; level == 0 {
				return i + 1
			}
		case c == open:
			level++
		}
	}
	return -1
}

func (m *matcher) backReference(s int, digit byte) int {
	i := int(digit) - '1'
	if i < 0 || i >= len(m.captures) || m.captures[i].length == captureOpen {
		m.fail("invalid capture index %%%c in pattern", digit)
	}
	text := m.src[m.captures[i].start : m.captures[i].start+max(m.captures[i].length, 0)]
	m.steps += len(text)
	if !strings.HasPrefix(m.src[s:], text) {
		return -1
	}
	return s + len(text)
}

// classEnd returns the end of the single-character item that begins at p.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			m.fail("malformed pattern (ends with '%%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			if p >= len(m.pat) {
				m.fail("malformed pattern (missing ']')")
			}
			c := m.pat[p]
			p++
			switch {
			case c == ']' && !first:
				return p
			case c == '%':
				p++
			}
		}
	}
	return p
}

// single says whether the byte at s matches the item pat[p:end].
func (m *matcher) single(s, p, end int) bool {
	m.step()
	if s >= len(m.src) {
		return false
	}
	c := m.src[s]
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return m.pat[p] == c
}

// inSet says whether c is in the set whose '[' is at p and whose ']' is at end.
func (m *matcher) inSet(c byte, p, end int) bool {
	p++
	want := true
	if m.pat[p] == '^' {
		want = false
		p++
	}
	for ; p < end; p++ {
		m.step()
		switch {
		case m.pat[p] == '%':
			p++
			if inClass(c, m.pat[p]) {
				return want
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return want
			}
			p += 2
		case m.pat[p] == c:
			return want
		}
	}
	return !want
}

// inClass says whether c is of class %class, in the C locale.
func inClass(c, class byte) bool {
	lower, upper := c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z'
	graph := c > ' ' && c < 0x7f
	var in bool
	switch class | 0x20 {
	case 'a':
		in = lower || upper
	case 'c':
		in = c < ' ' || c == 0x7f
	case 'd':
		in = isDigit(c)
	case 'g':
		in = graph
	case 'l':
		in = lower
	case 'p':
		in = graph && !lower && !upper && !isDigit(c)
	case 's':
		in = c == ' ' || c >= '\t' && c <= '\r'
	case 'u':
		in = upper
	case 'w':
		in = lower || upper || isDigit(c)
	case 'x':
		in = isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f'
	default:
		return class == c
	}
	if class >= 'A' && class <= 'Z' {
		return !in
	}
	if class < 'a' || class > 'z' {
		return class == c
	}
	return in
}

// value returns capture i of a match; i 0 without captures is the whole match.
func (m *matcher) value(i, start, end int) lua.LValue {
	if i >= len(m.captures) {
		if i > 0 {
			m.fail("invalid capture index %%%d", i+1)
		}
		return lua.LString(m.src[start:end])
	}
	switch c := m.captures[i]; c.length {
	case captureOpen:
		m.fail("unfinished capture")
		return lua.LNil
	case capturePosition:
		return lua.LNumber(c.start + 1)
	default:
		return lua.LString(m.src[c.start : c.start+c.length])
	}
}

// push pushes the captures of a match, or the whole match where the pattern has none, and returns how many.
func (m *matcher) push(start, end int) int {
	n := max(len(m.captures), 1)
	for i := range n {
		m.L.Push(m.value(i, start, end))
	}
	return n
}
