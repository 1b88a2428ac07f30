package server_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/server"
)

func noUsers(c *server.Config) { c.Hosts[host].Users, c.Hosts[host].Passwords = nil, nil }

// attributes returns as many attributes.
func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d='1'", i)
	}
	return b.String()
}

// ask is a request with an id.
func ask(kind, payload string) string {
	return "<iq type='" + kind + "' id='1'>" + payload + "</iq>"
}

func TestTranscript_bind(t *testing.T) {
	bind := func(inside string) string {
		return "[login]<iq type='set' id='b'><bind xmlns='bind'>" + inside + "</bind></iq>[end]"
	}
	play(t, []transcript{
		{name: "chosen", in: bind("<resource>r</resource>"), out: "[open][welcome][session][as r][end]"},
		{name: "prepared", in: bind("<resource>\u1e9b\u0323 \u2168</resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/ṩ IX</jid></bind></iq>[end]`},
		{name: "refused", in: bind("<resource>a&#x200E;\u202e</resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "with quotes", in: bind("<resource>'\"&lt;/jid>&amp;</resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/&apos;&quot;&lt;/jid&gt;&amp;</jid></bind></iq>[end]`},
		{name: "too long", in: bind("<resource>" + strings.Repeat("x", 1024) + "</resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "emoji is not assigned", in: bind("<resource>\U0001F600</resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "empty resource", in: bind("<resource/>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "no resource", in: bind(""),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "child in the resource", in: bind("<resource>r<x/></resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "resource of another namespace", in: bind("<resource xmlns='urn:x'>r</resource>"),
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "by get", in: "[login]<iq type='get' id='b'><bind xmlns='bind'><resource>r</resource></bind></iq>[end]",
			out: `[open][welcome][session]<iq type='result' id='b'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "without an id", in: "[login]<iq type='set'><bind xmlns='bind'/></iq>[end]",
			out: `[open][welcome][session]<iq type='error'><error type='modify'><bad-request xmlns='stanzas'/></error></iq>[end]`},
		{name: "of an unknown type", in: "[login]<iq type='bind' id='b'><bind xmlns='bind'/></iq>[end]",
			out: `[open][welcome][session]<iq type='error' id='b'><error type='modify'><bad-request xmlns='stanzas'/></error></iq>[end]`},
		{name: "to the host", in: "[login]<iq type='set' id='b' to='xmpp.example'><bind xmlns='bind'/></iq>[end]",
			out: `[open][welcome][session]<iq type='result' id='b' from='xmpp.example'><bind xmlns='bind'><jid>alice@xmpp.example/RANDOM</jid></bind></iq>[end]`},
		{name: "from somebody else", in: "[login]<iq type='set' id='b' from='bob@xmpp.example/x'><bind xmlns='bind'><resource>r</resource></bind></iq>[end]",
			out: "[open][welcome][session][as r][end]"},
		{name: "from what is no JID", in: "[login]<iq type='set' id='b' from='@@/'><bind xmlns='bind'><resource>r</resource></bind></iq>[end]",
			out: "[open][welcome][session][as r][end]"},
		{name: "twice", in: "[bound]" + aBind("s") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="b"><error type="cancel"><not-allowed xmlns="stanzas"></not-allowed></error></iq>[end]`},
		{name: "twice in one request", in: "[login]<iq type='set' id='b'><bind xmlns='bind'><resource>r</resource></bind><bind xmlns='bind'><resource>s</resource></bind></iq>[end]",
			out: "[open][welcome][session][as r][end]"},
	})
}

func TestTranscript_beforeTheBind(t *testing.T) {
	play(t, []transcript{
		{name: "message", in: "[login]<message id='1' to='alice@xmpp.example'><body>x</body></message>[end]",
			out: `[open][welcome][session]<message type='error' id='1' from='alice@xmpp.example'>[not yet]</message>[end]`},
		{name: "presence", in: "[login]<presence/>[end]",
			out: `[open][welcome][session]<presence type='error'>[not yet]</presence>[end]`},
		{name: "ping", in: "[login]" + ask("get", "<ping xmlns='urn:xmpp:ping'/>") + "[end]",
			out: `[open][welcome][session]<iq type='error' id='1'>[not yet]</iq>[end]`},
		{name: "ping of the host", in: "[login]<iq type='get' id='1' to='xmpp.example'><ping xmlns='urn:xmpp:ping'/></iq>[end]",
			out: `[open][welcome][session]<iq type='error' id='1' from='xmpp.example'>[not yet]</iq>[end]`},
		{name: "password change", in: "[login]" + ask("set", "<query xmlns='jabber:iq:register'><username>alice</username><password>new</password></query>") + "[end]",
			out: `[open][welcome][session]<iq type='error' id='1'>[not yet]</iq>[end]`},
		{name: "result and error", in: "[login]<iq type='result' id='1'/><message type='error'/>[end]", out: "[open][welcome][session][end]"},
		{name: "unknown element", in: "[login]<subject/>",
			out: "[open][welcome][session][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "client vanishes", in: "[login]", out: "[open][welcome][session]"},
	})
}

func TestTranscript_queries(t *testing.T) {
	query := func(kind, ns, inside string) string {
		return "[bound]" + ask(kind, "<query xmlns='"+ns+"'>"+inside+"</query>") + "[end]"
	}
	to := func(to, payload string) string {
		return "[bound]<iq type='get' id='1' to='" + to + "'>" + payload + "</iq>[end]"
	}
	const (
		ping = "<ping xmlns='urn:xmpp:ping'/>"
		info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
	)
	play(t, []transcript{
		{name: "session", in: "[bound]" + ask("set", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "ping", in: "[bound]" + ask("get", ping) + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "ping by set", in: "[bound]" + ask("set", ping) + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`},
		{name: "ping of the host", in: to("xmpp.example", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="xmpp.example" id="1"></iq>[end]`},
		{name: "ping of the host in capitals", in: to("XMPP.EXAMPLE", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="xmpp.example" id="1"></iq>[end]`},
		{name: "ping of the own account", in: to("alice@xmpp.example", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="alice@xmpp.example" id="1"></iq>[end]`},
		{name: "ping of the own resource", in: to("alice@xmpp.example/r", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="alice@xmpp.example/r" id="1"></iq>[end]`},
		{name: "ping of another resource", in: to("alice@xmpp.example/s", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1" from="alice@xmpp.example/s">[unavailable]</iq>[end]`},
		{name: "ping of somebody else", in: to("bob@xmpp.example", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1" from="bob@xmpp.example">[unavailable]</iq>[end]`},
		{name: "ping of a resource of the host", in: to("xmpp.example/r", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1" from="xmpp.example/r">[unavailable]</iq>[end]`},
		{name: "ping of another host", in: to("other.example", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1" from="other.example">[unavailable]</iq>[end]`},
		{name: "ping of what is no JID", in: to("@/&apos;&lt;", ping),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1" from="@/&#39;&lt;">[unavailable]</iq>[end]`},
		{name: "ping from somebody else", in: "[bound]<iq type='get' id='1' from='bob@xmpp.example/x'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "id with quotes", in: "[bound]<iq type='get' id='&apos;\"&lt;&#10;'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="&#39;&#34;&lt;&#xA;"></iq>[end]`},
		{name: "attributes of other namespaces", in: "[bound]<iq type='get' id='1' xmlns:x='urn:x' x:id='2' x:type='result' x:to='y' x:from='@@'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "attributes of other namespaces first", in: "[bound]<iq xmlns:x='urn:x' x:id='2' x:type='result' x:to='y' x:from='@@' type='get' id='1'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "unknown", in: query("get", "urn:unknown", ""),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`},
		{name: "no payload", in: "[bound]" + ask("get", "") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "text for a payload", in: "[bound]" + ask("get", "text") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "two payloads", in: "[bound]" + ask("get", ping+info) + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "no id", in: "[bound]<iq type='get'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="ID"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "no type", in: "[bound]<iq id='1'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "unknown type", in: "[bound]<iq id='1' type='ask'>" + ping + "</iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "results and errors", in: "[bound]<iq id='1' type='result'/><iq id='b' type='error'>" + ping + "</iq>[end]", out: "[open][welcome][session][as r][end]"},
		{name: "disco#info", in: "[bound]" + ask("get", info) + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"><query xmlns="http://jabber.org/protocol/disco#info"><identity xmlns="http://jabber.org/protocol/disco#info" category="server" type="im" name="gatehouse"></identity><feature xmlns="http://jabber.org/protocol/disco#info" var="http://jabber.org/protocol/disco#info"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="http://jabber.org/protocol/disco#items"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="urn:xmpp:ping"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="jabber:iq:version"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="urn:xmpp:time"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="jabber:iq:register"></feature></query></iq>[end]`},
		{name: "disco#info of the host", in: to("xmpp.example", info),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="xmpp.example" id="1"><query xmlns="http://jabber.org/protocol/disco#info"><identity xmlns="http://jabber.org/protocol/disco#info" category="server" type="im" name="gatehouse"></identity><feature xmlns="http://jabber.org/protocol/disco#info" var="http://jabber.org/protocol/disco#info"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="http://jabber.org/protocol/disco#items"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="urn:xmpp:ping"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="jabber:iq:version"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="urn:xmpp:time"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="jabber:iq:register"></feature></query></iq>[end]`},
		{name: "disco#info of the account", in: to("alice@xmpp.example", info),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="alice@xmpp.example" id="1"><query xmlns="http://jabber.org/protocol/disco#info"><identity xmlns="http://jabber.org/protocol/disco#info" category="account" type="registered"></identity><feature xmlns="http://jabber.org/protocol/disco#info" var="http://jabber.org/protocol/disco#info"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="http://jabber.org/protocol/disco#items"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="urn:xmpp:ping"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="jabber:iq:version"></feature><feature xmlns="http://jabber.org/protocol/disco#info" var="urn:xmpp:time"></feature></query></iq>[end]`, change: noUsers},
		{name: "disco#info of a node", in: to("xmpp.example", "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" from="xmpp.example" id="1"><error type="cancel"><item-not-found xmlns="stanzas"></item-not-found></error></iq>[end]`},
		{name: "disco#items", in: to("xmpp.example", "<query xmlns='http://jabber.org/protocol/disco#items'/>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" from="xmpp.example" id="1"><query xmlns="http://jabber.org/protocol/disco#items"></query></iq>[end]`},
		{name: "version", in: query("get", "jabber:iq:version", ""),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"><query xmlns="jabber:iq:version"><name>gatehouse</name><version>1.2.3</version></query></iq>[end]`},
		{name: "version with contents", in: query("get", "jabber:iq:version", "x"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`},
		{name: "roster", in: query("get", "jabber:iq:roster", ""),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"><query xmlns="jabber:iq:roster"></query></iq>[end]`},
		{name: "roster set", in: query("set", "jabber:iq:roster", "<item jid='bob@xmpp.example'/>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`},
		{name: "of another namespace", in: "[bound]<iq xmlns='jabber:server' type='get' id='1'>" + ping + "</iq>",
			out: "[open][welcome][session][as r][error unsupported-stanza-type: Nobody here understands that element]"},
	})
}

func TestTranscript_passwordChange(t *testing.T) {
	change := func(inside string) string {
		return "[bound]" + ask("set", "<query xmlns='jabber:iq:register'>"+inside+"</query>") + "[end]"
	}
	account := func(user, password string) string {
		return change("<username>" + user + "</username><password>" + password + "</password>")
	}
	play(t, []transcript{
		{name: "get", in: "[bound]" + ask("get", "<query xmlns='jabber:iq:register'/>") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"><query xmlns="jabber:iq:register"><registered></registered><username>alice</username><password></password></query></iq>[end]`},
		{name: "get without passwords", in: "[bound]" + ask("get", "<query xmlns='jabber:iq:register'/>") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`, change: noUsers},
		{name: "yes", in: account("alice", "new"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "yes, by another spelling of the name", in: account("ALICE", "new"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "no", in: account("alice", "no"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="wait"><internal-server-error xmlns="stanzas"></internal-server-error></error></iq>[end]`},
		{name: "outage", in: account("alice", "outage"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="wait"><internal-server-error xmlns="stanzas"></internal-server-error></error></iq>[end]`},
		{name: "refused unasked", in: account("alice", "long"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><not-acceptable xmlns="stanzas"></not-acceptable></error></iq>[end]`},
		{name: "without passwords", in: account("alice", "new"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`, change: noUsers},
		{name: "of somebody else", in: account("bob", "new"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "of somebody else, first", in: change("<username>bob</username><username>alice</username><password>new</password>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"></iq>[end]`},
		{name: "of somebody else, last", in: change("<username>alice</username><username>bob</username><password>new</password>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "of somebody else, to his account", in: "[bound]<iq type='set' id='1' to='bob@xmpp.example'><query xmlns='jabber:iq:register'><username>alice</username><password>new</password></query></iq>[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1" from="bob@xmpp.example">[unavailable]</iq>[end]`},
		{name: "bare JID for a name", in: account("alice@xmpp.example", "new"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "empty", in: account("alice", ""),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "no password", in: change("<username>alice</username>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "no name", in: change("<password>new</password>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><bad-request xmlns="stanzas"></bad-request></error></iq>[end]`},
		{name: "line feed", in: account("alice", "new&#10;setpass:bob:xmpp.example:new"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><not-acceptable xmlns="stanzas"></not-acceptable></error></iq>[end]`},
		{name: "prepared to nothing", in: account("alice", "\u00ad"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1"><error type="modify"><not-acceptable xmlns="stanzas"></not-acceptable></error></iq>[end]`},
		{name: "account removal", in: change("<remove/>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`},
		{name: "removal and change", in: change("<remove/><username>alice</username><password>new</password>"),
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="error" id="1">[unavailable]</iq>[end]`},
		{name: "by get", in: "[bound]" + ask("get", "<query xmlns='jabber:iq:register'><username>alice</username><password>new</password></query>") + "[end]",
			out: `[open][welcome][session][as r]<iq xmlns="jabber:client" type="result" id="1"><query xmlns="jabber:iq:register"><registered></registered><username>alice</username><password></password></query></iq>[end]`},
	})
}

func TestTranscript_messagesAndPresence(t *testing.T) {
	play(t, []transcript{
		{name: "presence", in: "[bound]<presence/>[end]",
			out: `[open][welcome][session][as r]<presence xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="ID"></presence>[end]`},
		{name: "presence with contents", in: "[bound]<presence id='1' xml:lang='de'><show>away</show><c xmlns='urn:caps' node='n'/></presence>[end]",
			out: `[open][welcome][session][as r]<presence xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1" xml:lang="de"><show xmlns="jabber:client">away</show><c xmlns="urn:caps" node="n"></c></presence>[end]`},
		{name: "unavailable", in: "[bound]<presence type='unavailable'/>[end]",
			out: `[open][welcome][session][as r]<presence xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" type="unavailable" id="ID"></presence>[end]`},
		{name: "presence to somebody", in: "[bound]<presence to='bob@xmpp.example'/><presence type='subscribe' to='bob@xmpp.example'/>[end]", out: "[open][welcome][session][as r][end]"},
		{name: "message to oneself", in: "[bound]<message id='1' to='alice@xmpp.example' type='chat'><body>a &lt; b</body></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1" type="chat"><body xmlns="jabber:client">a &lt; b</body></message>[end]`},
		{name: "message without to", in: "[bound]<message id='1'><body>x</body></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1"><body xmlns="jabber:client">x</body></message>[end]`},
		{name: "message from somebody else to oneself", in: "[bound]<message id='1' from='bob@xmpp.example' to='alice@xmpp.example/r'><body>x</body></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1"><body xmlns="jabber:client">x</body></message>[end]`},
		{name: "message with namespaces to oneself", in: "[bound]<message xmlns='jabber:client' id='1' xmlns:x='urn:x' x:from='y' x:a='1'><body xmlns='jabber:client'/><x:b x:c='2' xml:lang='de'><d xmlns=''/></x:b></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1" xmlns:_="urn:x" _:a="1"><body xmlns="jabber:client"></body><b xmlns="urn:x" _:c="2" xml:lang="de"><d></d></b></message>[end]`},
		{name: "message with CDATA to oneself", in: "[bound]<message id='1'><body><![CDATA[</body></message><iq/>]]></body></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1"><body xmlns="jabber:client">&lt;/body&gt;&lt;/message&gt;&lt;iq/&gt;</body></message>[end]`},
		{name: "message to another resource of oneself", in: "[bound]<message id='1' to='alice@xmpp.example/s'><body>x</body></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="alice@xmpp.example/s">[unavailable]</message>[end]`},
		{name: "message to somebody else", in: "[bound]<message id='1' to='bob@xmpp.example'><body>x</body></message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="bob@xmpp.example">[unavailable]</message>[end]`},
		{name: "message to nobody", in: "[bound]<message id='1' to='nobody@xmpp.example'/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="nobody@xmpp.example">[unavailable]</message>[end]`},
		{name: "message to the host", in: "[bound]<message id='1' to='xmpp.example'/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="xmpp.example">[unavailable]</message>[end]`},
		{name: "message to the host in capitals", in: "[bound]<message id='1' to='XMPP.EXAMPLE'/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="XMPP.EXAMPLE">[unavailable]</message>[end]`},
		{name: "message to another host", in: "[bound]<message id='1' to='bob@other.example'/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="bob@other.example">[unavailable]</message>[end]`},
		{name: "message to what is no JID", in: "[bound]<message id='1' to='@'/><message id='2' to='&apos;/>&lt;iq '/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" id="1" from="@">[unavailable]</message><message xmlns="jabber:client" type="error" id="2" from="&#39;/&gt;&lt;iq ">[unavailable]</message>[end]`},
		{name: "message error", in: "[bound]<message type='error' to='bob@xmpp.example'/>[end]", out: "[open][welcome][session][as r][end]"},
		{name: "message without an id", in: "[bound]<message to='bob@xmpp.example'/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" type="error" from="bob@xmpp.example" id="ID">[unavailable]</message>[end]`},
	})
}

func TestTranscript_sessionLimits(t *testing.T) {
	message := func(n int) string { return "<message>" + strings.Repeat("x", n) + "</message>" }
	play(t, []transcript{
		{name: "too big", in: "[bound]" + message(20000),
			out: "[open][welcome][session][as r][too big]"},
		{name: "too big in an attribute", in: "[bound]<message to='" + strings.Repeat("x", 20000) + "'/>",
			out: "[open][welcome][session][as r][too big]"},
		{name: "big, and then others", in: "[bound]<message id='1' type='chat'>" + strings.Repeat("x", 19000) + "</message>" +
			ask("get", "<ping xmlns='urn:xmpp:ping'/>") + "<iq type='get' id='" + strings.Repeat("x", 19000) + "'><ping xmlns='urn:xmpp:ping'/></iq><presence id='2'/>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1" type="chat">` + strings.Repeat("x", 19000) + "</message>" +
				`<iq xmlns="jabber:client" type="result" id="1"></iq><iq xmlns="jabber:client" type="result" id="` + strings.Repeat("x", 19000) + `"></iq>` +
				`<presence xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="2"></presence>[end]`},
		{name: "too deep", in: "[bound]" + strings.Repeat("<a>", 129) + strings.Repeat("</a>", 129),
			out: "[open][welcome][session][as r]<stream:error><policy-violation xmlns='streams'/><text xmlns='streams' xml:lang='en'>elements nested too deeply</text><stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>[end]"},
		{name: "deep", in: "[bound]<message id='1'>" + strings.Repeat("<a>", 127) + strings.Repeat("</a>", 127) + "</message>[end]",
			out: `[open][welcome][session][as r]<message xmlns="jabber:client" from="alice@xmpp.example/r" to="alice@xmpp.example/r" id="1">` +
				strings.Repeat(`<a xmlns="jabber:client">`, 127) + strings.Repeat("</a>", 127) + "</message>[end]"},
		{name: "too many attributes", in: "[bound]<message " + attributes(257) + "/>",
			out: "[open][welcome][session][as r]<stream:error><policy-violation xmlns='streams'/><text xmlns='streams' xml:lang='en'>too many attributes</text><stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>[end]"},
		{name: "vanishes in a stanza", in: "[bound]<message><bo", out: "[open][welcome][session][as r]"},
		{name: "vanishes between stanzas", in: "[bound]<presence to='x'/>", out: "[open][welcome][session][as r]"},
		{name: "stream error of the client", in: "[bound]<stream:error><conflict xmlns='streams'/></stream:error>", out: "[open][welcome][session][as r][end]"},
		{name: "other element of the stream", in: "[bound]<stream:features/>",
			out: "[open][welcome][session][as r][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "element of the stream inside a stanza", in: "[bound]<message><stream:error/></message>",
			out: "[open][welcome][session][as r][error bad-format: element of the stream inside a stanza]"},
		{name: "element of the stream inside a stanza, in disguise", in: "[bound]<message><x xmlns='http://etherx.jabber&#46;org/streams'/></message>",
			out: "[open][welcome][session][as r][error bad-format: element of the stream inside a stanza]"},
		{name: "second stream", in: "[bound]" + strings.TrimPrefix(aHeader, "<?xml version='1.0'?>") + "[end]",
			out: "[open][welcome][session][as r][error unsupported-stanza-type: Nobody here understands that element]"},
		{name: "text between stanzas", in: "[bound]hello[end]", out: "[open][welcome][session][as r][end]"},
	})
}
