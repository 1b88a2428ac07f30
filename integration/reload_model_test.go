package integration

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// world is everything that logins can see of a config and of what it names, at one time. It is not changed once it is in
// a history.
type world struct {
	sites     map[string]site // by host
	extraPort bool            // the port that comes and goes is open
	settings  options         // global options that no login sees
}

// site is a host of a world.
type site struct {
	plain, token   bool // the mechanisms that are offered
	accounts       map[string]string
	secrets, seeds []string // of tokens, the newest first
	serial         string   // of the certificate

	script, protocol string  // the script's file name and protocol; empty without one
	options          options // that no login sees
}

// try is one login as its client saw it.
type try struct {
	host, mechanism, user, secret string
	key                           tokenKeys // what a token was made with
	spoilt                        bool      // the token is no good
	used                          bool      // and was accepted before
	extraPort                     bool      // over the port that comes and goes

	outcome string
	serial  string // of the certificate that was shown; empty if none was
}

// What a try can come to, beside the conditions of SASL failures.
const (
	letIn       = "success"
	hostUnknown = "stream error host-unknown"
	hostGone    = "stream error host-gone"
	cutOff      = "the connection ended"
	notOpen     = "connection refused"
)

// expected is the only outcome that is right as long as nothing changes.
func (w *world) expected(a *try) string {
	s, served := w.sites[a.host]
	switch {
	case a.extraPort && !w.extraPort:
		return notOpen
	case !served:
		return hostUnknown
	case a.mechanism == "PLAIN" && !s.plain || a.mechanism == "X-TOKEN" && !s.token:
		return "invalid-mechanism"
	case a.mechanism == "PLAIN" && s.accounts[a.user] == a.secret && a.secret != "":
		return letIn
	case a.mechanism == "X-TOKEN" && !a.spoilt && !a.used &&
		slices.Contains(s.secrets, a.key.secret) && slices.Contains(s.seeds, a.key.seed):
		return letIn
	}
	return "not-authorized"
}

// explained says whether the config explains an outcome, when it went through these worlds during the try. It is what any
// one of them calls for, and no more than this beside it:
//   - a host that is added or removed meanwhile may be unknown at first or gone at the end (host-gone; in the middle of a
//     TLS handshake, where nobody would understand that, the connection ends);
//   - a port that is closed meanwhile cuts off those who were not let in yet, or they go on as on one that stays: what else
//     changed with it holds for them.
func explained(worlds []*world, a *try) bool {
	served, open, offered := 0, 0, 0
	serial := a.serial == ""
	for _, w := range worlds {
		s, ok := w.sites[a.host]
		if ok {
			served++
		}
		if a.mechanism == "PLAIN" && s.plain || a.mechanism == "X-TOKEN" && s.token {
			offered++
		}
		if w.extraPort {
			open++
		}
		// A direct TLS connection to a host that is not served is shown some other host's.
		serial = serial || !ok || s.serial == a.serial
	}
	comesOrGoes := served > 0 && served < len(worlds)
	closes := a.extraPort && open < len(worlds)
	switch a.outcome {
	case hostGone:
		return comesOrGoes
	case cutOff:
		return comesOrGoes || closes
	case "temporary-auth-failure":
		return offered > 0 && offered < len(worlds)
	}
	inside := *a // who has come in by the port while it was open
	inside.extraPort = a.extraPort && open == 0
	return serial && slices.ContainsFunc(worlds, func(w *world) bool {
		return w.expected(a) == a.outcome || w.expected(&inside) == a.outcome
	})
}

// history is the worlds that there were. Those from first on may answer now.
type history struct {
	mu     sync.Mutex // guards the fields below
	worlds []*world
	first  int
}

// begin adds a world that may answer from now on.
func (h *history) begin(w *world) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.worlds = append(h.worlds, w)
}

// settle says that only the newest world answers from now on.
func (h *history) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first = len(h.worlds) - 1
}

// now returns the newest world, and the number of the first that may answer now.
func (h *history) now() (newest *world, first int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.worlds[len(h.worlds)-1], h.first
}

// since returns the worlds from a number on.
func (h *history) since(first int) []*world {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.worlds[first:]
}

// score is what became of all tries.
type score struct {
	mu         sync.Mutex // guards the fields below
	counts     map[string]int
	unexpected []string
	overlapped int // tries during which something changed
	slowest    time.Duration
}

func (s *score) add(worlds []*world, a *try, took time.Duration) {
	ok := explained(worlds, a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[fmt.Sprintf("%-7s %s", a.mechanism, a.outcome)]++
	s.slowest = max(s.slowest, took)
	if len(worlds) > 1 {
		s.overlapped++
	}
	if !ok {
		var want []string
		for _, w := range worlds {
			want = append(want, w.expected(a)+" (certificate "+w.sites[a.host].serial+")")
		}
		s.unexpected = append(s.unexpected, fmt.Sprintf("%s %s of %s@%s, used %v, spoilt %v, extra port %v, in %v: got %q (certificate %q), want one of %q",
			time.Now().Format("15:04:05.000"), a.mechanism, a.user, a.host, a.used, a.spoilt, a.extraPort, took, a.outcome, a.serial, want))
	}
}

// judge fails the test if the config does not explain an outcome.
func (s *score) judge(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.unexpected[:min(len(s.unexpected), 20)] {
		t.Error(text)
	}
	if n := len(s.unexpected); n > 0 {
		t.Errorf("%d logins had an outcome that the config does not explain", n)
	}
}

// total is how many tries there were, and how many of them were let in.
func (s *score) total() (all, in int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, n := range s.counts {
		all += n
		if what[8:] == letIn {
			in += n
		}
	}
	return all, in
}
