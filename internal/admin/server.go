package admin

import (
	"log/slog"
	"net/http"
	"time"

	"gatehouse.im/gatehouse/internal/httpserver"
)

// maxConns bounds the connections of one server. Those who look are few; without a bound, anybody on this machine could
// use up the descriptors that clients need.
const maxConns = 64

// NewServer returns a server with the time-outs and limits that fit a [Handler]. What goes wrong with a connection is
// logged as a warning. The caller serves and shuts it down.
func NewServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return httpserver.New(handler, httpserver.Limits{
		Conns: maxConns,
		Write: time.Minute, // a reload tries the new script
		Idle:  time.Minute,
	}, logger)
}
