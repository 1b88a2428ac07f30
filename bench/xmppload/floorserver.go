package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
)

// cmdFloorServer is no XMPP server: it answers from a fixed script, parses
// nothing, and so shows the least that sockets, TLS and the pipe cost in Go.
func cmdFloorServer(args []string) error {
	fs := flag.NewFlagSet("floor-server", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:15390", "listen address; the one in use is printed as \"listening ADDRESS\"")
	kindF := fs.String("kind", "canned", "tls: direct TLS handshake only; pipe: handshake, then one auth query per line; canned: the whole login dialogue from fixed strings, STARTTLS, one auth query; canned-nopipe: the same without the query")
	cert := fs.String("cert", "ecdsa.crt", "certificate")
	key := fs.String("key", "ecdsa.key", "key")
	script := fs.String("script", "", "auth program, generic protocol")
	procs := fs.Int("procs", 1, "auth processes")
	tickets := fs.Bool("tickets", true, "send TLS session tickets (Go's default)")
	fs.Parse(args)
	c, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: !*tickets}
	var pool *scriptPool
	if *kindF == "pipe" || *kindF == "canned" {
		if pool, err = startPool(*script, *procs); err != nil {
			return err
		}
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Println("listening", ln.Addr())
	return serveFloor(ln, *kindF, conf, pool)
}

// serveFloor serves until ln fails. pool may be nil where kind needs none.
func serveFloor(ln net.Listener, kind string, conf *tls.Config, pool *scriptPool) error {
	var id atomic.Int64
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			switch kind {
			case "tls":
				tc := tls.Server(conn, conf)
				if tc.Handshake() == nil {
					var b [64]byte
					tc.Read(b[:])
				}
			case "pipe":
				floorQueries(tls.Server(conn, conf), pool)
			default:
				canned(conn, conf, pool, id.Add(1))
			}
		}()
	}
}

// floorQueries asks the auth program what each line says.
func floorQueries(tc *tls.Conn, pool *scriptPool) {
	br := bufio.NewReaderSize(tc, 512)
	for {
		l, err := br.ReadSlice('\n')
		if err != nil {
			return
		}
		ok, err := pool.ask(string(l[:len(l)-1]))
		if err != nil {
			return
		}
		if ok {
			io.WriteString(tc, "1\n")
		} else {
			io.WriteString(tc, "0\n")
		}
	}
}

const (
	cannedHead = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='bench.test' id='x' version='1.0'>"
	cannedF1   = cannedHead + "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
	cannedF2   = cannedHead + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
	cannedF3   = cannedHead + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
)

// canned plays one login and an idle session.
func canned(conn net.Conn, conf *tls.Config, pool *scriptPool, id int64) {
	buf := make([]byte, 1024)
	c := conn
	step := func(reply string) bool {
		if _, err := c.Read(buf); err != nil {
			return false
		}
		_, err := io.WriteString(c, reply)
		return err == nil
	}
	if !step(cannedF1) || !step("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") {
		return
	}
	tc := tls.Server(conn, conf)
	if tc.Handshake() != nil {
		return
	}
	c = tc
	if !step(cannedF2) {
		return
	}
	n, err := c.Read(buf)
	if err != nil {
		return
	}
	a := buf[:n]
	i, j := bytes.IndexByte(a, '>'), bytes.LastIndex(a, []byte("</auth>"))
	if i < 0 || j < i {
		return
	}
	raw, _ := base64.StdEncoding.DecodeString(string(a[i+1 : j]))
	p := bytes.Split(raw, []byte{0})
	if len(p) != 3 {
		return
	}
	user := string(p[1])
	if pool != nil {
		ok, err := pool.ask("auth:" + user + ":bench.test:" + string(p[2]))
		if err != nil {
			return
		}
		if !ok {
			io.WriteString(c, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
			c.Read(buf)
			return
		}
	}
	io.WriteString(c, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	if !step(cannedF3) {
		return
	}
	if !step("<iq type='result' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" + user + "@bench.test/r" + strconv.FormatInt(id, 10) + "</jid></bind></iq>") {
		return
	}
	buf = nil // an idle session keeps only what it must
	var one [256]byte
	if n, err := c.Read(one[:]); err != nil || !bytes.HasPrefix(one[:n], []byte("</stream")) {
		return
	}
	io.WriteString(c, "</stream:stream>")
	tc.Close()
}
