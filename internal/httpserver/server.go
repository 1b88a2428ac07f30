package httpserver

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"
)

// Limits are those in which servers differ.
type Limits struct {
	Bytes int           // of a request's header, and 4 KiB; 0 for 16 KiB
	Conns int           // open connections; 0 for any number
	Write time.Duration // for an answer, from the end of the request's header
	Idle  time.Duration // between two requests of a connection
	// Stranger is the same where nobody has called [Keep] for the connection; 0 is Idle. With it, the oldest of these
	// connections makes room for one that is too many; without, or if there is none, that is closed at once itself.
	Stranger time.Duration
}

// New returns a server for handler. The header of a request must be there in 5 seconds, the first one's from the connection on,
// and all of it in 10. What goes wrong with a connection is logged as a warning. The caller serves and shuts it down.
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
		p := newPlaces(limits)
		server.ConnContext, server.ConnState = p.come, p.follow
	}
	return server
}
