package httpserver

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// places are for the connections of one server.
type places struct {
	max      int
	stranger time.Duration

	mu        sync.Mutex // guards everything below
	taken     map[net.Conn]*place
	strangers *list.List // of *place, the oldest in front
}

// place is that of a connection. Its fields are guarded by places.mu.
type place struct {
	of   *places
	conn net.Conn
	at   *list.Element // among the strangers; nil if it is none
	idle *time.Timer   // of a stranger, between two requests
}

// ofConn is the key of a connection's place in the context of its requests.
type ofConn struct{}

func newPlaces(limits Limits) *places {
	return &places{max: limits.Conns, stranger: limits.Stranger, taken: make(map[net.Conn]*place), strangers: list.New()}
}

// Keep tells that the connection of a request, whose context it is, belongs to somebody with the right to ask: it may be idle
// for Limits.Idle, and makes room for nobody. It does nothing for other contexts.
func Keep(ctx context.Context) {
	p, ok := ctx.Value(ofConn{}).(*place)
	if !ok {
		return
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.known()
}

// come is for http.Server.ConnContext.
func (p *places) come(ctx context.Context, c net.Conn) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.taken) >= p.max && !p.makeRoom() {
		_ = c.Close() // and the server comes to the end of it
		return ctx
	}
	of := &place{of: p, conn: c}
	if p.stranger > 0 {
		of.at = p.strangers.PushBack(of)
	}
	p.taken[c] = of
	return context.WithValue(ctx, ofConn{}, of)
}

// follow is for http.Server.ConnState.
func (p *places) follow(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.taken[c]
	switch {
	case of == nil: // it was turned away, or made room
	case state == http.StateClosed || state == http.StateHijacked:
		of.leave()
	case of.at == nil:
	case state == http.StateIdle:
		of.idle = time.AfterFunc(p.stranger, func() { _ = c.Close() })
	case of.idle != nil:
		of.idle.Stop()
	}
}

// makeRoom ends the connection of the oldest stranger. The caller holds p.mu.
func (p *places) makeRoom() bool {
	oldest := p.strangers.Front()
	if oldest == nil {
		return false
	}
	of := oldest.Value.(*place)
	of.leave()
	_ = of.conn.Close()
	return true
}

// leave gives the place away. The caller holds p.of.mu.
func (p *place) leave() {
	p.known()
	delete(p.of.taken, p.conn)
}

// known takes it out of the strangers. The caller holds p.of.mu.
func (p *place) known() {
	if p.at == nil {
		return
	}
	p.of.strangers.Remove(p.at)
	p.at = nil
	if p.idle != nil {
		p.idle.Stop()
	}
}
