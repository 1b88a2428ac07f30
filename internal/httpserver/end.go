package httpserver

import (
	"context"
	"net/http"
	"time"
)

// endGrace is how long what has begun may go on when a server ends.
const endGrace = 500 * time.Millisecond

// End shuts a server down. A request has half a second to be there and to be answered, or until ctx ends if that is
// sooner; then its connection is closed. To wait for everybody, as http.Server.Shutdown does, would be to let whoever
// connects and says nothing hold up a restart for seconds.
func End(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}
