package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"gatehouse.im/gatehouse/config"
)

func TestBuild_namesEveryHostWithoutCertificate(t *testing.T) {
	cfg := &config.Config{CertificatesDir: "/etc/prosody/certs", Hosts: []*config.Host{
		{Name: "a.example", Pos: config.Pos{File: "x.cfg.lua", Line: 1}},
		{Name: "b.example", Pos: config.Pos{File: "x.cfg.lua", Line: 5}, Certificates: []config.Certificate{{TLS: tls.Certificate{}}}},
		{Name: "c.example", Pos: config.Pos{File: "x.cfg.lua", Line: 9}},
	}}
	_, err := build(cfg, slog.New(slog.DiscardHandler))
	var e *exitError
	if !errors.As(err, &e) || e.Code != exitConfig {
		t.Fatalf("build: %v, want exit code %d", err, exitConfig)
	}
	for _, want := range []string{"x.cfg.lua:1: host a.example", "x.cfg.lua:9: host c.example", "/etc/prosody/certs", "gatehouse_self_signed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "b.example") {
		t.Errorf("b.example has a certificate: %v", err)
	}
	cfg.SelfSigned = true
	if err := missingCertificates(cfg); err != nil {
		t.Errorf("with gatehouse_self_signed: %v", err)
	}
}

func TestDaemon_listenSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for addr, want := range map[string]string{
		taken.Addr().String(): "Is another server",
		"192.0.2.1:" + strconv.Itoa(taken.Addr().(*net.TCPAddr).Port): "no such address",
	} {
		d := &daemon{config: &config.Config{}, logger: slog.New(slog.DiscardHandler)}
		err := d.listen(context.Background(), []config.Listener{{Network: "tcp4", Addr: addr, Option: "c2s_ports"}})
		var e *exitError
		if !errors.As(err, &e) || e.Code != exitUnavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
	if hint := listenHint(syscall.EACCES, "c2s_ports"); !strings.Contains(hint, "c2s_ports") || !strings.Contains(hint, "CAP_NET_BIND_SERVICE") {
		t.Errorf("a port of root's: %q", hint)
	}
}
