package authapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse.im/gatehouse/internal/httpserver"
)

// Prefix is what the path of every question begins with.
const Prefix = "/auth/"

const (
	// judgeTimeout ends a question that its judge does not end.
	judgeTimeout = 30 * time.Second
	// retryAfter is when those whom nobody could answer may ask again; a script is back by then.
	retryAfter = 5 * time.Second
)

// Handler answers questions as the package's documentation says, by what judge says, to those whom access admits; others
// get 401 for every path below [Prefix], and a POST that a browser sends for a page of another site gets 403. It logs one line a question, "auth query": a yes or no to whether a user exists at
// debug, other verdicts at info, cannot say as a warning with its cause. Wrong credentials are a warning, too.
func Handler(judge Judge, access Access, logger *slog.Logger) http.Handler {
	return &handler{judge, access, logger}
}

type handler struct {
	judge  Judge
	access Access
	logger *slog.Logger
}

// sameOrigin refuses what a web page elsewhere has a browser send: one may know the credentials of this API. Those who ask
// honestly are no browsers.
var sameOrigin = http.NewCrossOriginProtection()

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.access.admits(r) {
		h.logger.LogAttrs(r.Context(), slog.LevelWarn, "auth API: wrong credentials", slog.String("remote", r.RemoteAddr))
		w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse", charset="UTF-8"`)
		answer(w, http.StatusUnauthorized, "the name or the password is wrong, or none was given")
		return
	}
	httpserver.Keep(r.Context())
	name, ok := strings.CutPrefix(r.URL.Path, Prefix)
	op, known := operations[name]
	switch {
	case !ok || !known:
		answer(w, http.StatusNotFound, "there is no such question")
	case r.Method != op.method:
		w.Header().Set("Allow", op.method)
		answer(w, http.StatusMethodNotAllowed, "this is asked with "+op.method+" only")
	case sameOrigin.Check(r) != nil:
		answer(w, http.StatusForbidden, "this is not answered to the pages of other sites")
	default:
		h.serveQuestion(w, r, name, op)
	}
}

func (h *handler) serveQuestion(w http.ResponseWriter, r *http.Request, name string, op operation) {
	q, err := readQuestion(r, op.needsPassword)
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), judgeTimeout)
	defer cancel()
	yes := false
	if q.prepare(op.needsPassword) {
		yes, err = op.ask(ctx, h.judge, q)
	}
	h.log(ctx, name, q, yes, err, time.Since(began))
	if err != nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		answer(w, http.StatusServiceUnavailable, "nobody can say at the moment; the log of gatehouse has the cause")
		return
	}
	answer(w, http.StatusOK, strconv.FormatBool(yes))
}

func (h *handler) log(ctx context.Context, name string, q question, yes bool, err error, took time.Duration) {
	verdict, level := "refused", slog.LevelInfo
	switch {
	case err != nil:
		verdict, level = "undecided", slog.LevelWarn
	case yes:
		verdict = "accepted"
	}
	if err == nil && name == "user_exists" {
		level = slog.LevelDebug // whoever writes to somebody asks
	}
	if !h.logger.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 6),
		slog.String("query", name),
		slog.String("host", cut(q.host)),
		slog.String("user", cut(q.user)),
		slog.String("verdict", verdict))
	if err != nil {
		attrs = append(attrs, slog.String("cause", err.Error()))
	}
	attrs = append(attrs, slog.Duration("duration", took.Round(10*time.Microsecond)))
	h.logger.LogAttrs(ctx, level, "auth query", attrs...)
}

// answer writes a whole answer. Those who ask compare the body with "true", so that nothing is added to it.
func answer(w http.ResponseWriter, status int, body string) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // who asked may be gone
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
