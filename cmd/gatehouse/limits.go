package main

import (
	"log/slog"

	"golang.org/x/sys/unix"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/authapi"
	"gatehouse.im/gatehouse/server"
)

// Limit implements server.Observer.
func (o observer) Limit(l server.Limit) { o.metrics.Limit(string(l)) }

// newAdmission counts the connections of all client ports. It has no limits yet.
func newAdmission(logger *slog.Logger, metrics *admin.Metrics) *admission.Counter {
	return admission.New(logger, func(l admission.Limit) { metrics.Limit(string(l)) })
}

// limit bounds what clients may cost.
func (b *builder) limit(s *server.Config, cfg *config.Config) {
	s.HandshakeTimeout = cfg.Limits.Handshake
	s.Rate = server.Rate{Bytes: cfg.Limits.Rate, Burst: cfg.Limits.Burst}
	s.Admission = b.admission
}

// admissionLimits are those of a config. Clients that have not logged in never get
// all the places that there are.
func admissionLimits(cfg *config.Config) admission.Limits {
	l := admission.Limits{
		Connections: cfg.Limits.Connections,
		Unauthed:    cfg.Limits.Unauthed,
		PerAddress:  cfg.Limits.PerAddress,
	}
	if l.Connections < 0 {
		l.Connections = affordable(cfg, openFiles())
	}
	if l.Connections > 0 && (l.Unauthed == 0 || l.Unauthed > l.Connections/4*3) {
		l.Unauthed = max(1, l.Connections/4*3)
	}
	return l
}

// spareFiles are for scripts, ports, files, and the control socket.
const spareFiles = 256

// consoleConns is how many connections a listener of gatehouse_admin or
// gatehouse_extauth_socket may have, so that they leave the clients' files alone.
func consoleConns(files uint64) int {
	if files == 0 {
		return authapi.MaxConns
	}
	return int(min(authapi.MaxConns, files/16)) // #nosec G115 -- at most MaxConns
}

// affordable is for how many clients so many open files are enough: with a server
// behind, each has two. 0 is any number.
func affordable(cfg *config.Config, files uint64) int {
	if files == 0 || files > 1<<30 {
		return 0
	}
	have, consoles := int(files), len(cfg.Admin)
	if cfg.ExtauthSocket != nil {
		consoles++
	}
	n := max(have-spareFiles-consoles*consoleConns(files), have/2)
	for _, h := range cfg.Hosts {
		if h.Upstream != nil {
			return n / 2
		}
	}
	return n
}

// openFiles is how many files the process may have open; package os has raised
// that as far as it may. 0 is unknown.
func openFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

func placesStatus(c admission.Counts) *admin.Places {
	return &admin.Places{
		Connections: c.Connections, Unauthed: c.Unauthed, Addresses: c.Addresses,
		MaxConnections: c.Limits.Connections, MaxUnauthed: c.Limits.Unauthed, MaxPerAddress: c.Limits.PerAddress,
	}
}
