package credentials

import (
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"gatehouse.im/gatehouse/saslmech"
)

// Path is where a [Handler] belongs. It does not look at the path itself.
const Path = "/credentials"

// retryAfter is when those may ask again for whom no token could be made.
const retryAfter = 5 * time.Second

// Config is what a [Handler] goes by. The handler keeps it; nobody may change it afterwards.
type Config struct {
	// Hosts are those whose users get tokens, by their name as Nameprep makes it.
	Hosts map[string]Host
	// Remote says who asks, as an IP address with or without a port; nil for the address that the connection comes from.
	Remote func(*http.Request) string
}

// Host is one of them.
type Host struct {
	// User and Password admit by Basic authentication (RFC 7617), Bearer as a bearer token (RFC 6750). What is empty admits
	// nobody, and User has no colon.
	User, Password string
	Bearer         string
	// PerMinute is how many tokens one user may have a minute, 1 at least; after a minute without any he may have as many at
	// once.
	PerMinute int
	// Mint makes a token for a user, whose name is prepared and not empty. It must not block.
	Mint func(user string) (token string, err error)
}

// Handler answers as the package's documentation says. Its methods may be called at any time, from any goroutine.
type Handler struct {
	logger   *slog.Logger
	settings atomic.Pointer[settings]
	tries    buckets       // of wrong credentials, by address
	users    buckets       // of tokens, by JID
	total    *rate.Limiter // of tokens
}

// settings is a Config made ready.
type settings struct {
	Config
	access map[string]access
}

// New returns a handler that logs one line a request: "token for a web application" at info, or "no token for a web
// application" as a warning with the cause. Tokens and credentials are never in it.
func New(config Config, logger *slog.Logger) *Handler {
	h := &Handler{logger: logger, tries: buckets{max: maxAddresses}, total: rate.NewLimiter(totalRate, totalBurst)}
	h.Set(config)
	return h
}

// Set makes a handler go by another Config, from the next request on. What has been counted still counts.
func (h *Handler) Set(config Config) {
	s := &settings{config, make(map[string]access, len(config.Hosts))}
	for name, host := range config.Hosts {
		s.access[name] = newAccess(host)
	}
	h.settings.Store(s)
}

// sameOrigin refuses what a web page elsewhere has a browser send. Those who ask honestly are no browsers.
var sameOrigin = http.NewCrossOriginProtection()

// forServers ends what is told to those who seem to ask from a page.
const forServers = ": the server of a web application asks, and gives the answer to its page"

// refusal is why there is no token.
type refusal struct {
	status int
	text   string
	wait   time.Duration // for Retry-After; 0 for none
	cause  error         // for the log, if that is to hold more
}

// question is what is known of a request, as far as it has been read.
type question struct{ user, host string }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.settings.Load()
	remote := r.RemoteAddr
	if s.Remote != nil {
		remote = s.Remote(r)
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	var q question
	token, refused := h.serve(s, r, remote, &q)
	attrs := make([]slog.Attr, 0, 5)
	if q != (question{}) {
		attrs = append(attrs, slog.String("host", cut(q.host)), slog.String("user", cut(q.user)))
	}
	attrs = append(attrs, slog.String("remote", remote))
	if refused == nil {
		h.logger.LogAttrs(r.Context(), slog.LevelInfo, "token for a web application", attrs...)
		writeToken(w, q.user+"@"+q.host, token)
		return
	}
	cause := refused.text
	if refused.cause != nil {
		cause = refused.cause.Error()
	}
	attrs = append(attrs, slog.Int("status", refused.status), slog.String("cause", cause))
	h.logger.LogAttrs(r.Context(), slog.LevelWarn, "no token for a web application", attrs...)
	switch refused.status {
	case http.StatusUnauthorized:
		header.Add("WWW-Authenticate", `Basic realm="gatehouse", charset="UTF-8"`)
		header.Add("WWW-Authenticate", `Bearer realm="gatehouse"`)
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	}
	if refused.wait > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(refused.wait.Seconds()))))
	}
	write(w, refused.status, "text/plain; charset=utf-8", []byte(refused.text+"\n"))
}

// serve returns a token, or why there is none. It notes in q for whom.
func (h *Handler) serve(s *settings, r *http.Request, remote string, q *question) (token string, _ *refusal) {
	switch {
	case r.Method != http.MethodPost:
		return "", &refusal{status: http.StatusMethodNotAllowed, text: "tokens are asked for with POST only" + forServers}
	case sameOrigin.Check(r) != nil:
		return "", &refusal{status: http.StatusForbidden, text: "this is not for pages of other sites" + forServers}
	}
	shown := presented(r)
	now := time.Now()
	if wait := h.tries.empty(addressOf(remote), now); wait > 0 {
		return "", &refusal{status: http.StatusTooManyRequests, text: "too many wrong credentials came from your address", wait: wait}
	}
	// A stranger gets no further: nothing of his is read, nor is he told which hosts there are.
	known := false
	for _, a := range s.access {
		known = a.admits(shown) || known
	}
	if !known {
		return "", h.wrongCredentials(remote, now)
	}
	name, server, err := readFields(r)
	if err != nil {
		return "", &refusal{status: http.StatusBadRequest, text: err.Error()}
	}
	q.user, q.host = name, server
	hostName, err := saslmech.Nameprep(server)
	host, ok := s.Hosts[hostName]
	if err != nil || !ok {
		return "", &refusal{status: http.StatusNotFound, text: "no tokens are given here for users of this server: see gatehouse_credentials"}
	}
	q.host = hostName
	if !s.access[hostName].admits(shown) {
		return "", h.wrongCredentials(remote, now)
	}
	user, err := prepareUser(name)
	if err != nil {
		return "", &refusal{status: http.StatusBadRequest, text: err.Error()}
	}
	q.user = user
	if refused := h.count(user+"@"+hostName, host.PerMinute, now); refused != nil {
		return "", refused
	}
	token, err = host.Mint(user)
	if err != nil {
		return "", &refusal{http.StatusServiceUnavailable, "no token can be made at the moment; the log of gatehouse has the cause", retryAfter, err}
	}
	return token, nil
}

func (h *Handler) wrongCredentials(remote string, now time.Time) *refusal {
	h.tries.get(addressOf(remote), triesBurst, now).AllowN(now, 1) // which only counts
	return &refusal{status: http.StatusUnauthorized, text: "the credentials are wrong, or there are none" + forServers}
}

// count counts a token for a user, unless there were too many.
func (h *Handler) count(jid string, perMinute int, now time.Time) *refusal {
	if wait := pause(h.total, now); wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, text: "too many tokens are asked for", wait: wait}
	}
	if bucket := h.users.get(jid, perMinute, now); !bucket.AllowN(now, 1) {
		return &refusal{status: http.StatusTooManyRequests, text: "too many tokens are asked for this user: see gatehouse_credentials_rate",
			wait: max(pause(bucket, now), 1)}
	}
	h.total.AllowN(now, 1) // it had one, unless others were faster just now, which is close enough
	return nil
}

// writeToken answers what Converse.js wants from its credentials_url.
func writeToken(w http.ResponseWriter, jid, token string) {
	body, _ := json.Marshal(struct { // two strings cannot fail
		JID      string `json:"jid"`
		Password string `json:"password"`
	}{jid, token})
	write(w, http.StatusOK, "application/json", append(body, '\n'))
}

func write(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked may be gone
}

// maxLogged is how much of a name from outside the log shows.
const maxLogged = 64

// cut bounds a name from outside; slog's handlers escape what is left.
func cut(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	s = s[:maxLogged]
	for len(s) > 0 && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
