package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// accounts is how many users the load generator logs in, in turn.
const accounts = 200

// backlog is for all that listen in a storm of connections.
const backlog = 4096

// prosody starts Debian's Prosody with the load generator's accounts. It takes
// connections without TLS on the loopback interface: what a front leaves to it.
// More are further lines of the host's options.
func (r *rig) prosody(ctx context.Context, more ...string) (_ *process, err error) {
	r.made++
	base := r.path(fmt.Sprint("prosody-", r.made))
	users := filepath.Join(base, strings.ReplaceAll(domain, ".", "%2e"), "accounts")
	if err := os.MkdirAll(users, 0o700); err != nil {
		return nil, err
	}
	for i := range accounts {
		account := fmt.Sprintf("return { password = \"pass:u%d\" }\n", i)
		if err := os.WriteFile(filepath.Join(users, fmt.Sprintf("u%d.dat", i)), []byte(account), 0o600); err != nil {
			return nil, err
		}
	}
	port, release, err := reservePort()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	var b bytes.Buffer
	option := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	option("run_as_root = true")
	option("data_path = %q", base)
	option("pidfile = %q", base+".pid")
	option("log = { info = \"*console\" }")
	option("modules_enabled = { \"roster\", \"saslauth\", \"disco\", \"ping\", \"posix\" }")
	option("modules_disabled = { \"s2s\" }")
	option("c2s_interfaces = { \"127.0.0.1\" }")
	option("c2s_ports = { %d }", port)
	option("c2s_direct_tls_ports = {}")
	option("c2s_require_encryption = false")
	option("allow_unencrypted_plain_auth = true")
	option("network_settings = { tcp_backlog = %d }", backlog)
	option("authentication = \"internal_plain\"")
	option("plugin_paths = { %q }", filepath.Join(r.source, "prosody"))
	option("VirtualHost %q", domain)
	for _, m := range more {
		option("%s", m)
	}
	if err := os.WriteFile(base+".cfg.lua", b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "prosody", "-F", "--config", base+".cfg.lua")
	p, err := start("prosody", endWithUs(cmd), base+".log", regexp.MustCompile(`Activated service 'c2s'()`))
	if err != nil {
		return nil, missing(err, "prosody")
	}
	p.address = fmt.Sprint("127.0.0.1:", port)
	return p, nil
}

// haproxy starts Debian's HAProxy, which ends TLS and passes on what was in it.
func (r *rig) haproxy(ctx context.Context, upstream string) (_ *process, err error) {
	r.made++
	base := r.path(fmt.Sprint("haproxy-", r.made))
	pair, err := os.ReadFile(r.path("ecdsa.crt"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(r.path("ecdsa.key"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(base+".pem", append(pair, key...), 0o600); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	config := fmt.Sprintf(`global
	maxconn 8000
defaults
	mode tcp
	timeout connect 30s
	timeout client 1h
	timeout server 1h
frontend clients
	bind fd@3 ssl crt %s.pem backlog %d
	default_backend server
backend server
	server prosody %s
`, base, backlog, upstream)
	if err := os.WriteFile(base+".cfg", []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/usr/sbin/haproxy", "-db", "-V", "-f", base+".cfg")
	cmd.ExtraFiles = []*os.File{socket}
	p, err := start("haproxy", endWithUs(cmd), base+".log", regexp.MustCompile(`()polling mechanism`))
	if err != nil {
		return nil, missing(err, "haproxy")
	}
	p.address = ln.Addr().String()
	return p, nil
}

// bareProxy starts the least that does the same in Go.
func (r *rig) bareProxy(ctx context.Context, upstream string) (*process, error) {
	r.made++
	cmd := exec.CommandContext(ctx, r.path("xmppload"), "floor-proxy", "-addr", "127.0.0.1:0", "-upstream", upstream,
		"-cert", r.path("ecdsa.crt"), "-key", r.path("ecdsa.key"))
	return start("bare proxy", endWithUs(cmd), r.path(fmt.Sprint("bare-proxy-", r.made, ".log")), regexp.MustCompile(`listening (\S+)\n`))
}

// relaying starts a gatehouse that hands its logins on with the password that
// the client has shown, which costs it least.
func (r *rig) relaying(ctx context.Context, upstream string) (*process, error) {
	return r.gatehouse(ctx, "gatehouse, password", script{},
		fmt.Sprintf("gatehouse_upstream = %q", upstream),
		"gatehouse_upstream_auth = \"password\"")
}

// relayingTickets starts a gatehouse that hands its logins on with tickets, and
// a Prosody that asks it about each.
func (r *rig) relayingTickets(ctx context.Context) (prosody, gatehouse *process, err error) {
	port, release, err := reservePort()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	credentials := []string{"gatehouse_auth_api_user = \"prosody\"", "gatehouse_auth_api_password = \"none but this Prosody knows this\""}
	prosody, err = r.prosody(ctx, append(credentials, "authentication = \"gatehouse\"",
		fmt.Sprintf("gatehouse_auth_url = \"http://127.0.0.1:%d/auth\"", port))...)
	if err != nil {
		return nil, nil, err
	}
	global := append([]string{fmt.Sprintf("gatehouse_upstream = %q", prosody.address), "Host \"*\"",
		fmt.Sprintf("gatehouse_admin = \"127.0.0.1:%d\"", port)}, credentials...)
	gatehouse, err = r.gatehouse(ctx, "gatehouse, tickets", script{}, global...)
	if err != nil {
		return nil, nil, errors.Join(err, prosody.stop())
	}
	return prosody, gatehouse, nil
}

// endWithUs has the kernel end cmd when this program is killed.
func endWithUs(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// missing says which package has the program that did not start.
func missing(err error, debianPackage string) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (install Debian's package %s)", err, debianPackage)
	}
	return err
}

// reservePort finds a free port for a program that must be told which. Until
// release no other is given it by chance; a program that listens with
// SO_REUSEADDR, as servers do, can take it at any time.
func reservePort() (port int, release func() error, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	release = func() error { return os.NewSyscallError("close", unix.Close(fd)) }
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, nil, errors.Join(os.NewSyscallError("setsockopt", err), release())
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, nil, errors.Join(os.NewSyscallError("bind", err), release())
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, nil, errors.Join(os.NewSyscallError("getsockname", err), release())
	}
	return name.(*unix.SockaddrInet4).Port, release, nil
}
