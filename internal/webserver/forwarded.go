package webserver

import (
	"errors"
	"strings"
)

// A hop is what one proxy says in a Forwarded header of the one before it. Either may be empty.
type hop struct{ node, proto string }

var errForwarded = errors.New("cannot read the header Forwarded")

// parseForwarded reads the value of a Forwarded header (RFC 7239 §4), farthest hop first. Values that need quotes and have
// none are let pass, as many proxies write them.
func parseForwarded(value string) ([]hop, error) {
	var hops []hop
	var h hop
	var seen []string // parameters of h; each may be there once
	p := parser(value)
	for {
		p.space()
		switch {
		case p.take(','), p == "":
			if len(seen) > 0 {
				hops = append(hops, h)
				h, seen = hop{}, seen[:0]
			}
			if p == "" {
				return hops, nil
			}
			continue
		case p.take(';'):
			continue
		}
		name, value, ok := p.pair()
		if !ok {
			return nil, errForwarded
		}
		name = strings.ToLower(name)
		for _, other := range seen {
			if other == name {
				return nil, errForwarded
			}
		}
		seen = append(seen, name)
		if len(seen) > 16 { // there are four
			return nil, errForwarded
		}
		switch name {
		case "for":
			h.node = value
		case "proto":
			h.proto = value
		}
		p.space()
		if p != "" && p[0] != ';' && p[0] != ',' {
			return nil, errForwarded
		}
	}
}

// A parser is what is left to read.
type parser string

func (p *parser) space() { *p = parser(strings.TrimLeft(string(*p), " \t")) }

func (p *parser) take(b byte) bool {
	if *p == "" || (*p)[0] != b {
		return false
	}
	*p = (*p)[1:]
	return true
}

// word takes what has none of the bytes that mean something.
func (p *parser) word() string {
	s := string(*p)
	end := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`",;=\`, r) })
	if end < 0 {
		end = len(s)
	}
	*p = parser(s[end:])
	return s[:end]
}

// pair takes name=value, where the value may be quoted.
func (p *parser) pair() (name, value string, ok bool) {
	name = p.word()
	if name == "" || !p.take('=') {
		return "", "", false
	}
	if !p.take('"') {
		value = p.word()
		return name, value, value != ""
	}
	var b strings.Builder
	for *p != "" {
		switch {
		case p.take('"'):
			return name, b.String(), true
		case p.take('\\') && *p == "": // else the byte behind it stands for itself
			return "", "", false
		}
		b.WriteByte((*p)[0])
		*p = (*p)[1:]
	}
	return "", "", false
}
