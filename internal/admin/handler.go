package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Access is who can reach a [Handler].
type Access int

const (
	// ReadOnly is for everybody on this machine: nothing can be changed. Over TCP a request must name a loopback host.
	ReadOnly Access = iota
	// Control is for a unix socket that only the daemon's own user can open: /reload is served as well.
	Control
)

// maxScrapes bounds how many requests for /metrics are worked on at a time; further ones get 503.
const maxScrapes = 4

// Handler serves
//
//	GET  /             the status page
//	GET  /status.json  what the page shows
//	GET  /metrics      for Prometheus
//	GET  /healthz      200 while the daemon is alive
//	GET  /readyz       200 if clients can log in, or 503 with one reason a line
//	POST /reload       with Control: 200 with what changed, or 422 with why the config in use stays
//
// and HEAD for each GET. Every answer but the page, the JSON and the metrics is plain text.
func Handler(m *Metrics, source Source, access Access) http.Handler {
	gauges := prometheus.NewRegistry()
	gauges.MustRegister(&collector{m, source})
	// In this order, since the collector makes series in the other registry.
	metrics := promhttp.HandlerFor(prometheus.Gatherers{gauges, m.registry}, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) { serveStatus(w, m, source) })
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { serveReady(w, source) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) { serveReload(w, r, source, access) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		if !unix(r) && !loopback(r.Host) {
			text(w, http.StatusMisdirectedRequest,
				"This is answered only under a loopback address: ask http://127.0.0.1 or http://localhost.")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unix tells whether a request came over a unix socket, where web pages cannot get and any Host will do.
func unix(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr.Network() == "unix"
}

// loopback tells whether a Host header names this machine to itself.
func loopback(host string) bool {
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = h
	} else if h, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(h, "]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, line+"\n") // the client may be gone
}

func serveReady(w http.ResponseWriter, source Source) {
	if err := source.Ready(); err != nil {
		text(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	text(w, http.StatusOK, "ok")
}

func serveReload(w http.ResponseWriter, r *http.Request, source Source, access Access) {
	if access != Control {
		text(w, http.StatusForbidden, "Here one can only look. To reload, run gatehouse reload, or send SIGHUP.")
		return
	}
	outcome, err := source.Reload(r.Context())
	switch {
	case errors.Is(err, ErrNotAsked):
		text(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		text(w, http.StatusUnprocessableEntity, err.Error())
	default:
		text(w, http.StatusOK, outcome)
	}
}

// view is what /status.json holds, and the page shows.
type view struct {
	Now time.Time `json:"now"`
	Status
	NotReady []string  `json:"not_ready"` // why clients cannot log in; empty if they can
	Troubles []Trouble `json:"troubles"`
	Curve    Curve     `json:"curve"`
	Totals   Totals    `json:"totals"`
	Failures []Failure `json:"failures"`
	Reloads  []Reload  `json:"reloads"`
	// Reached is how often limits were reached in the last ten minutes, by name; those that were not are missing.
	Reached map[string]uint64 `json:"limits_reached"`
}

func serveStatus(w http.ResponseWriter, m *Metrics, source Source) {
	v := view{Now: time.Now(), Status: source.Status(), NotReady: []string{}}
	v.Troubles = m.troubles(v.Hosts)
	if err := source.Ready(); err != nil {
		v.NotReady = lines(err.Error())
	}
	m.history.fill(&v, v.Now)
	v.Reached = m.reached.recent(v.Now)
	body, err := json.Marshal(v)
	if err != nil { // a time past the year 9999
		text(w, http.StatusInternalServerError, fmt.Sprintf("The status cannot be written as JSON: %v", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}
