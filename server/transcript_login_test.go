package server_test

import (
	"strings"
	"testing"

	"gatehouse.im/gatehouse/server"
)

func requireTLS(c *server.Config)   { c.Hosts[host].RequireEncryption = true }
func withTokens(c *server.Config)   { c.Hosts[host].Token = c.Hosts[host].Password }
func onlyTokens(c *server.Config)   { withTokens(c); c.Hosts[host].Password = nil }
func noClearPlain(c *server.Config) { c.Hosts[host].AllowUnencryptedPlain = false }
func registering(c *server.Config)  { c.Hosts[host].AllowRegistration = true }
func secondHost(c *server.Config) {
	other := *c.Hosts[host]
	other.Name = "other.example"
	c.Hosts[other.Name] = &other
}

func hello(attributes string) string {
	return "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' " + attributes + ">"
}

func TestTranscript_streamHeader(t *testing.T) {
	play(t, []transcript{
		{name: "nothing"},
		{name: "usual", in: "[hello]", out: "[open]"},
		{name: "ended by the client", in: "[hello][end]", out: "[open][end]"},
		{name: "ended between white space", in: "[hello] \n[end] \n", out: "[open][end]"},
		{name: "without declaration", in: hello("to='xmpp.example'"), out: "[open]"},
		{name: "upper case host", in: hello("to='XMPP.Example'"), out: "[open]"},
		{name: "from is told back", in: hello("to='xmpp.example' from='alice@xmpp.example'"),
			out: "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='xmpp.example' to='alice@xmpp.example'><stream:features><starttls xmlns='tls'/><mechanisms xmlns='sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"},
		{name: "from with quotes and tags", in: hello(`to='xmpp.example' from='&apos;"&lt;x/&gt;&#9;&#10;'`),
			out: "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='xmpp.example' to='&apos;&quot;&lt;x/&gt;&#9;&#10;'><stream:features><starttls xmlns='tls'/><mechanisms xmlns='sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"},
		{name: "unknown host", in: hello("to='nowhere.example'"),
			out: "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='nowhere.example'>[error host-unknown: This server does not serve that host]"},
		{name: "unknown host with quotes", in: hello(`to='&apos; onload=&apos;"&lt;/>'`),
			out: "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='&apos; onload=&apos;&quot;&lt;/&gt;'>[error host-unknown: This server does not serve that host]"},
		{name: "empty host", in: hello("to=''"),
			out: "[anonymous][error host-unknown: This server does not serve that host]"},
		{name: "no host", in: hello(""),
			out: "[anonymous][error improper-addressing: The stream header has no &apos;to&apos;]"},
		{name: "host in a namespace", in: hello("xmlns:x='y' x:to='xmpp.example'"),
			out: "[anonymous][error improper-addressing: The stream header has no &apos;to&apos;]"},
		{name: "JID for a host", in: hello("to='alice@xmpp.example'"),
			out: "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='alice@xmpp.example'>[error host-unknown: This server does not serve that host]"},
		{name: "wrong root", in: "<stream:flood xmlns:stream='http://etherx.jabber.org/streams' to='xmpp.example'>",
			out: "[anonymous][error invalid-namespace: A stream header was expected]"},
		{name: "wrong namespace", in: "<stream:stream xmlns:stream='urn:other' to='xmpp.example'>",
			out: "[anonymous][error invalid-namespace: A stream header was expected]"},
		{name: "another prefix", in: "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' to='xmpp.example'></s:stream>", out: "[open][end]"},
		{name: "stream prefix for something else", in: "<s:stream xmlns:stream='jabber:client' xmlns:s='http://etherx.jabber.org/streams' to='xmpp.example'>",
			out: "[anonymous][error bad-namespace-prefix: The prefix &apos;stream&apos; is for streams]"},
		{name: "empty header", in: "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' to='xmpp.example'/>",
			out: "[anonymous][error not-well-formed: stream header that ends the stream]"},
		{name: "not XML", in: "GET / HTTP/1.1\r\n\r\n",
			out: "[anonymous][error not-well-formed: stream header expected]"},
		{name: "TLS", in: "\x16\x03\x01\x02\x00\x01\x00",
			out: "[anonymous][error not-well-formed: stream header expected]"},
		{name: "NUL", in: "<stream:stream\x00",
			out: "[anonymous][error not-well-formed: control character]"},
		{name: "document type", in: "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>[hello]",
			out: "[anonymous][error restricted-xml: comment, document type or CDATA section between elements]"},
		{name: "comment", in: "<!-- hello -->[hello]",
			out: "[anonymous][error restricted-xml: comment, document type or CDATA section between elements]"},
		{name: "other encoding", in: "<?xml version='1.0' encoding='latin1'?>",
			out: "[anonymous][error unsupported-encoding: encoding other than UTF-8]"},
		{name: "too long", in: hello("to='xmpp.example' from='" + strings.Repeat("x", 16<<10) + "'"),
			out: "[anonymous][too big]"},
		{name: "second header without restart", in: "[hello][hello]",
			out: "[open][error restricted-xml: processing instruction]"},
		{name: "wrong end tag", in: "[hello]</stream:flood>",
			out: "[open][error not-well-formed: end tag of another element]"},
		{name: "cut off", in: "[hello]<message",
			out: "[open]"},
	})
}

func TestTranscript_restrictedXML(t *testing.T) {
	play(t, []transcript{
		{name: "comment", in: "[hello]<!-- x -->",
			out: "[open][error restricted-xml: comment, document type or CDATA section between elements]"},
		{name: "comment inside", in: "[hello]<iq><!-- x --></iq>",
			out: "[open][error restricted-xml: comment or document type]"},
		{name: "processing instruction", in: "[hello]<?php x?>",
			out: "[open][error restricted-xml: processing instruction]"},
		{name: "entity", in: "[hello]<message>&nbsp;</message>",
			out: "[open][error restricted-xml: entity that is not predefined]"},
		{name: "CDATA between", in: "[hello]<![CDATA[x]]>",
			out: "[open][error restricted-xml: comment, document type or CDATA section between elements]"},
		{name: "not UTF-8", in: "[hello]<message>\xff</message>",
			out: "[open][error not-well-formed: bytes that are not UTF-8]"},
		{name: "control character", in: "[hello]<message>&#1;</message>",
			out: "[open][error not-well-formed: bad character reference]"},
		{name: "undeclared prefix", in: "[hello]<x:message/>",
			out: "[open][error not-well-formed: prefix without a namespace]"},
		{name: "attribute twice", in: "[hello]<message id='1' id='2'/>",
			out: "[open][error not-well-formed: attribute given twice]"},
		{name: "mismatched tags", in: "[hello]<message></presence>",
			out: "[open][error not-well-formed: end tag of another element]"},
		{name: "after the login: comment", in: "[bound]<!-- x -->",
			out: "[open][welcome][session][as r][error restricted-xml: comment, document type or CDATA section between elements]"},
		{name: "after the login: comment inside", in: "[bound]<message><!-- x --></message>",
			out: "[open][welcome][session][as r][error restricted-xml: comment or document type]"},
		{name: "after the login: processing instruction", in: "[bound]<?php x?>",
			out: "[open][welcome][session][as r][error restricted-xml: processing instruction]"},
		{name: "after the login: document type", in: "[bound]<!DOCTYPE x>",
			out: "[open][welcome][session][as r][error restricted-xml: comment, document type or CDATA section between elements]"},
		{name: "after the login: entity", in: "[bound]<message>&nbsp;</message>",
			out: "[open][welcome][session][as r][error restricted-xml: entity that is not predefined]"},
		{name: "after the login: not UTF-8", in: "[bound]<message>\xff</message>",
			out: "[open][welcome][session][as r][error not-well-formed: bytes that are not UTF-8]"},
		{name: "after the login: mismatched tags", in: "[bound]<message></presence>",
			out: "[open][welcome][session][as r][error not-well-formed: end tag of another element]"},
	})
}

func TestTranscript_startTLS(t *testing.T) {
	const ask = "<starttls xmlns='tls'/>"
	play(t, []transcript{
		{name: "offered and demanded", in: "[hello][end]",
			out: "[header]<stream:features><starttls xmlns='tls'><required/></starttls></stream:features>[end]", change: requireTLS},
		{name: "unknown element", in: "[hello]<proceed xmlns='tls'/>",
			out: "[open][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "login without it", in: "[hello]" + plainAuth("", "alice", "secret") + "[end]",
			out: "[header]<stream:features><starttls xmlns='tls'><required/></starttls></stream:features><failure xmlns='sasl'><encryption-required/></failure>[end]", change: requireTLS},
		{name: "login by token without it", in: "[hello]<auth xmlns='sasl' mechanism='X-TOKEN'>AGEAYg==</auth>[end]",
			out:    "[header]<stream:features><starttls xmlns='tls'><required/></starttls></stream:features><failure xmlns='sasl'><encryption-required/></failure>[end]",
			change: func(c *server.Config) { requireTLS(c); onlyTokens(c) }},
		{name: "unknown mechanism without it", in: "[hello]<auth xmlns='sasl' mechanism='EXTERNAL'>=</auth>[end]",
			out: "[header]<stream:features><starttls xmlns='tls'><required/></starttls></stream:features><failure xmlns='sasl'><encryption-required/></failure>[end]", change: requireTLS},
		{name: "PLAIN kept back", in: "[hello]" + plainAuth("", "alice", "secret") + "[end]",
			out: "[header]<stream:features><starttls xmlns='tls'/></stream:features><failure xmlns='sasl'><encryption-required/></failure>[end]", change: noClearPlain},
		{name: "after the login", in: "[bound]" + ask,
			out: "[open][welcome][session][as r][error unsupported-stanza-type: Nobody here understands that element]"},
	})
}

func TestTranscript_saslFailures(t *testing.T) {
	auth := func(mechanism, text string) string {
		return "[hello]<auth xmlns='sasl' mechanism='" + mechanism + "'>" + text + "</auth>[end]"
	}
	plain := func(authzid, user, password string) string {
		return "[hello]" + plainAuth(authzid, user, password) + "[end]"
	}
	play(t, []transcript{
		{name: "wrong password", in: plain("", "alice", "wrong"),
			out: "[open][refused][end]"},
		{name: "nobody's name", in: plain("", "nobody", "x"),
			out: "[open][refused][end]"},
		{name: "outage", in: plain("", "outage", "x"),
			out: "[open]<failure xmlns='sasl'><temporary-auth-failure/><text xml:lang='en'>Nobody can check your credentials at the moment. Try again later.</text></failure>[end]"},
		{name: "refused unasked", in: plain("", "long", "x"),
			out: "[open][refused][end]"},
		{name: "not base64", in: auth("PLAIN", "!!!"),
			out: "[open]<failure xmlns='sasl'><incorrect-encoding/></failure>[end]"},
		{name: "empty", in: auth("PLAIN", ""),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "equals sign", in: auth("PLAIN", "="),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "no NUL", in: auth("PLAIN", "YWxpY2U="),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "third NUL", in: plain("", "alice", "secret\x00more"),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "no name", in: plain("", "", "secret"),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "no password", in: plain("", "alice", ""),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "name that is no node", in: plain("", "a@b", "secret"),
			out: "[open]<failure xmlns='sasl'><malformed-request/><text xml:lang='en'>Invalid username or password.</text></failure>[end]"},
		{name: "unknown mechanism", in: auth("EXTERNAL", "="),
			out: "[open]<failure xmlns='sasl'><invalid-mechanism/></failure>[end]"},
		{name: "lower-case mechanism", in: auth("plain", "AGFsaWNlAHNlY3JldA=="),
			out: "[open]<failure xmlns='sasl'><invalid-mechanism/></failure>[end]"},
		{name: "no mechanism", in: "[hello]<auth xmlns='sasl'>AGFsaWNlAHNlY3JldA==</auth>[end]",
			out: "[open]<failure xmlns='sasl'><invalid-mechanism/></failure>[end]"},
		{name: "mechanism of another namespace", in: "[hello]<auth xmlns='sasl' xmlns:x='y' x:mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>[end]",
			out: "[open]<failure xmlns='sasl'><invalid-mechanism/></failure>[end]"},
		{name: "token where there is no judge for it", in: auth("X-TOKEN", "AGFsaWNlAHNlY3JldA=="),
			out: "[open]<failure xmlns='sasl'><invalid-mechanism/></failure>[end]"},
		{name: "PLAIN where there is no judge for it", in: auth("PLAIN", "AGFsaWNlAHNlY3JldA=="),
			out: "[header]<stream:features><starttls xmlns='tls'/><mechanisms xmlns='sasl'><mechanism>X-TOKEN</mechanism></mechanisms></stream:features><failure xmlns='sasl'><invalid-mechanism/></failure>[end]", change: onlyTokens},
		{name: "child element", in: auth("PLAIN", "AGFsaWNl<x/>AHNlY3JldA=="),
			out: "[open]<failure xmlns='sasl'><malformed-request/></failure>[end]"},
		{name: "authzid of somebody else", in: plain("bob", "alice", "secret"),
			out: "[open]<failure xmlns='sasl'><invalid-authzid/></failure>[end]"},
		{name: "authzid at another host", in: plain("alice@other.example", "alice", "secret"),
			out: "[open]<failure xmlns='sasl'><invalid-authzid/></failure>[end]"},
		{name: "authzid with a resource", in: plain("alice@xmpp.example/r", "alice", "secret"),
			out: "[open]<failure xmlns='sasl'><invalid-authzid/></failure>[end]"},
		{name: "abort", in: "[hello]<abort xmlns='sasl'/>[end]",
			out: "[open]<failure xmlns='sasl'><aborted/></failure>[end]"},
		{name: "response", in: "[hello]<response xmlns='sasl'>AGFsaWNlAHNlY3JldA==</response>[end]",
			out: "[open]<failure xmlns='sasl'><not-authorized/><text xml:lang='en'>Out of order SASL element</text></failure>[end]"},
		{name: "success from the client", in: "[hello]<success xmlns='sasl'/>[end]",
			out: "[open][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "wrong namespace", in: "[hello]<auth mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>[end]",
			out: "[open][error unsupported-stanza-type: Nobody here understands that element]"},
	})
}

func TestTranscript_logins(t *testing.T) {
	wrong := plainAuth("", "alice", "wrong")
	play(t, []transcript{
		{name: "right", in: "[login][end]", out: "[open][welcome][session][end]"},
		{name: "own bare JID for an authzid", in: "[hello]" + plainAuth("alice@xmpp.example", "alice", "secret") + "[hello][end]",
			out: "[open][welcome][session][end]"},
		{name: "upper-case name", in: "[hello]" + plainAuth("", "ALICE", "secret") + "[hello]" + aBind("r") + "[end]",
			out: "[open][welcome][session][as r][end]"},
		{name: "by token", in: "[hello]<auth xmlns='sasl' mechanism='X-TOKEN'>AGFsaWNlAHNlY3JldA==</auth>[hello][end]",
			out: "[header]<stream:features><starttls xmlns='tls'/><mechanisms xmlns='sasl'><mechanism>X-TOKEN</mechanism></mechanisms></stream:features>[welcome][session][end]", change: onlyTokens},
		{name: "both offered", in: "[hello][end]",
			out: "[header]<stream:features><starttls xmlns='tls'/><mechanisms xmlns='sasl'><mechanism>X-TOKEN</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>[end]", change: withTokens},
		{name: "right at the fifth attempt", in: "[hello]" + strings.Repeat(wrong, 4) + plainAuth("", "alice", "secret") + "[hello][end]",
			out: "[open]" + strings.Repeat("[refused]", 4) + "[welcome][session][end]"},
		{name: "right too late", in: "[hello]" + strings.Repeat(wrong, 5) + plainAuth("", "alice", "secret") + "[hello][end]",
			out: "[open]" + strings.Repeat("[refused]", 5) + "[error policy-violation: Too many failed attempts to log in]"},
		{name: "aborts count", in: "[hello]" + strings.Repeat("<abort xmlns='sasl'/>", 6),
			out: "[open]" + strings.Repeat("<failure xmlns='sasl'><aborted/></failure>", 5) + "[error policy-violation: Too many failed attempts to log in]"},
		{name: "the header after it is missing", in: "[hello]" + plainAuth("", "alice", "secret") + aBind("r"),
			out: "[open][welcome][header][error invalid-namespace: A stream header was expected]"},
		{name: "the stream ends instead of the header", in: "[hello]" + plainAuth("", "alice", "secret") + "[end]",
			out: "[open][welcome][header][error not-well-formed: stream header expected]"},
		{name: "the client vanishes instead of the header", in: "[hello]" + plainAuth("", "alice", "secret"), out: "[open][welcome]"},
		{name: "another host after it", in: "[hello]" + plainAuth("", "alice", "secret") + hello("to='other.example'"),
			out: "[open][welcome][header][error not-authorized: The host changed between two streams of one connection]", change: secondHost},
		{name: "unknown host after it", in: "[hello]" + plainAuth("", "alice", "secret") + hello("to='nowhere.example'"),
			out: "[open][welcome][header][error not-authorized: The host changed between two streams of one connection]"},
		{name: "from of somebody else after it", in: "[hello]" + plainAuth("", "alice", "secret") + hello("to='xmpp.example' from='bob@xmpp.example'") + aBind("r"),
			out: "[open][welcome]<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0' id='ID' from='xmpp.example' to='bob@xmpp.example'><stream:features><bind xmlns='bind'><required/></bind><session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></stream:features>[as r]"},
		{name: "second login after it", in: "[login]" + plainAuth("", "bob", "hunter2"),
			out: "[open][welcome][session][error unsupported-stanza-type: Nobody here understands that element]"},
	})
}

func TestTranscript_bouncesBeforeTheLogin(t *testing.T) {
	register := func(name string) string {
		return "<iq type='set' id='1'><query xmlns='jabber:iq:register'>" + name + "</query></iq>"
	}
	const features = "[header]<stream:features><starttls xmlns='tls'/><mechanisms xmlns='sasl'><mechanism>PLAIN</mechanism></mechanisms>" +
		"<register xmlns='http://jabber.org/features/iq-register'/></stream:features>"
	const taken = "<iq type='error' id='1'><error type='cancel'><conflict xmlns='stanzas'/></error></iq>"
	play(t, []transcript{
		{name: "message", in: "[hello]<message id='1' to='bob@xmpp.example'><body>x</body></message>[end]",
			out: "[open]<message type='error' id='1' from='bob@xmpp.example'>[not yet]</message>[end]"},
		{name: "presence", in: "[hello]<presence/>[end]",
			out: "[open]<presence type='error'>[not yet]</presence>[end]"},
		{name: "request", in: "[hello]<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>[end]",
			out: "[open]<iq type='error' id='1'>[not yet]</iq>[end]"},
		{name: "bind", in: "[hello]" + aBind("r") + "[end]",
			out: "[open]<iq type='error' id='b'><error type='auth'><not-authorized xmlns='stanzas'/></error></iq>[end]"},
		{name: "result", in: "[hello]<iq type='result' id='1'/>[end]", out: "[open][end]"},
		{name: "errors", in: "[hello]<iq type='error' id='1'/><message type='error'/><presence type='error'/>[end]", out: "[open][end]"},
		{name: "request without a type", in: "[hello]<iq/>[end]",
			out: "[open]<iq type='error'>[not yet]</iq>[end]"},
		{name: "quotes in the addresses", in: `[hello]<message id='&apos;"&lt;' to='&apos;/>&lt;x y=&apos;&#10;'/>[end]`,
			out: "[open]<message type='error' id='&apos;&quot;&lt;' from='&apos;/&gt;&lt;x y=&apos;&#10;'>[not yet]</message>[end]"},
		{name: "from is not told back", in: "[hello]<message from='bob@xmpp.example'/>[end]",
			out: "[open]<message type='error'>[not yet]</message>[end]"},
		{name: "unknown element", in: "[hello]<subject/>[end]",
			out: "[open][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "unknown namespace", in: "[hello]<message xmlns='jabber:server'/>[end]",
			out: "[open][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "stream error of the client", in: "[hello]<stream:error><conflict xmlns='streams'/></stream:error><presence/>", out: "[open][end]"},
		{name: "other element of the stream", in: "[hello]<stream:features/>",
			out: "[open][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "too big", in: "[hello]<message>" + strings.Repeat("x", 10000) + "</message>",
			out: "[open][too big]"},
		{name: "as big as allowed", in: "[hello]<message>" + strings.Repeat("x", 10000-19) + "</message>[end]",
			out: "[open]<message type='error'>[not yet]</message>[end]"},
		{name: "too deep", in: "[hello]" + strings.Repeat("<a>", 33) + strings.Repeat("</a>", 33),
			out: "[open]<stream:error><policy-violation xmlns='streams'/><text xmlns='streams' xml:lang='en'>elements nested too deeply</text><stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>[end]"},
		{name: "too many elements", in: "[hello]<message>" + strings.Repeat("<a/>", 100) + "</message>",
			out: "[open]<stream:error><policy-violation xmlns='streams'/><text xmlns='streams' xml:lang='en'>too many elements in one stanza</text><stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>[end]"},
		{name: "too many bytes in all", in: "[hello]" + strings.Repeat("<iq type='result'>"+strings.Repeat("x", 9000)+"</iq>", 8),
			out: "[open]<stream:error><policy-violation xmlns='streams'/><text xmlns='streams' xml:lang='en'>too many bytes before the login</text><stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>[end]"},
		{name: "registration: not allowed", in: "[hello]" + register("<username>bob</username>") + "[end]",
			out: "[open]<iq type='error' id='1'>[not yet]</iq>[end]"},
		{name: "registration: taken", in: "[hello]" + register("<username>bob</username>") + "[end]",
			out: features + "<iq type='error' id='1'><error type='cancel'><conflict xmlns='stanzas'/></error></iq>[end]", change: registering},
		{name: "registration: free", in: "[hello]" + register("<username>carol</username>") + "[end]",
			out: features + "<iq type='error' id='1'><error type='cancel'><feature-not-implemented xmlns='stanzas'/></error></iq>[end]", change: registering},
		{name: "registration: not a name", in: "[hello]" + register("<username>a b</username>") + "[end]",
			out: features + "<iq type='error' id='1'><error type='modify'><not-acceptable xmlns='stanzas'/></error></iq>[end]", change: registering},
		{name: "registration: no name", in: "[hello]" + register("") + "[end]",
			out: features + "<iq type='error' id='1'>[not yet]</iq>[end]", change: registering},
		{name: "registration: six names", in: "[hello]" + strings.Repeat(register("<username>bob</username>"), 6), change: registering,
			out: features + strings.Repeat(taken, 5) + "[error policy-violation: Too many attempts to register]"},
	})
}
