package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // empty: there is nothing to add
	}{
		{errors.New("of another kind"), ""},
		{&Error{Stage: StageOpen, Condition: "host-unknown", StreamError: true}, "does not serve this host"},
		{&Error{Stage: StageAuthenticate, Condition: "not-authorized", StreamError: true}, "for want of a login"},
		{&Error{Stage: StageAuthenticate, Condition: "not-authorized", Refused: true}, "wrong"},
		{&Error{Stage: StageAuthenticate, Condition: "not-authorized"}, "without -PLUS"},
		{&Error{Stage: StageAuthenticate, Condition: "temporary-auth-failure"}, "could not check"},
		{&Error{Stage: StageAuthenticate, Condition: "encryption-required"}, "TLS"},
		{&Error{Stage: StageAuthenticate, Condition: "invalid-mechanism"}, "--mechanism"},
		{&Error{Stage: StageBind, Condition: "conflict"}, "--resource"},
		{&Error{Stage: StageOpen, Err: context.DeadlineExceeded}, "--timeout"},
		{&Error{Stage: StageOpen, Err: context.Canceled}, ""},
		{&Error{Stage: StageOpen, Err: io.ErrUnexpectedEOF}, "--direct-tls"},
		{&Error{Stage: StageOpen, Mechanism: "PLAIN", Err: io.ErrUnexpectedEOF}, "without saying why"},
		{&Error{Stage: StageAuthenticate, Err: &NoMechanismError{}}, "no way to log in"},
		{&Error{Stage: StageAuthenticate, Err: &NoMechanismError{Offered: []string{"EXTERNAL"}}}, "--mechanism"},
		{&Error{Stage: StageFind, Err: errNotServed}, "--connect"},
		{&Error{Stage: StageEncrypt, Err: errNoStartTLS}, "--direct-tls"},
		{&Error{Stage: StageEncrypt, Err: &certificateError{errFingerprint}}, "not the certificate that you know"},
		{&Error{Stage: StageSession, Err: errors.New("of another kind")}, ""},
	} {
		got := Explain(fmt.Errorf("wrapped: %w", c.err))
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
