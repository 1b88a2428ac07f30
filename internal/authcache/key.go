package authcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// sum stands for a question.
type sum [sha256.Size]byte

// key makes sums that nobody can make or foresee outside of this process. It is as long as a block of SHA-256.
type key [sha256.BlockSize]byte

// maxFields bounds what is hashed. No script is asked about more (package extauth: 1000 bytes a query).
const maxFields = 1024

func newKey() *key {
	k := new(key)
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// sum is HMAC-SHA-256 (RFC 2104) over the fields, of which all but the last are preceded by their length, so that no two
// questions are the same bytes. ok is false if the fields are too long.
//
// crypto/hmac does the same with six allocations, which hold a part of the password until they are collected; this is on
// the stack, a fifth of the time, and cleared. A test compares the two.
func (k *key) sum(user, host, password string) (s sum, ok bool) {
	if len(user)+len(host)+len(password) > maxFields {
		return sum{}, false
	}
	var space [len(k) + 4 + maxFields]byte
	b := space[:len(k)]
	for i := range k {
		b[i] = k[i] ^ 0x36
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(user))) // #nosec G115 -- at most maxFields
	b = append(b, user...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(host))) // #nosec G115 -- at most maxFields
	b = append(b, host...)
	b = append(b, password...)
	inner := sha256.Sum256(b)
	clear(b)
	b = space[:len(k)]
	for i := range k {
		b[i] = k[i] ^ 0x5c
	}
	return sha256.Sum256(append(b, inner[:]...)), true
}
