package integration

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// A layer is a TLS connection of a stranger, and what it takes to send on it what crypto/tls would not.
type layer struct {
	*tls.Conn
	below *shortened
	keys  bytes.Buffer // the key log
}

// A shortened connection lets so many bytes more through, if not negative, and says that it was all of them.
type shortened struct {
	net.Conn
	left int
}

// Write implements net.Conn.
func (s *shortened) Write(p []byte) (int, error) {
	if s.left < 0 {
		return s.Conn.Write(p)
	}
	n := min(len(p), s.left)
	s.left -= n
	_, err := s.Conn.Write(p[:n])
	return len(p), err
}

// layered does what it does behind a handshake of that version, in records of full size.
func layered(version uint16, do func(*layer)) intrusion {
	return func(conn net.Conn) net.Conn {
		return behindTLS(conn, &tls.Config{MinVersion: version, MaxVersion: version}, do)
	}
}

func behindTLS(conn net.Conn, config *tls.Config, do func(*layer)) net.Conn {
	l := &layer{below: &shortened{conn, -1}}
	config.ServerName, config.InsecureSkipVerify = "localhost", true
	config.DynamicRecordSizingDisabled, config.KeyLogWriter = true, &l.keys
	l.Conn = tls.Client(l.below, config)
	if l.Handshake() == nil {
		do(l)
	}
	return l
}

// say sends text.
func (l *layer) say(text string) { _, _ = io.WriteString(l, text) }

// halfRecord sends a record with so many bytes in it, but for its end.
func (l *layer) halfRecord(size int) {
	l.below.left = size
	l.say(strings.Repeat(" ", size))
}

// message sends so many bytes of a message of the handshake that has 60,000, in records of that size: the first that this
// side sends in TLS 1.3 with AES-128-GCM (RFC 8446 §5.2, §7.3).
func (l *layer) message(size, each int) error {
	_, key, ok := strings.Cut(l.keys.String(), "CLIENT_TRAFFIC_SECRET_0 ")
	fields := strings.Fields(key)
	if !ok || len(fields) < 2 || l.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return errors.New("the client's secret is not known")
	}
	secret, err := hex.DecodeString(fields[1])
	if err != nil {
		return err
	}
	expand := func(label string, n int) []byte {
		info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label...)
		b, fault := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
		err = errors.Join(err, fault)
		return b
	}
	block, fault := aes.NewCipher(expand("key", 16))
	if err = errors.Join(err, fault); err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	iv := expand("iv", 12)
	text := append([]byte("\x18\x00\xea\x60"), make([]byte, size)...) // key_update
	for n := uint64(0); len(text) > 0; n++ {
		inner := append(bytes.Clone(text[:min(len(text), each)]), 22)
		text = text[len(inner)-1:]
		nonce := bytes.Clone(iv)
		binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^n)
		header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+aead.Overhead()))
		if _, err := l.below.Write(aead.Seal(header, nonce, inner, header)); err != nil {
			return nil // thrown out
		}
	}
	return nil
}

// manyProtocols make a ClientHello long.
func manyProtocols(size int) (all []string) {
	for n := 0; n < size; n += 201 {
		all = append(all, fmt.Sprintf("%0200d", n))
	}
	return append(all, "http/1.1", "xmpp-client")
}

// dearest are those that cost most, and one for each thing that else would.
var dearest = []string{
	"half an element inside TLS",
	"wrong passwords, then half an element",
	"half a message",
	"half a header in one record inside TLS 1.3",
	"half an element and half a record inside TLS 1.2",
	"records that grow inside TLS 1.3",
	"a long ClientHello, half an element inside TLS 1.3",
	"half a request in one record inside TLS 1.3",
	"an upgrade, half an element and half a record inside TLS 1.3",
	"an upgrade, half a tag and half a record inside TLS 1.2",
	"elements whose answers are not read inside TLS 1.2",
	"a message of the handshake after it, 1000 bytes each record",
}

// hoarders are all that we know. They stop in the middle of something, where most of it has to be held.
func hoarders() []hoarder {
	header := xmpptest.Header("localhost")
	full := strings.Repeat("A", 9900)
	crowded := strings.Repeat("<iq"+manyAttributes(30)+">"+strings.Repeat("<a b='c'/>", 60)+"</iq>", 60)
	bigHello := "\x16\x03\x01\x3c\x00\x01\x00\xff\xf0" + strings.Repeat("h", 15<<10-4)
	halfHeader := "<stream:stream a='" + strings.Repeat("a", 16000)
	fullHeader := "<stream:stream a='" + strings.Repeat("a", 9900)
	halfAuth := header + "<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'>" + full
	wrong := "<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'>" + encoded(plain("alice", "wrong"+strings.Repeat("!", 900))) + "</auth>"
	nested := header + strings.Repeat("<a xmlns='"+strings.Repeat("u", 280)+"'>", 31) + strings.Repeat("b", 200)
	wide := header + "<a" + strings.Repeat(" ", 8<<10) + manyAttributes(31)
	openTag := string(maskedFrame(0x81, 60000, "<open xmlns='"+nsFraming+"' a='"+full))
	longTag := string(maskedFrame(0x81, 60000, "<open xmlns='"+nsFraming+"' a='"+strings.Repeat("a", 16000)))
	opened := string(maskedFrame(0x81, 200, fmt.Sprintf("%-200s", "<open xmlns='"+nsFraming+"' to='localhost' version='1.0'/>")))
	halfElement := opened + string(maskedFrame(0x81, 60000, "<auth xmlns='"+xmpptest.NSSASL+"' mechanism='PLAIN'>"+full))
	pings := strings.Repeat(string(append([]byte{0x89, 0x80 | 125, 0, 0, 0, 0}, strings.Repeat("p", 125)...)), 117)
	unanswered := "<iq xmlns='jabber:client' id='a' type='get'><query xmlns='jabber:iq:register'/></iq>                                          "
	upgrade := halfHTTP + webRest
	fatUpgrade := upgrade + "A: " + strings.Repeat("a", 7800) + "\r\n"
	all := []hoarder{
		{"nothing", (*besieged).plain, pour("")},
		{"half a header", (*besieged).plain, pour(halfHeader)},
		{"a header as long as it may be", (*besieged).plain, pour(fullHeader)},
		{"half an element", (*besieged).plain, pour(header + "<auth xmlns='" + xmpptest.NSSASL + "'>" + full)},
		{"crowded elements", (*besieged).plain, pour(header + crowded)},
		{"a deep element", (*besieged).plain, pour(nested)},
		{"a wide tag", (*besieged).plain, pour(wide)},
		{"half a ClientHello", (*besieged).tls, pour(bigHello)},
		{"an endless ClientHello", (*besieged).tls, pour(bigHello + strings.Repeat("\x16\x03\x01\x40\x00"+strings.Repeat("h", 16<<10), 3))},
		{"half a header inside TLS", (*besieged).tls, inTLS(pour(halfHeader))},
		{"half an element inside TLS", (*besieged).tls, inTLS(pour(halfAuth))},
		{"wrong passwords, then half an element", (*besieged).tls, inTLS(pour(header + strings.Repeat(wrong, 4) + strings.TrimPrefix(halfAuth, header)))},
		{"half a request", (*besieged).http, pour(halfHTTP + "A: " + strings.Repeat("a", 7900))},
		{"many fields of a request", (*besieged).http, pour(halfHTTP + manyFields())},
		{"many fields of a request inside TLS", (*besieged).https, inTLS(pour(halfHTTP + manyFields()))},
		{"half a request inside TLS", (*besieged).https, inTLS(pour(halfHTTP + "A: " + strings.Repeat("a", 7900)))},
		{"half a message", (*besieged).http, pour(upgrade + "\r\n" + openTag)},
		{"half a message inside TLS", (*besieged).https, inTLS(pour(upgrade + "\r\n" + openTag))},
		{"half a long tag inside TLS", (*besieged).https, inTLS(pour(upgrade + "\r\n" + longTag))},
		{"a fat request, pings, half an element", (*besieged).https, inTLS(pour(fatUpgrade + "\r\n" + pings + halfElement))},
	}
	// The longest record that is let through, by its size.
	for v, longest := range map[uint16]int{tls.VersionTLS12: 11700, tls.VersionTLS13: 10300} {
		in := " inside " + tls.VersionName(v)
		spaced := func(text string) string { return header + strings.Repeat(" ", longest-len(header+text)) + text }
		pinged := func(text string) string { return text + pings[:max(0, longest-len(text))/131*131] }
		all = append(all,
			hoarder{"half a header in one record" + in, (*besieged).tls, layered(v, func(l *layer) { l.say(strings.Repeat(" ", longest-len(fullHeader)) + fullHeader) })},
			hoarder{"half an element and half a record" + in, (*besieged).tls, layered(v, func(l *layer) {
				l.say(spaced(strings.TrimPrefix(halfAuth, header)))
				l.halfRecord(longest)
			})},
			hoarder{"a record of full size" + in, (*besieged).tls, layered(v, func(l *layer) {
				l.say(halfAuth)
				l.halfRecord(16 << 10)
			})},
			hoarder{"records that grow" + in, (*besieged).tls, layered(v, func(l *layer) {
				l.say(header + strings.Repeat(" ", 4500))
				l.say(strings.TrimPrefix(halfAuth, header))
				l.halfRecord(longest)
			})},
			hoarder{"a tiny record after the other" + in, (*besieged).tls, layered(v, func(l *layer) {
				for _, b := range header + "<auth xmlns='" + full[:400] {
					l.say(string(b))
				}
			})},
			hoarder{"a long ClientHello, half an element" + in, (*besieged).tls, func(conn net.Conn) net.Conn {
				return behindTLS(conn, &tls.Config{MaxVersion: v, NextProtos: manyProtocols(2500)}, func(l *layer) {
					for _, part := range strings.SplitAfter(halfAuth, ">") {
						for ; len(part) > 2000; part = part[2000:] {
							l.say(part[:2000])
						}
						l.say(part)
					}
				})
			}},
			hoarder{"half a request in one record" + in, (*besieged).https, layered(v, func(l *layer) { l.say(halfHTTP + "A: " + strings.Repeat("a", 7900)) })},
			hoarder{"an upgrade, half an element and half a record" + in, (*besieged).https, layered(v, func(l *layer) {
				l.say(pinged(fatUpgrade + "\r\n"))
				l.say(halfElement)
				l.halfRecord(longest)
			})},
			hoarder{"an upgrade, half a tag and half a record" + in, (*besieged).https, layered(v, func(l *layer) {
				l.say(pinged(fatUpgrade + "\r\n"))
				l.say(openTag)
				l.halfRecord(longest)
			})},
			hoarder{"pings whose answers are not read" + in, (*besieged).https, func(conn net.Conn) net.Conn {
				_ = conn.(*net.TCPConn).SetReadBuffer(1024)
				return layered(v, func(l *layer) {
					l.say(pinged(fatUpgrade + "\r\n"))
					for range 16 {
						l.say(pinged(""))
					}
				})(conn)
			}},
			hoarder{"elements whose answers are not read" + in, (*besieged).https, func(conn net.Conn) net.Conn {
				_ = conn.(*net.TCPConn).SetReadBuffer(1024)
				return layered(v, func(l *layer) {
					l.say(pinged(fatUpgrade + "\r\n"))
					l.say(opened)
					for range 7 {
						l.say(strings.Repeat(string(maskedFrame(0x81, len(unanswered), unanswered)), 60))
					}
				})(conn)
			}},
		)
	}
	for _, each := range []int{1000, 16000} {
		all = append(all, hoarder{fmt.Sprintf("a message of the handshake after it, %d bytes each record", each), (*besieged).tls, func(conn net.Conn) net.Conn {
			return behindTLS(conn, &tls.Config{MinVersion: tls.VersionTLS13}, func(l *layer) {
				if err := l.message(59000, each); err != nil {
					panic(err)
				}
			})
		}})
	}
	return all
}
