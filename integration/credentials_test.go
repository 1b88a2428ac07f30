package integration

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// webBackend asks as the server of a web application does.
type webBackend struct {
	client *http.Client
	base   string
}

// ask returns the status of the answer, and the token in it.
func (a webBackend) ask(t *testing.T, user, password, name string) (status int, token string) {
	t.Helper()
	form := url.Values{"user": {name}, "server": {"localhost"}}
	r, err := http.NewRequest(http.MethodPost, a.base+"/credentials", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(user, password)
	answer, err := a.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, ""
	}
	var credentials struct{ JID, Password string }
	if err := json.Unmarshal(body, &credentials); err != nil || credentials.JID != name+"@localhost" {
		t.Errorf("%s: %v", body, err)
	}
	if how := answer.Header.Get("Cache-Control"); how != "no-store" {
		t.Errorf("Cache-Control: %s", how)
	}
	return answer.StatusCode, credentials.Password
}

// TestCredentials: a web application gets tokens where the config says so and nowhere else, each good for one login, and
// neither its secret nor a token is in the log.
func TestCredentials(t *testing.T) {
	t.Parallel()
	const secret = "canary-credentials-0123456789"
	for _, where := range []string{"admin", "web"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			admin := filepath.Join(dir, "admin.sock")
			d := start(t, tokenConfig(t, dir, installScript(t, dir, "auth", accounts("alice", "secret")), webPorts(0, 0), options{
				"gatehouse_admin": admin, "gatehouse_credentials": where,
				"gatehouse_credentials_user": "app", "gatehouse_credentials_password": secret,
			}))
			on := map[string]webBackend{
				"admin": {&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", admin)
				}}}, "http://localhost"},
				"web": {&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
					"https://" + webWays(t, d)[1].address},
			}
			other := map[string]string{"admin": "web", "web": "admin"}[where]
			if status, _ := on[other].ask(t, "app", secret, "alice"); status != http.StatusNotFound {
				t.Errorf("on the other listener: %d", status)
			}
			if status, token := on[where].ask(t, "app", "wrong", "alice"); status != http.StatusUnauthorized || token != "" {
				t.Errorf("with a wrong password: %d", status)
			}
			var used []string
			for range 2 {
				status, token := on[where].ask(t, "app", secret, "alice")
				if status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
				message := plain("alice", token)
				expectAuth(t, "another user", d.address(t, "starttls"), "localhost", "X-TOKEN", plain("bob", token), "not-authorized")
				expectAuth(t, "fresh token", d.address(t, "starttls"), "localhost", "X-TOKEN", message, "success")
				expectAuth(t, "used token", d.address(t, "starttls"), "localhost", "X-TOKEN", message, "not-authorized")
				used = append(used, token)
			}
			d.stop(t)
			for _, canary := range append(used, secret) {
				if strings.Contains(d.log.String(), canary) {
					t.Errorf("%q is in the log", canary)
				}
			}
		})
	}
}
