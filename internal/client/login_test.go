package client

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/saslmech"
)

func plainMessage() string {
	return base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + testSecret))
}

func TestLogin_succeeds(t *testing.T) {
	ca := authority(t)
	pair := certificate(t, ca, testHost)
	certs := serverConfig(pair)
	answer := func(mechanism string) play {
		return sequence(hear("mechanism='"+mechanism+"'>"+plainMessage()+"</auth>"), say(inSASL("<success/>")))
	}
	for _, c := range []struct {
		name      string
		options   Options
		act       play
		mechanism string
		binding   string
	}{
		{"PLAIN over STARTTLS", Options{}, sequence(starttls("PLAIN"), answer("PLAIN")), "PLAIN", ""},
		{"PLAIN over direct TLS", Options{DirectTLS: true}, sequence(encrypt, open(offer("PLAIN")), answer("PLAIN")), "PLAIN", ""},
		{"PLAIN in the clear, as asked for", Options{Clear: true}, sequence(open(offer("PLAIN")), answer("PLAIN")), "PLAIN", ""},
		{"X-TOKEN where nothing else is", Options{}, sequence(starttls("X-TOKEN"), answer("X-TOKEN")), "X-TOKEN", ""},
		{"PLAIN before X-TOKEN", Options{}, sequence(starttls("X-TOKEN", "PLAIN"), answer("PLAIN")), "PLAIN", ""},
		{"X-TOKEN as asked for", Options{Mechanism: "X-TOKEN"}, sequence(starttls("PLAIN", "X-TOKEN"), answer("X-TOKEN")), "X-TOKEN", ""},
		{"SCRAM-SHA-1", Options{}, sequence(starttls("PLAIN", "SCRAM-SHA-1"), scram("SCRAM-SHA-1", inSuccess)), "SCRAM-SHA-1", ""},
		{"SCRAM-SHA-256 before the others", Options{}, sequence(starttls("SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256"), scram("SCRAM-SHA-256", inSuccess)), "SCRAM-SHA-256", ""},
		{"SCRAM with the proof in a challenge", Options{}, sequence(starttls("SCRAM-SHA-256"), scram("SCRAM-SHA-256", inChallenge)), "SCRAM-SHA-256", ""},
		{"SCRAM bound to TLS", Options{}, sequence(starttlsWith(offer("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")+bindings("tls-exporter")),
			scram("SCRAM-SHA-256-PLUS", inSuccess)), "SCRAM-SHA-256-PLUS", "tls-exporter"},
		{"SCRAM bound to TLS as asked for", Options{Mechanism: "SCRAM-SHA-1-PLUS"}, sequence(starttls("SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"),
			scram("SCRAM-SHA-1-PLUS", inSuccess)), "SCRAM-SHA-1-PLUS", "tls-exporter"},
		{"SCRAM without binding where the server names none", Options{}, sequence(starttls("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"),
			scram("SCRAM-SHA-256", inSuccess)), "SCRAM-SHA-256", ""},
		{"SCRAM without binding where the server's is unknown", Options{}, sequence(starttlsWith(offer("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")+bindings("tls-server-end-point")),
			scram("SCRAM-SHA-256", inSuccess)), "SCRAM-SHA-256", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Roots = ca.Pool()
			a := try(t, c.options, certs, sequence(c.act, bound, goodbye))
			if a.err != nil || a.playErr != nil {
				t.Fatalf("client: %v; server: %v", a.err, a.playErr)
			}
			if a.session.JID() != "alice@example.org/r" {
				t.Errorf("JID %q", a.session.JID())
			}
			auth := find[Authenticating](t, a.steps)
			if auth.Mechanism != c.mechanism || auth.Binding != c.binding {
				t.Errorf("mechanism %q, binding %q; want %q, %q", auth.Mechanism, auth.Binding, c.mechanism, c.binding)
			}
			if closed := find[Closed](t, a.steps); closed.Err != nil {
				t.Errorf("close: %v", closed.Err)
			}
		})
	}
}

func TestLogin_failureConditions(t *testing.T) {
	ca := authority(t)
	certs := serverConfig(certificate(t, ca, testHost))
	for condition, refused := range map[string]bool{
		"not-authorized": true, "account-disabled": true, "credentials-expired": true, "invalid-authzid": true,
		"temporary-auth-failure": false, "encryption-required": false, "invalid-mechanism": false, "mechanism-too-weak": false,
		"incorrect-encoding": false, "malformed-request": false, "aborted": false, "undefined-condition": false,
	} {
		t.Run(condition, func(t *testing.T) {
			a := try(t, Options{Roots: ca.Pool()}, certs, sequence(starttls("PLAIN"), hear("</auth>"),
				say(inSASL("<failure><"+condition+"/><text xml:lang='en'>because &lt;\u202ewhy&gt;</text></failure>")), goodbye))
			e := a.failure(t)
			if e.Refused != refused || e.Condition != condition || e.Stage != StageAuthenticate || e.Mechanism != "PLAIN" {
				t.Errorf("got %+v", e)
			}
			if e.Text != `because <\u202ewhy>` {
				t.Errorf("text %q", e.Text)
			}
			if Explain(a.err) == "" && condition != "undefined-condition" {
				t.Error("nothing explains it")
			}
			if a.playErr != nil {
				t.Errorf("server: %v", a.playErr)
			}
		})
	}
}

// What is wrong with the server is never a no to the user, and never a yes.
func TestLogin_cannotSay(t *testing.T) {
	ca := authority(t)
	certs := serverConfig(certificate(t, ca, testHost))
	auth := sequence(starttls("PLAIN"), hear("</auth>"))
	in := sequence(auth, say(inSASL("<success/>")))
	streamError := "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
	for _, c := range []struct {
		name  string
		stage Stage
		want  string
		act   play
	}{
		{"closed at once", StageOpen, "EOF", sequence(hear("'>"), func(p *peer) error { return p.Close() })},
		{"another protocol", StageOpen, "stream header expected", say("220 mail.example.org ESMTP\r\n")},
		{"another kind of XML", StageOpen, "no XMPP server", say("<html xmlns='http://www.w3.org/1999/xhtml'>")},
		{"bad XML", StageOpen, "end tag of another element", say(header + "<stream:features><a></b></stream:features>")},
		{"a document type", StageOpen, "document type", say(header + "<!DOCTYPE x [<!ENTITY a 'b'>]>")},
		{"no features", StageOpen, "<message/> where <features/>", say(header + "<message/>")},
		{"a stream error", StageOpen, "host-unknown", sequence(hear("'>"), say(header+streamError))},
		{"an endless header", StageOpen, "size limit", say("<stream:stream a='" + strings.Repeat("x", 20<<10))},
		{"features without end", StageOpen, "size limit", say(header + "<stream:features>" + strings.Repeat("<a/>", 64<<10))},
		{"no STARTTLS", StageEncrypt, "STARTTLS", open(offer("PLAIN"))},
		{"STARTTLS refused", StageEncrypt, "<failure/>", sequence(open("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), hear("tls'/>"), say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))},
		{"clear text after proceed", StageEncrypt, "clear text", sequence(open("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), hear("tls'/>"), say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><injected/>"))},
		{"no mechanism", StageAuthenticate, "no mechanism", starttls()},
		{"unknown mechanisms", StageAuthenticate, "GSSAPI", starttls("GSSAPI", "EXTERNAL")},
		{"a challenge to PLAIN", StageAuthenticate, "one more message", sequence(auth, say(inSASL("<challenge>AAAA</challenge>")))},
		{"something else than SASL", StageAuthenticate, "<iq/> where <success/>", sequence(auth, say("<iq/>"))},
		{"SASL that does not exist", StageAuthenticate, "<maybe/> where <success/>", sequence(auth, say(inSASL("<maybe/>")))},
		{"closed while it thinks", StageAuthenticate, "EOF", auth},
		{"a stream error while it thinks", StageAuthenticate, "system-shutdown", sequence(auth, say("<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"))},
		{"no bind", StageBind, "bind", sequence(in, open(""))},
		{"a bind error", StageBind, "conflict", sequence(in, open("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), hear("</iq>"),
			say("<iq type='error' id='bind'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"))},
		{"a bind without JID", StageBind, "which", sequence(in, open("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), hear("</iq>"), say("<iq type='result' id='bind'/>"))},
		{"an error without a reason", StageBind, "without saying why", sequence(in, open("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), hear("</iq>"), say("<iq type='error' id='bind'/>"))},
		{"SCRAM success without proof", StageAuthenticate, "proven", sequence(starttls("SCRAM-SHA-256"), hear("</auth>"), say(inSASL("<success/>")))},
		{"SCRAM success in the middle", StageAuthenticate, "not SCRAM", sequence(starttls("SCRAM-SHA-256"), hear("</auth>"), say(inSASL("<success>dj1hYmNk</success>")))},
		{"SCRAM success after the client's proof", StageAuthenticate, "proven", sequence(starttls("SCRAM-SHA-256"), scram("SCRAM-SHA-256", withoutProof))},
		{"SCRAM with a wrong proof", StageAuthenticate, "is wrong", sequence(starttls("SCRAM-SHA-256"), scram("SCRAM-SHA-256", wrongProof))},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := try(t, Options{Roots: ca.Pool()}, certs, c.act)
			e := a.failure(t)
			if e.Refused {
				t.Errorf("taken for a refusal: %v", e)
			}
			if e.Stage != c.stage || !strings.Contains(e.Error(), c.want) {
				t.Errorf("stage %q, error %q; want %q, %q", e.Stage, e, c.stage, c.want)
			}
		})
	}
}

func TestLogin_unofferedMechanismIsNotSent(t *testing.T) {
	ca := authority(t)
	a := try(t, Options{Roots: ca.Pool(), Mechanism: "PLAIN"}, serverConfig(certificate(t, ca, testHost)), starttls("SCRAM-SHA-1"))
	var none *NoMechanismError
	if !errors.As(a.err, &none) || none.Wanted != "PLAIN" || !slices.Equal(none.Offered, []string{"SCRAM-SHA-1"}) {
		t.Errorf("error %v", a.err)
	}
	if a.after != farewell {
		t.Errorf("the client sent %q", a.after)
	}
}

// A server that offers -PLUS and cannot do it refuses whatever the password is.
func TestLogin_guessedBindingIsNoVerdict(t *testing.T) {
	ca := authority(t)
	certs := serverConfig(certificate(t, ca, testHost))
	refuse := sequence(hear("</auth>"), say(inSASL("<failure><not-authorized/></failure>")), goodbye)
	for _, c := range []struct {
		features string
		refused  bool
	}{
		{offer("SCRAM-SHA-256-PLUS"), false},
		{offer("SCRAM-SHA-256-PLUS") + bindings("tls-unique"), false},
		{offer("SCRAM-SHA-256-PLUS") + bindings("tls-unique", "tls-exporter"), true},
	} {
		options := Options{Roots: ca.Pool(), Mechanism: "SCRAM-SHA-256-PLUS"}
		if e := try(t, options, certs, sequence(starttlsWith(c.features), refuse)).failure(t); e.Refused != c.refused || e.Condition != "not-authorized" {
			t.Errorf("%s: %v", c.features, e)
		}
	}
}

// TLS 1.2 has the binding that every server with -PLUS has.
func TestLogin_bindsToTLS12(t *testing.T) {
	ca := authority(t)
	certs := serverConfig(certificate(t, ca, testHost))
	certs.MaxVersion = tls.VersionTLS12
	a := try(t, Options{Roots: ca.Pool()}, certs, sequence(starttls("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), scram("SCRAM-SHA-1-PLUS", inSuccess), bound, goodbye))
	if a.err != nil || a.playErr != nil {
		t.Fatalf("client: %v; server: %v", a.err, a.playErr)
	}
	if auth := find[Authenticating](t, a.steps); auth.Binding != "tls-unique" {
		t.Errorf("binding %q", auth.Binding)
	}
}

func TestLogin_endsWithContext(t *testing.T) {
	ca := authority(t)
	certs := serverConfig(certificate(t, ca, testHost))
	cause := errors.New("enough")
	for name, act := range map[string]play{
		"before the header":    hear("'>"),
		"before the handshake": sequence(open("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), hear("tls'/>"), say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")),
		"before the verdict":   sequence(starttls("PLAIN"), hear("</auth>")),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			silent := make(chan struct{})
			addr, _ := serve(t, certs, sequence(act, func(*peer) error { cancel(cause); <-silent; return nil }))
			defer close(silent)
			_, err := Login(ctx, Options{
				User: "alice", Host: testHost, Address: addr, Roots: ca.Pool(), Secret: saslmech.NewSecret([]byte(testSecret)),
			})
			var e *Error
			if !errors.As(err, &e) || e.Refused || !errors.Is(err, cause) {
				t.Errorf("error %v, want one that is %v", err, cause)
			}
		})
	}
}

func TestLogin_optionsThatMakeNoSense(t *testing.T) {
	good := func() Options {
		return Options{User: "alice", Host: testHost, Secret: saslmech.NewSecret([]byte(testSecret)), Address: "127.0.0.1:1"}
	}
	for name, spoil := range map[string]func(*Options){
		"no user":               func(o *Options) { o.User = "" },
		"a user with a space":   func(o *Options) { o.User = "a b" },
		"no host":               func(o *Options) { o.Host = "." },
		"no secret":             func(o *Options) { o.Secret = saslmech.Secret{} },
		"a NUL in the secret":   func(o *Options) { o.Secret = saslmech.NewSecret([]byte("a\x00b")) },
		"a resource of control": func(o *Options) { o.Resource = "a\nb" },
		"half a fingerprint":    func(o *Options) { o.Fingerprint = "abcd" },
		"no hexadecimal":        func(o *Options) { o.Fingerprint = strings.Repeat("xy", 32) },
		"unknown mechanism":     func(o *Options) { o.Mechanism = "plain" },
		"TLS and none":          func(o *Options) { o.Clear, o.DirectTLS = true, true },
		"port 0":                func(o *Options) { o.Address = "127.0.0.1:0" },
		"a port of letters":     func(o *Options) { o.Address = "127.0.0.1:xmpp" },
		"a port without host":   func(o *Options) { o.Address = ":5222" },
	} {
		t.Run(name, func(t *testing.T) {
			o := good()
			spoil(&o)
			o.Trace = func(s Step) { t.Errorf("a step was taken: %+v", s) }
			if _, err := Login(context.Background(), o); !errors.Is(err, ErrOptions) {
				t.Errorf("error %v, want ErrOptions", err)
			}
		})
	}
}

func TestSession_ping(t *testing.T) {
	ca := authority(t)
	certs := serverConfig(certificate(t, ca, testHost))
	in := sequence(starttls("PLAIN"), hear("</auth>"), say(inSASL("<success/>")), bound, hear("</iq>"))
	for _, c := range []struct{ name, answer, condition, err string }{
		{"answered", "<iq type='result' id='ping'/>", "", ""},
		{"not known", "<iq type='error' id='ping'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", "service-unavailable", ""},
		{"the session is ended", "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "", "could not use the session: stream error conflict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, outcome := serve(t, certs, sequence(in, say(c.answer)))
			var steps []Step
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			s, err := Login(ctx, Options{
				User: "alice", Host: testHost, Address: addr, Roots: ca.Pool(), Secret: saslmech.NewSecret([]byte(testSecret)),
				Trace: func(s Step) { steps = append(steps, s) },
			})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Ping(ctx)
			if got := fmt.Sprint(err); c.err != "" && got != c.err || c.err == "" && err != nil {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if c.err == "" && find[Pinged](t, steps).Condition != c.condition {
				t.Errorf("condition %q", find[Pinged](t, steps).Condition)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := outcome(); err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
}

func TestSession_closeSaysThatTheServerDidNot(t *testing.T) {
	ca := authority(t)
	act := sequence(starttls("PLAIN"), hear("</auth>"), say(inSASL("<success/>")), bound, func(p *peer) error { return p.Close() })
	a := try(t, Options{Roots: ca.Pool()}, serverConfig(certificate(t, ca, testHost)), act)
	if a.err == nil || find[Closed](t, a.steps).Err == nil {
		t.Errorf("close: %v", a.err)
	}
}

func TestParseJID(t *testing.T) {
	for in, want := range map[string][3]string{
		"alice@example.org":       {"alice", "example.org", ""},
		"alice@example.org/a@b/c": {"alice", "example.org", "a@b/c"},
		"alice@[::1]":             {"alice", "[::1]", ""},
	} {
		user, host, resource, err := ParseJID(in)
		if err != nil || [3]string{user, host, resource} != want {
			t.Errorf("%s: %q %q %q %v", in, user, host, resource, err)
		}
	}
	for _, in := range []string{"", "alice", "@example.org", "alice@", "alice@/r", "example.org/a@b"} {
		if _, _, _, err := ParseJID(in); !errors.Is(err, ErrOptions) {
			t.Errorf("%q: error %v, want ErrOptions", in, err)
		}
	}
}
