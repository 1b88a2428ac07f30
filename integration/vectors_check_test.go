package integration

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// slack is how many seconds a step may take beyond what it has to on a busy machine.
const slack = 2.5

// check compares what a step gave with what it has to give and returns the differences.
func check(w *want, g *got, s *vectorStep) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	differs := func(what string, allowed oneOf, value string) {
		if !allowed.allows(value) {
			say("%s is %q, want %s", what, value, strings.Join(allowed, " or "))
		}
	}
	differs("kind", w.Kind, g.kind)
	differs("condition", w.Condition, g.cond)
	differs("type", w.Type, g.typ)
	differs("error type", w.ErrorType, g.errType)
	differs("stream", w.Stream, g.stream)
	differs("payload", w.Payload, g.payload)
	for _, jid := range w.JID {
		if !sameJID(jid, g.jid, s) {
			say("jid is %q, want %q", g.jid, jid)
		}
	}
	// The original offers STARTTLS after the login as well, and the notes of the case about using it say that not
	// doing so is right.
	if !g.authed || g.tls != "absent" {
		differs("starttls", w.StartTLS, g.tls)
	}
	if w.Mechanisms != nil && !slices.Equal(sorted(*w.Mechanisms), sorted(g.mechs)) {
		say("mechanisms are %q, want %q", g.mechs, *w.Mechanisms)
	}
	wrong = append(wrong, checkHeader(w, g)...)
	wrong = append(wrong, checkScript(w, g)...)
	for i, then := range w.Then {
		differs("what follows", then.Kind, g.then[i])
	}
	if w.Max > 0 && g.seconds > w.Max {
		say("took %.2f s, at most %.2f s are right", g.seconds, w.Max)
	}
	if w.About > 0 && g.seconds > w.About+slack {
		say("took %.2f s, about %.2f s are right", g.seconds, w.About)
	}
	return wrong
}

func checkHeader(w *want, g *got) []string {
	if w.Header == nil {
		return nil
	}
	if g.header == nil {
		return []string{"no stream header"}
	}
	var wrong []string
	for name, value := range w.Header {
		attr := g.header.Attr(name)
		switch {
		case name == "id" && value == "":
			// The original leaves the id of a stream empty that it refuses; any id will do.
		case name == "from" && g.kind == "stream-error":
			// The original repeats what it was called; a server that does not go by that name need not.
		case name == "id":
			if attr == "" {
				wrong = append(wrong, "stream header without an id")
			}
		case attr != value:
			wrong = append(wrong, fmt.Sprintf("stream header has %s=%q, want %q", name, attr, value))
		}
	}
	return wrong
}

func checkScript(w *want, g *got) []string {
	if w.ScriptCalled != nil && *w.ScriptCalled != (len(g.script) > 0) {
		return []string{fmt.Sprintf("script received %q, called has to be %v", g.script, *w.ScriptCalled)}
	}
	if w.ScriptHex != nil && *w.ScriptHex != hex.EncodeToString(g.script) {
		right, _ := hex.DecodeString(*w.ScriptHex)
		return []string{fmt.Sprintf("script received %q, want %q", g.script, right)}
	}
	return nil
}

// serverMade is what the original's own resources look like.
var serverMade = regexp.MustCompile(`^[A-Za-z0-9_-]{12}$`)

// sameJID compares full JIDs. A resource of the server's choice only has to be there.
func sameJID(right, jid string, s *vectorStep) bool {
	bare, resource, _ := strings.Cut(right, "/")
	chosen := s.Resource != nil && *s.Resource == resource
	if !chosen && serverMade.MatchString(resource) {
		gotBare, gotResource, _ := strings.Cut(jid, "/")
		return gotBare == bare && gotResource != "" && (s.Resource == nil || gotResource != *s.Resource)
	}
	return jid == right
}

func sorted(s []string) []string {
	return slices.Sorted(slices.Values(s))
}
