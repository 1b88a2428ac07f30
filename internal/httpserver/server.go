package httpserver

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits are those in which servers differ.
type Limits struct {
	Conns int           // open connections; further ones are closed at once
	Write time.Duration // for an answer, from the end of the request's header
	Idle  time.Duration // between two requests of a connection
}

// New returns a server for handler. What goes wrong with a connection is logged as a warning. The caller serves and shuts
// it down.
func New(handler http.Handler, limits Limits, logger *slog.Logger) *http.Server {
	var open atomic.Int32
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      limits.Write,
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if open.Add(1) > int32(limits.Conns) {
					_ = c.Close() // and the server comes to StateClosed
				}
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			}
		},
	}
}
