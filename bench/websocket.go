package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// A webServer is a gatehouse that serves WebSockets, too: the same process at
// two addresses.
type webServer struct{ tcp, wss *process }

var webAddress = regexp.MustCompile(`info listening address=(\S+) tls=direct service=websocket`)

// withWebSocket starts a gatehouse that has a port for wss as well.
func (r *rig) withWebSocket(ctx context.Context, more ...string) (webServer, error) {
	more = append(more, "Host \"*\"", "gatehouse_websocket_ports = { 0 }", "gatehouse_websocket_interfaces = { \"127.0.0.1\" }")
	tcp, err := r.gatehouse(ctx, "gatehouse", script{}, more...)
	if err != nil {
		return webServer{}, err
	}
	log, err := os.ReadFile(tcp.log)
	if err != nil {
		return webServer{}, errors.Join(err, tcp.stop())
	}
	found := webAddress.FindSubmatch(log)
	if found == nil {
		return webServer{}, errors.Join(errors.New("gatehouse has no WebSocket port"), tcp.stop())
	}
	wss := *tcp
	wss.name, wss.address = "gatehouse, WebSocket", string(found[1])
	return webServer{tcp, &wss}, nil
}

// webSockets is part (g): what XMPP over WebSocket costs beside XMPP over TCP, at
// the same gatehouse. Both are with TLS.
func webSockets(ctx context.Context, r *rig) (rows []row, err error) {
	for _, part := range []func(context.Context, *rig) (row, error){webSessions, webLogins, webMessages} {
		w, err := part(ctx, r)
		if err != nil {
			return rows, err
		}
		rows = append(rows, w)
	}
	return rows, nil
}

// webSessions measures memory as (c) does.
func webSessions(ctx context.Context, r *rig) (row, error) {
	var web, tcp spread
	rounds := (r.size.rounds + 1) / 2
	for i := range rounds {
		r.log.Printf("(g) idle WebSocket sessions: round %d of %d", i+1, rounds)
		err := r.round(i,
			func() error {
				return r.idle(ctx, &tcp, r.size.sessions, func() (*process, error) {
					s, err := r.withWebSocket(ctx)
					return s.tcp, err
				})
			},
			func() error {
				return r.idle(ctx, &web, r.size.sessions, func() (*process, error) {
					s, err := r.withWebSocket(ctx)
					return s.wss, err
				}, "-websocket")
			})
		if err != nil {
			return row{}, err
		}
	}
	w := row{Part: "g", What: fmt.Sprintf("memory of an idle session over wss, of %d; floor: over TCP", r.size.sessions), Unit: "kB",
		Measured: web, Floor: tcp, Ratio: web.over(tcp)}
	return w.atMost(web, 40, "40 kB"), nil
}

// webLogins measures CPU as (a) does.
func webLogins(ctx context.Context, r *rig) (_ row, err error) {
	s, err := r.withWebSocket(ctx)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, s.tcp.stop()) }()
	var web, tcp spread
	login := func(to *spread, p *process, flags ...string) func() error {
		return func() error {
			args := append([]string{"-n", strconv.Itoa(r.size.logins), "-c", strconv.Itoa(concurrency),
				"-warm", strconv.Itoa(r.size.warm)}, flags...)
			res, err := r.loadClean(ctx, p, "login", args...)
			if err == nil {
				*to = append(*to, res.M["cpu_ms_per_login"])
			}
			return err
		}
	}
	for i := range r.size.rounds {
		r.log.Printf("(g) CPU of a login over WebSocket: round %d of %d", i+1, r.size.rounds)
		if err := r.round(i, login(&tcp, s.tcp), login(&web, s.wss, "-websocket")); err != nil {
			return row{}, err
		}
	}
	return row{Part: "g", What: "server CPU of a login over wss; floor: over TCP", Unit: "ms",
		Measured: web, Floor: tcp, Ratio: web.over(tcp)}, nil
}

// webMessages measures what is relayed as (f) does, between two clients that
// both come over WebSocket, or both over TCP.
func webMessages(ctx context.Context, r *rig) (_ row, err error) {
	prosody, err := r.prosody(ctx)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, prosody.stop()) }()
	s, err := r.withWebSocket(ctx, fmt.Sprintf("gatehouse_upstream = %q", prosody.address), "gatehouse_upstream_auth = \"password\"")
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, s.tcp.stop()) }()
	var web, tcp passage
	for i := range r.size.rounds {
		r.log.Printf("(g) messages over WebSocket: round %d of %d", i+1, r.size.rounds)
		err := r.round(i,
			func() error { return r.passMessages(ctx, s.tcp, &tcp, bodies[0], nil) },
			func() error { return r.passMessages(ctx, s.wss, &web, bodies[0], []string{"-websocket"}) })
		if err != nil {
			return row{}, err
		}
	}
	return row{Part: "g", What: fmt.Sprintf("CPU for a MB relayed over wss, bodies of %d B; floor: over TCP", bodies[0]), Unit: "ms",
		Measured: web.perMB, Floor: tcp.perMB, Ratio: web.perMB.over(tcp.perMB)}, nil
}
