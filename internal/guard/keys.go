package guard

import (
	"hash/maphash"
	"net/netip"
)

// Key names a counter, by hashes with the process's key.
type Key struct {
	ID uint64
	// Address and User say whose counter it is, 0 for that of all; [Counters.Forgive] finds it by them.
	Address, User uint32
}

// hasher makes keys.
type hasher struct{ seed maphash.Seed }

// sum hashes parts, of which the first says what it is about.
func (h hasher) sum(kind byte, address netip.Prefix, parts ...string) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	_ = m.WriteByte(kind)
	a := address.Addr().As16()
	_, _ = m.Write(a[:])
	for _, part := range parts {
		_, _ = m.WriteString(part)
		_ = m.WriteByte(0) // is in no name
	}
	return m.Sum64()
}

func (h hasher) address(prefix netip.Prefix) uint32 { return tag(h.sum('a', prefix)) }

func (h hasher) user(user, host string) uint32 { return tag(h.sum('u', netip.Prefix{}, user, host)) }

// tag is part of a hash that stands for somebody, and is not 0.
func tag(sum uint64) uint32 { return max(uint32(sum), 1) } // #nosec G115 -- part of it

// keys are all that an attempt is counted by.
func (h hasher) keys(prefix netip.Prefix, user, host, secret string) (keys [reasons]Key) {
	a, u := h.address(prefix), h.user(user, host)
	mark := uint16(h.sum('s', prefix, user, host, secret)) // #nosec G115 -- too little to find the secret by
	keys[Secret] = Key{h.sum('m', prefix, user, host, string([]byte{byte(mark), byte(mark >> 8)})), a, u}
	keys[Pair] = Key{h.sum('p', prefix, user, host), a, u}
	keys[Address] = Key{h.sum('A', prefix), a, 0}
	keys[User] = Key{h.sum('U', netip.Prefix{}, user, host), 0, u}
	return keys
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
