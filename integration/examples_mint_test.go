package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A minter is one of examples/mint-*, run by the command of its language.
type minter struct {
	name string
	argv []string
}

func minters(t *testing.T) []minter {
	t.Helper()
	program := filepath.Join(t.TempDir(), "mint-go")
	if out, err := exec.Command("go", "build", "-o", program, "../examples/mint-go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []minter{
		{"python", []string{"python3", "../examples/mint-python/mint.py"}},
		{"node", []string{"node", "../examples/mint-node/mint.mjs"}},
		{"php", []string{"php", "../examples/mint-php/mint.php"}},
		{"go", []string{program}},
	}
}

// mint runs the example: args are the user, the host and, if it is not now, the time.
func (m minter) mint(t *testing.T, secret, seed string, args ...string) string {
	t.Helper()
	cmd := exec.Command(m.argv[0], append(m.argv[1:len(m.argv):len(m.argv)], args...)...)
	cmd.Env = append(os.Environ(), "TOKEN_SECRET="+secret, "OTP_SEED="+seed)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v (the packages are in scripts/test-deps.sh)\n%s", err, stderr.String())
	}
	token := strings.TrimSuffix(string(out), "\n")
	if !mintedToken.MatchString(token) {
		t.Fatalf("no token: %q", out)
	}
	return token
}

var mintedToken = regexp.MustCompile(`^\d{40} [A-Za-z0-9+/]{43}=$`)

// TestExamplesMint_verified: gatehouse takes what each example mints, and nothing that was made with other keys, for
// somebody else or changed on its way.
func TestExamplesMint_verified(t *testing.T) {
	t.Parallel()
	config, _ := commandConfig(t)
	verify := func(t *testing.T, what, jid, token string, code int, says string) {
		t.Helper()
		command(t, token+"\n", "token", "verify", "--config", config, jid).expect(t, what, code, says)
	}
	for _, m := range minters(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			seen := make(map[string]bool)
			for _, user := range []string{"alice", "7bob", "björn", "ελένη", "日本語", "дядя.ваня", "😀", "a$b%c+d"} {
				token := m.mint(t, hostKeys.secret, hostKeys.seed, user, "localhost")
				verify(t, user, user+"@localhost", token, exitOK, `yes`)
				verify(t, user+"'s for another", "x"+user+"@localhost", token, exitRefused, `no`)
				nonce := token[8:40]
				if seen[nonce] {
					t.Errorf("the nonce %s twice", nonce)
				}
				seen[nonce] = true
			}
			fresh := m.mint(t, hostKeys.secret, hostKeys.seed, "alice", "localhost")
			for at := range fresh {
				if at%7 == 0 && fresh[at] != ' ' {
					spoilt := []byte(fresh)
					spoilt[at] ^= 1
					verify(t, "spoilt", "alice@localhost", string(spoilt), exitRefused, `no`)
				}
			}
			for what, keys := range map[string][2]string{
				"another secret": {hostKeys.secret + "x", hostKeys.seed},
				"another seed":   {hostKeys.secret, "E3W374VRSFO4NVKE"},
			} {
				token := m.mint(t, keys[0], keys[1], "alice", "localhost")
				verify(t, what, "alice@localhost", token, exitRefused, `no`)
			}
			token := m.mint(t, hostKeys.secret, hostKeys.seed, "alice", "elsewhere.example")
			verify(t, "another host", "alice@localhost", token, exitRefused, `no`)
		})
	}
}

// TestExamplesMint_recorded: at the time of a recording each example makes the token of that recording, but for the
// nonce, which is its own.
func TestExamplesMint_recorded(t *testing.T) {
	t.Parallel()
	type recorded struct {
		secret, seed, jid, otp string
		now                    time.Time
	}
	var all []recorded
	seen := make(map[recorded]bool)
	for _, c := range readVectors(t, "xtoken").Cases {
		for _, step := range c.Exchange {
			// What says more than these three is made wrongly on purpose.
			if p := step.Token; p == nil || step.TokenFacts == nil || *p != (tokenPlan{Window: p.Window, Nonce: p.Nonce, SignJID: p.SignJID, Save: p.Save}) {
				continue
			}
			host := c.Config.Hosts[defaultHost(c)]
			secret, _ := host["token_secret"].(string)
			seed, _ := host["otp_seed"].(string)
			r := recorded{secret, seed, step.Token.SignJID, step.TokenText[:8], time.Unix(step.TokenFacts.Window*30+29, 0)}
			if regexp.MustCompile(`^[A-Z2-7]{16,}$`).MatchString(seed) && secret != "" && !seen[r] {
				seen[r] = true
				all = append(all, r)
			}
		}
	}
	// RFC 6238, appendix B.
	for unix, otp := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1234567890: "89005924", 20000000000: "65353130",
	} {
		all = append(all, recorded{"secret", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "alice@xmpp.example", otp, time.Unix(unix, 0)})
	}
	if len(all) < 20 {
		t.Fatalf("only %d tokens", len(all))
	}
	for _, m := range minters(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range all {
				user, host, _ := strings.Cut(r.jid, "@")
				got := m.mint(t, r.secret, r.seed, user, host, fmt.Sprint(r.now.Unix()))
				if got[:8] != r.otp {
					t.Errorf("%s at %d: one-time password %s, want %s", r.seed, r.now.Unix(), got[:8], r.otp)
				}
				plan := &tokenPlan{Nonce: got[8:40], SignJID: r.jid}
				if want := plan.mint(t, r.secret, r.seed, r.now); got != want {
					t.Errorf("%s at %d: got %q, want %q", r.jid, r.now.Unix(), got, want)
				}
			}
		})
	}
}
