package authcache

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
)

func TestKey_isHMAC(t *testing.T) {
	k := newKey()
	for _, q := range [][3]string{
		{"alice", "example.org", "secret"}, {"", "", ""}, {"a", "b", strings.Repeat("x", maxFields-2)}, {"ä\x00", "ö", "\xff"},
	} {
		h := hmac.New(sha256.New, k[:])
		for i, field := range q {
			if i < 2 {
				h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(field))))
			}
			h.Write([]byte(field))
		}
		if got, ok := k.sum(q[0], q[1], q[2]); !ok || string(got[:]) != string(h.Sum(nil)) {
			t.Errorf("%.20q: %x, %v; crypto/hmac has %x", q, got, ok, h.Sum(nil))
		}
	}
	if _, ok := k.sum("a", "b", strings.Repeat("x", maxFields-1)); ok {
		t.Error("too long a question was hashed")
	}
	other, _ := newKey().sum("alice", "example.org", "secret")
	if ours, _ := k.sum("alice", "example.org", "secret"); ours == other {
		t.Error("two keys make the same sum")
	}
}

// FuzzKey looks for two questions that are not told apart.
func FuzzKey(f *testing.F) {
	f.Add("alice", "example.org", "secret", "alice", "example.org", "secret")
	f.Add("alice", "example.org", "secret", "aliceexample", ".org", "secret")
	f.Add("a", "", "b", "", "a", "b")
	f.Add("a", "b\x00\x01", "c", "a", "b", "\x00\x01c")
	k := newKey()
	f.Fuzz(func(t *testing.T, user1, host1, password1, user2, host2, password2 string) {
		a, okA := k.sum(user1, host1, password1)
		b, okB := k.sum(user2, host2, password2)
		same := user1 == user2 && host1 == host2 && password1 == password2
		if okA && okB && (a == b) != same {
			t.Errorf("%q and %q", []string{user1, host1, password1}, []string{user2, host2, password2})
		}
	})
}
