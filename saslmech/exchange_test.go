package saslmech

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"mellium.im/sasl"
)

// recorded is as much of a recorded case as concerns the SASL message: the steps
// that answer an <auth/> element.
type recorded struct {
	ID, Match string
	Config    struct {
		Hosts map[string]struct{ Authentication string }
	}
	Exchange []struct {
		N         int
		Do        string
		Mechanism *string
		Payload   *string
		XML       string
		Observed  struct {
			Outcome struct{ Kind, Condition, Text string }
			Script  struct {
				Received string `json:"received_hex"`
			}
		}
	}
	Right struct {
		Steps []struct {
			Step      int
			Kind      string
			Condition any
		}
	}
	Also []struct {
		Step            int
		Kind, Condition string
	} `json:"also_acceptable"`
}

// conditions returns what the decoder may say in step n besides what was observed.
func (r *recorded) conditions(n int) []string {
	var all []string
	for _, s := range r.Right.Steps {
		if s.Step != n || s.Kind != "failure" {
			continue
		}
		switch c := s.Condition.(type) {
		case string:
			all = append(all, c)
		case []any:
			for _, c := range c {
				all = append(all, c.(string))
			}
		}
	}
	for _, s := range r.Also {
		if s.Step == n {
			all = append(all, s.Condition)
		}
	}
	return all
}

// TestDecode_vectors plays every <auth/> of the recordings of both mechanisms:
// what the original answers without asking anybody must be the failure, and what
// it asks its script must be in the credentials.
func TestDecode_vectors(t *testing.T) {
	played := 0
	for _, file := range []string{"plain_generic.json", "xtoken.json"} {
		for _, c := range loadVectors[recorded](t, file) {
			host, offered := "", []string(nil)
			for h, o := range c.Config.Hosts {
				host, offered = h, Offered(o.Authentication != "token", o.Authentication == "token")
			}
			for _, s := range c.Exchange {
				if s.Do != "auth" || s.XML != "" && s.Payload == nil || s.Observed.Outcome.Kind == "stream-error" {
					continue
				}
				played++
				mechanism, payload := "", ""
				if s.Mechanism != nil {
					mechanism = *s.Mechanism
				}
				if s.Payload != nil {
					payload = *s.Payload
				}
				cred, fail := Decode(mechanism, []byte(payload))
				if fail == nil && !slices.Contains(offered, mechanism) {
					fail = &Failure{Condition: InvalidMechanism}
				}
				if fail == nil {
					fail = AuthzidOK(cred.Authzid, cred.Username, host)
				}
				got, want := "", s.Observed.Outcome.Condition
				if fail != nil {
					got = string(fail.Condition)
				}
				if want == "not-authorized" || s.Observed.Outcome.Kind == "no-reply" {
					want = "" // a verdict on the credentials, not on their form
				}
				allowed := c.conditions(s.N)
				if c.Match == "must" || len(allowed) == 0 || slices.Contains(allowed, "not-authorized") {
					allowed = append(allowed, want)
				}
				if !slices.Contains(allowed, got) {
					t.Errorf("%s step %d: %q, want one of %q", c.ID, s.N, got, allowed)
				}
				if fail != nil && fail.Text != "" && got == want && fail.Text != s.Observed.Outcome.Text {
					t.Errorf("%s step %d: text %q, want %q", c.ID, s.N, fail.Text, s.Observed.Outcome.Text)
				}
				if query, err := hex.DecodeString(s.Observed.Script.Received); err != nil {
					t.Fatalf("%s: %v", c.ID, err)
				} else if len(query) > 0 && fail == nil {
					ours := "auth:" + cred.Username + ":" + host + ":" + string(cred.Secret.Bytes()) + "\n"
					if ours != string(query) {
						t.Errorf("%s step %d: query %q, want %q", c.ID, s.N, ours, query)
					}
				}
			}
		}
	}
	if played < 200 {
		t.Errorf("only %d exchanges played", played)
	}
}

func TestDecode_conditions(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		name, mechanism, text string
		condition             Condition
	}{
		{"unknown mechanism", "SCRAM-SHA-1", encode("\x00alice\x00secret"), InvalidMechanism},
		{"lower case", "plain", encode("\x00alice\x00secret"), InvalidMechanism},
		{"no mechanism", "", encode("\x00alice\x00secret"), InvalidMechanism},
		{"no initial response", "PLAIN", "", MalformedRequest},
		{"empty initial response", "X-TOKEN", "=", MalformedRequest},
		{"not base64", "PLAIN", "!!!!", IncorrectEncoding},
		{"no NUL", "PLAIN", encode("alice"), MalformedRequest},
		{"one NUL", "PLAIN", encode("alice\x00secret"), MalformedRequest},
		{"empty name", "PLAIN", encode("\x00\x00secret"), MalformedRequest},
		{"empty password", "PLAIN", encode("\x00alice\x00"), MalformedRequest},
		{"name that is prepared to nothing", "PLAIN", encode("\x00\u00ad\x00secret"), MalformedRequest},
		{"password that is prepared to nothing", "PLAIN", encode("\x00alice\x00\u00ad"), MalformedRequest},
		{"accepted", "PLAIN", encode("\x00alice\x00secret"), ""},
		{"accepted token", "X-TOKEN", encode("\x00alice\x00" + strings.Repeat("1", 40) + " x"), ""},
	} {
		cred, fail := Decode(c.mechanism, []byte(c.text))
		var got Condition
		if fail != nil {
			got = fail.Condition
		}
		if got != c.condition {
			t.Errorf("%s: %q, want %q", c.name, got, c.condition)
		}
		if fail != nil && cred != (Credentials{}) {
			t.Errorf("%s: credentials beside a failure: %v", c.name, cred)
		}
		if fail == nil && cred.Mechanism != c.mechanism {
			t.Errorf("%s: mechanism %q", c.name, cred.Mechanism)
		}
	}
}

// D13: the original cuts the password at the third NUL.
func TestDecode_thirdNULIsRefused(t *testing.T) {
	for _, message := range []string{"\x00alice\x00secret\x00more", "\x00alice\x00secret\x00", "\x00alice\x00\x00secret"} {
		for _, mechanism := range []string{"PLAIN", "X-TOKEN"} {
			_, fail := Decode(mechanism, []byte(base64.StdEncoding.EncodeToString([]byte(message))))
			if fail == nil || fail.Condition != MalformedRequest {
				t.Errorf("%s %q: %v, want malformed-request", mechanism, message, fail)
			}
		}
	}
}

// T8 and D13: the original ignores the authorization identity.
func TestAuthzidOK_onlyOneself(t *testing.T) {
	for authzid, ok := range map[string]bool{
		"":                              true,
		"alice@xmpp.example":            true,
		"ALICE@XMPP.EXAMPLE":            true,
		"alice":                         true,
		"ａｌｉｃｅ@xmpp.example":            true,
		"bob":                           false,
		"bob@xmpp.example":              false,
		"alice@other.example":           false,
		"alice@":                        false,
		"@xmpp.example":                 false,
		"xmpp.example":                  false,
		"alice@xmpp.example/phone":      false,
		"alice@xmpp.example@other":      false,
		"alice\x00@xmpp.example":        false,
		"\xff\xfe":                      false,
		"alice@xmpp.example\n":          false,
		strings.Repeat("alice", 100000): false,
	} {
		fail := AuthzidOK(authzid, "alice", "xmpp.example")
		if (fail == nil) != ok {
			t.Errorf("%.40q: %v, want accepted %v", authzid, fail, ok)
		}
		if fail != nil && fail.Condition != InvalidAuthzid {
			t.Errorf("%.40q: %v, want invalid-authzid", authzid, fail.Condition)
		}
	}
}

func TestMechanisms_serveClients(t *testing.T) {
	for _, m := range []sasl.Mechanism{Plain, XToken} {
		client := sasl.NewClient(m, sasl.Credentials(func() (username, password, identity []byte) {
			return []byte("alice"), []byte("secret"), []byte("alice@xmpp.example")
		}))
		more, message, err := client.Step(nil)
		if more || err != nil {
			t.Fatalf("%s: more %v, %v", m.Name, more, err)
		}
		cred, fail := Decode(m.Name, []byte(base64.StdEncoding.EncodeToString(message)))
		if fail != nil {
			t.Fatalf("%s: %v", m.Name, fail)
		}
		if cred.Username != "alice" || string(cred.Secret.Bytes()) != "secret" || cred.Authzid != "alice@xmpp.example" {
			t.Errorf("%s: %+v", m.Name, cred)
		}
		if _, _, err := client.Step([]byte("surplus")); err == nil {
			t.Errorf("%s: a second step was taken", m.Name)
		}
	}
}

func TestMechanisms_serverWithoutPermission(t *testing.T) {
	server := sasl.NewServer(Plain, nil)
	if _, _, err := server.Step([]byte("\x00alice\x00secret")); err != sasl.ErrAuthn {
		t.Errorf("%v, want sasl.ErrAuthn", err)
	}
}

func TestOffered(t *testing.T) {
	for _, c := range []struct {
		passwords, tokens bool
		want              string
	}{{true, false, "PLAIN"}, {false, true, "X-TOKEN"}, {true, true, "X-TOKEN PLAIN"}, {false, false, ""}} {
		if got := strings.Join(Offered(c.passwords, c.tokens), " "); got != c.want {
			t.Errorf("Offered(%v, %v) = %q, want %q", c.passwords, c.tokens, got, c.want)
		}
	}
}
