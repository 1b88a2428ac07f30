package authapi

import (
	"log/slog"
	"net/http"
	"time"

	"gatehouse.im/gatehouse/internal/httpserver"
)

// MaxConns is how many connections one server needs at most. A server that asks has one for each question in flight, or fewer.
const MaxConns = 1024

// strangerIdle is how long a connection may wait for the next request on which nobody has shown credentials yet.
const strangerIdle = 15 * time.Second

// NewServer returns a server for conns connections, with the time-outs and limits that fit a [Handler]. Idle connections are kept for an hour where
// a question was admitted: those who ask do it again. The others, of whoever can connect, end after 15 seconds, or sooner if
// there are too many. What goes wrong with a connection is logged as a warning. The caller serves and shuts it down.
func NewServer(handler http.Handler, conns int, logger *slog.Logger) *http.Server {
	return httpserver.New(handler, httpserver.Limits{
		Conns:    conns,
		Write:    judgeTimeout + 10*time.Second,
		Idle:     time.Hour,
		Stranger: strangerIdle,
	}, logger)
}
