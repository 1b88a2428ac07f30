package integration

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// Scripts that know alice only, and take the same time for everybody.
const (
	fairScript = `#!/bin/sh
while read -r q; do
	case $q in auth:alice:*:secret) echo 1 ;; *) echo 0 ;; esac
done
`
	fairEjabberdScript = `#!/usr/bin/python3
import sys
i, o = sys.stdin.buffer, sys.stdout.buffer
while size := i.read(2):
    q = i.read(int.from_bytes(size, "big")).split(b":", 3)
    o.write(b"\0\2\0" + bytes([q[1] == b"alice" and q[3] == b"secret"]))
    o.flush()
`
	// unfairScript works for whom it knows, as scripts do that hash the password only then.
	unfairScript = `#!/bin/sh
while read -r q; do
	case $q in
	auth:alice:*:secret) echo 1 ;;
	auth:alice:*) n=0; while [ $n -lt 5000 ]; do n=$((n + 1)); done; echo 0 ;;
	*) echo 0 ;;
	esac
done
`
)

// TestSameAnswer: whether a user exists shows neither in the words of a refusal nor in its time, as far as the script takes
// the same time for both.
func TestSameAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"fair": fairScript, "ejabberd": fairEjabberdScript, "unfair": unfairScript} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	external := func(script string, more ...any) options {
		o := options{"authentication": "external", "external_auth_command": "./" + script}
		for i := 0; i < len(more); i += 2 {
			o[more[i].(string)] = more[i+1]
		}
		return o
	}
	keys := []any{"token_secret", hostKeys.secret, "otp_seed", hostKeys.seed, "gatehouse_token_check_user", true, "gatehouse_token_in_plain", true}
	config := writeConfig(t, dir, []host{
		{"generic.test", external("fair")},
		{"pipe.test", external("fair", "gatehouse_external_auth_pty", false)},
		{"ejabberd.test", external("ejabberd", "external_auth_protocol", "ejabberd")},
		{"cache.test", external("fair", "gatehouse_auth_cache", true)},
		{"noes.test", external("fair", "gatehouse_auth_cache", true, "gatehouse_auth_cache_no", 300)},
		{"token.test", external("fair", keys...)},
		{"unfair.test", external("unfair")},
	}, baseOptions(dir), options{
		// The guard counts, and knows where alice is at home, but has nothing to say yet.
		"gatehouse_guard_allow": []any{}, "gatehouse_guard_attempts": 1000000,
		"gatehouse_guard_address_attempts": 1000000, "gatehouse_guard_user_attempts": 1000000,
	})
	d := start(t, config)
	address := d.address(t, "direct")
	wrong := func(n int) string { return fmt.Sprintf("wrong%06d", n) }
	forged := func(host string) func(int) string {
		return func(int) string {
			return freshToken(t, strings.Repeat("x", 32), hostKeys.seed, "alice@"+host)
		}
	}
	for _, test := range []struct {
		name, host, mechanism string
		secret                func(n int) string
		differs               bool
	}{
		{"terminal", "generic.test", "PLAIN", wrong, false},
		{"pipe", "pipe.test", "PLAIN", wrong, false},
		{"ejabberd", "ejabberd.test", "PLAIN", wrong, false},
		{"with a cache", "cache.test", "PLAIN", wrong, false},
		{"from the cache", "noes.test", "PLAIN", func(int) string { return "wrong" }, false},
		{"forged token", "token.test", "X-TOKEN", forged("token.test"), false},
		{"forged token in PLAIN", "token.test", "PLAIN", forged("token.test"), false},
		// What cannot be hidden, and the proof that this test would see it.
		{"script that works for some", "unfair.test", "PLAIN", wrong, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			expectAuth(t, "alice", d.address(t, "starttls"), test.host, "PLAIN", plain("alice", "secret"), "success")
			s := refusals(t, address, test.host, test.mechanism, test.secret)
			if len(s.known.words) != 1 || !maps.Equal(s.known.words, s.unknown.words) {
				t.Errorf("who exists is told %v, who does not %v", s.known.words, s.unknown.words)
			}
			differs, figures := s.differ()
			t.Log(figures)
			if differs != test.differs {
				t.Errorf("the times differ: %t, want %t: %s", differs, test.differs, figures)
			}
		})
	}
	d.stop(t)
}

// TestSameAnswer_words: nor does it in the words of whatever else may come of an attempt, or of many.
func TestSameAnswer_words(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fair"), []byte(fairScript), 0o755); err != nil {
		t.Fatal(err)
	}
	hosts := []host{{"example.test", options{"authentication": "external", "external_auth_command": "./fair"}}}
	d := start(t, writeConfig(t, dir, hosts, baseOptions(dir), options{
		"gatehouse_guard_allow": []any{}, "gatehouse_guard_attempts": 3, "gatehouse_guard_address_attempts": 0, "gatehouse_guard_delay": 0,
	}))
	for _, test := range []struct{ name, mechanism, secret, ends string }{
		{"no password", "PLAIN", "", "malformed-request"},
		{"a password that nobody can have", "PLAIN", "\a", "malformed-request"},
		{"a very long one", "PLAIN", strings.Repeat("x", 2000), "malformed-request"},
		{"a mechanism that is not offered", "X-TOKEN", "secret", "invalid-mechanism"},
		{"guessing", "PLAIN", "", "temporary-auth-failure"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told [2]string
			for i, user := range []string{"alice", "zelda"} {
				client, err := dial(t, d.address(t, "starttls"), "starttls", "example.test")
				if err != nil {
					t.Fatal(err)
				}
				for n := 0; ; n++ {
					secret := test.secret
					if test.name == "guessing" {
						secret = fmt.Sprint("wrong", n)
					}
					if err := client.Sendf("<auth xmlns='%s' mechanism='%s'>%s</auth>", xmpptest.NSSASL, test.mechanism,
						base64.StdEncoding.EncodeToString([]byte(plain(user, secret)))); err != nil {
						break
					}
					e, err := client.ReadElement()
					if err != nil || e.Footer {
						break
					}
					told[i] += e.Raw + "\n"
				}
			}
			if told[0] != told[1] || !strings.Contains(told[0], test.ends) || !strings.Contains(told[0], "policy-violation") {
				t.Errorf("who exists is told\n%swho does not\n%swant %s", told[0], told[1], test.ends)
			}
		})
	}
	d.stop(t)
}

// rejected is what came of wrong secrets of one user.
type rejected struct {
	user   string
	client *xmpptest.Client
	words  map[string]int // all that a connection was told, and how often
	took   []time.Duration
}

// pairs are attempts as somebody who exists and as somebody who does not, each right after the other.
type pairs struct{ known, unknown rejected }

// refusals makes 300 pairs of attempts, over connections that are ended by the fifth, which is not measured.
func refusals(t *testing.T, address, host, mechanism string, secret func(n int) string) *pairs {
	t.Helper()
	s := &pairs{rejected{user: "alice", words: map[string]int{}}, rejected{user: "zelda", words: map[string]int{}}}
	for round := range 75 {
		order := []*rejected{&s.known, &s.unknown}
		if round%2 == 1 { // the first one, on a connection and after others, takes longer
			slices.Reverse(order)
		}
		told := map[*rejected]string{}
		for _, r := range order {
			var err error
			if r.client, err = dial(t, address, "direct", host); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 5 {
			message := secret(5*round + n)
			slices.Reverse(order)
			for _, r := range order {
				began := time.Now()
				answer, err := r.client.Auth(mechanism, []byte(plain(r.user, message)))
				took := time.Since(began)
				if err != nil || answer.Condition() != "not-authorized" {
					t.Fatalf("%s: %+v, %v", r.user, answer, err)
				}
				told[r] += answer.Raw
				if n < 4 {
					r.took = append(r.took, took)
				}
			}
		}
		for _, r := range order {
			for {
				e, err := r.client.ReadElement()
				if err != nil {
					told[r] += err.Error()
					break
				}
				told[r] += e.Raw
			}
			r.words[told[r]]++
			_ = r.client.Close()
		}
	}
	return s
}

// differ says whether one of the two took longer: in clearly more than half of the pairs, and by more than a little. Other
// work of the machine hits both alike, and so changes neither much.
func (s *pairs) differ() (differs bool, figures string) {
	n := len(s.known.took)
	later, differences := 0, make([]time.Duration, n)
	for i := range n {
		differences[i] = s.unknown.took[i] - s.known.took[i]
		if differences[i] > 0 {
			later++
		}
	}
	median := func(of []time.Duration) time.Duration {
		of = slices.Sorted(slices.Values(of))
		return of[len(of)/2]
	}
	known, unknown, difference := median(s.known.took), median(s.unknown.took), median(differences)
	share := float64(later) / float64(n) // 0.5 ± 0.03 where there is none
	figures = fmt.Sprintf("%d pairs, medians %v and %v of whom does not exist, who was later in %.0f %%, by %v", n, known, unknown, 100*share, difference)
	return math.Abs(share-0.5) > 0.15 && difference.Abs() > known/20, figures
}
