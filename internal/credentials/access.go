package credentials

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// secret is the hash of what somebody must present. The zero value is nobody's: no hash is zero.
type secret [sha256.Size]byte

func hash(text string) secret { return sha256.Sum256([]byte(text)) }

// access is who may have the tokens of a host.
type access struct{ basic, bearer secret }

// newAccess leaves out a way whose credentials are not all there.
func newAccess(h Host) (a access) {
	if h.User != "" && h.Password != "" {
		a.basic = hash(h.User + ":" + h.Password)
	}
	if h.Bearer != "" {
		a.bearer = hash(h.Bearer)
	}
	return a
}

// presented are the credentials that a request brings; those that it doesn't bring are the hash of nothing.
func presented(r *http.Request) access {
	var basic, bearer string
	if values := r.Header.Values("Authorization"); len(values) == 1 {
		if user, password, ok := r.BasicAuth(); ok {
			basic = user + ":" + password
		}
		// RFC 6750 section 2.1; the scheme is of any case, RFC 9110 section 11.1.
		if scheme, text, ok := strings.Cut(values[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			bearer = strings.TrimLeft(text, " ")
		}
	}
	return access{hash(basic), hash(bearer)}
}

// admits takes the same time for everything that is wrong: what is compared are hashes, both of them always.
func (a access) admits(p access) bool {
	return subtle.ConstantTimeCompare(a.basic[:], p.basic[:])|subtle.ConstantTimeCompare(a.bearer[:], p.bearer[:]) == 1
}
