package upstream

import (
	"fmt"
	"strings"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

const (
	nsClient       = "jabber:client"
	nsStream       = "http://etherx.jabber.org/streams"
	nsStreamErrors = "urn:ietf:params:xml:ns:xmpp-streams"
	nsTLS          = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL         = "urn:ietf:params:xml:ns:xmpp-sasl"

	streamEnd = "</stream:stream>"
)

// limits bounds what one leg reads before its relay: up to three short answers
// and two lists of features.
var limits = xmlstream.Limits{
	Header:     4 << 10,
	Stanza:     64 << 10,
	Total:      160 << 10,
	Depth:      16,
	Elements:   1024,
	Attributes: 256,
}

// openStream sends a stream header, with what is in g.out before it, and returns
// the features that the server answers with (RFC 6120 §4.2, §4.3).
func (g *leg) openStream() (*xmlstream.Element, error) {
	b := append(g.out, "<?xml version='1.0'?><stream:stream xmlns='"+nsClient+"' xmlns:stream='"+nsStream+"' version='1.0' to='"...)
	b = xmlstream.AppendEscaped(b, g.host)
	if err := g.send(append(b, "'>"...)); err != nil {
		return nil, err
	}
	h, err := g.in.Header()
	if err != nil {
		return nil, failed("stream header", err)
	}
	if err := g.checkHeader(h); err != nil {
		return nil, err
	}
	e, err := g.next("features")
	if err != nil {
		return nil, err
	}
	if e.Name.Space != nsStream || e.Name.Local != "features" {
		return nil, fmt.Errorf("%w: something else where features belong", ErrProtocol)
	}
	return e, nil
}

// checkHeader checks the answer to our stream header (RFC 6120 §4.7).
func (g *leg) checkHeader(h *xmlstream.Header) error {
	switch {
	case h.Name.Space != nsStream || h.Name.Local != "stream":
		return fmt.Errorf("%w: no stream header", ErrProtocol)
	case h.Declared[""] != nsClient:
		return fmt.Errorf("%w: its stream is not a client's", ErrProtocol)
	case !strings.HasPrefix(h.Get("version"), "1."):
		return fmt.Errorf("%w: its stream is not of version 1.0", ErrProtocol)
	}
	from := h.Get("from")
	if from == "" || from == g.host {
		return nil
	}
	if prepared, err := saslmech.Nameprep(from); err != nil || prepared != g.host {
		return fmt.Errorf("%w: it says that it is another host", ErrProtocol)
	}
	return nil
}

// next reads an element. A stream error is [ErrDown]: this server does not serve
// us now, for what reason ever.
func (g *leg) next(doing string) (*xmlstream.Element, error) {
	e, err := g.in.Next()
	if err != nil {
		return nil, failed(doing, err)
	}
	if e.Name.Space == nsStream && e.Name.Local == "error" {
		return nil, fmt.Errorf("%w: %s: stream error: %s", ErrDown, doing, condition(e, nsStreamErrors))
	}
	return e, nil
}

// mechanisms returns those that features offer, as the server writes them (RFC
// 6120 §6.3.3).
func mechanisms(features *xmlstream.Element) []string {
	list := features.Child(nsSASL, "mechanisms")
	if list == nil {
		return nil
	}
	names := make([]string, 0, len(list.Children))
	for _, m := range list.Children {
		if m.Name.Space == nsSASL && m.Name.Local == "mechanism" {
			names = append(names, strings.TrimSpace(m.Text))
		}
	}
	return names
}

// send writes b at once and keeps its memory for the next time, cleared: it may
// have held a secret.
func (g *leg) send(b []byte) error {
	_, err := g.conn.Write(b)
	clear(b)
	g.out = b[:0]
	if err != nil {
		return failed("write", err)
	}
	return nil
}
