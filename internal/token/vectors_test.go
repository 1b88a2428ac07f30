package token

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/saslmech"
)

// loadVectors reads the cases of one file of recordings of the original modules:
// from shared/vectors beside the repository, or from the copy in testdata.
func loadVectors[T any](tb testing.TB, name string) []T {
	tb.Helper()
	root := filepath.Join("..", "..")
	data, err := os.ReadFile(filepath.Join(root, "..", "shared", "vectors", name))
	if err != nil {
		data, err = os.ReadFile(filepath.Join(root, "testdata", "vectors", name))
	}
	if err != nil {
		tb.Fatal(err)
	}
	var file struct{ Cases []T }
	if err := json.Unmarshal(data, &file); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(file.Cases) == 0 {
		tb.Fatalf("%s: no cases", name)
	}
	return file.Cases
}

func unixTime(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9))
}

func TestOTP_vectors(t *testing.T) {
	cases := loadVectors[struct {
		ID       string
		Seed     string  `json:"otp_seed"`
		Time     float64 `json:"unix_time"`
		OTP      *string
		Accepted map[string]bool `json:"accepted_of_windows"`
	}](t, "totp.json")
	if len(cases) < 70 {
		t.Errorf("%d cases, want at least 70", len(cases))
	}
	offsets := map[string]int64{"-2": -2, "-1": -1, "+0": 0, "+1": 1, "+2": 2}
	for _, c := range cases {
		seed, err := decodeSeed(c.Seed)
		if (err == nil) != (c.OTP != nil) {
			t.Errorf("%s: decoding %q: %v", c.ID, c.Seed, err)
			continue
		}
		if err != nil {
			continue
		}
		now := unixTime(c.Time)
		code, err := makeCode(encodeSeed(seed), windowOf(now))
		if err != nil || code != *c.OTP {
			t.Errorf("%s: %q, %v, want %q", c.ID, code, err, *c.OTP)
		}
		if len(seed) == 0 {
			continue // refused by ParseSeed, see the test of T6
		}
		key := Key{Secret: []byte("secret"), Seed: seed}
		v := newVerifier(t, new(Memory), key)
		for name, want := range c.Accepted {
			offset, known := offsets[name]
			if !known {
				t.Fatalf("%s: window %q", c.ID, name)
			}
			minted := now.Add(time.Duration(offset) * step * time.Second)
			check(t, v, mint(t, key, alice, minted, NewNonce()), alice, now, want)
		}
	}
}

type recorded struct {
	ID, Title, Match string
	Config           struct {
		Hosts map[string]struct {
			Seed   string `json:"otp_seed"`
			Secret string `json:"token_secret"`
		}
	}
	Exchange []struct {
		N         int
		Do        string
		Mechanism string
		Payload   string
		Token     string  `json:"token_text"`
		Evaluated float64 `json:"evaluated_at"`
		Observed  struct {
			Outcome   struct{ Kind string }
			Evaluated float64 `json:"evaluated_at"`
		}
	}
	Right struct {
		Note  string
		Steps []struct {
			Step int
			Kind string
		}
	}
	Also []struct {
		Step int
		Kind string
	} `json:"also_acceptable"`
}

// shaped reports whether token has a nonce of 32 digits.
func shaped(token string) bool {
	digits, _, _ := strings.Cut(token, " ")
	return len(digits) == otpDigits+nonceDigits
}

// TestVerify_vectors plays every recorded token at the time of its recording,
// in order and with a store of its own a case, through restarts too.
func TestVerify_vectors(t *testing.T) {
	played, refusedToStart := 0, 0
	for _, c := range loadVectors[recorded](t, "xtoken.json") {
		if len(c.Config.Hosts) != 1 {
			t.Fatalf("%s: %d hosts", c.ID, len(c.Config.Hosts))
		}
		var host string
		var key Key
		for h, o := range c.Config.Hosts {
			host = h
			key.Secret = []byte(o.Secret)
			key.Seed, _ = ParseSeed(o.Seed)
		}
		path := filepath.Join(t.TempDir(), "replay.db")
		replay := openReplay(t, path)
		v, err := NewVerifier([]Key{key}, replay)
		if err != nil {
			refusedToStart++
			if !strings.Contains(c.Right.Note, "refuse to start") {
				t.Errorf("%s: %v", c.ID, err)
			}
			continue
		}
		for i, s := range c.Exchange {
			if s.Do == "restart-server" {
				closeReplay(t, replay)
				replay = openReplay(t, path)
				v = newVerifier(t, replay, key)
			}
			if s.Do != "auth" || s.Mechanism != "X-TOKEN" || s.Token == "" {
				continue
			}
			played++
			want := []string{s.Observed.Outcome.Kind}
			if want[0] == "not-waited" { // its reply comes in a later step
				for _, later := range c.Exchange[i+1:] {
					if later.Do == "reply" {
						want[0] = later.Observed.Outcome.Kind
					}
				}
			}
			if c.Match == "differs" {
				for _, r := range c.Right.Steps {
					if r.Step == s.N {
						want = []string{r.Kind}
					}
				}
				if want[0] == "no-reply" && strings.Contains(c.Right.Note, "ignore the spaces") {
					want = []string{"success"}
				}
				if c.Right.Note == "does not apply" {
					continue
				}
			}
			if c.ID == "XT-060" && !shaped(s.Token) {
				// Recorded with a nonce of 33 digits, which has nothing to do with
				// what the case is about and cannot be told apart from XT-085.
				// TestVerify_plusAndSlash stands in for it.
				want = []string{"failure"}
			}
			for _, also := range c.Also {
				if also.Step == s.N {
					want = append(want, also.Kind)
				}
			}
			at := s.Evaluated
			if at == 0 {
				at = s.Observed.Evaluated
			}
			got := "failure"
			if at == 0 {
				t.Fatalf("%s step %d: no time", c.ID, s.N)
			}
			cred, fail := saslmech.Decode(s.Mechanism, []byte(s.Payload))
			if fail == nil {
				fail = saslmech.AuthzidOK(cred.Authzid, cred.Username, host)
			}
			if fail == nil {
				ok, err := v.Verify(string(cred.Secret.Bytes()), cred.Username+"@"+host, unixTime(at))
				if err != nil {
					t.Errorf("%s step %d: %v", c.ID, s.N, err)
				}
				if ok {
					got = "success"
				}
			}
			if !slices.Contains(want, got) {
				t.Errorf("%s step %d (%s): %s, want %q", c.ID, s.N, c.Title, got, want)
			}
		}
		closeReplay(t, replay)
	}
	if played < 90 || refusedToStart < 3 {
		t.Errorf("%d tokens played, %d configurations refused", played, refusedToStart)
	}
}
