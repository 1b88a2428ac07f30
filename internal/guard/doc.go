// Package guard keeps people from guessing passwords. It counts logins that were refused for their password or token, and
// says of each attempt whether it may be made, has to wait, or is turned away without anybody being asked.
//
// There are four counts, which fade by half with each half-life:
//
//   - of a pair, an address with a user: somebody guesses one user's password. An address is one of IPv4, or a /64 of IPv6.
//   - of an address, over all users: somebody tries a few common passwords on many users.
//   - of a user, over all addresses: many machines guess one user's password.
//   - of a secret, the same wrong password of a pair: no guessing, but a client that does not know of a new password.
//     Only the first of them counts for the other three, or such a client would lock its user out at home.
//
// From half of its limit on a count makes attempts wait; past the limit they are turned away. What is turned away is not
// counted, so whoever goes on is let to a guess whenever enough has faded. A place is taken before the question is put and
// settled afterwards: of any number of attempts at a time no more get through than there are places; the others wait until
// it is known what became of those. A question that nobody could answer gives its place back.
//
// A login that succeeds takes back what its own pair has added to the counts, and no more: an attacker with an account of
// his own does not get rid of his guesses at others. The address is then known for that user, and judged there by the
// counts of pair and secret alone: nobody outside can lock users out at the addresses where they are at home. Only who
// guesses a user's password from the user's own address can, there.
//
// Addresses, names and secrets are kept as hashes with a secret key, of a secret 16 bits of one. Memory is bounded:
// [Memory] drops a low count for a new one, so to make it forget a high one takes more failures than are forgotten. What
// is known of a user are his last eight addresses, whoever else logs in. [Guard.Save] writes it all to a file, with the key.
//
// Several gatehouses can have the same [Counters]: [Guard.Share]. The guard's own memory then follows what it is told of
// each attempt, and judges alone while the others cannot be asked. Otherwise it does not judge beside them, since a success
// elsewhere makes good what it has counted; but for counts that hold what the others never heard of, which judge on here
// until they have faded. So a guesser gains one limit at each front by outages, however many, and nothing is to be merged.
//
// The package starts no goroutine, and waits for nothing but shared Counters: [Guard.Try] says how long to wait.
package guard
