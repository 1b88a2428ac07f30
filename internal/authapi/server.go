package authapi

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// maxConns bounds the connections of one server. A server that asks has one for each question in flight, or fewer.
const maxConns = 1024

// NewServer returns a server with the time-outs and limits that fit a [Handler]. Idle connections are kept: those who ask
// do it again. What goes wrong with a connection is logged as a warning. The caller serves and shuts it down.
func NewServer(handler http.Handler, logger *slog.Logger) *http.Server {
	var open atomic.Int32
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      judgeTimeout + 10*time.Second,
		IdleTimeout:       time.Hour,
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
