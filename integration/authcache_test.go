package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// countingScript keeps each user's passwords in the file pw.USER, one a line, writes down what it is asked, answers
// passwords when the file "hold" is gone, and nonsense while there is "down".
const countingScript = `#!/bin/sh
while IFS= read -r q; do
	printf '%s\n' "$q" >>queries
	while [ -e hold ]; do sleep 0.05; done
	if [ -e down ]; then echo out of order; continue; fi
	verb=${q%%:*} rest=${q#*:}
	user=${rest%%:*} rest=${rest#*:}
	password=${rest#*:}
	case $verb in
	auth) grep -qxF -e "$password" "pw.$user" 2>/dev/null && echo 1 || echo 0 ;;
	setpass | tryregister) printf '%s\n' "$password" >"pw.$user" && echo 1 ;;
	removeuser) rm -f "pw.$user" && echo 1 ;;
	*) echo 0 ;;
	esac
done
`

// cached is a daemon with a counting script.
type cached struct {
	*daemon
	dir, config, address string
	api                  string
	global               options
}

func startCached(t *testing.T, extra options) *cached {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 3)
	c := &cached{dir: dir, address: loopback(ports[0]), api: loopback(ports[2])}
	c.global = reloadOptions(dir, ports[0], ports[1])
	for name, value := range map[string]any{
		"external_auth_timeout": 25, "gatehouse_admin": c.api, "gatehouse_auth_api_user": apiUser, "gatehouse_auth_api_password": apiPassword,
	} {
		c.global[name] = value
	}
	for name, value := range extra {
		c.global[name] = value
	}
	c.put(t, "auth.sh", countingScript)
	c.put(t, "pw.alice", "secret\n")
	c.config = c.write(t)
	c.daemon = start(t, c.config)
	return c
}

func (c *cached) write(t *testing.T) string {
	t.Helper()
	return writeConfig(t, c.dir, []host{{"localhost", options{"authentication": "external", "external_auth_command": "./auth.sh"}}}, c.global)
}

func (c *cached) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (c *cached) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// asked returns how often the script was asked about passwords since the last call.
func (c *cached) asked(t *testing.T) int {
	t.Helper()
	path := filepath.Join(c.dir, "queries")
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return 0
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count("\n"+string(text), "\nauth:")
}

// expect logs in, and checks the outcome and how many queries that cost.
func (c *cached) expect(t *testing.T, what, user, password, right string, queries int) {
	t.Helper()
	c.asked(t)
	expectAuth(t, what, c.address, "localhost", "PLAIN", plain(user, password), right)
	if n := c.asked(t); n != queries {
		t.Errorf("%s: %d queries, want %d", what, n, queries)
	}
}

// post puts a question that changes something to the auth API.
func (c *cached) post(t *testing.T, op, user, password string) {
	t.Helper()
	form := url.Values{"user": {user}, "server": {"localhost"}, "pass": {password}}
	req, err := http.NewRequest(http.MethodPost, "http://"+c.api+"/auth/"+op, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(apiUser, apiPassword)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "true" {
		t.Fatalf("%s: %s, %v", op, body, err)
	}
}

// waiting is how many logins wait for the script.
func (c *cached) waiting(t *testing.T) int {
	t.Helper()
	resp, err := http.Get("http://" + c.api + "/status.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var status struct {
		Hosts []struct {
			Cache struct{ Waiting int }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status.Hosts[0].Cache.Waiting
}

// storm has many log in at once, while the script holds its answers until all wait for one, and returns the outcomes.
func (c *cached) storm(t *testing.T, logins []string) []string {
	t.Helper()
	clients := make([]*xmpptest.Client, len(logins))
	for n := range clients {
		var err error
		if clients[n], err = dial(t, c.address, "starttls", "localhost"); err != nil {
			t.Fatal(err)
		}
	}
	c.put(t, "hold", "")
	got := make([]string, len(logins))
	var wg sync.WaitGroup
	for n, message := range logins {
		wg.Go(func() {
			outcome, err := attempt(clients[n], "PLAIN", message)
			if err != nil {
				outcome = err.Error()
			}
			got[n] = outcome
		})
	}
	until(t, "all wait", patience, func() bool { return c.waiting(t) == len(logins) })
	c.remove(t, "hold")
	wg.Wait()
	for _, client := range clients {
		_ = client.Close()
	}
	return got
}

// TestCache_storm: 100 equal logins at once are one query, 100 different ones 100, and each gets its own verdict.
func TestCache_storm(t *testing.T) {
	t.Parallel()
	c := startCached(t, nil)
	equal, different, mixed := make([]string, 100), make([]string, 100), make([]string, 100)
	for n := range 100 {
		user := fmt.Sprint("user", n)
		c.put(t, "pw."+user, fmt.Sprint("pw", n, "\n"))
		equal[n], different[n] = plain("alice", "secret"), plain(user, fmt.Sprint("pw", n))
		mixed[n] = plain([]string{"alice", "user1"}[n%2], []string{"secret", "wrong", "pw1"}[n%3])
	}
	for _, test := range []struct {
		name    string
		logins  []string
		queries int
	}{{"equal", equal, 1}, {"different", different, 100}, {"right and wrong", mixed, 6}} {
		c.asked(t)
		for n, got := range c.storm(t, test.logins) {
			right := "success"
			if test.name == "right and wrong" && n%6 != 0 && n%6 != 5 {
				right = "not-authorized"
			}
			if got != right {
				t.Errorf("%s: number %d: %s, want %s", test.name, n, got, right)
			}
		}
		if n := c.asked(t); n != test.queries {
			t.Errorf("%s: %d queries, want %d", test.name, n, test.queries)
		}
	}
	shared := regexp.MustCompile(`(?m)^.* info login .*verdict=accepted .*worker=\d+ queue=\S+ script=\S+ shared=true$`)
	if n := len(shared.FindAllString(c.log.String(), -1)); n < 99 {
		t.Errorf("%d lines say shared=true", n)
	}
	// Without a cache nothing is remembered.
	for range 2 {
		c.expect(t, "afterwards", "alice", "secret", "success", 1)
	}
	c.stop(t)
}

// TestCache_clientsGo: those who share a query go away, in any order; who is left is answered.
func TestCache_clientsGo(t *testing.T) {
	t.Parallel()
	c := startCached(t, nil)
	c.put(t, "hold", "")
	type answer struct {
		n   int
		got string
	}
	answers := make(chan answer, 5)
	clients := make([]*xmpptest.Client, 5)
	for n := range clients {
		var err error
		if clients[n], err = dial(t, c.address, "starttls", "localhost"); err != nil {
			t.Fatal(err)
		}
		go func() {
			got, err := attempt(clients[n], "PLAIN", plain("alice", "secret"))
			if err != nil {
				got = "gone"
			}
			answers <- answer{n, got}
		}()
		until(t, "it waits", patience, func() bool { return c.waiting(t) == n+1 })
	}
	for _, n := range []int{0, 3, 4} {
		if err := clients[n].Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.remove(t, "hold")
	for range clients {
		a := <-answers
		if want := map[bool]string{true: "success", false: "gone"}[a.n == 1 || a.n == 2]; a.got != want {
			t.Errorf("client %d: %s, want %s", a.n, a.got, want)
		}
	}
	if n := c.asked(t); n != 1 {
		t.Errorf("%d queries", n)
	}
}

// TestCache_remembers: the second login asks nobody, until something changes.
func TestCache_remembers(t *testing.T) {
	t.Parallel()
	c := startCached(t, options{"gatehouse_auth_cache": true, "gatehouse_auth_cache_no": 60})
	twice := func(what, password, right string) {
		t.Helper()
		c.expect(t, what, "alice", password, right, 1)
		c.expect(t, what+", again", "alice", password, right, 0)
	}
	twice("right", "secret", "success")
	twice("wrong", "wrong", "not-authorized")
	c.put(t, "pw.alice", "secret\nsecond\n")
	twice("a second password", "second", "success")
	c.expect(t, "the first", "alice", "secret", "success", 0)
	c.put(t, "pw.alice", "elsewhere\n")
	c.expect(t, "changed elsewhere", "alice", "secret", "success", 0)

	command(t, "", "cache", "clear", "--config", c.config, "bob@localhost").expect(t, "somebody else", exitOK, `^forgot 0 verdicts\n$`)
	c.expect(t, "after it", "alice", "secret", "success", 0)
	command(t, "", "cache", "clear", "--config", c.config, "Alice@localhost").expect(t, "a user", exitOK, `^forgot 3 verdicts\n$`)
	twice("after the command", "secret", "not-authorized")
	twice("the new one", "elsewhere", "success")
	for _, who := range []string{"localhost", ""} {
		args := []string{"cache", "clear", "--config", c.config}
		if who != "" {
			args = append(args, who)
		}
		command(t, "", args...).expect(t, "all", exitOK, `^forgot \d verdicts\n$`)
		twice("after all", "secret", "not-authorized")
		twice("after all", "elsewhere", "success")
	}
	command(t, "", "cache", "clear", "--config", c.config, "alice@elsewhere.example").expect(t, "no host", exitUsage, `asks no script`)
	command(t, "", "cache", "clear", "--config", c.config, "@localhost").expect(t, "no user", exitUsage, `USER@HOST`)

	// jabber:iq:register, by a client who came in by what was remembered.
	client, _ := session(t, c.address, "localhost", "alice", "elsewhere", "desk")
	changePassword(t, client, "alice", "third")
	twice("the old one", "elsewhere", "not-authorized")
	twice("the changed one", "third", "success")

	c.post(t, "set_password", "alice", "fourth")
	twice("before the auth API", "third", "not-authorized")
	twice("by the auth API", "fourth", "success")
	c.post(t, "remove_user", "alice", "")
	twice("removed", "fourth", "not-authorized")
	c.post(t, "register", "alice", "fourth")
	twice("made again", "fourth", "success")

	// Shorter lives, and none, count for what is there.
	c.global["gatehouse_auth_cache"] = false
	c.write(t)
	if _, err := c.waitFor(regexp.MustCompile(`(?m)^.* info reloaded .*gatehouse_auth_cache.*$`)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.expect(t, "without it", "alice", "fourth", "success", 1)
	}
	if line := regexp.MustCompile(`(?m)^.* info login .*verdict=accepted .*cached=\S+$`).FindString(c.log.String()); line == "" || strings.Contains(line, "worker=") {
		t.Errorf("no line of a remembered verdict, or one with a worker: %q", line)
	}
	c.stop(t)
	if text := c.log.String(); strings.Contains(text, "fourth") || strings.Contains(text, "elsewhere\"") {
		t.Error("a password is in the log")
	}
}

// TestCache_reload: nothing that was asked before a reload is remembered after it, also what was in flight; but an event
// of a file in which nothing is new is no reload.
func TestCache_reload(t *testing.T) {
	t.Parallel()
	c := startCached(t, options{"gatehouse_auth_cache": true, "gatehouse_auth_cache_no": 60})
	logged := func(line string) {
		t.Helper()
		if _, err := c.waitFor(regexp.MustCompile("(?m)^.* " + line + ".*$")); err != nil {
			t.Fatal(err)
		}
	}
	command := func() {
		t.Helper()
		command(t, "", "reload", "--config", c.config).expect(t, "reload", exitOK, `^nothing changed`)
	}
	c.asked(t)
	for n, reload := range []struct {
		name  string
		do    func()
		empty bool
	}{
		{"by a file that says the same", func() {
			c.write(t)
			// The daemon has looked at it once it saw that it cannot read the next one.
			c.put(t, "prosody.cfg.lua", "broken(")
			logged("error reload refused")
			c.write(t)
			logged("info reload: the file is good again, and nothing changed")
		}, false},
		{"by command, of nothing", command, true},
		{"by SIGHUP, of nothing", func() {
			c.signal(t, syscall.SIGHUP)
			logged("info reload: nothing changed by=SIGHUP")
		}, true},
		{"of another option", func() {
			c.global["external_auth_timeout"] = 24
			c.write(t)
			logged("info reloaded .*external_auth_timeout")
		}, true},
		{"of the script", func() {
			c.put(t, "auth.sh", countingScript+"# new\n")
			logged("info reloaded .*script started anew")
		}, true},
	} {
		before, after := fmt.Sprint("pw", n), fmt.Sprint("pw", n+1)
		c.put(t, "pw.alice", before+"\n")
		command() // nothing of the case before
		c.expect(t, reload.name+", right", "alice", before, "success", 1)
		c.expect(t, reload.name+", wrong", "alice", after, "not-authorized", 1)
		c.put(t, "pw.alice", after+"\n")
		reload.do()
		if !reload.empty {
			c.expect(t, reload.name+", old", "alice", before, "success", 0)
			c.expect(t, reload.name+", new", "alice", after, "not-authorized", 0)
			continue
		}
		c.expect(t, reload.name+", old", "alice", before, "not-authorized", 1)
		c.expect(t, reload.name+", new", "alice", after, "success", 1)
	}

	// What is in flight is answered, and neither shared with those who come later nor remembered.
	c.put(t, "pw.alice", "secret\n")
	command()
	c.asked(t)
	c.put(t, "hold", "")
	answers := make(chan string, 2)
	for n := range cap(answers) {
		client, err := dial(t, c.address, "starttls", "localhost")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			got, err := attempt(client, "PLAIN", plain("alice", "secret"))
			if err != nil {
				got = err.Error()
			}
			answers <- got
		}()
		if n == 0 {
			until(t, "it waits", patience, func() bool { return c.waiting(t) == 1 })
			command()
		}
		// Who asked before the reload cannot be joined any more.
		until(t, "the one who can be joined waits", patience, func() bool { return c.waiting(t) == n })
	}
	c.remove(t, "hold")
	for range cap(answers) {
		if got := <-answers; got != "success" {
			t.Errorf("in flight: %s", got)
		}
	}
	if n := c.asked(t); n != 2 {
		t.Errorf("%d queries by one before a reload and one after it", n)
	}
	c.stop(t)
}

// TestCache_outage: while the script cannot say, an old yes counts if that is asked for, and nothing else.
func TestCache_outage(t *testing.T) {
	t.Parallel()
	for _, outage := range []int{0, 3600} {
		c := startCached(t, options{"gatehouse_auth_cache": true, "gatehouse_auth_cache_yes": 0, "gatehouse_auth_cache_no": 0,
			"gatehouse_auth_cache_outage": outage, "external_auth_timeout": 5})
		expect := func(what, user, password, right string) {
			t.Helper()
			expectAuth(t, what, c.address, "localhost", "PLAIN", plain(user, password), right)
		}
		c.put(t, "pw.bob", "hunter2\n")
		expect("alice", "alice", "secret", "success")
		expect("alice, wrong", "alice", "wrong", "not-authorized")
		expect("bob", "bob", "hunter2", "success")
		c.put(t, "pw.bob", "changed\n")
		expect("bob, changed", "bob", "hunter2", "not-authorized")
		c.put(t, "down", "")
		right := "temporary-auth-failure"
		if outage > 0 {
			right = "success"
		}
		expect("alice, down", "alice", "secret", right)
		expect("alice, down and wrong", "alice", "wrong", "temporary-auth-failure")
		expect("alice, down and never seen", "alice", "never seen", "temporary-auth-failure")
		expect("bob, down, whose last answer was no", "bob", "hunter2", "temporary-auth-failure")
		c.remove(t, "down")
		expect("alice, up", "alice", "secret", "success")
		lines := regexp.MustCompile(`(?m)^.* info login .*verdict=accepted .*cached=\S+ outage=".*bad reply.*"$`).FindAllString(c.log.String(), -1)
		if (len(lines) == 1) != (outage > 0) {
			t.Errorf("outage %d: lines %q", outage, lines)
		}
		c.signal(t, syscall.SIGTERM)
		if code := c.wait(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}
