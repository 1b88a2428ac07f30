package authapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// Access is who may ask. The zero value is nobody.
type Access struct {
	trusted        bool
	user, password [sha256.Size]byte // those of nobody are zero, which no hash is
}

// Trusted is whoever can connect: for a unix socket, whose file mode is the permission.
func Trusted() Access { return Access{trusted: true} }

// Basic is who has a name and a password (RFC 7617). If one of them is empty it is nobody.
func Basic(user, password string) Access {
	if user == "" || password == "" {
		return Access{}
	}
	return Access{user: sha256.Sum256([]byte(user)), password: sha256.Sum256([]byte(password))}
}

// admits takes the same time for every wrong name and password: what is compared are hashes, both of them always.
func (a Access) admits(r *http.Request) bool {
	if a.trusted {
		return true
	}
	user, password, ok := r.BasicAuth()
	userHash, passwordHash := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	same := subtle.ConstantTimeCompare(userHash[:], a.user[:]) & subtle.ConstantTimeCompare(passwordHash[:], a.password[:])
	return ok && same == 1
}
