package server_test

import (
	"testing"
)

// The end of the line behind </auth>, as go-sendxmpp sends it, is not for the
// server behind, however late it comes.
func TestRelay_lineEndBehindAuth(t *testing.T) {
	f, b := startRelay(t, clearText)
	for _, late := range []bool{false, true} {
		c := f.dial()
		must(c.Open(host))(t)
		lineEnd := "\n"
		if late {
			lineEnd = ""
		}
		if err := c.Sendf("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>%s", plainText("alice", "secret"), lineEnd); err != nil {
			t.Fatal(err)
		}
		must(c.Expect("success"))(t)
		leg := b.leg(t)
		if late {
			mustWrite(t, c.Conn(), "\r\n")
		}
		mustWrite(t, c.Conn(), " <?xml version='1.0'?>")
		mustWrite(t, c.Conn(), "\n<stream:stream>")
		mustRead(t, leg, "<?xml version='1.0'?>\n<stream:stream>")
	}
}
