package guard

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// hasher makes of names what Counters may see, by a key.
type hasher struct{ key [KeySize]byte }

func newHasher() (h hasher) {
	_, _ = rand.Read(h.key[:]) // never fails, since Go 1.24
	return h
}

// sum hashes parts, of which the first says what it is about. It is the beginning of SHA-256, which nobody who has it can
// go on from without the key.
func (h *hasher) sum(kind byte, address netip.Prefix, parts ...string) uint64 {
	var room [256]byte
	a := address.Addr().As16()
	b := append(append(append(room[:0], h.key[:]...), kind), a[:]...)
	for _, part := range parts {
		b = append(append(b, part...), 0) // which is in no name
	}
	sum := sha256.Sum256(b)
	clear(b) // of the secret
	return binary.BigEndian.Uint64(sum[:])
}

// not0 is a hash that stands for somebody.
func not0(sum uint64) uint64 { return max(sum, 1) }

func (h *hasher) address(prefix netip.Prefix) uint64 { return not0(h.sum('a', prefix)) }

func (h *hasher) user(user, host string) uint64 { return not0(h.sum('u', netip.Prefix{}, user, host)) }

// attempt is all that an attempt is counted by. Of the secret it has too little to find it by.
func (h *hasher) attempt(prefix netip.Prefix, user, host, secret string) Attempt {
	return Attempt{
		Address: h.address(prefix), User: h.user(user, host),
		Mark: uint16(h.sum('s', prefix, user, host, secret)), // #nosec G115 -- part of it
	}
}

// origin is what counts as one address: an address of IPv4, a /64 of IPv6. What is none of both is one as well.
func origin(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
