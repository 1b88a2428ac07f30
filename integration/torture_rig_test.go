package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// The hosts of a rig. The relay's name is that of the Prosody behind it.
const (
	genericHost  = "generic.test"
	ejabberdHost = "ejabberd.test"
	relayHost    = "localhost"
)

// rigProcesses is how many processes the script of each host has.
const rigProcesses = 4

// rig is a daemon that is to be tortured, with all that it leans on. A fault may change what is not started yet.
type rig struct {
	*reloadable
	t       *testing.T
	dir     string
	hosts   []host
	global  options
	doors   []door
	rules   []any  // of the scripts
	trigger string // the file that rules ask for
	paths   []string
	env     []string
	program string       // gatehouse, or another build of it
	idle    usage        // when nothing happens
	step    atomic.Int64 // nanoseconds by which the daemon's clock is ahead

	steps [][2]time.Time // from when to when that was changed

	impossible bool // the fault, on this machine

	redis   *redistest.Server
	backend *backend
}

// newRig makes all but the daemon.
func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 2)
	r := &rig{t: t, dir: dir, program: gatehouse, global: reloadOptions(dir, ports[0], ports[1]), trigger: filepath.Join(dir, "fault")}
	// All who guess here come from one address.
	r.global["gatehouse_guard_allow"] = []any{"127.0.0.0/8"}
	r.global["gatehouse_self_signed"] = nil
	for _, h := range []string{genericHost, ejabberdHost} {
		r.serve(h, loopback(ports[0]), "starttls")
		r.doors = append(r.doors, door{h, loopback(ports[1]), "direct", r.doors[len(r.doors)-1].claims})
	}
	return r
}

// serve adds a host with a script and tokens.
func (r *rig) serve(name, address, kind string) {
	path := filepath.Join(r.dir, name)
	r.paths = append(r.paths, path)
	r.certify(name, time.Hour)
	r.hosts = append(r.hosts, host{name, options{
		"authentication": "external", "external_auth_command": path, "external_auth_timeout": 1,
		"external_auth_processes": rigProcesses, "external_auth_protocol": protocolOf(name),
		"token_secret": tortureSecret, "otp_seed": tortureSeed,
		"ssl": map[string]any{"certificate": path + ".crt", "key": path + ".key"},
	}})
	r.doors = append(r.doors, door{name, address, kind, []claim{
		rightPassword, rightPassword, wrongPassword, unknownUser, freshClaim, usedToken, forgedToken,
	}})
}

func protocolOf(host string) string {
	if host == ejabberdHost {
		return "ejabberd"
	}
	return "generic"
}

// certify gives a host a new certificate, which is good from now on for so long.
func (r *rig) certify(host string, life time.Duration) (serial string) {
	ca, err := xmpptest.NewCA()
	if err != nil {
		r.t.Fatal(err)
	}
	pair, err := ca.IssueUntil(time.Now().Add(life), xmpptest.ECDSA, host)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := pair.Write(r.dir, host); err != nil {
		r.t.Fatal(err)
	}
	return pair.TLS.Leaf.SerialNumber.String()
}

// shareState has used tokens kept in a Redis, which remembers them across its restarts.
func (r *rig) shareState() {
	var url string
	r.redis, url = startRedis(r.t, "--appendonly", "yes", "--appendfsync", "always")
	r.global["gatehouse_state"] = url + "?durable=true"
}

// putBehind adds a host that is handed to a Prosody.
func (r *rig) putBehind() {
	port := freePorts(r.t, 1)[0]
	table := edition(relayHost, 0)
	r.backend = startBackend(r.t, "gatehouse", "http://"+loopback(port)+"/auth", table)
	r.global["gatehouse_admin"] = loopback(port)
	r.global["gatehouse_auth_api_user"] = "prosody"
	r.global["gatehouse_auth_api_password"] = relayAPIPassword
	r.serve(relayHost, r.doors[0].address, "starttls")
	r.hosts[len(r.hosts)-1].options["gatehouse_upstream"] = r.backend.address
}

// begin starts the daemon, and its scripts.
func (r *rig) begin() {
	r.t.Helper()
	for i, h := range r.hosts {
		r.install(h.name, r.paths[i])
	}
	r.launch(writeConfig(r.t, r.dir, r.hosts, r.global))
}

func (r *rig) launch(config string) {
	r.t.Helper()
	r.reloadable = startReloadableProgram(r.t, r.program, config, r.env...)
}

// install writes the script of a host: a shell script, which may set limits and then becomes the program.
func (r *rig) install(host, path string) {
	busy := map[string]any{"while": r.busy(), "do": []any{do("sleep", 0.1), do("answer", true)}}
	plan := map[string]any{
		"protocol": protocolOf(host), "accounts": edition(host, 0),
		"rules": append([]any{busy}, translate(r.rules, protocolOf(host))...),
	}
	r.write(path+".plan", planFile(plan))
	r.write(path, file{fmt.Sprintf("#!/bin/sh\n[ ! -e '%[1]s.limit' ] || ulimit $(cat '%[1]s.limit')\nexec %[2]s --plan '%[3]s.plan'\n",
		r.trigger, testscript, path), 0o755})
}

func (r *rig) write(path string, f file) {
	if err := os.WriteFile(path, []byte(f.content), f.mode); err != nil {
		r.t.Fatal(err)
	}
}

// busy is the file that makes the scripts slow as long as it is there.
func (r *rig) busy() string { return filepath.Join(r.dir, "busy") }

// warm has the daemon take what it ever needs: all processes of all scripts above all.
func (r *rig) warm() {
	r.write(r.busy(), file{"", 0o600})
	l := startLoad(r.t, tortureRate, r.clock, r.doors)
	until(r.t, "all scripts are busy", patience, func() bool { return len(r.processes()) == rigProcesses*len(r.hosts) })
	r.remove(r.busy())
	if tortured() { // until as much garbage has come together as the daemon ever lets
		time.Sleep(4 * time.Second)
	}
	l.stop()
}

// pull lets the rules that ask for the trigger hold, until the function that it returns is called.
func (r *rig) pull() (end func()) {
	r.write(r.trigger, file{"", 0o600})
	return func() {
		if err := os.Remove(r.trigger); err != nil {
			r.t.Error(err)
		}
	}
}

// processes are the ids of all processes that run one of the rig's scripts, or what those have left behind.
func (r *rig) processes() []int {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		r.t.Fatal(err)
	}
	var pids []int
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(line, []byte(testscript)) && !bytes.HasPrefix(line, []byte("/proc/self/exe")) ||
			!bytes.Contains(line, []byte(r.dir)) {
			continue // another, or it has ended
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			r.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// killScripts sends SIGKILL to all processes of scripts.
func (r *rig) killScripts() {
	for _, pid := range r.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
}

// rest waits until the daemon has nothing to do, and returns what it takes.
func (r *rig) rest() usage {
	r.t.Helper()
	return settled(r.t, r.reloadable)
}

// clock is the time as the daemon sees it, and whoever mints tokens.
func (r *rig) clock() time.Time { return time.Now().Add(time.Duration(r.step.Load())) }
