// Package token verifies the tokens of prosody-modules mod_auth_token at a given
// time, and each of them once.
//
// A token is made by a web application for one user, and a login with it needs
// no call back into that application:
//
//	8 digits   time-based one-time password: RFC 6238, SHA-1, steps of 30 s,
//	           from otp_seed, one step early or late allowed
//	32 digits  nonce
//	1 space
//	44 chars   standard base64 of HMAC-SHA-256 under token_secret over the 40
//	           digits followed by the user's bare JID
//
// [Verifier.Verify] compares in constant time and only then asks its
// [ReplayStore] whether the token was used before, so that strangers leave no
// trace in the store. [Replay] is the store of the daemon: used tokens are on
// disk before a login is granted. [Memory] forgets them when the program ends.
//
// Where we differ from the original, for reasons of safety: the nonce has
// exactly 32 digits, since nothing in the signed text separates it from the JID
// and a token for 7bob could be made of one for bob; nothing may stand before,
// between or after the parts; a used token is remembered until its one-time
// password has expired, whatever was used since, and across restarts.
//
// Goroutines: a Replay has one, which owns its file and ends in Close.
//
// The package does not prepare names, does not know which users exist and does
// not log.
package token
