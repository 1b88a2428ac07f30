package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
)

func TestBuild_namesEveryHostWithoutCertificate(t *testing.T) {
	cfg := &config.Config{CertificatesDir: "/etc/prosody/certs", Hosts: []*config.Host{
		{Name: "a.example", Pos: config.Pos{File: "x.cfg.lua", Line: 1}},
		{Name: "b.example", Pos: config.Pos{File: "x.cfg.lua", Line: 5}, Certificates: []config.Certificate{{TLS: tls.Certificate{}}}},
		{Name: "c.example", Pos: config.Pos{File: "x.cfg.lua", Line: 9}},
	}}
	b := &builder{logger: slog.New(slog.DiscardHandler), metrics: admin.NewMetrics("test"), memory: new(memory)}
	_, err := b.build(context.Background(), cfg, nil)
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
