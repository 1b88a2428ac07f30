package webserver

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/httpserver"
)

// What holds before the upgrade.
const (
	headerLimit = 8 << 10         // what net/http adds to it for its buffer included
	readLimit   = 8 * time.Second // TLS handshake and request
	writeLimit  = 30 * time.Second
	idleLimit   = 15 * time.Second

	// tolerance is what net/http reads beyond its limit.
	tolerance = 4 << 10
)

// Server answers HTTP and keeps the WebSockets that come of it. Create it with [New].
type Server struct {
	settings  atomic.Pointer[settings]
	http      *http.Server
	admission *admission.Counter

	// mu guards what is below.
	mu     sync.Mutex
	closed bool
	conns  map[*Conn]struct{}
	wg     sync.WaitGroup // one for each of conns
}

// New returns a Server with a first configuration. The logger of later ones counts for sessions; that of the first stays the
// one for connections before the upgrade.
func New(config Config) *Server {
	s := &Server{conns: make(map[*Conn]struct{}), admission: config.Admission}
	if s.admission == nil {
		s.admission = admission.New(config.Logger, nil)
	}
	s.SetConfig(config)
	s.http = httpserver.New(s, httpserver.Limits{Bytes: headerLimit - tolerance, Write: writeLimit, Idle: idleLimit}, config.Logger)
	s.http.ReadHeaderTimeout, s.http.ReadTimeout = readLimit, readLimit
	s.http.ConnContext, s.http.ConnState = withFront, follow
	// Anybody can make a handshake fail.
	s.http.ErrorLog = slog.NewLogLogger(config.Logger.Handler(), slog.LevelDebug)
	s.http.Protocols = new(http.Protocols)
	s.http.Protocols.SetHTTP1(true) // an upgrade is of HTTP/1.1
	return s
}

// SetConfig replaces the configuration for requests to come. Sessions go on as they began.
func (s *Server) SetConfig(config Config) { s.settings.Store(newSettings(config)) }

// Serve answers requests on ln until ln is closed or [Server.Shutdown] is called, and then returns the listener's error or
// http.ErrServerClosed. With a config, TLS begins with the first byte; a config that its GetConfigForClient returns must have
// no NextProtos but "http/1.1". Serve closes ln. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener, config *tls.Config) error {
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
	}
	return s.http.Serve(&listener{ln, s, config})
}

// Shutdown stops accepting, ends what has not become a session, and waits for all sessions, which somebody else must ask
// to end. When ctx ends first, they are closed hard, and ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		httpserver.End(ctx, s.http)
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.CloseNow()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// Sessions is how many WebSockets are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
