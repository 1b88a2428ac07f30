// Package state keeps in a Redis what several fronts must know of each other: which tokens have been used, which tickets
// are good, and who has guessed. Any of them may judge a token or a ticket, and one of them says yes, once.
//
// A [Store] is a client of a lone Redis, of one watched by Sentinels, or of a Cluster, by go-redis. All its keys lie in one
// hash slot, and each question is one Lua script, so that nothing of ours has to be locked:
//
//	{PREFIX}:memory        hash  what is known of the Redis itself, see below; never expires
//	{PREFIX}:used:ID       string  a token that was used, until it has expired; ID is a SHA-256, the value a random number
//	{PREFIX}:ticket:HASH   string  the owner of a ticket, for ten seconds; both are SHA-256
//	{PREFIX}:guard:counts:N    hash  counts of the guard, 1024 in each of 64, see guard.lua; for 28 half-lives
//	{PREFIX}:guard:known:HASH  zset  where a user was seen last and when, eight addresses, for 30 days
//
// A token is used once by SET with NX, and what remains of its life. That alone would not do, since a Redis can forget: it
// restarts with an old snapshot or with nothing, a replica takes over that lacks the last writes, somebody empties it, it
// evicts keys, its clock jumps. So the script compares what the Redis says of itself (INFO: run_id, evicted_keys, and its
// clock) with what {PREFIX}:memory says of before. If it may have forgotten something, a token is refused that was good
// already at that time, with [ErrHeld]; nobody can say whether it was used. Tokens made later are none the worse, so that
// this is over in at most [Hold]. A Redis that is durable, says the config, is trusted to remember after a restart.
//
// Tokens name moments, by their one-time passwords. The clocks of the fronts and of the Redis may differ by [MaxSkew]; from a
// front whose clock is further away no token is taken.
//
// [Counters] are hints, not verdicts: they begin anew in a Redis that has forgotten, and the front has its own beside them.
// So a login waits for them for a quarter of a second, once.
//
// A Store has one goroutine, which asks the Redis how it is every two seconds, and ends in Close. Nothing is cached: a
// token that could not be written is not judged.
package state
