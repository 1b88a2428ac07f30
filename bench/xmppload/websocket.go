package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// A webSocket is a client's end of one (RFC 6455): each Write is a message, Read
// gives what is in messages. It is as small as can be, so that thousands fit in
// one process.
type webSocket struct {
	net.Conn
	in   *bufio.Reader
	left uint64 // bytes of the frame that is being read
	out  []byte
}

// upgrade makes a WebSocket of a connection.
func upgrade(c net.Conn, host string) (*webSocket, error) {
	_, err := fmt.Fprintf(c, "GET /xmpp-websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n", host)
	if err != nil {
		return nil, err
	}
	w := &webSocket{Conn: c, in: bufio.NewReaderSize(c, 4096)}
	answer, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, &loginErr{"upgrade:" + fmt.Sprint(answer.StatusCode), nil}
	}
	return w, nil
}

func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.frame(1, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// frame sends a whole message or control frame. The mask is of zeros.
func (w *webSocket) frame(kind byte, p []byte) error {
	w.out = append(w.out[:0], 0x80|kind, 0x80)
	switch n := len(p); {
	case n < 126:
		w.out[1] |= byte(n)
	case n < 1<<16:
		w.out[1] |= 126
		w.out = binary.BigEndian.AppendUint16(w.out, uint16(n))
	default:
		w.out[1] |= 127
		w.out = binary.BigEndian.AppendUint64(w.out, uint64(n))
	}
	w.out = append(append(w.out, 0, 0, 0, 0), p...)
	_, err := w.Conn.Write(w.out)
	return err
}

func (w *webSocket) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.nextFrame(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(p[:min(uint64(len(p)), w.left)])
	w.left -= uint64(n)
	return n, err
}

// nextFrame reads the head of a frame with text in it, and answers pings.
func (w *webSocket) nextFrame() error {
	var head [8]byte
	if _, err := io.ReadFull(w.in, head[:2]); err != nil {
		return err
	}
	kind, size := head[0]&0xf, uint64(head[1])
	switch size {
	case 126:
		if _, err := io.ReadFull(w.in, head[:2]); err != nil {
			return err
		}
		size = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			return err
		}
		size = binary.BigEndian.Uint64(head[:])
	}
	switch kind {
	case 0, 1:
		w.left = size
		return nil
	case 8:
		return io.EOF
	case 9:
		text := make([]byte, size)
		if _, err := io.ReadFull(w.in, text); err != nil {
			return err
		}
		return w.frame(10, text)
	}
	return errors.New("a frame that is not text")
}
