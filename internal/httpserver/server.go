package httpserver

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits are those in which servers differ.
type Limits struct {
	Bytes int           // of a request's header, and 4 KiB; 0 for 16 KiB
	Conns int           // open connections; further ones are closed at once; 0 for any number
	Write time.Duration // for an answer, from the end of the request's header
	Idle  time.Duration // between two requests of a connection
}

// New returns a server for handler. What goes wrong with a connection is logged as a warning. The caller serves and shuts
// it down.
func New(handler http.Handler, limits Limits, logger *slog.Logger) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      limits.Write,
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    cmp.Or(limits.Bytes, 16<<10),
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	if limits.Conns > 0 {
		server.ConnState = atMost(int32(limits.Conns)) // #nosec G115 -- our own number
	}
	return server
}

// atMost closes the connections that are too many.
func atMost(limit int32) func(net.Conn, http.ConnState) {
	var open atomic.Int32
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > limit {
				_ = c.Close() // and the server comes to StateClosed
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}
