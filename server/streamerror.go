package server

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// streamError ends a stream: condition is a name of RFC 6120 §4.9.3, text is
// for the client.
type streamError struct {
	condition string
	text      string
	tooBig    bool // with the application condition stanza-too-big
}

func (e *streamError) Error() string {
	if e.text == "" {
		return "stream error " + e.condition
	}
	return "stream error " + e.condition + ": " + e.text
}

var (
	systemShutdown = &streamError{condition: "system-shutdown", text: "The server is being shut down"}
	hostGone       = &streamError{condition: "host-gone", text: "This server does not serve that host any more"}
	replaced       = &streamError{condition: "conflict", text: "Replaced by new connection"}
	passwordReset  = &streamError{condition: "reset", text: "Password changed"}
)

const (
	nsStream       = "http://etherx.jabber.org/streams"
	nsStreamErrors = "urn:ietf:params:xml:ns:xmpp-streams"
	nsTooBig       = "urn:xmpp:errors"
)

// errorElement ends a client's stream as its closing tag does.
var errorElement = xmlstream.Name{Space: nsStream, Local: "error"}

// asStreamError says which stream error the other side should get for err, or
// nil where it should get none because nobody is listening.
func asStreamError(err error) *streamError {
	var se *streamError
	if errors.As(err, &se) {
		return se
	}
	var xe *xmlstream.Error
	if errors.As(err, &xe) {
		return &streamError{condition: xe.Condition, text: xe.Detail, tooBig: xe.TooBig}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &streamError{condition: "connection-timeout", text: "Not logged in within the time allowed"}
	}
	return nil
}

func appendStreamError(b []byte, e *streamError) []byte {
	b = append(b, "<stream:error><"...)
	b = append(b, e.condition...)
	b = append(b, " xmlns='"+nsStreamErrors+"'/>"...)
	if e.text != "" {
		b = append(b, "<text xmlns='"+nsStreamErrors+"' xml:lang='en'>"...)
		b = xmlstream.AppendEscaped(b, e.text)
		b = append(b, "</text>"...)
	}
	if e.tooBig {
		b = append(b, "<stanza-too-big xmlns='"+nsTooBig+"'/>"...)
	}
	return append(b, "</stream:error>"...)
}

// How long, and for how many bytes, a connection that is being closed is read
// on: a close with bytes unread makes the kernel send a reset, which can
// overtake the stream error and hide it from the client.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 128 << 10
)

// linger closes nc such that what was written last arrives.
func linger(rw, raw net.Conn) {
	defer raw.Close()
	if _, ok := raw.(*framed); ok {
		return // whose Close does the same
	}
	_ = rw.SetDeadline(time.Now().Add(lingerTime))
	if cw, ok := rw.(interface{ CloseWrite() error }); ok && rw != raw {
		_ = cw.CloseWrite() // TLS close_notify
	}
	if cw, ok := raw.(interface{ CloseWrite() error }); ok {
		if cw.CloseWrite() != nil {
			return
		}
	}
	_, _ = io.CopyN(io.Discard, raw, lingerBytes)
}
