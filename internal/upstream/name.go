package upstream

import (
	"golang.org/x/text/secure/precis"

	"gatehouse.im/gatehouse/saslmech"
)

// isStable reports whether every server takes user for the same name. Servers
// prepare names by nodeprep (RFC 3920), as Prosody and ejabberd do, or by
// UsernameCaseMapped (RFC 7622 §3.3, RFC 8265 §3.3); a name that one of them
// changes or refuses is not stable.
func isStable(user string) bool {
	if isPlain(user) {
		return true
	}
	if user == "" {
		return false
	}
	node, err := saslmech.Nodeprep(user)
	if err != nil || node != user {
		return false
	}
	mapped, err := precis.UsernameCaseMapped.String(user)
	return err == nil && mapped == user
}

// isPlain reports whether user is made of ASCII that nobody changes.
func isPlain(user string) bool {
	for i := range len(user) {
		c := user[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return user != "" && len(user) <= 256
}
