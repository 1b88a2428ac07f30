package admin

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// maxConns bounds the connections of one server. Those who look are few; without a bound, anybody on this machine could
// use up the descriptors that clients need.
const maxConns = 64

// NewServer returns a server with the time-outs and limits that fit a [Handler]. What goes wrong with a connection is
// logged as a warning. The caller serves and shuts it down.
func NewServer(handler http.Handler, logger *slog.Logger) *http.Server {
	var open atomic.Int32
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // a reload tries the new script
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if open.Add(1) > maxConns {
					_ = c.Close() // and the server comes to StateClosed
				}
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			}
		},
	}
}
