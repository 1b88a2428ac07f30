package saslmech

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecret_isNeverShown(t *testing.T) {
	const password = "correct horse"
	cred := Credentials{Mechanism: "PLAIN", Username: "alice", Secret: NewSecret([]byte(password))}
	// What a careless caller would do, unexported fields included.
	nested := struct{ cred Credentials }{cred}
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%b"} {
		for _, v := range []any{cred, &cred, nested, &nested, cred.Secret, &cred.Secret, []Credentials{cred}} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
	}
	log := slog.New(slog.NewTextHandler(&shown, nil))
	log.Info("login", "cred", cred, "secret", cred.Secret, "nested", nested)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("login", "cred", cred, "secret", cred.Secret)
	encoded, err := json.Marshal(cred)
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(encoded)
	fmt.Fprintln(&shown, cred.Secret.String(), cred.Secret.GoString())
	for _, form := range []string{
		password,
		fmt.Sprintf("%x", password),
		fmt.Sprintf("%X", password),
		strings.Trim(fmt.Sprint([]byte(password)), "[]"),
		strings.Trim(fmt.Sprintf("%#v", []byte(password)), "[]byte{}"),
		strings.Trim(fmt.Sprintf("%b", []byte(password)), "[]"),
	} {
		if strings.Contains(shown.String(), form) {
			t.Errorf("the secret was shown as %q", form)
		}
	}
	if !strings.Contains(shown.String(), redacted) || !strings.Contains(shown.String(), "alice") {
		t.Errorf("neither the name nor the redacted secret was shown:\n%s", shown.String())
	}
}

func TestSecret_Clear(t *testing.T) {
	raw := []byte("secret")
	s := NewSecret(raw)
	copied := s
	s.Clear()
	if !bytes.Equal(raw, make([]byte, 6)) || len(s.Bytes()) != 0 || len(copied.Bytes()) != 0 {
		t.Errorf("left: %q, %q, %q", raw, s.Bytes(), copied.Bytes())
	}
	s.Clear()
	Secret{}.Clear()
	if b := (Secret{}).Bytes(); b != nil {
		t.Errorf("zero value holds %q", b)
	}
}

func TestFailure_hasTwoFaces(t *testing.T) {
	cause := errors.New("pool closed")
	f := &Failure{Condition: TemporaryAuthFailure, Cause: cause, Text: "Try again later."}
	if !errors.Is(f, cause) || f.Error() != "temporary-auth-failure: pool closed" {
		t.Errorf("%v", f)
	}
	if got := (&Failure{Condition: Aborted}).Error(); got != "aborted" {
		t.Errorf("%q", got)
	}
}
