package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"
	"unicode/utf8"

	"gatehouse.im/gatehouse/saslmech"
)

// An attempt is one <auth/>, or what counts as one, and becomes one line in the
// log.
type attempt struct {
	conn      *conn
	mechanism string
	user      string
	began     time.Time
	guarded   bool          // turned away by the guard
	delayed   time.Duration // by the guard
	note      *note
}

func (c *conn) attempt(mechanism string) *attempt {
	return &attempt{conn: c, mechanism: mechanism, began: time.Now(), note: new(note)}
}

// note collects what an Authenticator has to say about an attempt.
type note struct{ attrs []slog.Attr }

type noteKey struct{}

// Annotate adds attributes to the line that the log will have about the
// attempt to log in that ctx belongs to: which worker answered, and the like.
// An [Authenticator] may call it from the goroutine that it was called in.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		n.attrs = append(n.attrs, attrs...)
	}
}

// decide asks the host's judge of the mechanism. There is one place where a
// yes becomes a login, and it is this one.
func (c *conn) decide(ctx context.Context, a *attempt, cred saslmech.Credentials) *saslmech.Failure {
	secret := string(cred.Secret.Bytes())
	done, fail := c.admit(a, cred, secret)
	if fail != nil {
		return fail
	}
	c.place.Judged(true)
	judge := c.host.Password
	if cred.Mechanism == saslmech.XToken.Name {
		judge = c.host.Token
	}
	ctx, cancel := context.WithDeadline(context.WithValue(ctx, noteKey{}, a.note), c.deadline)
	defer cancel()
	ok, err := c.ask(ctx, judge, cred.Username, secret, done)
	switch {
	case errors.Is(err, ErrRefused):
		return &saslmech.Failure{Condition: saslmech.NotAuthorized, Cause: err, Text: textNotAuthorized}
	case err != nil:
		return &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: err, Text: textTemporary}
	case !ok:
		return &saslmech.Failure{Condition: saslmech.NotAuthorized, Text: textNotAuthorized}
	}
	// A reload may have taken the mechanism away while the judge was asked.
	if c.refresh() != nil || !slices.Contains(c.mechanisms(), cred.Mechanism) {
		return &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: errNotOffered, Text: textTemporary}
	}
	return nil
}

const (
	textNotAuthorized = "Unable to authorize you with the authentication credentials you've sent."
	textTemporary     = "Nobody can check your credentials at the moment. Try again later."
)

// log writes the attempt's line, and tells the observer: accepted and refused
// at info, what nobody could decide at warn.
func (a *attempt) log(fail *saslmech.Failure) {
	l := Login{
		Time:      time.Now(),
		Host:      a.conn.host.Name,
		User:      cut(a.user),
		Mechanism: cut(a.mechanism),
		Remote:    a.conn.remote(),
		TLS:       a.conn.tlsVersion,
		Verdict:   Accepted,
	}
	l.Duration = l.Time.Sub(a.began)
	level := slog.LevelInfo
	if fail != nil {
		l.Verdict, l.Condition = Refused, string(fail.Condition)
		// The guard's no is a no, and not something that is to be mended.
		if fail.Condition == saslmech.TemporaryAuthFailure && !a.guarded {
			l.Verdict, level = Undecided, slog.LevelWarn
		}
		if fail.Cause != nil {
			l.Cause = fail.Cause.Error()
		}
	}
	if o := a.conn.config.Observer; o != nil {
		o.Login(l)
	}
	logger := a.conn.config.Logger
	if !logger.Enabled(context.Background(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("host", l.Host),
		slog.String("user", l.User),
		slog.String("mechanism", l.Mechanism),
		slog.String("remote", l.Remote),
		slog.String("tls", l.TLS),
		slog.String("verdict", string(l.Verdict)),
	)
	if l.Condition != "" {
		attrs = append(attrs, slog.String("condition", l.Condition))
	}
	if l.Cause != "" {
		attrs = append(attrs, slog.String("cause", l.Cause))
	}
	attrs = append(attrs, slog.Duration("duration", l.Duration.Round(10*time.Microsecond)))
	if a.delayed > 0 {
		attrs = append(attrs, slog.Duration("delayed", a.delayed))
	}
	logger.LogAttrs(context.Background(), level, "login", append(attrs, a.note.attrs...)...)
}

// logEnd tells of a connection that ended otherwise than by its client's wish.
func (c *conn) logEnd(err error) {
	level := slog.LevelInfo
	var netErr net.Error
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, systemShutdown) ||
		errors.As(err, &netErr) && !netErr.Timeout() {
		level = slog.LevelDebug // strangers come and go
	}
	// Of a host that is not ours the name is a stranger's.
	host := slog.String("wanted", cut(c.unknown))
	if c.host != nil {
		host = slog.String("host", c.host.Name)
	}
	c.config.Logger.LogAttrs(context.Background(), level, "stream ended",
		host, slog.String("remote", c.remote()),
		slog.String("tls", c.tlsVersion), slog.String("cause", err.Error()))
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
