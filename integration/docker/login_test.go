package docker

import (
	"testing"
	"time"
)

const (
	// soon is how long an answer may take that needs no time-out.
	soon = 2 * time.Second
	// scriptTimeout is external_auth_timeout of gatehouse/prosody.cfg.lua.
	scriptTimeout = 2 * time.Second
)

func TestLogin_conditions(t *testing.T) {
	tests := []struct{ name, user, password, want string }{
		{"right password", "alice", "secret-alice", "success"},
		{"name in capitals", "ALICE", "secret-alice", "success"},
		{"wrong password", "alice", "wrong", "not-authorized"},
		{"no such user", "nobody", "secret-nobody", "not-authorized"},
		{"what looks like a ticket", "alice", "ght_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "not-authorized"},
	}
	for _, h := range hosts {
		for _, test := range tests {
			t.Run(h.name+"/"+test.name, func(t *testing.T) {
				h.answers(t, test.user, test.password, test.want, soon)
			})
		}
	}
}

// TestLogin_serverDisagrees: the script knows carol, but a server with accounts of its own does not. That is an error of
// the operator's, and carol must not be told that her password is wrong.
func TestLogin_serverDisagrees(t *testing.T) {
	for _, h := range hosts {
		want := "success"
		if h.own {
			want = "temporary-auth-failure"
		}
		t.Run(h.name, func(t *testing.T) {
			h.answers(t, "carol", password("carol"), want, 2*soon)
		})
	}
}

func TestLogin_scriptDown(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			t.Run("down", func(t *testing.T) {
				scriptDown(t)
				// The first two find processes that were idle, and that end at their query; the next ones find none.
				for range 4 {
					h.answers(t, "alice", password("alice"), "temporary-auth-failure", scriptTimeout+soon)
				}
			})
			h.recovers(t, "gatehouse")
		})
	}
}
