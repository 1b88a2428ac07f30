package server

import (
	"crypto/rand"
	"encoding/hex"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

const nsClient = "jabber:client"

// openStream reads a stream header and answers it with ours and the features,
// in one write (RFC 6120 §4.2, §4.3).
func (c *conn) openStream(features func([]byte) []byte) error {
	c.opened = false
	h, err := c.in.Header()
	if err != nil {
		return err
	}
	if h.Name.Space != nsStream || h.Name.Local != "stream" {
		return &streamError{condition: "invalid-namespace", text: "A stream header was expected"}
	}
	if space, ok := h.Declared["stream"]; ok && space != nsStream {
		// What we write uses the prefix, and mellium reads by it.
		return &streamError{condition: "bad-namespace-prefix", text: "The prefix 'stream' is for streams"}
	}
	if err := c.setHost(h); err != nil {
		return err
	}
	b := appendHeader(make([]byte, 0, 512), c.host.Name, h.Get("from"))
	b = append(b, "<stream:features>"...)
	b = features(b)
	b = append(b, "</stream:features>"...)
	c.opened = true
	return c.write(b)
}

// setHost finds the host that the header is addressed to. Once a stream has
// begun, the streams that follow on the connection must be for the same host:
// TLS and login were made for that one.
func (c *conn) setHost(h *xmlstream.Header) error {
	to, found := "", false
	for _, a := range h.Attr {
		if a.Name.Space == "" && a.Name.Local == "to" {
			to, found = a.Value, true
		}
	}
	if !found {
		return &streamError{condition: "improper-addressing", text: "The stream header has no 'to'"}
	}
	name, err := saslmech.Nameprep(to)
	if c.host != nil {
		if err != nil || name != c.host.Name {
			return &streamError{condition: "not-authorized", text: "The host changed between two streams of one connection"}
		}
		return c.refresh()
	}
	// The name is there for SetConfig before the host is looked up: if it is
	// removed in this moment, one of the two sees it.
	c.mu.Lock()
	c.name = name
	c.mu.Unlock()
	c.config = c.server.config.Load()
	host := c.config.Hosts[name]
	if err != nil || host == nil {
		// RFC 6120 §4.9.1.2: the header says whom the client wanted.
		c.unknown = to
		return &streamError{condition: "host-unknown", text: "This server does not serve that host"}
	}
	c.host = host
	return nil
}

// appendHeader appends our stream header. from is the host's name, empty where
// none is known; to is the client's 'from', if it sent one.
func appendHeader(b []byte, from, to string) []byte {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	b = append(b, "<?xml version='1.0'?><stream:stream xmlns='"+nsClient+"' xmlns:stream='"+nsStream+"' xml:lang='en' version='1.0' id='"...)
	b = hex.AppendEncode(b, id[:])
	if from != "" {
		b = append(b, "' from='"...)
		b = xmlstream.AppendEscaped(b, from)
	}
	if to != "" {
		b = append(b, "' to='"...)
		b = xmlstream.AppendEscaped(b, to)
	}
	return append(b, "'>"...)
}

// loginFeatures appends what is on offer before the login.
func (c *conn) loginFeatures(b []byte) []byte {
	if !c.encrypted && !c.framed {
		if c.host.RequireEncryption {
			b = append(b, "<starttls xmlns='"+nsTLS+"'><required/></starttls>"...)
		} else {
			b = append(b, "<starttls xmlns='"+nsTLS+"'/>"...)
		}
	}
	if m := c.mechanisms(); len(m) > 0 {
		b = append(b, "<mechanisms xmlns='"+nsSASL+"'>"...)
		for _, name := range m {
			b = append(b, "<mechanism>"...)
			b = append(b, name...)
			b = append(b, "</mechanism>"...)
		}
		b = append(b, "</mechanisms>"...)
	}
	if c.host.AllowRegistration && (c.encrypted || !c.host.RequireEncryption) {
		b = append(b, "<register xmlns='http://jabber.org/features/iq-register'/>"...)
	}
	return b
}
