package saslmech

import (
	"errors"
	"strings"
)

var errAuthzid = errors.New("authzid is not the user's own bare JID")

// AuthzidOK returns nil if a client that proved to be user at host may act as
// authzid, otherwise a failure with the condition invalid-authzid. It may if
// authzid is empty, its own bare JID, or its own name alone, which some clients
// send and Prosody accepts; authzid is prepared before it is compared. user and
// host are prepared already.
func AuthzidOK(authzid, user, host string) *Failure {
	if authzid == "" {
		return nil
	}
	local, domain, found := strings.Cut(authzid, "@")
	if found {
		if domain, err := Nameprep(domain); err != nil || domain != host {
			return &Failure{Condition: InvalidAuthzid, Cause: errAuthzid}
		}
	}
	if local, err := Nodeprep(local); err != nil || local != user {
		return &Failure{Condition: InvalidAuthzid, Cause: errAuthzid}
	}
	return nil
}
