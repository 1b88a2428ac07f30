package integration

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What the storm must reach.
const (
	stormTime    = 30 * time.Second
	stormPace    = 320 // logins begun in a second
	stormRate    = 200 // logins that must be over in a second
	stormChanges = 50
	// All but one in twenty of the changes must be in effect this soon after the last write. The daemon waits for 100 ms
	// without a change first.
	settleTime = 100 * time.Millisecond
	effectTime = 300 * time.Millisecond
)

// storm is a daemon whose config changes while people log in.
type storm struct {
	t *testing.T
	*reloadable
	dir     string
	ports   []int        // STARTTLS, direct TLS, the one that comes and goes, admin, WebSocket
	behind  [2]*listener // servers that the relayed host may have behind it
	ca      *xmpptest.CA
	pairs   map[string]*xmpptest.Pair // by serial number
	scripts map[string]file           // all that there ever were, by path
	disk    disk
	history *history
	crowd   *crowd
	random  *rand.Rand

	editions map[string]int // of the accounts, by host
	count    int            // of changes so far
	ways     map[string]int // how often files were changed in each way
	triggers map[string]int
	kinds    map[string]int
	effects  []time.Duration // from the last write to the line in the log
	delays   []time.Duration // by which the machine woke somebody too late who slept for a moment
	guest    *xmpptest.Client
}

// TestReload_storm changes the config of a daemon in every way and of every kind that a reload covers, dozens of times,
// while hundreds of people a second log in with right and wrong passwords and tokens. Nobody may get another verdict, or
// any error, than the config explains; nobody who is logged in at a host that stays may notice; and in the end the daemon
// must have no more goroutines, processes and descriptors than before. GATEHOUSE_STORM sets another duration than 30 s.
func TestReload_storm(t *testing.T) {
	length := stormTime
	if text := os.Getenv("GATEHOUSE_STORM"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newStorm(t)
	guests := s.guests()
	calm := s.calm()
	before := s.settled(usage{})

	var people sync.WaitGroup
	over := make(chan struct{})
	leave := sync.OnceFunc(func() {
		close(over)
		people.Wait()
		s.crowd.score.judge(t)
	})
	defer leave() // also when the test ends early
	s.sendCrowd(&people, over)
	people.Go(func() { s.watchClock(over) })
	for name, c := range guests {
		people.Go(func() { stay(t, name, c, over) })
	}
	began := time.Now()
	for time.Since(began) < length && !t.Failed() {
		s.round(began.Add(length))
	}
	took := time.Since(began)
	leave()

	s.perform(change{name: "the end", says: " -> ", edit: func(s *storm, w *world) {
		w.settings["c2s_timeout"] = 29
		s.restore(w)
		w.settings["c2s_stanza_size_limit"] = 200000 // so that there is something to say
	}})
	s.perform(change{name: "as in the beginning", says: " -> ", edit: func(s *storm, w *world) { s.restore(w) }})
	for name, c := range guests {
		if err := c.Ping(); err != nil {
			t.Errorf("session at %s: %v", name, err)
		}
	}
	after := s.settled(before)
	counts := maps.Clone(s.crowd.score.counts)
	calm = min(calm, s.calm())
	s.crowd.score.counts = counts
	s.report(took, calm, before, after)
}

// newStorm starts the daemon on the first world.
func newStorm(t *testing.T) *storm {
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	s := &storm{
		t: t, dir: t.TempDir(), ports: freePorts(t, 5), ca: ca, pairs: make(map[string]*xmpptest.Pair), scripts: make(map[string]file),
		disk: disk{files: make(map[string]file)}, random: rand.New(rand.NewPCG(1, 1)),
		editions: make(map[string]int), ways: make(map[string]int), triggers: make(map[string]int), kinds: make(map[string]int),
	}
	t.Logf("the files are in %s, the ports %v", s.dir, s.ports)
	for _, sub := range []string{"etc/conf.d", "scripts", "certs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(s.dir, "etc", "prosody.cfg.lua")
	for i := range s.behind {
		s.behind[i] = newListener(t, tls.Certificate{})
		s.behind[i].admits = true
	}
	w := s.firstWorld()
	s.history = &history{worlds: []*world{w}}
	s.reloadable = &reloadable{config: config, dir: s.dir}
	s.disk.write(t, ways[0], s.files(w))
	s.reloadable = startReloadable(t, config)
	s.reloadable.dir = s.dir
	s.crowd = &crowd{
		t: t, history: s.history, score: score{counts: make(map[string]int)},
		starttls: loopback(s.ports[0]), direct: loopback(s.ports[1]), extra: loopback(s.ports[2]), web: loopback(s.ports[4]),
	}
	return s
}

func (s *storm) firstWorld() *world {
	w := &world{sites: make(map[string]site), settings: make(options)}
	maps.Copy(w.settings, options{
		"gatehouse_websocket_ports": []any{s.ports[4]}, "gatehouse_extauth_socket": filepath.Join(s.dir, "extauth.sock"),
		// It counts everybody, and turns nobody away.
		"gatehouse_guard_allow": []any{}, "gatehouse_guard_attempts": 1e6, "gatehouse_guard_address_attempts": 1e6, "gatehouse_guard_user_attempts": 1e6,
	})
	w.sites[genHost] = site{plain: true, script: "gen-a", protocol: "generic", options: options{"external_auth_processes": 1, "gatehouse_auth_cache": true, "gatehouse_auth_cache_no": 60}}
	w.sites[ejdHost] = site{plain: true, script: "ejd", protocol: "ejabberd", options: options{"external_auth_timeout": 5}}
	w.sites[tokHost] = site{token: true, options: options{}}
	w.sites[bothHost] = site{plain: true, token: true, script: "both", protocol: "generic", options: options{}}
	w.sites[farHost] = site{plain: true, script: "far", protocol: "generic", options: options{"gatehouse_upstream": s.behind[0].Addr().String()}}
	for host, at := range w.sites {
		if at.script != "" {
			at.accounts = s.nextEdition(host)
		}
		if at.token {
			at.secrets = []string{"0-first-secret-of-" + host + ", long enough"}
			at.seeds = []string{"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
		}
		at.serial = s.issue(host)
		w.sites[host] = at
	}
	return w
}

// addHost puts the host that comes and goes into a world.
func (s *storm) addHost(w *world) {
	w.sites[comeHost] = site{plain: true, script: "come", protocol: "generic", accounts: s.nextEdition(comeHost),
		serial: s.issue(comeHost), options: options{}}
}

func (s *storm) nextEdition(host string) map[string]string {
	s.editions[host]++
	return edition(host, s.editions[host])
}

// issue makes a certificate for a host and returns its serial number.
func (s *storm) issue(host string) string {
	pair, err := s.ca.Issue(xmpptest.ECDSA, host)
	if err != nil {
		s.t.Fatal(err)
	}
	serial := pair.TLS.Leaf.SerialNumber.String()
	s.pairs[serial] = pair
	return serial
}

func (s *storm) scriptPath(name string) string { return filepath.Join(s.dir, "scripts", name) }
func (s *storm) certPath(host string) string   { return filepath.Join(s.dir, "certs", host+".pem") }

// files is what the disk holds in a world. All of the config is one block, but for what its Include finds, so that no
// part of a file that is half written is a config.
func (s *storm) files(w *world) map[string]file {
	files := make(map[string]file)
	global := reloadOptions(s.dir, s.ports[0], s.ports[1])
	if w.extraPort {
		global["c2s_ports"] = []any{s.ports[0], s.ports[2]}
	}
	global["gatehouse_self_signed"] = nil
	maps.Copy(global, w.settings)
	var b strings.Builder
	b.WriteString("do\n")
	writeOptions(s.t, &b, global)
	b.WriteString("Include \"conf.d/*.cfg.lua\"\n")
	for _, host := range []string{genHost, ejdHost, tokHost, bothHost, farHost} {
		b.WriteString(s.section(files, host, w.sites[host]))
	}
	b.WriteString("end\n")
	files[s.config] = file{b.String(), 0o600}
	defer func() { maps.Copy(files, s.scripts) }()
	if at, served := w.sites[comeHost]; served {
		files[filepath.Join(s.dir, "etc/conf.d/come.cfg.lua")] = file{"do\n" + s.section(files, comeHost, at) + "end\n", 0o600}
	}
	return files
}

// section is what the config says of a host. Certificate, key and script are added to files.
func (s *storm) section(files map[string]file, host string, at site) string {
	o := maps.Clone(at.options)
	pair := s.pairs[at.serial]
	path := s.certPath(host)
	o["ssl"] = map[string]any{"certificate": path, "key": path}
	if host == genHost {
		key := strings.TrimSuffix(path, ".pem") + ".key"
		o["ssl"] = map[string]any{"certificate": path, "key": key}
		files[path] = file{string(pair.CertPEM), 0o644}
		files[key] = file{string(pair.KeyPEM), 0o600}
	} else {
		files[path] = file{string(pair.CertPEM) + string(pair.KeyPEM), 0o600}
	}
	o["authentication"] = "token"
	if at.script != "" {
		o["authentication"] = "external"
		o["external_auth_command"] = s.scriptPath(at.script)
		o["external_auth_protocol"] = at.protocol
		s.scripts[s.scriptPath(at.script)] = scriptFile(at.protocol, at.accounts)
	}
	if len(at.secrets) > 0 {
		o["token_secret"], o["otp_seed"] = luaList(at.secrets), luaList(at.seeds)
	}
	if at.secrets != nil && !at.plain && at.script != "" {
		o["disable_sasl_mechanisms"] = []any{"PLAIN"}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "VirtualHost %s\n", luaString(host))
	writeOptions(s.t, &b, o)
	return b.String()
}

func luaList(texts []string) []any {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = text
	}
	return values
}

// guests are sessions at hosts that stay.
func (s *storm) guests() map[string]*xmpptest.Client {
	w, _ := s.history.now()
	guests := make(map[string]*xmpptest.Client)
	for _, host := range []string{genHost, ejdHost, bothHost, farHost} {
		guests[host], _ = session(s.t, loopback(s.ports[0]), host, userName(0), w.sites[host].accounts[userName(0)], "guest")
	}
	c, err := dial(s.t, loopback(s.ports[1]), "direct", tokHost)
	if err != nil {
		s.t.Fatal(err)
	}
	key := tokenKeys{tokHost, w.sites[tokHost].secrets[0], w.sites[tokHost].seeds[0]}
	if got, err := attempt(c, "X-TOKEN", key.message(s.t, "guest")); err != nil || got != letIn {
		s.t.Fatalf("%q, %v", got, err)
	}
	if _, err := c.Open(tokHost); err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.Bind("guest"); err != nil {
		s.t.Fatal(err)
	}
	guests[tokHost] = c
	return guests
}

// stay asks for a ping now and then until it is over.
func stay(t *testing.T, name string, c *xmpptest.Client, over <-chan struct{}) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
			if err := c.Ping(); err != nil {
				t.Errorf("a session at %s, which stayed: %v", name, err)
				return
			}
		}
	}
}

// sendCrowd lets people log in until it is over.
func (s *storm) sendCrowd(people *sync.WaitGroup, over <-chan struct{}) {
	tick := make(chan time.Time, stormPace)
	people.Go(func() {
		defer close(tick)
		every := time.NewTicker(10 * time.Millisecond)
		defer every.Stop()
		began := time.Now()
		for n := 0; ; {
			select {
			case <-over:
				return
			case now := <-every.C:
				for due := int(now.Sub(began).Seconds() * stormPace); n < due; n++ {
					select {
					case tick <- now:
					default: // all are busy; there is no use in a longer queue
					}
				}
			}
		}
	})
	for n := range 12 {
		people.Go(func() { s.crowd.run(uint64(n), tick) })
	}
}

// calm lets people log in as fast as they can while nothing changes, and returns how many a second did. It also brings the
// daemon to have all that it has in use.
func (s *storm) calm() float64 {
	tick := make(chan time.Time, 500)
	for range cap(tick) {
		tick <- time.Now()
	}
	close(tick)
	began := time.Now()
	var people sync.WaitGroup
	for n := range 12 {
		people.Go(func() { s.crowd.run(uint64(100+n), tick) })
	}
	people.Wait()
	s.crowd.score.counts = make(map[string]int)
	return float64(cap(tick)) / time.Since(began).Seconds()
}

// settled waits until nobody logs in any more and the daemon takes no more than limit, if that is not zero, and returns
// what it takes.
func (s *storm) settled(limit usage) usage {
	var u usage
	last := time.Now().Add(patience)
	until(s.t, "connections closed", patience, func() bool {
		now := s.status(s.t).Connections
		return now["login"]+now["handshake"] == 0 && now["session"] == 4 && now["relay"] == 1
	})
	until(s.t, "settled", 2*patience, func() bool {
		was := u
		u = s.usage(s.t)
		return limit == usage{} && u == was || limit != usage{} && u.within(limit) || time.Now().After(last)
	})
	return u
}

// round makes all the changes, the first time in their order, until a time has come. What would change nothing as things
// are is left out.
func (s *storm) round(end time.Time) {
	all := changes()
	if s.count > 0 {
		s.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	for _, c := range all {
		if s.t.Failed() || time.Now().After(end) && s.count >= stormChanges {
			return
		}
		s.perform(c)
		// People log in between changes, too.
		time.Sleep(time.Duration(s.random.IntN(200)) * time.Millisecond)
	}
}

// perform makes a change and waits for its outcome.
func (s *storm) perform(c change) {
	now, _ := s.history.now()
	w := &world{sites: maps.Clone(now.sites), extraPort: now.extraPort, settings: maps.Clone(now.settings)}
	if c.edit != nil {
		c.edit(s, w)
	}
	files := s.files(w)
	if c.spoil != nil {
		c.spoil(s, files)
	}
	if maps.Equal(files, s.disk.files) {
		return
	}
	if c.edit != nil {
		s.history.begin(w)
		_, was := now.sites[comeHost]
		_, is := w.sites[comeHost]
		defer func() { s.visit(was, is) }()
	}
	switch {
	case c.spoil != nil:
		s.reload(c, files, refused, c.says)
		s.reload(change{name: c.name + ", mended"}, s.files(w), "", "")
	case c.says == "":
		s.reload(c, files, nothingNew, "")
	default:
		s.reload(c, files, reloaded, c.says)
	}
	s.history.settle()
}

// visit has a session at the host that comes and goes while it is there, which has to end when it goes.
func (s *storm) visit(was, is bool) {
	switch {
	case is && !was:
		w, _ := s.history.now()
		s.guest, _ = session(s.t, loopback(s.ports[0]), comeHost, userName(1), w.sites[comeHost].accounts[userName(1)], "guest")
	case was && !is:
		s.guest.Timeout = time.Second
		if err := s.guest.ExpectError("host-gone"); err != nil {
			s.t.Errorf("a session at %s, which was removed: %v", comeHost, err)
		}
	}
}

// reload writes files in one of the ways and waits until the daemon has said what it makes of them; an empty msg stands
// for the end of a trouble.
func (s *storm) reload(c change, files map[string]file, msg, says string) {
	s.t.Helper()
	s.follower.skip()
	way := ways[s.count%len(ways)]
	trigger := "file"
	switch {
	case msg == nothingNew, s.count%7 == 3:
		trigger = "command" // with a file, nothing is logged for nothing
	case s.count%7 == 5:
		trigger = "SIGHUP"
	}
	s.count++
	s.ways[way.name]++
	s.triggers[trigger]++
	s.kinds[c.name]++
	last := s.disk.write(s.t, way, files)
	switch trigger {
	case "SIGHUP":
		s.signal(s.t, syscall.SIGHUP)
	case "command":
		code := exitOK
		if msg == refused {
			code = exitConfig
		}
		command(s.t, "", "reload", "--socket", s.socket()).expect(s.t, c.name+" by command", code)
	}
	line := s.next(s.t, fmt.Sprintf("change %d, %s, %s: %q with %q", s.count, c.name, way.name, msg, says), func(l logLine) bool {
		if msg == "" {
			return l.Msg == reloaded || l.Msg == mended
		}
		if msg == nothingNew && l.Msg == mended {
			return true // on a machine that stands still for 100 ms, half the file was taken first
		}
		return l.Msg == msg && strings.Contains(l.Changed+l.Cause, says)
	})
	if trigger == "file" {
		s.effects = append(s.effects, line.Time.Sub(last))
	}
	s.t.Logf("%s change %2d, %s, %s, by %s: %v after the last write: %s", line.Time.Format("15:04:05.000"), s.count, c.name, way.name, line.By,
		line.Time.Sub(last).Round(time.Millisecond), cmp.Or(line.Changed, line.Cause, line.Msg))
}
