package main

import (
	"strings"

	"gatehouse.im/gatehouse/saslmech"
)

// bareJID takes user@host apart and prepares both, as at a login. It says false of
// what is not of that form, and of names that XMPP does not allow.
func bareJID(text string) (user, host string, ok bool) {
	name, domain, found := strings.Cut(text, "@")
	user, errUser := saslmech.Nodeprep(name)
	host, errHost := saslmech.Nameprep(domain)
	return user, host, found && errUser == nil && errHost == nil && user != "" && host != ""
}
