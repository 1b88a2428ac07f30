// Package credentials gives tokens to web applications, over HTTP, so that their pages can log their users in:
//
//	POST /credentials  user=alice&server=example.org
//	{"jid":"alice@example.org","password":"<a fresh token>"}
//
// which is what Converse.js wants from its credentials_url. The fields are application/x-www-form-urlencoded in the body.
// The web application's server asks, which knows who is logged in there, and hands the answer to the page: a page cannot
// ask by itself, since whoever knows the credentials of a [Host] may log in as any user of it. So there is no GET, no CORS,
// and what a browser sends for a page of another site is refused.
//
// An answer is 200 only with a token in it. Everything else is a sentence of text: 400 for a request that is not understood
// or names no possible user, 401 for wrong credentials, 403 for pages of other sites, 404 for a host that gives no tokens
// here, 405 for anything but POST, 429 with Retry-After for too many requests, and 503 with Retry-After when no token could be
// made. None of it may be cached.
//
// Three things are counted, in bounded memory: tokens for one user ([Host].PerMinute), tokens in all (500 a second), and wrong
// credentials from one address (one a second, of which 60 may come at once). Beyond the last the right credentials are not
// looked at either, so that guessing is of no use; they are again after the seconds that Retry-After says.
//
// Names are prepared as at a login ([saslmech.SASLprep], [saslmech.Nodeprep]), so that a token fits the user who will show
// it. Whether there is such a user nobody asks: a login will.
//
// The package starts no goroutine, and does not listen.
package credentials
