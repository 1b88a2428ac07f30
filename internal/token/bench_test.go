package token

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// A login's own cost: everything but the store.
func BenchmarkVerify_noStore(b *testing.B) {
	key := testKey(b)
	v := newVerifier(b, brokenStore{}, key)
	token := mint(b, key, alice, testTime, testNonce)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := v.Verify(token, alice, testTime); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkVerify_replayed(b *testing.B) {
	key := testKey(b)
	v := newVerifier(b, new(Memory), key)
	token := mint(b, key, alice, testTime, testNonce)
	check(b, v, token, alice, testTime, true)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := v.Verify(token, alice, testTime); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkVerify_refused(b *testing.B) {
	key := testKey(b)
	v := newVerifier(b, new(Memory), key)
	token := mint(b, key, "bob@xmpp.example", testTime, testNonce)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := v.Verify(token, alice, testTime); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// fresh is a supply of unused tokens that does not run out: the clock moves on
// one window each time it has been through.
type fresh struct {
	tokens []string
	times  []time.Time
	next   atomic.Int64
}

func newFresh(b *testing.B, key Key, n int) *fresh {
	f := &fresh{}
	for i := range n {
		at := testTime.Add(time.Duration(i/1000) * step * time.Second)
		f.tokens = append(f.tokens, mint(b, key, alice, at, NewNonce()))
		f.times = append(f.times, at)
	}
	return f
}

func (f *fresh) verify(b *testing.B, v *Verifier) {
	i := int(f.next.Add(1)-1) % len(f.tokens)
	if _, err := v.Verify(f.tokens[i], alice, f.times[i]); err != nil {
		b.Error(err)
	}
}

func BenchmarkVerify_memory(b *testing.B) {
	key := testKey(b)
	f := newFresh(b, key, 200_000)
	v := newVerifier(b, new(Memory), key)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(f.tokens) == 0 {
			v = newVerifier(b, new(Memory), key)
		}
		f.verify(b, v)
	}
}

func BenchmarkVerify_file(b *testing.B) {
	key := testKey(b)
	f := newFresh(b, key, 200_000)
	r := openReplay(b, filepath.Join(b.TempDir(), "replay.db"))
	v := newVerifier(b, r, key)
	b.ReportAllocs()
	for b.Loop() {
		f.verify(b, v)
	}
}

func BenchmarkVerify_fileParallel(b *testing.B) {
	key := testKey(b)
	f := newFresh(b, key, 200_000)
	r := openReplay(b, filepath.Join(b.TempDir(), "replay.db"))
	v := newVerifier(b, r, key)
	b.ReportAllocs()
	b.SetParallelism(50) // logins at a time, for each core
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.verify(b, v)
		}
	})
}
