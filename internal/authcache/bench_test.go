package authcache

import (
	"context"
	"testing"
	"time"
)

// What the way through the cache costs beside the question itself, which takes a script some 30 µs at its best.
func BenchmarkAuthenticate(b *testing.B) {
	ctx := context.Background()
	yes := func(context.Context, string, string, string) (int, bool, error) { return 1, true, nil }
	b.Run("asked directly", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = yes(ctx, "alice", "example.org", "correct horse battery staple")
		}
	})
	for name, s := range map[string]Settings{"alone": {}, "remembered": {Yes: time.Hour, Entries: 1000}} {
		b.Run(name, func(b *testing.B) {
			c := New(yes)
			defer c.Close()
			c.Set(s)
			b.ReportAllocs()
			for b.Loop() {
				if a, err := c.Authenticate(ctx, "alice", "example.org", "correct horse battery staple"); err != nil || !a.Yes {
					b.Fatal(a, err)
				}
			}
		})
	}
	b.Run("hash", func(b *testing.B) {
		k := newKey()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = k.sum("alice", "example.org", "correct horse battery staple")
		}
	})
}
