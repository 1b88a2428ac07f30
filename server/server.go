package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// ErrClosed is returned by [Server.Serve] after [Server.Shutdown] was called.
var ErrClosed = errors.New("server: closed")

// Server accepts client streams. Create it with [New].
type Server struct {
	config   atomic.Pointer[Config]
	registry registry
	counts   [states]atomic.Int64 // connections, by what they are at

	admission *admission.Counter

	// ctx ends when connections must end at once.
	ctx    context.Context
	cancel context.CancelFunc

	// mu guards what is below.
	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	wg        sync.WaitGroup // one for each of conns and each Serve
}

// New returns a Server with a first configuration.
func New(config *Config) *Server {
	s := &Server{
		admission: config.Admission,
		registry:  registry{sessions: make(map[string][]*session), changed: make(map[string]time.Time)},
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
	}
	if s.admission == nil {
		s.admission = admission.New(config.Logger, nil)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.config.Store(config)
	return s
}

// SetConfig replaces the configuration. When it returns, whatever clients send
// is judged by the new one: the next stream header, the next attempt to log in,
// the next stanza. Queries that are under way end by the old one. Sessions go
// on, but for those of a host that is not served any more, which end with
// host-gone.
func (s *Server) SetConfig(config *Config) {
	s.config.Store(config)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if name := c.hostName(); name != "" && config.Hosts[name] == nil {
			c.end(hostGone)
		}
	}
}

// Serve accepts clients on ln until ln is closed or [Server.Shutdown] is
// called, and then returns the listener's error or ErrClosed. direct is asked
// for each client whether TLS begins with the first byte. Serve closes ln.
func (s *Server) Serve(ln net.Listener, direct func() bool) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = ln.Close()
		return ErrClosed
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer func() {
		_ = ln.Close()
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
		s.wg.Done()
	}()

	var pause time.Duration
	for {
		nc, err := ln.Accept()
		if err != nil {
			if s.ctx.Err() != nil || s.isClosed() {
				return ErrClosed
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors, most likely: those in use will end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.config.Load().Logger.Warn("cannot accept a connection; trying again",
				"address", ln.Addr().String(), "cause", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
			continue
		}
		pause = 0
		s.start(nc, direct())
	}
}

// start runs a connection in a goroutine of its own, unless there are too many
// or the server is closed.
func (s *Server) start(nc net.Conn, direct bool) {
	place := s.admission.Accept(nc)
	if place == nil {
		_ = nc.Close()
		return
	}
	c := newConn(s, s.config.Load(), nc, direct)
	c.place = place
	if tc, ok := nc.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: c.config.TCPKeepalives})
	}
	if !s.add(c) {
		place.Leave()
		return
	}
	go func() {
		defer place.Leave()
		s.serve(c)
	}()
}

// add takes in a connection that [Server.serve] is then called for. If the server
// is closed it closes the connection instead.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		closeNow(c.raw)
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return true
}

// serve returns when the connection is closed.
func (s *Server) serve(c *conn) {
	defer func() {
		// A fault in one connection must not end the others.
		if p := recover(); p != nil {
			c.config.Logger.Error("internal fault in a connection; please report it",
				"remote", c.remote(), "fault", fmt.Sprint(p), "stack", string(debug.Stack()))
			closeNow(c.raw)
		}
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.wg.Done()
	}()
	c.run(s.ctx)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// farewell is how long a connection may take to end whose time is over.
const farewell = 250 * time.Millisecond

// Shutdown stops accepting, ends every stream with system-shutdown as soon as
// the query that it waits for is answered, and waits for all connections. When
// ctx ends first, queries are not waited for any more; connections that have not
// ended a moment later (250 ms) are closed hard, and an error that wraps ctx's
// is returned. Calling it again waits again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for c := range s.conns {
		c.end(systemShutdown)
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	late := len(s.conns)
	s.mu.Unlock()
	s.cancel()
	select {
	case <-done:
	case <-time.After(farewell):
	}
	s.mu.Lock()
	for c := range s.conns {
		closeNow(c.raw)
	}
	s.mu.Unlock()
	<-done
	return fmt.Errorf("%d connections cut off: %w", late, ctx.Err())
}
