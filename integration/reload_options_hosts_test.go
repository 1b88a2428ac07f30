package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// hostEffects are of the options that say who comes in.
func hostEffects(e *effects) []optionEffect {
	byToken := options{"authentication": "token", "token_secret": canarySecret, "otp_seed": seedOne}
	both := options{"token_secret": canarySecret, "otp_seed": seedOne}
	alice := func(e *effects) string { return e.password("alice", "secret") }
	token := func(secret, seed string) func(*effects) string {
		return func(e *effects) string {
			return e.login("X-TOKEN", tokenKeys{"localhost", secret, seed}.message(e.t, "alice"))
		}
	}
	caching := func(with options) options {
		o := options{"gatehouse_auth_cache": true}
		for name, value := range with {
			o[name] = value
		}
		return o
	}
	return []optionEffect{
		{option: "authentication", inHost: true, before: "external", after: "token", host: both, see: (*effects).mechanisms,
			want: [2]string{"X-TOKEN PLAIN", "X-TOKEN"}},
		{option: "enabled", inHost: true, after: false, says: "host localhost", see: alice, want: [2]string{letIn, hostUnknown}},

		{option: "external_auth_command", inHost: true, before: "./auth.sh", after: "./other.sh", see: alice, want: [2]string{letIn, "not-authorized"}},
		{option: "external_auth_command", inHost: true, before: []any{"./auth.sh"}, after: []any{"./auth.sh", canarySecret}, see: alice, want: [2]string{letIn, letIn}},
		{option: "external_auth_protocol", inHost: true, after: "ejabberd", host: options{"external_auth_timeout": 1, "gatehouse_external_auth_start_timeout": 1},
			see: alice, want: [2]string{letIn, temporary}},
		{option: "external_auth_timeout", inHost: true, before: 5, after: 0.1, see: func(e *effects) string { return e.password(e.someone("slow"), "secret") },
			want: [2]string{letIn, temporary}},
		{option: "external_auth_processes", inHost: true, before: 1, after: 3, see: (*effects).workers, want: [2]string{"1", "3"}},
		{option: "external_auth_blocking", inHost: true, before: true, after: false, host: options{"external_auth_processes": 3}, see: (*effects).workers,
			want: [2]string{"1", "3"}},
		{option: "gatehouse_external_auth_start_timeout", after: 1, elsewhere: "processes that are new at the right moment: TestPool_reloadChangesTimesInPlace"},
		{option: "gatehouse_external_auth_pty", inHost: true, after: false, see: func(e *effects) string { return e.password("tty", "x") },
			want: [2]string{letIn, "not-authorized"}},
		{option: "gatehouse_external_auth_queue", inHost: true, after: 1, see: (*effects).queued, want: [2]string{"all", "some"}},

		{option: "gatehouse_auth_cache", inHost: true, after: true, see: askedTwice("secret"), want: [2]string{"2", "1"}},
		{option: "gatehouse_auth_cache_yes", inHost: true, after: 0, host: caching(nil), see: askedTwice("secret"), want: [2]string{"1", "2"}},
		{option: "gatehouse_auth_cache_no", inHost: true, after: 100, host: caching(nil), see: askedTwice("wrong"), want: [2]string{"2", "1"}},
		{option: "gatehouse_auth_cache_outage", inHost: true, after: 100, host: caching(options{"gatehouse_auth_cache_yes": 0}), see: (*effects).whileBroken,
			want: [2]string{temporary, letIn}},
		{option: "gatehouse_auth_cache_entries", inHost: true, after: 1, host: caching(nil), see: (*effects).askedAgain, want: [2]string{"1", "2"}},

		{option: "token_secret", inHost: true, before: canarySecret, after: otherSecret, host: byToken, see: token(canarySecret, seedOne),
			want: [2]string{letIn, "not-authorized"}},
		{option: "otp_seed", inHost: true, before: seedOne, after: seedTwo, host: byToken, see: token(canarySecret, seedOne),
			want: [2]string{letIn, "not-authorized"}},
		{option: "gatehouse_token_in_plain", inHost: true, after: true, host: byToken, want: [2]string{"invalid-mechanism", letIn},
			see: func(e *effects) string {
				return e.password("alice", freshToken(e.t, canarySecret, seedOne, "alice@localhost"))
			}},
		{option: "gatehouse_token_check_user", inHost: true, after: true, host: byToken, want: [2]string{letIn, "not-authorized"},
			see: func(e *effects) string {
				return e.login("X-TOKEN", tokenKeys{"localhost", canarySecret, seedOne}.message(e.t, "nobody"))
			}},

		e.minting("gatehouse_credentials", "admin", "web", [2]string{"200", "404"}),
		e.minting("gatehouse_credentials_user", "app", "shop", [2]string{"200", "401"}),
		e.minting("gatehouse_credentials_password", canarySecret, otherSecret, [2]string{"200", "401"}),
		e.minting("gatehouse_credentials_bearer", nil, "canary-bearer-0123456789", [2]string{"401", "200"}),
		e.minting("gatehouse_credentials_rate", 30, 2, [2]string{"200", "429"}),

		{option: "gatehouse_guard", inHost: true, before: true, after: false, with: e.guarding(1), see: threeGuesses(1, 1), want: [2]string{temporary, "not-authorized"}},
		{option: "gatehouse_guard_attempts", before: 1, after: 9, with: e.guarding(nil), see: threeGuesses(1, 1), want: [2]string{temporary, "not-authorized"}},
		{option: "gatehouse_guard_address_attempts", before: 1, after: 50, with: e.guarding(0), see: threeGuesses(1, 9), want: [2]string{temporary, "not-authorized"}},
		{option: "gatehouse_guard_user_attempts", before: 1, after: 50, with: e.guarding(0), see: threeGuesses(9, 1), want: [2]string{temporary, "not-authorized"}},
		{option: "gatehouse_guard_half_life", after: 60, elsewhere: "time: all of the guard's settings are one value; TestGuard_reload"},
		{option: "gatehouse_guard_delay", before: 0, after: 6, with: e.guarding(3), want: [2]string{"fast", "slow"},
			see: func(e *effects) string { return lasting(func() { threeGuesses(1, 1)(e) }, 2*while) }},
		{option: "gatehouse_guard_allow", before: []any{}, after: []any{"198.18.0.0/15"}, with: e.guarding(1), see: threeGuesses(1, 1),
			want: [2]string{temporary, "not-authorized"}},

		{option: "disable_sasl_mechanisms", inHost: true, after: []any{"PLAIN"}, host: both, see: (*effects).mechanisms, want: [2]string{"X-TOKEN PLAIN", "X-TOKEN"}},
		{option: "allow_registration", inHost: true, after: true, want: [2]string{"", "register"}, see: func(e *effects) string {
			return offered(e.features(), "register")
		}},
		{option: "conflict_resolve", inHost: true, before: "kick_old", after: "random", see: (*effects).secondDesk, want: [2]string{"desk", "another"}},
	}
}

// features are what localhost offers behind TLS.
func (e *effects) features() *xmpptest.Element {
	c, err := xmpptest.Dial(e.clients())
	if err != nil {
		e.t.Error(err)
		return nil
	}
	defer func() { _ = c.Close() }()
	c.Timeout = patience
	f, err := c.Secure("localhost", insecureTLS("localhost"))
	if err != nil {
		e.t.Error(err)
		return nil
	}
	return f
}

// offered returns name if it is among the features.
func offered(f *xmpptest.Element, name string) string {
	if f == nil || f.Child(name) == nil {
		return ""
	}
	return name
}

func (e *effects) mechanisms() string { return mechanismsIn(e.features()) }

func mechanismsIn(f *xmpptest.Element) string {
	if f == nil || f.Child("mechanisms") == nil {
		return ""
	}
	var names []string
	for _, m := range f.Child("mechanisms").Children {
		names = append(names, m.Text)
	}
	return strings.Join(names, " ")
}

// crowdOf has n people log in at once whom the script thinks about, and returns how many got in.
func (e *effects) crowdOf(n int) (in int) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range n {
		user := e.someone("slow")
		all.Go(func() {
			if e.password(user, "secret") == letIn {
				mu.Lock()
				defer mu.Unlock()
				in++
			}
		})
	}
	all.Wait()
	return in
}

// workers is how many processes there are once three were wanted.
func (e *effects) workers() string {
	size := 2
	for tries := 0; size == 2 && tries < 5; tries++ { // on a busy machine three may not come at once
		e.crowdOf(3)
		for _, h := range e.status(e.t).Hosts {
			if h.Name == "localhost" {
				size = h.Pool.Size
			}
		}
	}
	return fmt.Sprint(size)
}

func (e *effects) queued() string {
	return map[bool]string{true: "all", false: "some"}[e.crowdOf(5) == 5]
}

// askedTwice is how often the script is asked if somebody logs in twice.
func askedTwice(password string) func(e *effects) string {
	return func(e *effects) string {
		user := e.someone("user")
		e.password(user, password)
		e.password(user, password)
		return fmt.Sprint(e.asked(user))
	}
}

// whileBroken is what becomes of somebody who was let in before the script broke.
func (e *effects) whileBroken() string {
	user, broken := e.someone("flaky"), filepath.Join(e.dir, "broken")
	e.password(user, "secret")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = os.Remove(broken) }()
	return e.password(user, "secret")
}

// askedAgain is how often the script is asked about somebody if another one logs in in between.
func (e *effects) askedAgain() string {
	user := e.someone("user")
	for _, who := range []string{user, e.someone("user"), user} {
		e.password(who, "secret")
	}
	return fmt.Sprint(e.asked(user))
}

// secondDesk is what the second session of somebody gets who wants the resource of the first.
func (e *effects) secondDesk() string {
	user := e.someone("user")
	first, _ := session(e.t, e.clients(), "localhost", user, "secret", "desk")
	defer func() { _ = first.Close() }()
	second, jid := session(e.t, e.clients(), "localhost", user, "secret", "desk")
	defer func() { _ = second.Close() }()
	if strings.HasSuffix(jid, "/desk") {
		return "desk"
	}
	return "another"
}

// guarding switches the guard on for people from elsewhere, of whom a load balancer tells.
func (e *effects) guarding(attempts any) options {
	return options{"gatehouse_guard": true, "gatehouse_guard_attempts": attempts, "gatehouse_guard_delay": 0, "gatehouse_guard_allow": []any{},
		"gatehouse_guard_address_attempts": 0, "gatehouse_guard_user_attempts": 0, "gatehouse_proxy_protocol_from": "127.0.0.1"}
}

// threeGuesses is what becomes of the last of three wrong passwords, by so many users or of them from so many addresses.
func threeGuesses(addresses, users int) func(e *effects) string {
	return func(e *effects) (outcome string) {
		e.n += 10
		for n := range 3 {
			at := netip.AddrFrom4([4]byte{198, 18, byte((e.n + n%addresses) >> 8), byte(e.n + n%addresses)})
			c, err := dialProxied(e.t, e.clients(), proxyHeader2(netip.AddrPortFrom(at, 40000), netip.MustParseAddrPort("198.51.100.1:5222")))
			if err == nil {
				outcome, err = attempt(c, "PLAIN", plain(fmt.Sprint("guessed", e.n, "-", n%users), fmt.Sprint("wrong", n)))
			}
			if err != nil {
				return err.Error()
			}
			_ = c.Close()
		}
		return outcome
	}
}

func (e *effects) adminOptions() options {
	return options{"gatehouse_admin": loopback(e.ports[5]), "gatehouse_websocket_ports": []any{e.ports[3]}}
}

// minting is a change of one of the options of the web application that asks for tokens: what its last question of three
// comes to, on the admin port. It knows the user and password of before, and the bearer of after.
func (e *effects) minting(option string, before, after any, want [2]string) optionEffect {
	o := options{"authentication": "token", "token_secret": canarySecret, "otp_seed": seedOne, "gatehouse_credentials": "admin",
		"gatehouse_credentials_user": "app", "gatehouse_credentials_password": canarySecret}
	return optionEffect{option: option, inHost: true, before: before, after: after, with: e.adminOptions(), host: o, want: want,
		see: func(e *effects) (status string) {
			user := e.someone("user")
			for range 3 {
				form := url.Values{"user": {user}, "server": {"localhost"}}
				r, err := http.NewRequest(http.MethodPost, "http://"+loopback(e.ports[5])+"/credentials", strings.NewReader(form.Encode()))
				if err != nil {
					e.t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.SetBasicAuth("app", canarySecret)
				if option == "gatehouse_credentials_bearer" {
					r.Header.Set("Authorization", "Bearer canary-bearer-0123456789")
				}
				status = e.request(r)
			}
			return status
		}}
}

// request makes a request on a connection of its own, and returns the status.
func (e *effects) request(r *http.Request) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(r)
	if err != nil {
		return outcomeOf(err)
	}
	_ = answer.Body.Close()
	return fmt.Sprint(answer.StatusCode)
}

// daemonEffects are of options of the daemon itself.
func daemonEffects(e *effects) []optionEffect {
	logTo := func(name string) func(e *effects) string {
		return func(e *effects) string {
			user := e.someone("user")
			e.password(user, "secret")
			text, err := os.ReadFile(filepath.Join(e.dir, name))
			return map[bool]string{true: "there", false: "not there"}[err == nil && strings.Contains(string(text), `"`+user+`"`)]
		}
	}
	at := func(name string) string { return filepath.Join(e.dir, name) }
	both := func(file string) any { return map[string]any{"info": "*console", "debug": file} }
	return []optionEffect{
		{option: "log", before: both(at("a.log")), after: both(at("b.log")), with: options{"gatehouse_log": nil}, see: logTo("b.log"), want: [2]string{"not there", "there"}},
		{option: "gatehouse_log", before: both(at("c.log")), after: both(at("d.log")), with: options{"log": at("e.log")}, see: logTo("d.log"),
			want: [2]string{"not there", "there"}},
		{option: "gatehouse_log_format", before: "json", after: "text", see: (*effects).logForm, want: [2]string{"json", "text"}},
		{option: "debug", after: true, with: options{"gatehouse_log": nil}, see: func(e *effects) string {
			from, user, last := len(e.log.String()), e.someone("user"), e.someone("user")
			c, _ := session(e.t, e.clients(), "localhost", user, "secret", "desk")
			_ = c.Close()
			e.password(last, "secret")
			until(e.t, "the login is in the log", patience, func() bool { return strings.Contains(e.log.String()[from:], last) })
			return map[bool]string{true: "there", false: "not there"}[strings.Contains(e.log.String()[from:], "resource bound")]
		}, want: [2]string{"not there", "there"}},
		{option: "gatehouse_admin", after: loopback(e.ports[5]), see: e.reached(loopback(e.ports[5])), want: [2]string{notOpen, "open"}},
		{option: "gatehouse_admin", after: "./admin.sock", want: [2]string{"no socket", "open"}, see: func(e *effects) string {
			c, err := net.Dial("unix", at("admin.sock"))
			if err != nil {
				return "no socket"
			}
			_ = c.Close()
			return "open"
		}},
		{option: "gatehouse_shutdown_timeout", after: 3, elsewhere: "it is seen at the end: TestReload_everyOption"},
		{option: "gatehouse_data_dir", before: at("data"), after: at("data2"), says: "gatehouse_data_dir", want: [2]string{"not there", "not there"},
			see: func(e *effects) string {
				_, err := os.Stat(at("data2"))
				return map[bool]string{true: "there", false: "not there"}[err == nil]
			}},
		{option: "gatehouse_state", before: "redis://u:" + canarySecret + "@127.0.0.1:1/0", after: "redis://u:" + otherSecret + "@127.0.0.1:1/0",
			elsewhere: "it takes a Redis: TestState_reload"},
		{option: "gatehouse_self_signed", after: true, elsewhere: "a host without a certificate: TestReload_noFiles"},
	}
}

// logForm is the form of the line about a login.
func (e *effects) logForm() string {
	from, user := len(e.log.String()), e.someone("user")
	e.password(user, "secret")
	line := ""
	until(e.t, "the login is in the log", patience, func() bool {
		for l := range strings.Lines(e.log.String()[from:]) {
			if strings.Contains(l, user) && strings.HasSuffix(l, "\n") {
				line = l
			}
		}
		return line != ""
	})
	if json.Valid([]byte(line)) {
		return "json"
	}
	return "text"
}
