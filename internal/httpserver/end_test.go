package httpserver

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestEnd_waitsForAnswersOnly: who is being answered gets his answer; who is silent, or takes his time with a request,
// holds up nobody.
func TestEnd_waitsForAnswersOnly(t *testing.T) {
	for name, request := range map[string]string{
		"silent":   "",
		"half":     "GET / HTTP/1.1\r\nHost: x",
		"answered": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"slow":     "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			ln := pipes{make(chan net.Conn), make(chan struct{})}
			server := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					time.Sleep(endGrace / 2)
				}
				_, _ = io.WriteString(w, "ok")
			}), Limits{}, slog.New(slog.DiscardHandler))
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(ln) }()
			ours, theirs := net.Pipe()
			ln.conns <- theirs
			answer := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(ours)
				answer <- string(text)
			}()
			if _, err := io.WriteString(ours, request); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			began := time.Now()
			End(t.Context(), server)
			if took := time.Since(began); took > endGrace {
				t.Errorf("%s: took %v", name, took)
			}
			if text := <-answer; (name == "answered" || name == "slow") != (text != "") {
				t.Errorf("%s: got %q", name, text)
			}
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}
