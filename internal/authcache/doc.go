// Package authcache stands before what judges the passwords of one host, and spares it questions: equal ones that are in
// flight are asked once, and, if that is wanted, verdicts are remembered for a while.
//
// # Single flight
//
// Two questions are equal when user, host and password are, byte for byte. The first caller starts a flight, a goroutine
// that asks; others who come before the answer wait for the same one. What comes, yes, no or an error, is for all of them.
// A flight belongs to none of its callers: it has no deadline of theirs, and the end of one caller's context ends only
// that caller's wait. When the last one has gone, the flight's context is cancelled; what a script was already asked is
// seen through, but nobody joins it any more, and nothing is remembered of it.
//
// # Cache
//
// With [Settings] that are not zero a verdict is given again for as long as its life lasts, counted from the moment the
// question was put. A yes may be kept longer than it lives, for outages: then the script is asked, and only if nobody can
// say does the old yes count. The script's no ends every older yes to the same password. There are two stores, one of each
// verdict: strangers can fill that of the noes with their guesses, and only whoever has many good passwords the other. In
// both, a user has ten entries at most, and the oldest gives way.
//
// # What ends a verdict
//
// [Cache.Forget] and [Cache.Clear] are called when something has changed what is true: a password set, an account made or
// removed, another script. No verdict on a question put before is given to anybody who asks after they return: entries
// are gone, and flights go on for those who wait for them already, but take nobody else and leave nothing behind.
// Changes that were made elsewhere, in the operator's database, are not seen before the life of a verdict ends.
//
// # Secrets
//
// Passwords are kept nowhere but in the flights, which need them. All else knows a question by a keyed hash (HMAC-SHA-256
// with a random key of this process, over the fields framed by their lengths): a collision, which would let a wrong
// password in, cannot be found or made. Whoever has the entries without the key, in a part of a memory dump, can do
// nothing with them. Whoever has the whole memory of the process has the key too, and can try passwords at the speed of a
// fast hash; slow hashes would cost each login what they cost the attacker, and the passwords of the last logins may be
// found in such a dump anyway.
//
// # Goroutines
//
// One a flight. It ends with the question; [Cache.Close] waits for all of them. A panic of what is asked ends up in the
// callers' goroutines.
package authcache
