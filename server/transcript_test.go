package server_test

import (
	"crypto/tls"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/server"
)

// A transcript is all that a client sends, and all that it must hear. The
// client then vanishes. Both sides are written in the shorthand of the tables
// below.
type transcript struct {
	name   string
	in     string
	out    string
	change func(*server.Config)
}

// shorthand holds what would make the transcripts unreadable. The first of a
// pair stands for the second, in what is sent as in what is heard.
var shorthand = []string{
	// Ours.
	"[open]", "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='xmpp.example'>" +
		"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
	"[session]", "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='xmpp.example'>" +
		"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind><session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></stream:features>",
	"[header]", "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='xmpp.example'>",
	"[anonymous]", "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID'>",
	"[refused]", "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text xml:lang='en'>Unable to authorize you with the authentication credentials you&apos;ve sent.</text></failure>",
	"[unavailable]", `<error type="cancel"><service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"></service-unavailable></error>`,
	"[not yet]", "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
	"[as r]", `<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@xmpp.example/r</jid></bind></iq>`,
	// The client's.
	"[hello]", aHeader,
	"[login]", aHeader + plainAuth("", "alice", "secret") + aHeader,
	"[bound]", aHeader + plainAuth("", "alice", "secret") + aHeader + aBind("r"),
	// Both.
	"[end]", "</stream:stream>",
	"[too big]", "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>stanza over the size limit</text><stanza-too-big xmlns='urn:xmpp:errors'/></stream:error></stream:stream>",

	"[welcome]", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
	"'stanzas'", "'urn:ietf:params:xml:ns:xmpp-stanzas'",
	`"stanzas"`, `"urn:ietf:params:xml:ns:xmpp-stanzas"`,
	"'streams'", "'urn:ietf:params:xml:ns:xmpp-streams'",
	"'sasl'", "'urn:ietf:params:xml:ns:xmpp-sasl'",
	"'tls'", "'urn:ietf:params:xml:ns:xmpp-tls'",
	"'bind'", "'urn:ietf:params:xml:ns:xmpp-bind'",
	`"bind"`, `"urn:ietf:params:xml:ns:xmpp-bind"`,
}

var (
	expand  = strings.NewReplacer(shorthand...)
	shorten = func() *strings.Replacer {
		pairs := make([]string, len(shorthand))
		for i, s := range shorthand {
			pairs[i^1] = s
		}
		return strings.NewReplacer(pairs...)
	}()
	streamID     = regexp.MustCompile(` id='[0-9a-f]{32}'`)
	stanzaID     = regexp.MustCompile(` id="[0-9a-f]{16}"`)
	streamErrors = regexp.MustCompile(`<stream:error><([a-z-]+) xmlns='streams'/><text xmlns='streams' xml:lang='en'>([^<]*)</text></stream:error>\[end\]`)
	chosen       = regexp.MustCompile(`@xmpp.example/[A-Za-z0-9_-]{12}<`)
)

// normal makes two runs of a transcript comparable.
func normal(out string) string {
	out = streamID.ReplaceAllString(out, " id='ID'")
	out = stanzaID.ReplaceAllString(out, ` id="ID"`)
	out = chosen.ReplaceAllString(out, "@xmpp.example/RANDOM<")
	return streamErrors.ReplaceAllString(shorten.Replace(out), "[error $1: $2]")
}

// play runs transcripts, with the whole input in one piece and byte by byte.
func play(t *testing.T, table []transcript) {
	t.Helper()
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			for _, chunk := range []int{1, 1 << 20} {
				a := &accounts{passwords: map[string]string{"alice": "secret", "bob": "hunter2"}}
				conn := newMemConn([]byte(expand.Replace(c.in)), chunk)
				s := server.New(clearConfig(a, c.change))
				runBounded(t, s, conn)
				out, closed := conn.output()
				if !closed {
					t.Error("the connection is still open")
				}
				if got := normal(out); got != c.out {
					t.Errorf("in pieces of %d:\nsent %s\ngot  %s\nwant %s", chunk, c.in, got, c.out)
				}
			}
		})
	}
}

// clearConfig is a configuration for transcripts: no TLS, one host.
func clearConfig(a *accounts, change func(*server.Config)) *server.Config {
	config := &server.Config{
		Hosts: map[string]*server.Host{host: {
			Name: host, Password: a, Users: a, Passwords: a, TLS: &tls.Config{},
			AllowUnencryptedPlain: true, Conflict: server.KickOld,
		}},
		LoginTimeout:        30 * time.Second,
		StanzaLimit:         20000,
		UnauthedStanzaLimit: 10000,
		Version:             "1.2.3",
		Logger:              slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(config)
	}
	return config
}
