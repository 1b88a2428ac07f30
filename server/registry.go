package server

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// registry knows who is logged in, and who is bound to which resource.
type registry struct {
	mu sync.Mutex
	// sessions by bare JID. A session's resource is set under mu, and empty
	// until it is bound.
	sessions map[string][]*session
	// changed is when a user's password was changed here, by bare JID, for as
	// long as a login may take.
	changed map[string]time.Time
}

// add makes a session known that is not bound yet. asked is when its password
// was shown to the judge: if it was changed since, the session is ended.
func (r *registry) add(s *session, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bare := s.bareJID()
	r.sessions[bare] = append(r.sessions[bare], s)
	if at, ok := r.changed[bare]; ok && !at.Before(asked) {
		s.conn.end(passwordReset)
	}
}

// bind gives s, which was added, the wanted resource, or one of the server's
// choice if wanted is empty. Where the user has it already, policy decides: the
// older session is ended, or another resource is found, or taken is true and
// nothing is bound.
func (r *registry) bind(s *session, wanted string, policy Conflict) (taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wanted == "" {
		wanted = randomResource()
	}
	bare := s.bareJID()
	resource := wanted
	if old := r.find(bare, resource); old != nil {
		switch policy {
		case KickNew:
			return true
		case Increment:
			// One user with many sessions must not hold up everybody.
			used := make(map[string]bool, len(r.sessions[bare]))
			for _, other := range r.sessions[bare] {
				used[other.resource] = true
			}
			for n := 1; used[resource]; n++ {
				resource = wanted + "#" + strconv.Itoa(n)
			}
		case Random:
			resource = randomResource()
		default:
			r.drop(bare, old)
			old.conn.end(replaced)
		}
	}
	s.resource = resource
	return false
}

func (r *registry) find(bare, resource string) *session {
	for _, s := range r.sessions[bare] {
		if s.resource == resource {
			return s
		}
	}
	return nil
}

// remove forgets a session that ends. One that was replaced is not there.
func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(s.bareJID(), s)
}

func (r *registry) drop(bare string, s *session) {
	list := r.sessions[bare]
	if i := slices.Index(list, s); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(r.sessions, bare)
		return
	}
	r.sessions[bare] = list
}

// online says whether a user has a session that is bound.
func (r *registry) online(bare string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.sessions[bare], func(s *session) bool { return s.resource != "" })
}

// passwordChanged ends all sessions of s's user but s, whether bound or not,
// and those logins that are under way by the old password.
func (r *registry) passwordChanged(s *session) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	bare := s.bareJID()
	for _, other := range r.sessions[bare] {
		if other != s {
			other.conn.end(passwordReset)
		}
	}
	maps.DeleteFunc(r.changed, func(_ string, at time.Time) bool {
		return now.Sub(at) > 2*s.conn.config.LoginTimeout
	})
	r.changed[bare] = now
}

// randomResource is 12 URL-safe characters, as Prosody makes them.
func randomResource() string {
	var b [9]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
