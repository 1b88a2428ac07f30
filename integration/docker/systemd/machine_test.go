package systemd

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// machine is a container that systemd has booted.
type machine struct {
	release string // bookworm or trixie
	name    string // the container's
	clients string // where it listens for clients
}

// boot starts a machine and waits until all that it starts by itself has started.
func boot(release, use string) (*machine, error) {
	m := &machine{release: release, name: "gatehouse-test-" + release + "-" + use}
	_ = m.end() // what a killed run may have left
	if _, err := engine.Docker("run", "--detach", "--name", m.name, "--hostname", m.name,
		"--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--cgroupns", "private", "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024", "--tmpfs", "/run", "--tmpfs", "/tmp:exec,mode=1777", image(release)); err != nil {
		return m, err
	}
	return m, m.booted()
}

// reboot ends all that runs and starts what is enabled.
func (m *machine) reboot(t *testing.T) {
	t.Helper()
	_, err := engine.Docker("restart", m.name)
	if err == nil {
		err = m.booted()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// booted waits until all that starts by itself has started.
func (m *machine) booted() error {
	if err := engine.Poll(func() error {
		state, err := m.run("systemctl is-system-running || systemctl list-units --failed --no-pager >&2")
		if err == nil && state != "running" {
			err = fmt.Errorf("%s is %q", m.name, state)
		}
		return err
	}); err != nil {
		return err
	}
	// Not a port of this machine, where something that Docker starts would take connections for a service that is down.
	address, err := engine.Docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", m.name)
	m.clients = address + ":5222"
	return err
}

func (m *machine) end() error {
	_, err := engine.Docker("rm", "--force", "--volumes", m.name)
	return err
}

// run has a shell do something as root.
func (m *machine) run(script string) (stdout string, err error) {
	cmd := exec.Command("docker", "exec", "--interactive", m.name, "sh", "-eu")
	cmd.Stdin = strings.NewReader(script)
	return engine.Output(cmd)
}

// sh is run for what has to succeed.
func (m *machine) sh(t *testing.T, script string) string {
	t.Helper()
	out, err := m.run(script)
	if err != nil {
		t.Fatalf("%s\n%v", script, err)
	}
	return out
}

// fails is run for what has to fail, and returns the error, with what was printed.
func (m *machine) fails(t *testing.T, script string) string {
	t.Helper()
	_, err := m.run(script)
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("%s\n%v, want it to fail", script, err)
	}
	return err.Error()
}

// write makes a file, with the rights of those who are to read it.
func (m *machine) write(t *testing.T, path, owner, mode, text string) {
	t.Helper()
	cmd := exec.Command("docker", "exec", "--interactive", m.name, "sh", "-euc",
		`mkdir -p "$(dirname "$1")"; cat >"$1.new"; chown "$2" "$1.new"; chmod "$3" "$1.new"; mv "$1.new" "$1"`, "sh", path, owner, mode)
	cmd.Stdin = strings.NewReader(text)
	if _, err := engine.Output(cmd); err != nil {
		t.Fatal(err)
	}
}

// property is what systemd says of the service.
func (m *machine) property(t *testing.T, name string) string {
	t.Helper()
	return m.sh(t, "systemctl show --property="+name+" --value gatehouse.service")
}

// becomes waits until a property of the service has a value.
func (m *machine) becomes(t *testing.T, name, want string) {
	t.Helper()
	if err := engine.Poll(func() error {
		if got := m.property(t, name); got != want {
			return fmt.Errorf("%s is %q, want %q", name, got, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// journal is what the service and systemd have said of it since a cursor.
func (m *machine) journal(t *testing.T, since string) string {
	t.Helper()
	return m.sh(t, "journalctl --sync; journalctl --unit gatehouse.service --no-pager --quiet --output cat --after-cursor '"+since+"'")
}

// cursor is the end of the journal, for now.
func (m *machine) cursor(t *testing.T) string {
	t.Helper()
	out := m.sh(t, "journalctl --sync; journalctl --lines 1 --no-pager --quiet --output cat --show-cursor | tail -n 1")
	return strings.TrimPrefix(out, "-- cursor: ")
}

// try authenticates and returns "success" or the condition of the failure.
func (m *machine) try(host, user, password string) (answer string, err error) {
	c, err := xmpptest.Dial(m.clients)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Secure(host, trust); err != nil {
		return "", err
	}
	return answered(c.AuthPlain(user, password))
}

func answered(e *xmpptest.Element, err error) (string, error) {
	switch {
	case err != nil:
		return "", err
	case e.Is(xmpptest.NSSASL, "failure"):
		return e.Condition(), nil
	}
	return e.Name, nil
}

// answers fails the test unless a login gets that answer.
func (m *machine) answers(t *testing.T, host, user, password, want string) {
	t.Helper()
	if answer, err := m.try(host, user, password); err != nil || answer != want {
		t.Errorf("login of %s with %s at %s: %s, %v; want %s", user, password, host, answer, err, want)
	}
}

// onEach runs a test on several machines at once.
func onEach(t *testing.T, machines []*machine, test func(*testing.T, *machine)) {
	for _, m := range machines {
		t.Run(m.release, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(m.run("systemctl status --no-pager --full --lines 60 gatehouse.service || true"))
				}
			})
			test(t, m)
		})
	}
}
