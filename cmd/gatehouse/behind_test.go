package main

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/internal/upstream"
)

// A token that came in the place of the password was judged as one, and used up:
// it is nobody's password at the server behind, and none of its business.
func TestCredentials_tokenIsNoPassword(t *testing.T) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	minted, err := token.Mint(token.Key{Secret: secret, Seed: secret}, "alice@example.org", time.Now(), token.NewNonce())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		keys     *config.Token
		password string
		passed   bool
	}{
		{"a password", &config.Token{InPlain: true}, "secret", true},
		{"nothing", &config.Token{InPlain: true}, "", false},
		{"a token", &config.Token{InPlain: true}, minted, false},
		{"what the script took for a password", &config.Token{}, minted, true},
		{"without tokens", nil, minted, true},
	} {
		h := &config.Host{Token: c.keys, Upstream: &config.Upstream{Auth: config.UpstreamAuthPassword}}
		got, err := shownBehind(h, nil)(context.Background(), "alice", "example.org", c.password)
		want := upstream.Credential{Mechanism: upstream.Plain, Secret: c.password}
		if !c.passed {
			want = upstream.Credential{}
		}
		if got != want || errors.Is(err, errNoPassword) == c.passed {
			t.Errorf("%s: passed on: %v, %v", c.name, got == upstream.Credential{Mechanism: upstream.Plain, Secret: c.password}, err)
		}
	}
}
